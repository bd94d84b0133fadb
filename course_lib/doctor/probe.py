"""One small training step: does the device compute what the CPU computes, and how fast?

Some devices have given wrong losses in silence (mps, pytorch issue 123151), which no later test
of a lesson would tell from a bad training.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from course_lib import losses, models
from course_lib.compute import PLAIN, Compute
from course_lib.train import training_step

# How far a step may lie from the CPU's float32, relative to it: in loss, and in the worst layer's
# change. On a CPU rounding gives 0.0001, 0.44 and 0.16 in that layer; a layer that does not learn
# gives 1. float32 may be TensorFloat-32 on a GPU, which rounds like float16.
TOLERANCE = {"float32": (0.01, 0.4), "bfloat16": (0.05, 0.8), "float16": (0.05, 0.4)}


@dataclass(frozen=True)
class Step:
    """One training step's outcome.

    Attributes:
        loss: before the step.
        changes: of each layer's kernels, float32 on the CPU. Biases are left out: before a
            normalisation theirs are nothing but rounding.
    """

    loss: float
    changes: list[torch.Tensor]


def small_training(device: torch.device, compute: Compute, size: int,
                   batch_size: int) -> tuple[torch.nn.Module, Callable[[], float]]:
    """Make a U-Net of 8 features, and a function that trains it for a step and returns the loss.

    Weights and data are the same in every call; the reader's random numbers are left alone. The
    optimizer is plain SGD: Adam's first step is a sign, and would make much of rounding.

    Args:
        size: side of the square images, in pixels.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)           # torch.manual_seed would seed GPUs, too
        model = models.UNet(3, 1, features=8)
        image = torch.randn(batch_size, 3, size, size)
    target = (image[:, :1] > 1).to(device)               # bright in the first channel
    image = image.to(device)
    model.to(device, memory_format=compute.memory_format(model)).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler(device.type, init_scale=1024.0,
                                  enabled=compute.precision == "float16")
    loss_fn = losses.BCEDice()

    def step() -> float:
        loss = training_step(model, image, target, loss_fn=loss_fn, optimizer=optimizer,
                             scaler=scaler, compute=compute)
        return loss.item()                               # waits for a GPU

    return model, step


def kernels(model: torch.nn.Module) -> list[torch.Tensor]:
    """Copy each layer's kernels to the CPU."""
    return [weight.detach().cpu().clone() for weight in model.parameters() if weight.ndim > 1]


def one_step(device: torch.device, compute: Compute = PLAIN) -> Step:
    """Take one step on four images of 64 x 64 pixels."""
    model, step = small_training(device, compute, size=64, batch_size=4)
    before = kernels(model)
    loss = step()
    return Step(loss, [new - old for new, old in zip(kernels(model), before, strict=True)])


def distances(step: Step, reference: Step) -> tuple[float, float]:
    """Measure how far a step lies from another, relative to that: in loss, and in the worst layer.
    """
    layers = [((new - old).norm() / old.norm()).item()
              for new, old in zip(step.changes, reference.changes, strict=True)]
    worst = max(layers, key=lambda distance: (math.isnan(distance), distance))
    return abs(step.loss - reference.loss) / abs(reference.loss), worst


def agrees(step: Step, reference: Step, precision: str) -> bool:
    """Tell whether a step in this precision is the reference's, but for rounding; NaN never is."""
    return all(distance <= limit for distance, limit
               in zip(distances(step, reference), TOLERANCE[precision], strict=True))


def usual_compute(device: torch.device) -> Compute:
    """Choose what `train.fit` chooses for a 2D U-Net on this device."""
    return Compute().resolve(models.UNet(3, 1, features=8), device, size=0)


def seconds_per_step(device: torch.device, at_most: float = 2.5) -> float:
    """Time the fastest of 3 to 20 steps on eight images of 96 x 96 pixels, as training does them.

    Args:
        at_most: seconds for all but the first three, after one that does not count.
    """
    _, step = small_training(device, usual_compute(device), size=96, batch_size=8)
    step()
    took, start = [], time.perf_counter()
    while len(took) < 3 or (len(took) < 20 and time.perf_counter() - start < at_most):
        begin = time.perf_counter()
        step()
        took.append(time.perf_counter() - begin)
    return min(took)
