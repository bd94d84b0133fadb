"""Augmentations that change intensities, and leave every pixel where it is."""

from dataclasses import dataclass

import torch
from torch.nn import functional

from course_lib.errors import number_within


@dataclass(frozen=True)
class Scanner:
    """Random brightness and contrast, as another scanner would have it; each channel its own.

    image · (1 + g + f) + s, with f a smooth field over the slice: the coil's uneven illumination.

    Called with image (B, C, H, W), any float type, target, and a generator on the image's device;
    returns the image as float32, and the target as it is.

    Args:
        gain: g is even in [-gain, gain].
        shift: s is even in [-shift, shift], in standard deviations of the z-scored image.
        bias: f is interpolated between 3 x 3 values that are even in [-bias, bias].
    Raises:
        CourseError: an argument is negative.
    """

    gain: float = 0.3
    shift: float = 0.3
    bias: float = 0.3

    def __post_init__(self):
        for name in ("gain", "shift", "bias"):
            number_within(getattr(self, name), name, "augment.Scanner", 0)

    def __call__(self, image: torch.Tensor, target: torch.Tensor,
                 generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        def even(half, *shape):
            return half * (2 * torch.rand(shape, generator=generator, device=image.device) - 1)

        count, channels, *sides = image.shape
        # Cubic interpolation is linear in the 3 x 3 values: a thin matrix for each axis.
        rows, columns = (functional.interpolate(torch.eye(3, device=image.device)[None, None],
                                                (side, 3), mode="bicubic", align_corners=True)[0, 0]
                         for side in sides)                                # (side, 3)
        factor = rows @ even(self.bias, count, channels, 3, 3) @ columns.T     # f, (B, C, H, W)
        factor += 1 + even(self.gain, count, channels, 1, 1)
        return torch.addcmul(even(self.shift, count, channels, 1, 1), image.float(), factor), target
