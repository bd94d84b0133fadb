"""Augmentations that move pixels, and the chain of several augmentations."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from course_lib.errors import CourseError, number_within


def is_pair(value) -> bool:
    """Tell whether an augmentation returned image and target."""
    return (isinstance(value, list | tuple) and len(value) == 2
            and all(isinstance(one, torch.Tensor) for one in value))


@dataclass(frozen=True)
class Affine:
    """Random scale, rotation and horizontal flip of 2D slices, each image of the batch its own.

    The distribution is the reference's (brain-segmentation-pytorch, `transform.py`), there three
    steps with three interpolations, here one: scale first, then rotation, about the centre.

    Called with image (B, C, H, H), any float type, target (B, 1, H, H) label map, and a generator
    on their device; returns the image, bilinear, as float32, and the target, nearest, in its type;
    0 comes in from outside.

    Args:
        scale: factors are even in [1 - scale, 1 + scale]; the frame keeps its size.
        angle: degrees, even in [-angle, angle].
        flip: probability of a left-right flip.
    Raises:
        CourseError: an argument is out of its range; when called, slices are not square.
    """

    scale: float = 0.05
    angle: float = 15.0
    flip: float = 0.5

    def __post_init__(self):
        number_within(self.scale, "scale", "augment.Affine", 0, 0.99)
        number_within(self.angle, "angle", "augment.Affine", 0, 180)
        number_within(self.flip, "flip", "augment.Affine", 0, 1)

    def __call__(self, image: torch.Tensor, target: torch.Tensor,
                 generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        if image.shape[-2] != image.shape[-1]:
            raise CourseError(what=f"image has shape {tuple(image.shape)}", where="augment.Affine",
                              cure="prepare square slices: a rotation would shear these")
        of_x, of_y = self._draw(image, generator)
        moved, mask = torch.empty_like(image, dtype=torch.float32), torch.empty_like(target)
        # On a CPU two images at a time, which stay in its cache: a third less time at 256 px.
        several = 2 if image.device.type == "cpu" else len(image)
        for first in range(0, len(image), several):
            part = slice(first, first + several)
            grid = of_x[part] + of_y[part]                                 # (B, H, H, 2)
            moved[part] = functional.grid_sample(image[part].float(), grid, mode="bilinear",
                                                 align_corners=False)
            mask[part] = functional.grid_sample(target[part].float(), grid, mode="nearest",
                                                align_corners=False)
        return moved, mask

    def _draw(self, image: torch.Tensor,
              generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw where in the input an output pixel comes from: a part of its x, a part of its y.

        Returns:
            (B, 1, H, 2) and (B, H, 1, 2), to be added.
        """
        device, size = image.device, image.shape[-1]
        zoom, turn, mirror = torch.rand(3, len(image), generator=generator, device=device)
        zoom = 1 + self.scale * (2 * zoom - 1)
        turn = math.radians(self.angle) * (2 * turn - 1)
        mirror = torch.where(mirror < self.flip, -1.0, 1.0)
        cosine, sine = torch.cos(turn) / zoom, torch.sin(turn) / zoom
        place = (2 * torch.arange(size, device=device) + 1) / size - 1     # pixel centres, -1 to 1
        of_x = torch.stack([mirror * cosine, mirror * sine], dim=1)[:, None, None] * place[:, None]
        of_y = torch.stack([-sine, cosine], dim=1)[:, None, None] * place[:, None, None]
        return of_x, of_y


@dataclass(frozen=True)
class Compose:
    """Several augmentations as one, in the order given.

    Args:
        steps: each (image, target, generator) -> (image, target).
    """

    steps: tuple[Callable, ...]

    def __post_init__(self):
        if not isinstance(self.steps, list | tuple) or not all(
                callable(step) and not isinstance(step, type) for step in self.steps):
            raise CourseError(what=f"steps={self.steps!r}", where="augment.Compose",
                              cure="give a list of augmentations, such as [augment.Affine()]")
        object.__setattr__(self, "steps", tuple(self.steps))

    def __call__(self, image: torch.Tensor, target: torch.Tensor,
                 generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        for step in self.steps:
            image, target = step(image, target, generator)
        return image, target
