"""What a training is done with: all that changes its result, as numbers and names."""

import math
from dataclasses import dataclass

import torch

from course_lib import settings
from course_lib.errors import CourseError, number_within, whole_number

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
SCHEDULES = ("constant", "cosine")
TINY = 1e-30           # above 0
SEEDS = 2**32          # numpy's generator takes seeds below
KEPT_BYTES = 43        # what UNet keeps for its gradients, per pixel and feature, in 16 bits


@dataclass(frozen=True)
class TrainConfig:
    """What a training is done with. Numbers and names only, stored in config.json.

    Attributes:
        epochs: how many.
        batch_size: slices (in 3D patches) per step.
        learning_rate: of the optimizer, at its highest.
        optimizer: "adam" or "adamw".
        weight_decay: of the optimizer.
        schedule: "constant", or "cosine": up over the first 5 % of the steps, then down to zero.
        seed: of everything random in the training.
        steps_per_epoch: None takes as many as draw each training slice once; what is left over
            of a last batch is dropped.
        clip_norm: largest norm of the gradient; None clips nothing.
        validate_every: epochs from one validation to the next; the last epoch has one always.
    Raises:
        CourseError: names the argument that cannot work.
    """

    epochs: int
    batch_size: int = 16
    learning_rate: float = 1e-4
    optimizer: str = "adam"
    weight_decay: float = 0.0
    schedule: str = "constant"
    seed: int = 42
    steps_per_epoch: int | None = None
    clip_norm: float | None = None
    validate_every: int = 1

    def __post_init__(self):
        for field, least in (("epochs", 1), ("batch_size", 1), ("validate_every", 1), ("seed", 0)):
            self._keep(field, whole_number(getattr(self, field), field, "TrainConfig", least))
        if self.steps_per_epoch is not None:
            self._keep("steps_per_epoch",
                       whole_number(self.steps_per_epoch, "steps_per_epoch", "TrainConfig"))
        if self.seed >= SEEDS:
            raise CourseError(what=f"seed={self.seed}", where="TrainConfig",
                              cure=f"take a seed below {SEEDS:,}")
        for field, least in (("learning_rate", TINY), ("weight_decay", 0), ("clip_norm", TINY)):
            if field != "clip_norm" or self.clip_norm is not None:
                self._keep(field, number_within(getattr(self, field), field, "TrainConfig", least))
        for field, choices in (("optimizer", tuple(OPTIMIZERS)), ("schedule", SCHEDULES)):
            if getattr(self, field) not in choices:
                raise CourseError(what=f"{field}={getattr(self, field)!r}", where="TrainConfig",
                                  cure=f"use one of {', '.join(choices)}")

    def _keep(self, field: str, value) -> None:
        """Store a checked value: numpy's numbers become Python's, as JSON has them."""
        object.__setattr__(self, field, value)


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Compute the rate at a step of all steps: of nothing else, so resuming needs no state."""
    if config.schedule == "constant":
        return config.learning_rate
    warm = max(1, round(0.05 * steps))
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)                  # 0 after warming up, to 1
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def fitting_batch(features: int, size: int, batch_size: int = 16) -> tuple[int, int]:
    """Choose batch and slice size with which a 2D UNet trains in a third of a GPU's free memory.

    The rest is for data, gradients on their way and cuDNN. First the batch is halved, down to 4,
    for batch normalisation needs a few slices; then the size, down to 64. Other devices than
    CUDA's do not say what is free: there both stay as they are.

    Args:
        features: of the network.
        size: of the slices, in pixels, at most.
        batch_size: at most.
    """
    device = settings.device()
    if device.type != "cuda":
        return batch_size, size
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)   # ours is free
    while KEPT_BYTES * features * batch_size * size ** 2 > free / 3:
        if batch_size > 4:
            batch_size = max(4, batch_size // 2)
        elif size > 64:
            size = max(64, size // 32 * 16)                      # a multiple of 16, as UNet wants
        else:
            break
    return batch_size, size
