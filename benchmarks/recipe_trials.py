"""Try recipes on folds of the real data: `python benchmarks/recipe_trials.py --help`.

Many short trainings, by the rule in docs/decisions.md ("The recipe trials"): 2,000 steps of 16
slices at 128 px, a U-Net of 16 features, AdamW with a cosine, BCE + Dice. A trial is a name in
TRIALS and what it changes. On a GPU each step is captured as a CUDA graph, and several processes
share the card; on a CPU a training takes six minutes on two quiet cores. Scores are DSC per patient
on the original grid, all slices, largest component; rows go to a file of JSON lines, and
probabilities to a folder beside it.

    python benchmarks/recipe_trials.py run base geo twins --folds 1 2 3 --seeds 42
    python benchmarks/recipe_trials.py report --against base
"""

import argparse
import json
import math
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from course_lib import data, metrics, models, settings, stats

FOLDER = settings.runs_folder() / "recipe-trials"
GEO = {"scale": 0.3, "angle": 30}
INTENSITY = {"gamma": 1.5, "noise": 0.2, "blur": 0.2, "lowres": 0.2}
STRONG = {"gamma": 2.0, "gamma_p": 0.7, "noise": 0.3, "blur": 0.2, "lowres": 0.25, "gain": 0.5,
          "bias": 0.5, "shift": 0.5}
WIDE = {**GEO, **INTENSITY, "ema": 0.99}
THREE = {**GEO, "ema": 0.995, "lacking": 0.15}
TRIALS = {
    "today": {"steps": 700},
    "tutorial": {"loss": "dice", "optimizer": "adam", "rate": 1e-4, "schedule": "constant",
                 "gain": 0, "bias": 0, "shift": 0},
    "base": {}, "geo": GEO, "intensity": INTENSITY, "strong": STRONG, "wide": WIDE,
    "ema 0.99": {"ema": 0.99}, "ema 0.995": {"ema": 0.995}, "context": {"context": 1},
    "tversky": {"loss": "tversky", "alpha": 0.3}, "twins": {"twins": 0.25},
    "lacking": {"lacking": 0.15}, "wide + lacking": {**WIDE, "lacking": 0.1},
    "geo + ema + lacking": THREE, "geo + ema + lacking + twins": {**THREE, "twins": 0.25},
    "the same + tversky": {**THREE, "twins": 0.25, "loss": "tversky", "alpha": 0.35},
    "geo + twins": {**GEO, "twins": 0.25}, "geo + even": {**GEO, "even": 0.3},
    "geo + tversky": {**GEO, "loss": "tversky", "alpha": 0.3},
    "geo + even + tversky": {**GEO, "even": 0.3, "loss": "tversky", "alpha": 0.3},
    "geo + twins + even": {**GEO, "twins": 0.25, "even": 0.3},
    "elastic": {"elastic": 0.03}, "turned": {"scale": 0.4, "angle": 180, "vertical": 0.5},
    "dropped channel": {"dropped": 0.15}, "misses weigh 3": {"pos_weight": 3.0},
    "Dice per image": {"per_image": True}, "twins first": {"pretrain": 600},
    "rate 1e-3": {"rate": 1e-3}, "rate 1e-2": {"rate": 1e-2}, "decay 0.1": {"decay": 0.1},
    "24 features": {"features": 24, "steps": 1300}, "160 px": {"size": 160, "steps": 1280},
    "two networks": {"networks": 2, "steps": 1000}, "instance norm": {"norm": "instance"},
    "batch 8": {"batch": 8, "steps": 4000}, "batch 32": {"batch": 32, "steps": 1000},
    "even slices": {"even": 0.3}, "4,000 steps": {"steps": 4000},
}
DEFAULT = {
    "steps": 2000, "size": 128, "features": 16, "batch": 16, "norm": "batch", "networks": 1,
    "optimizer": "adamw", "rate": 3e-3, "decay": 1e-2, "schedule": "cosine", "ema": 0.0,
    "loss": "bcedice", "alpha": 0.5, "pos_weight": 1.0, "per_image": False, "context": 0,
    "twins": 0.0, "pretrain": 0, "even": 0.0, "lacking": 0.0, "dropped": 0.0,
    "scale": 0.05, "angle": 15.0, "flip": 0.5, "vertical": 0.0, "elastic": 0.0, "blur": 0.0,
    "lowres": 0.0, "gamma": 0.0, "gamma_p": 0.5, "noise": 0.0, "gain": 0.3, "bias": 0.3,
    "shift": 0.3}
WEIGHTS = ("last", "best", "averaged")       # the last step's; chosen by validation; EMA of 0.995
SCORES = (*WEIGHTS, "deepest")               # the last step's, with the deepest component
TWINS = 60
BF16 = {"dtype": torch.bfloat16, "cache_enabled": False}


# --- data ---

def load(o: dict, device: torch.device) -> dict:
    """Prepare the real patients, and the twins where they are drawn: images, targets, data set."""
    sets = {"real": data.SliceDataset(data.fetch("lgg-mri"), size=o["size"], drop_ends=False)}
    if o["twins"] or o["pretrain"]:
        twins = data.fetch("lgg-phantom", patients=TWINS, seed=7)
        sets["twin"] = data.SliceDataset(twins, size=o["size"], drop_ends=False)
    images = [with_neighbours(part, o["context"]) for part in sets.values()]
    return {**sets, "images": torch.cat(images).to(device),
            "targets": torch.cat([part.targets for part in sets.values()]).to(device)}


def with_neighbours(dataset: data.SliceDataset, context: int) -> torch.Tensor:
    """Lay the slices below and above beside each slice, as channels; ends stand for what is not."""
    parts = []
    for name in dataset.patients:
        span = dataset.rows(name)
        rows = torch.arange(span.start, span.stop)
        parts.append(torch.cat([dataset.images[(rows + step).clamp(span.start, span.stop - 1)]
                                for step in range(-context, context + 1)], dim=1))
    return torch.cat(parts)


def make_folds(names: list[str]) -> list[data.Split]:
    """Split into five folds; of each training part four patients choose the checkpoint."""
    return [data.split_patients(fold.training, validation=4, test=0)._replace(test=fold.test)
            for fold in data.folds(names, k=5, seed=42)]


def draw_rows(loaded: dict, training: list[str], o: dict, generator: torch.Generator):
    """Draw the rows of all batches: (steps, batch)."""
    offset, twins = len(loaded["real"]), round(o["batch"] * o["twins"])

    def draw(part: str, names: list[str], first: int, steps: int, count: int) -> torch.Tensor:
        dataset = loaded[part]
        rows = torch.cat([torch.arange(len(dataset))[dataset.rows(name)] for name in names])
        weights = dataset.sampling_weights()[rows]
        weights = (1 - o["even"]) * weights / weights.sum() + o["even"] / len(weights)
        drawn = torch.multinomial(weights, steps * count, replacement=True, generator=generator)
        return first + rows[drawn].view(steps, count)

    rows = draw("real", training, 0, o["steps"], o["batch"] - twins)
    if twins:
        of_twins = draw("twin", loaded["twin"].patients, offset, o["steps"], twins)
        rows = torch.cat([rows, of_twins], dim=1)
    if o["pretrain"]:
        rows[: o["pretrain"]] = draw("twin", loaded["twin"].patients, offset, o["pretrain"],
                                     o["batch"])
    return rows


# --- augmentation, without branches: a captured graph has none ---

def augment(image: torch.Tensor, target: torch.Tensor, o: dict) -> tuple:
    """Augment a batch as the trial has it; of neighbours a sequence changes alike."""
    image = image.float()
    count, groups = len(image), image.shape[1] // 3
    image = lack_sequences(image.unflatten(1, (groups, 3)), o).flatten(1, 2)
    image, target = move(image, target.float(), o)

    def sometimes(share: float) -> torch.Tensor:
        return torch.rand(count, 1, 1, 1, device=image.device) < share

    def even(half: float, *shape: int) -> torch.Tensor:
        drawn = half * (2 * torch.rand(count, 3, *shape, device=image.device) - 1)
        return drawn.repeat(1, groups, 1, 1)

    if o["blur"]:
        image = torch.where(sometimes(o["blur"]), blurred(image), image)
    if o["lowres"]:
        coarse = functional.interpolate(functional.avg_pool2d(image, 2), scale_factor=2.0,
                                        mode="bilinear")
        image = torch.where(sometimes(o["lowres"]), coarse, image)
    if o["gamma"]:
        low, high = image.amin(dim=(2, 3), keepdim=True), image.amax(dim=(2, 3), keepdim=True)
        span = (high - low).clamp_min(1e-3)
        bent = ((image - low) / span).clamp(1e-6, 1) ** torch.exp(even(math.log(o["gamma"]), 1, 1))
        image = torch.where(sometimes(o["gamma_p"]), bent * span + low, image)
    if o["noise"]:
        deviation = o["noise"] * torch.rand(count, 1, 1, 1, device=image.device) * sometimes(0.3)
        image = image + deviation * torch.randn_like(image)
    if o["gain"]:
        eye = torch.eye(3, device=image.device)[None, None]
        rows = functional.interpolate(eye, (image.shape[-1], 3), mode="bicubic",
                                      align_corners=True)[0, 0]
        factor = 1 + even(o["gain"], 1, 1) + rows @ even(o["bias"], 3, 3) @ rows.T
        image = image * factor + even(o["shift"], 1, 1)
    return image, target


def lack_sequences(image: torch.Tensor, o: dict) -> torch.Tensor:
    """Put FLAIR in the place of sequences (B, G, 3, H, W), as in patients who lack them."""
    draws = torch.rand(3, len(image), 1, 1, 1, device=image.device)
    t1, flair, post = image.unbind(2)
    if o["lacking"]:
        post = torch.where(draws[0] < o["lacking"], flair, post)
        t1 = torch.where(draws[0] < o["lacking"] * 2 / 3, flair, t1)
    if o["dropped"]:
        gone = draws[1] < o["dropped"]
        t1 = torch.where(gone & (draws[2] < 0.5), torch.zeros_like(t1), t1)
        post = torch.where(gone & (draws[2] >= 0.5), torch.zeros_like(post), post)
    return torch.stack([t1, flair, post], dim=2)


def move(image: torch.Tensor, target: torch.Tensor, o: dict) -> tuple:
    """Scale, turn, mirror, and bend."""
    count, device, size = len(image), image.device, image.shape[-1]
    zoom, turn, across, down = torch.rand(4, count, device=device)
    zoom = 1 + o["scale"] * (2 * zoom - 1)                         # as augment.Affine draws them
    turn = math.radians(o["angle"]) * (2 * turn - 1)
    across = torch.where(across < o["flip"], -1.0, 1.0)[:, None, None]
    down = torch.where(down < o["vertical"], -1.0, 1.0)[:, None, None]
    cosine = (torch.cos(turn) / zoom)[:, None, None]
    sine = (torch.sin(turn) / zoom)[:, None, None]
    place = (2 * torch.arange(size, device=device) + 1) / size - 1
    x, y = place[None, None, :], place[None, :, None]
    grid = torch.stack([x * across * cosine - y * sine, (x * across * sine + y * cosine) * down],
                       dim=-1)
    if o["elastic"]:
        field = o["elastic"] * torch.randn(count, 2, 6, 6, device=device)
        field = functional.interpolate(field, (size, size), mode="bicubic", align_corners=True)
        bent = (torch.rand(count, 1, 1, 1, device=device) < 0.5).float()
        grid = grid + bent * field.permute(0, 2, 3, 1)
    return (functional.grid_sample(image, grid, mode="bilinear", align_corners=False),
            functional.grid_sample(target, grid, mode="nearest", align_corners=False))


def blurred(image: torch.Tensor) -> torch.Tensor:
    """Blur each image with a Gaussian of its own, 0.4 to 1.2 pixels."""
    count, channels, height, width = image.shape
    sigma = 0.4 + 0.8 * torch.rand(count, 1, device=image.device)
    kernel = torch.exp(-0.5 * (torch.arange(-3, 4, device=image.device) / sigma) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    flat = image.reshape(1, count * channels, height, width)
    flat = functional.conv2d(flat, kernel[:, None, :, None], padding=(3, 0), groups=len(kernel))
    flat = functional.conv2d(flat, kernel[:, None, None, :], padding=(0, 3), groups=len(kernel))
    return flat.view_as(image)


# --- one training ---

def loss_of(logits: torch.Tensor, target: torch.Tensor, o: dict) -> torch.Tensor:
    """Compute the trial's loss."""
    axes = (1, 2, 3) if o["per_image"] else (0, 1, 2, 3)
    logits = logits.float()
    chance = torch.sigmoid(logits)
    hit, false, missed = ((chance * target).sum(axes), (chance * (1 - target)).sum(axes),
                          ((1 - chance) * target).sum(axes))
    alpha = o["alpha"] if o["loss"] == "tversky" else 0.5
    overlap = 1 - (hit + 0.5) / (hit + alpha * false + (1 - alpha) * missed + 0.5)
    if o["loss"] == "dice":
        return overlap.mean()
    weight = torch.full((), o["pos_weight"], device=logits.device)
    return overlap.mean() + functional.binary_cross_entropy_with_logits(logits, target,
                                                                        pos_weight=weight)


def learning_rates(o: dict) -> torch.Tensor:
    """List the rate of each step: constant, or up over 5 % of the steps, then down to zero."""
    step, warm = torch.arange(o["steps"]).float(), max(1, round(0.05 * o["steps"]))
    if o["schedule"] == "constant":
        return torch.full((o["steps"],), o["rate"])
    fall = 0.5 * (1 + torch.cos(math.pi * (step - warm) / max(1, o["steps"] - warm)))
    return o["rate"] * torch.where(step < warm, (step + 1) / warm, fall)


class Training:
    """One network on its way.

    Attributes:
        weights: parameters and statistics, as they are; shadow: their moving average.
    """

    def __init__(self, o: dict, loaded: dict, training: list[str], seed: int):
        self.o, self.loaded = o, loaded
        self.device = loaded["images"].device
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        self.rows = draw_rows(loaded, training, o, generator).to(self.device)
        self.rates = learning_rates(o).to(self.device)
        channels = loaded["images"].shape[1]
        self.model = models.UNet(channels, 1, features=o["features"], norm=o["norm"]).to(
            self.device, memory_format=torch.channels_last).train()
        on_gpu = self.device.type == "cuda"
        self.rate = torch.tensor(o["rate"], device=self.device)
        kind = torch.optim.AdamW if o["optimizer"] == "adamw" else torch.optim.Adam
        self.optimizer = kind(self.model.parameters(), lr=self.rate if on_gpu else o["rate"],
                              weight_decay=o["decay"] if o["optimizer"] == "adamw" else 0,
                              capturable=on_gpu, fused=on_gpu)
        self.weights = [*self.model.parameters(),
                        *(one for one in self.model.buffers() if one.is_floating_point())]
        self.shadow = [one.detach().clone() for one in self.weights]
        self.number = torch.zeros(1, dtype=torch.long, device=self.device)
        self.go = self.capture() if on_gpu else self.step

    def step(self) -> None:
        """Draw, augment, forward, backward, optimizer, average."""
        rows = self.rows.index_select(0, self.number)[0]
        image, target = (self.loaded[name].index_select(0, rows) for name in ("images", "targets"))
        image, target = augment(image, target, self.o)
        image = image.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, **BF16):
            logits = self.model(image)
        loss_of(logits, target, self.o).backward()
        rate = self.rates.index_select(0, self.number)[0]
        if self.device.type == "cuda":
            self.rate.copy_(rate)
        else:
            self.optimizer.param_groups[0]["lr"] = float(rate)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        torch._foreach_lerp_(self.shadow, [one.detach() for one in self.weights],
                             1 - (self.o["ema"] or 0.995))
        self.number.add_(1)

    def capture(self):
        """Capture a step as a CUDA graph; the steps it takes to warm up are undone."""
        torch.backends.cudnn.benchmark = True
        start = {name: value.clone() for name, value in self.model.state_dict().items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        self.model.load_state_dict(start)
        for state in self.optimizer.state.values():
            for value in state.values():
                value.zero_()
        for average, one in zip(self.shadow, self.weights, strict=True):
            average.copy_(one.detach())
        self.number.zero_()
        torch.backends.cudnn.benchmark = False           # evaluation comes in many shapes
        return graph.replay

    def result(self) -> list[torch.Tensor]:
        """Copy the weights that a student would keep now."""
        return [one.detach().clone() for one in (self.shadow if self.o["ema"] else self.weights)]

    def use(self, values: list[torch.Tensor]) -> None:
        """Put weights into the network."""
        for one, value in zip(self.weights, values, strict=True):
            one.data.copy_(value)

    @torch.no_grad()
    def probabilities(self, name: str, values: list[torch.Tensor]) -> torch.Tensor:
        """Predict one prepared patient with these weights: (S, size, size)."""
        kept = [one.detach().clone() for one in self.weights]
        self.use(values)
        self.model.eval()
        image = self.loaded["images"][self.loaded["real"].rows(name)].float()
        with torch.autocast(self.device.type, **BF16):
            logits = self.model(image.contiguous(memory_format=torch.channels_last))
        self.model.train()
        self.use(kept)
        return torch.sigmoid(logits.float())[:, 0].cpu()

    def run(self, validation: list[str]) -> dict[str, list[torch.Tensor]]:
        """Train; give the last weights, their average, and what the validation patients choose."""
        best, chosen = -1.0, None
        checks = {round(self.o["steps"] * tenth / 10) for tenth in range(3, 11)}
        for number in range(1, self.o["steps"] + 1):
            self.go()
            if number in checks:
                values = self.result()
                real, masks = self.loaded["real"], {
                    name: self.probabilities(name, values).numpy() > 0.5 for name in validation}
                dsc = np.nanmean([metrics.dsc(metrics.largest_component(mask),
                                              real.prepared(name).target[:, 0].numpy())
                                  for name, mask in masks.items()])
                if dsc > best:
                    best, chosen = dsc, values
        return {"last": self.result(), "best": chosen, "averaged": self.shadow}


def try_once(name: str, fold: int, seed: int, device: torch.device, maps: Path) -> dict:
    """Train and score one trial on one fold: a row of the file.

    The last weights' probabilities on the prepared grid go to `maps`, as uint8 of 255ths, so that
    rules for what is kept of a mask can be compared without another training.
    """
    o = {**DEFAULT, **TRIALS[name]}
    start, loaded = time.perf_counter(), load(o, device)
    split = make_folds(loaded["real"].patients)[fold - 1]
    trainings = [Training(o, loaded, split.training, seed + 1000 * number)
                 for number in range(o["networks"])]
    results = [training.run(split.validation) for training in trainings]
    row, kept = {"name": name, "fold": fold, "seed": seed, "deepest": {}}, {}
    for which in WEIGHTS:
        row[which] = {}
        for patient in split.test:
            prepared = sum(training.probabilities(patient, result[which]) for training, result
                           in zip(trainings, results, strict=True)) / len(trainings)
            if which == "last":
                kept[patient] = (255 * prepared).round().byte().numpy()
            raw = data.restore(prepared[:, None].numpy(), loaded["real"].boxes[patient])[0]
            target = loaded["real"].read(patient).target
            row[which][patient] = metrics.dsc(metrics.largest_component(raw > 0.5), target)
            if which == "last":
                row["deepest"][patient] = metrics.dsc(metrics.deepest_component(raw > 0.5), target)
    maps.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(maps / f"{name.replace(' ', '_')}-fold{fold}-seed{seed}.npz", **kept)
    return {**row, "seconds": time.perf_counter() - start}


def work(jobs, path: Path) -> None:
    """Take jobs until none is left; a process of its own on a GPU."""
    device = settings.device()
    while (job := jobs.get()) is not None:
        row = try_once(*job, device, path.with_suffix(""))
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        means = ", ".join(f"{which} {np.mean(list(row[which].values())):.3f}" for which in SCORES)
        print(f"{row['name']}, fold {row['fold']}, seed {row['seed']}: {means}, "
              f"{row['seconds']:.0f} s", flush=True)


def report(path: Path, against: str, folds: list[int]) -> None:
    """Print means, and the paired difference per patient, its mean over seeds."""
    scores = defaultdict(lambda: defaultdict(list))
    for row in map(json.loads, path.read_text("utf-8").splitlines()):
        for which in SCORES:
            for patient, dsc in row[which].items() if row["fold"] in folds else ():
                scores[row["name"], which][patient].append(dsc)
    for (name, which), each in scores.items():
        means = {patient: np.mean(values) for patient, values in each.items()}
        other = scores[against, which]
        paired = [means[patient] - np.mean(other[patient]) for patient in means if patient in other]
        low, high = stats.bootstrap_interval(paired) if len(paired) > 4 else (math.nan, math.nan)
        print(f"{name:30} {which}  {len(each)} patients, {len(next(iter(each.values())))} seeds, "
              f"mean {np.mean(list(means.values())):.3f}, median "
              f"{np.median(list(means.values())):.3f}; less {against}: {np.mean(paired):+.3f} "
              f"({low:+.3f} to {high:+.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("trials", nargs="*", help=f"of {', '.join(TRIALS)}")
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3], choices=range(1, 6))
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--workers", type=int, default=1, help="processes; 8 on a GPU")
    parser.add_argument("--against", default="base")
    parser.add_argument("--file", type=Path, default=FOLDER / "results.jsonl")
    o = parser.parse_args()
    if o.what == "report":
        report(o.file, o.against, o.folds)
        return
    if unknown := set(o.trials) - set(TRIALS):
        sys.exit(f"there is no trial {', '.join(unknown)}: choose from {', '.join(TRIALS)}")
    o.file.parent.mkdir(parents=True, exist_ok=True)
    context = torch.multiprocessing.get_context("spawn")
    jobs = context.Queue()
    for job in [(name, fold, seed) for seed in o.seeds for name in o.trials for fold in o.folds]:
        jobs.put(job)
    workers = [context.Process(target=work, args=(jobs, o.file)) for _ in range(o.workers)]
    for worker in workers:
        jobs.put(None)
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
