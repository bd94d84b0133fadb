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

from course_lib import data, metrics, models, predict, settings, show
from course_lib.data import geometry
from course_lib.train.config import (
    OPTIMIZERS,
    TrainConfig,
    choose_layout_and_precision,
    learning_rate,
)
from course_lib.train.loop import batches

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
        self.config = TrainConfig(epochs=1, batch_size=BATCH, seed=seed, **recipe["config"])
        self.steps, self.step = steps, 0
        torch.manual_seed(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.model = models.UNet(3, 1, features=features)
        layout, self.precision = choose_layout_and_precision(self.model, self.config,
                                                             torch.device("cpu"))
        self.model.to(memory_format=predict.memory_format(self.model, layout)).train()
        self.optimizer = OPTIMIZERS[self.config.optimizer](
            self.model.parameters(), lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay)
        self.loss, self.augment = recipe["loss"](), recipe["augment"]
        self.drawn = self._draw()

    def _draw(self):
        weights = self.training.sampling_weights().float()
        while True:
            yield from batches(self.training.images, self.training.targets, weights, BATCH,
                               self.generator)

    def do_step(self) -> None:
        """Draw, augment, forward, backward, optimizer: what the clock counts."""
        self.optimizer.param_groups[0]["lr"] = learning_rate(self.config, self.step, self.steps)
        image, target = self.augment(*next(self.drawn), self.generator)
        with predict.autocast(torch.device("cpu"), self.precision):
            logits = self.model(image.float())
        loss = self.loss(logits, target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1

    def score(self, targets: dict[str, np.ndarray]) -> list[float]:
        """DSC per patient on the original grid, largest component."""
        logits = predict.predict_logits(self.model, self.scored.images, precision=self.precision)
        probabilities = torch.sigmoid(logits)[:, 0].numpy()
        scores = []
        for name, target in targets.items():
            raw = geometry.restore(probabilities[self.scored.rows(name)], self.scored.boxes[name])
            scores.append(metrics.dsc(metrics.largest_component(raw > predict.THRESHOLD), target))
        return scores


def probe(rounds: int) -> None:
    """Seconds a step of each contender, and of the tutorial's own loop: float32, skimage."""
    ready = {name: Contender(name, seed=0, steps=10**6) for name in CONTENDERS}
    plain = Contender("tutorial", seed=0, steps=10**6)
    plain.precision, random = "float32", np.random.default_rng(0)
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
    targets = {patient: data.read_patient(contender.scored.folder / patient).target
               for patient in contender.scored.patients}
    rows, clock = [], 0.0
    for number in range(1, CONTENDERS[name][3] // EVERY + 1):
        start = time.perf_counter()
        while contender.step < int(number * EVERY / seconds):
            contender.do_step()
        clock += time.perf_counter() - start
        scores = dict(zip(targets, contender.score(targets), strict=True))
        rows.append({"seconds": number * EVERY, "step": contender.step, "clock": clock,
                     "mean": float(np.mean(list(scores.values()))), **scores})
        predict.write_table(FOLDER / f"{name.replace(', ', '-')}-{seed}.csv", rows)
    print(f"{name}, seed {seed}: {rows[-1]['mean']:.3f} after {rows[-1]['seconds']} s", flush=True)


def report() -> None:
    """Means over seeds, the mark, and when each contender is at or above it three times."""
    curves = {}
    for name in CONTENDERS:
        files = sorted(FOLDER.glob(f"{name.replace(', ', '-')}-*.csv"))
        tables = [np.genfromtxt(path, delimiter=",", names=True) for path in files]
        curves[name] = np.mean([table["mean"] for table in tables], axis=0)
        worst = [min(table.dtype.names[4:], key=lambda p, t=table: t[p][-3:].mean())
                 for table in tables]
        print(f"{name}: {len(files)} seeds, last three "
              f"{[round(float(table['mean'][-3:].mean()), 3) for table in tables]}, worst {worst}")
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
    print(show.table([{"seconds": EVERY * (i + 1),
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
