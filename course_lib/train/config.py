"""What a training is done with: all that changes its result, as numbers and names."""

import math
from dataclasses import dataclass

import torch

from course_lib.errors import CourseError, number_within, one_of, whole_number

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
CHOICES = {"optimizer": tuple(OPTIMIZERS), "schedule": ("constant", "cosine"),
           "keep": ("best", "last")}
LEAST = {"epochs": 1, "batch_size": 1, "steps_per_epoch": 1, "validate_every": 1, "seed": 0}
TINY, HUGE = 1e-30, 1e6    # above 0; beyond it nothing is learnt


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
        steps_per_epoch: None takes as many whole batches as there are training slices.
        clip_norm: largest norm of the gradient; None clips nothing.
        validate_every: epochs from one validation to the next; the last epoch has one always.
        keep: of which epoch best.pt is: the "best" by validation DSC, or the "last".
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
    keep: str = "best"

    def __post_init__(self):
        for field, value in list(vars(self).items()):
            if value is None and field in ("steps_per_epoch", "clip_norm"):
                continue
            if field in LEAST:
                value = whole_number(value, field, "TrainConfig", LEAST[field])
            elif field in CHOICES:
                value = one_of(value, field, "TrainConfig", CHOICES[field])
            else:
                value = number_within(value, field, "TrainConfig",
                                      0 if field == "weight_decay" else TINY, HUGE)
            object.__setattr__(self, field, value)       # numpy's numbers become Python's
        if self.seed >= 2**32:                           # numpy's generator takes none
            raise CourseError(f"seed={self.seed}", "TrainConfig", "take a seed below 4,294,967,296")


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Compute the rate at a step of all steps: of nothing else, so resuming needs no state."""
    if config.schedule == "constant":
        return config.learning_rate
    warm = max(1, round(0.05 * steps))
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)                  # 0 after warming up, to 1
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
