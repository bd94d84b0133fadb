"""How long until a network is as good as the tutorial's after 20 minutes, on two CPU cores.

Three contenders on the real data, 30 patients to train, the reference's ten to score, all in the
course's loop: the tutorial's recipe (soft Dice, Adam 1e-4); the course's with the same network and
size in five minutes, and in two. (Smaller networks and slices were no better in two: on the CPU it
was measured on, 16 features cost hardly more than 8.) The clock counts drawing, augmentation and
steps. On a machine whose speed comes and goes it is kept by components: `probe` times one step of
each, taking turns; `run` trains and scores after every 15 s worth of steps; `report` lays the
curves side by side.

    python benchmarks/time_to_quality.py probe
    python benchmarks/time_to_quality.py run --seed 42          (and 43, 44)
    python benchmarks/time_to_quality.py report
"""

import argparse
import json
import time

import numpy as np
import torch
from augmentation import tutorial_sample
from recipes import RECIPES
from timing import fastest

from course_lib import data, models, predict, settings, train
from course_lib.compute import PLAIN, Compute
from course_lib.tables import Table, read_csv
from course_lib.train.config import OPTIMIZERS, learning_rate

EVERY = 15                                       # seconds of training time between two scores
BATCH = 16
# Recipe, size in pixels, features, seconds of training.
CONTENDERS = {"tutorial": ("reference", 128, 16, 1200),
              "course, 5 minutes": ("course", 128, 16, 300),
              "course, 2 minutes": ("course", 128, 16, 120)}
FOLDER = settings.runs_folder() / "time-to-quality"


class Contender:
    """One recipe with its data and network, ready to do steps."""

    def __init__(self, name: str, seed: int, steps: int):
        recipe, size, features, _ = CONTENDERS[name]
        recipe = RECIPES[recipe]
        folder = data.fetch("lgg-mri")
        split = data.reference_split([path.name for path in data.find_patients(folder)])
        self.training, self.scored = (
            data.SliceDataset(folder, size=size, patients=part, drop_ends=recipe["drop_ends"])
            for part in (split.training, split.validation))
        self.config = train.TrainConfig(epochs=1, batch_size=BATCH, seed=seed, **recipe["config"])
        self.steps, self.step = steps, 0
        torch.manual_seed(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.model = models.UNet(3, 1, features=features)
        self.compute = Compute().resolve(self.model, torch.device("cpu"), size=0)
        self.model.to(memory_format=self.compute.memory_format(self.model)).train()
        self.optimizer = OPTIMIZERS[self.config.optimizer](
            self.model.parameters(), lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay)
        self.scaler = torch.amp.GradScaler("cpu", enabled=False)
        self.loss, self.augment = recipe["loss"](), recipe["augment"]
        self.postprocess = recipe.get("postprocess", "largest_component")
        self.drawn = self._draw()

    def _draw(self):
        while True:
            yield from self.training.batches(BATCH, len(self.training) // BATCH, self.generator,
                                             compute=self.compute)

    def do_step(self) -> None:
        """Draw, augment, forward, backward, optimizer: what the clock counts."""
        self.optimizer.param_groups[0]["lr"] = learning_rate(self.config, self.step, self.steps)
        image, target = self.augment(*next(self.drawn), self.generator)
        train.training_step(self.model, image, target, loss_fn=self.loss,
                            optimizer=self.optimizer, scaler=self.scaler, compute=self.compute)
        self.step += 1

    def score(self) -> dict[str, float]:
        """Score each patient on the original grid, largest component."""
        predictor = predict.Predictor(self.model, self.scored.preparation, compute=self.compute,
                                      postprocess=self.postprocess)
        return {row["patient"]: row["dsc"] for row in predict.evaluate(predictor, self.scored)}


def probe(rounds: int) -> None:
    """Time a step of each contender, and of the tutorial's own loop: float32, skimage."""
    ready = {name: Contender(name, seed=0, steps=10**6) for name in CONTENDERS}
    plain = Contender("tutorial", seed=0, steps=10**6)
    plain.compute, random = PLAIN, np.random.default_rng(0)
    plain.model.to(memory_format=torch.contiguous_format)

    def one_by_one(image, target, _):
        pairs = [(i.permute(1, 2, 0).double().numpy(), t.permute(1, 2, 0).double().numpy())
                 for i, t in zip(image, target, strict=True)]
        moved = [tutorial_sample(*pair, random) for pair in pairs]
        return tuple(torch.stack(part) for part in zip(*moved, strict=True))

    plain.augment = one_by_one
    took = fastest({name: contender.do_step for name, contender in
                    (*ready.items(), ("tutorial, its own loop", plain))}, rounds)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "step_seconds.json").write_text(json.dumps(took, indent=1))
    for name, seconds in took.items():
        print(f"{name}: {1000 * seconds:.0f} ms a step")


def run(name: str, seed: int) -> None:
    """Train one contender, and write a row of scores after every 15 s worth of steps."""
    seconds = json.loads((FOLDER / "step_seconds.json").read_text())[name]
    steps = int(CONTENDERS[name][3] / seconds)
    contender = Contender(name, seed, steps)
    rows, clock = [], 0.0
    for number in range(1, CONTENDERS[name][3] // EVERY + 1):
        start = time.perf_counter()
        while contender.step < int(number * EVERY / seconds):
            contender.do_step()
        clock += time.perf_counter() - start
        scores = contender.score()
        rows.append({"seconds": number * EVERY, "step": contender.step, "clock": clock,
                     "mean": float(np.mean(list(scores.values()))), **scores})
        Table(rows).save(FOLDER / f"{name.replace(', ', '-')}-{seed}.csv")
    print(f"{name}, seed {seed}: {rows[-1]['mean']:.3f} after {rows[-1]['seconds']} s", flush=True)


def report() -> None:
    """Print means over seeds, the mark, and when each is at or above it three times."""
    curves = {}
    for name in CONTENDERS:
        files = sorted(FOLDER.glob(f"{name.replace(', ', '-')}-*.csv"))
        tables = [read_csv(path) for path in files]
        curves[name] = np.mean([table.column("mean") for table in tables], axis=0)
        worst = [min(table.names[4:], key=lambda p, t=table: np.mean(t.column(p)[-3:]))
                 for table in tables]
        last = [round(float(np.mean(table.column("mean")[-3:])), 3) for table in tables]
        print(f"{name}: {len(files)} seeds, last three {last}, worst {worst}")
    took = json.loads((FOLDER / "step_seconds.json").read_text())
    longer = took["tutorial, its own loop"] / took["tutorial"]
    for title, last in (("in the course's loop", len(curves["tutorial"])),
                        ("in its own loop", int(len(curves["tutorial"]) / longer))):
        mark = float(curves["tutorial"][last - 3 : last].mean())
        print(f"mark, the tutorial's recipe {title} after 20 minutes: {mark:.3f}")
        for name in list(CONTENDERS)[1:]:
            above = curves[name] >= mark
            three = [i for i in range(len(above) - 2) if above[i : i + 3].all()]
            when = f"from {EVERY * (three[0] + 1)} s on" if three else "never"
            print(f"  {name} (allowed {CONTENDERS[name][3]} s): at or above it {when}")
    print(Table([{"seconds": EVERY * (i + 1),
                       **{name: float(curve[i]) if i < len(curve) else float("nan")
                          for name, curve in curves.items()}}
                      for i in range(len(curves["tutorial"])) if i < 20 or (i + 1) % 8 == 0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("probe", "run", "report"))
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--only", choices=CONTENDERS)
    parser.add_argument("--rounds", type=int, default=12)
    o = parser.parse_args()
    if o.what == "probe":
        probe(o.rounds)
    elif o.what == "run":
        for name in [o.only] if o.only else CONTENDERS:
            run(name, o.seed)
    else:
        report()


if __name__ == "__main__":
    main()
