"""What a step of `train.fit` costs beside the bare step: `python training_step.py`.

The bare step is train.training_step on one batch that stays where it is. The epoch draws its
batches, augments them, and looks up the learning rate, all through the library's own parts, on the
twin. Where there is a GPU, or with --tutorial, the tutorial's loop stands beside it: a DataLoader
that augments sample by sample with skimage (brain-segmentation-pytorch, `train.py`).
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from augmentation import tutorial_sample
from timing import fastest, now
from torch.utils.data import DataLoader, Dataset

from course_lib import augment, data, losses, models, settings, train
from course_lib.compute import Compute
from course_lib.train.config import learning_rate

BATCH, STEPS, WANTED = 16, 16, 0.95
PARTS = ("draw", "augment", "step")


class Work:
    """A network, a data set, and what a training does with them.

    Args:
        size: side of the slices, in pixels.
        features: of the U-Net.
        layout, precision: see Compute.
    """

    def __init__(self, size: int, features: int, device: torch.device, layout: str,
                 precision: str):
        torch.manual_seed(0)
        self.device, self.config = device, train.TrainConfig(epochs=100, schedule="cosine")
        self.dataset = data.SliceDataset(data.fetch("lgg-phantom", patients=12), size=size)
        self.model = models.UNet(3, 1, features=features)
        self.compute = Compute(layout, precision).resolve(self.model, device, size=0)
        self.model.to(device, memory_format=self.compute.memory_format(self.model)).train()
        scaled = self.compute.precision == "float16"
        self.parts = {"loss_fn": losses.BCEDice(), "compute": self.compute,
                      "optimizer": torch.optim.AdamW(self.model.parameters(), lr=1e-3),
                      "scaler": torch.amp.GradScaler(device.type, enabled=scaled)}
        self.augment = augment.Compose([augment.Affine(), augment.Scanner()])
        self.generator = torch.Generator(device).manual_seed(0)
        self.batch = next(self.draw())

    def draw(self):
        """Draw an epoch's batches."""
        return self.dataset.batches(BATCH, STEPS, self.generator, compute=self.compute)

    def bare(self) -> None:
        """Take as many steps as an epoch has, on one batch."""
        for _ in range(STEPS):
            train.training_step(self.model, *self.batch, **self.parts)

    def epoch(self, mark: Callable = lambda part: None) -> None:
        """Train an epoch; `mark` hears when a part is done."""
        for number, (image, target) in enumerate(self.draw()):
            rate = learning_rate(self.config, number, 100 * STEPS)
            self.parts["optimizer"].param_groups[0]["lr"] = rate
            mark("draw")
            image, target = self.augment(image, target, self.generator)
            mark("augment")
            train.training_step(self.model, image, target, **self.parts)
            mark("step")

    def tutorial(self, samples: Dataset, workers: int) -> None:
        """Train an epoch with the tutorial's loader, in the same network."""
        for image, target in DataLoader(samples, BATCH, shuffle=True, num_workers=workers,
                                        drop_last=True):
            train.training_step(self.model, image.to(self.device), target.to(self.device),
                                **self.parts)


class TutorialSlices(Dataset):
    """Slices as the tutorial keeps them, float64 and channels last, drawn `length` times."""

    def __init__(self, dataset: data.SliceDataset, length: int):
        self.images = dataset.images[:4 * BATCH].permute(0, 2, 3, 1).double().numpy()
        self.targets = dataset.targets[:4 * BATCH].permute(0, 2, 3, 1).double().numpy()
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor]:
        row = item % len(self.images)
        return tutorial_sample(self.images[row], self.targets[row], np.random.default_rng(item))


def measure_parts(work: Work, epochs: int) -> dict[str, float]:
    """Measure the median seconds of each part of a step, on a GPU with a wait after each."""
    took, last = defaultdict(list), [now()]

    def mark(part):
        took[part].append(now() - last[0])
        last[0] = now()

    for _ in range(epochs):
        last[0] = now()
        work.epoch(mark)
    return {part: statistics.median(took[part]) for part in PARTS}


def compare(work: Work, name: str, rounds: int, workers: int) -> None:
    """Print what the parts cost, and the ratio; with workers, the tutorial's loop too."""
    took = fastest({"bare": work.bare, "epoch": work.epoch}, rounds)
    each = measure_parts(work, rounds)
    print(f"{name}, {work.compute.layout}, {work.compute.precision}, ms a step: "
          + ", ".join(f"{part} {1000 * seconds:.2f}" for part, seconds in each.items()))
    print(f"{name}, by parts: draw and augment are "
          f"{(each['draw'] + each['augment']) / sum(each.values()):.1%} of a step")
    if workers:
        samples = TutorialSlices(work.dataset, 8 * BATCH)
        slow = fastest({"tutorial": lambda: work.tutorial(samples, workers)}, 2)["tutorial"]
        print(f"{name}: {STEPS * BATCH / took['epoch']:.0f} images a second; the tutorial's loop "
              f"with {workers} workers {len(samples) / slow:.0f}")
    print(f"training step at {name}: {took['bare'] / took['epoch']:.3f} of the bare step's speed "
          f"(target {WANTED})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--tutorial", action="store_true", help="its loop too, without a GPU")
    parser.add_argument("--workers", type=int, default=4, help="of the tutorial's loader")
    parser.add_argument("--layout", default="auto")
    parser.add_argument("--precision", default="auto")
    o = parser.parse_args()
    device = settings.device()
    on_gpu = device.type == "cuda"
    torch.backends.cudnn.benchmark = True
    for size, features in [(128, 8), (128, 16)] + on_gpu * [(256, 32)]:
        work = Work(size, features, device, o.layout, o.precision)
        compare(work, f"{size} px, {features} features", o.rounds,
                o.workers if on_gpu or o.tutorial else 0)


if __name__ == "__main__":
    main()
