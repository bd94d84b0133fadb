"""What a step of `train.fit` costs beside the bare step: `python training_step.py`.

The bare step is forward, loss, backward and optimizer on one batch that stays where it is. The
epoch draws its batches, augments them, and looks up the learning rate, all through the library's
own parts. Where there is a GPU, or with --tutorial, the tutorial's loop stands beside it: a
DataLoader that augments sample by sample with skimage (brain-segmentation-pytorch, `train.py`).
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

from course_lib import augment, losses, models, predict, settings
from course_lib.train.config import TrainConfig, choose_layout_and_precision, learning_rate
from course_lib.train.loop import batches

BATCH, STEPS, WANTED = 16, 4, 0.95
PARTS = ("draw", "augment", "forward", "loss", "backward", "optimizer")


class Work:
    """A network, data that stay on the device, and what a training does with them.

    Args:
        size: side of the slices, in pixels.
        features: of the U-Net.
    """

    def __init__(self, size: int, features: int, device: torch.device):
        torch.manual_seed(0)
        self.device, self.config = device, TrainConfig(epochs=100, schedule="cosine")
        self.model = models.UNet(3, 1, features=features)
        self.layout, self.precision = choose_layout_and_precision(self.model, self.config, device)
        self.model.to(device, memory_format=predict.memory_format(self.model, self.layout)).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "float16")
        self.loss = losses.BCEDice()
        self.augment = augment.chain(augment.affine(), augment.scanner())
        self.generator = torch.Generator(device).manual_seed(0)
        self.images = torch.randn(STEPS * BATCH, 3, size, size).half().to(device)
        self.targets = (torch.rand(STEPS * BATCH, 1, size, size) > 0.95).to(device, torch.uint8)
        self.weights = torch.ones(STEPS * BATCH, device=device)
        self.batch = self.images[:BATCH].float(), self.targets[:BATCH]

    def step(self, image, target, mark: Callable) -> None:
        """The bare step, as in `train.fit`."""
        with predict.autocast(self.device, self.precision):
            logits = self.model(image.float())
        mark("forward")
        batch_loss = self.loss(logits, target)
        mark("loss")
        self.optimizer.zero_grad()
        self.scaler.scale(batch_loss).backward()
        mark("backward")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        mark("optimizer")

    def bare(self) -> None:
        """As many steps as an epoch has."""
        for _ in range(STEPS):
            self.step(*self.batch, mark=lambda part: None)

    def epoch(self, mark: Callable = lambda part: None) -> None:
        """One epoch; `mark` hears when a part is done."""
        drawn = batches(self.images, self.targets, self.weights, BATCH, self.generator)
        for number, (image, target) in enumerate(drawn):
            rate = learning_rate(self.config, number, 100 * STEPS)
            self.optimizer.param_groups[0]["lr"] = rate
            mark("draw")
            image, target = self.augment(image, target, self.generator)
            mark("augment")
            self.step(image, target, mark)

    def tutorial(self, samples: Dataset, workers: int) -> None:
        """One epoch with the tutorial's loader, in the same network."""
        for image, target in DataLoader(samples, BATCH, shuffle=True, num_workers=workers,
                                        drop_last=True):
            self.step(image.to(self.device), target.to(self.device), mark=lambda part: None)


class TutorialSlices(Dataset):
    """Slices as the tutorial keeps them, float64 and channels last, drawn `length` times."""

    def __init__(self, work: Work, length: int):
        self.images = work.images.cpu().permute(0, 2, 3, 1).double().numpy()
        self.targets = work.targets.cpu().permute(0, 2, 3, 1).double().numpy()
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor]:
        at = item % len(self.images)
        return tutorial_sample(self.images[at], self.targets[at], np.random.default_rng(item))


def parts(work: Work, epochs: int) -> dict[str, float]:
    """Median seconds of each part of a step, on a GPU with a wait after each."""
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
    each = parts(work, rounds)
    print(f"{name}, {work.layout}, {work.precision}, ms a step: "
          + ", ".join(f"{part} {1000 * seconds:.2f}" for part, seconds in each.items()))
    print(f"{name}, by parts: draw and augment are "
          f"{(each['draw'] + each['augment']) / sum(each.values()):.1%} of a step")
    if workers:
        samples = TutorialSlices(work, 8 * BATCH)
        slow = fastest({"tutorial": lambda: work.tutorial(samples, workers)}, 2)["tutorial"]
        print(f"{name}: {STEPS * BATCH / took['epoch']:.0f} images a second; the tutorial's loop "
              f"with {workers} workers {len(samples) / slow:.0f}")
    print(f"training step at {name}: {took['bare'] / took['epoch']:.3f} of the bare step's speed "
          f"(target {WANTED})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--tutorial", action="store_true", help="its loop too, without a GPU")
    parser.add_argument("--workers", type=int, default=4, help="of the tutorial's loader")
    o = parser.parse_args()
    device = settings.device()
    on_gpu = device.type == "cuda"
    torch.backends.cudnn.benchmark = True
    for size, features in [(128, 8), (128, 16)] + on_gpu * [(256, 32)]:
        compare(Work(size, features, device), f"{size} px, {features} features", o.rounds,
                o.workers if on_gpu or o.tutorial else 0)


if __name__ == "__main__":
    main()
