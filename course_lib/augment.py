"""Augmentation as one batched grid on the device, from which image and target are sampled."""

import math
from collections.abc import Callable

import torch
from torch.nn import functional

from course_lib.errors import CourseError


def affine(scale: float = 0.05, angle: float = 15.0, flip: float = 0.5) -> Callable:
    """Random scale, rotation and horizontal flip of 2D slices, each image of the batch its own.

    The distribution is the reference's (brain-segmentation-pytorch, `transform.py`), there three
    steps with three interpolations, here one: scale first, then rotation, about the centre.

    Args:
        scale: factors are even in [1 - scale, 1 + scale]; the frame keeps its size.
        angle: degrees, even in [-angle, angle].
        flip: probability of a left-right flip.
    Returns:
        A function (image, target, generator) -> (image, target). Image (B, C, H, H), any float
        type, bilinear, comes back float32; target (B, 1, H, W), nearest, keeps its type; 0
        comes in from outside. The generator must live on the image's device.
    """

    def augment(image, target, generator):
        if image.shape[-2] != image.shape[-1]:
            raise CourseError(what=f"image has shape {tuple(image.shape)}", where="augment.affine",
                              cure="prepare square slices: a rotation would shear these")
        device = image.device
        zoom, turn, mirror = torch.rand(3, len(image), generator=generator, device=device)
        zoom = 1 + scale * (2 * zoom - 1)
        turn = math.radians(angle) * (2 * turn - 1)
        mirror = torch.where(mirror < flip, -1.0, 1.0)
        # Where in the input an output pixel comes from: its x times one vector, y times another.
        cosine, sine = torch.cos(turn) / zoom, torch.sin(turn) / zoom
        size = image.shape[-1]
        place = (2 * torch.arange(size, device=device) + 1) / size - 1     # pixel centres, -1 to 1
        of_x = torch.stack([mirror * cosine, mirror * sine], dim=1)[:, None, None] * place[:, None]
        of_y = torch.stack([-sine, cosine], dim=1)[:, None, None] * place[:, None, None]
        moved, mask = torch.empty_like(image, dtype=torch.float32), torch.empty_like(target)
        # On a CPU two images at a time, which stay in its cache: a third less time at 256 px.
        several = 2 if device.type == "cpu" else len(image)
        for first in range(0, len(image), several):
            part = slice(first, first + several)
            grid = of_x[part] + of_y[part]                                 # (B, H, H, 2)
            moved[part] = functional.grid_sample(image[part].float(), grid, mode="bilinear",
                                                 align_corners=False)
            mask[part] = functional.grid_sample(target[part].float(), grid, mode="nearest",
                                                align_corners=False)
        return moved, mask

    augment.arguments = {"scale": scale, "angle": angle, "flip": flip}
    augment.__name__ = "affine"
    return augment


def scanner(gain: float = 0.3, shift: float = 0.3, bias: float = 0.3) -> Callable:
    """Random brightness and contrast, as another scanner would have it; each channel its own.

    image · (1 + g + f) + s, with f a smooth field over the slice: the coil's uneven illumination.

    Args:
        gain: g is even in [-gain, gain].
        shift: s is even in [-shift, shift], in standard deviations of the z-scored image.
        bias: f is interpolated between 3 x 3 values that are even in [-bias, bias].
    Returns:
        A function (image, target, generator) -> (image, target); the target is not touched.
        Image (B, C, H, W), any float type, comes back float32. The generator must live on the
        image's device.
    """

    def augment(image, target, generator):
        def even(half, *shape):
            return half * (2 * torch.rand(shape, generator=generator, device=image.device) - 1)

        count, channels, *sides = image.shape
        # Cubic interpolation is linear in the 3 x 3 values: a thin matrix for each axis.
        rows, columns = (functional.interpolate(torch.eye(3, device=image.device)[None, None],
                                                (side, 3), mode="bicubic", align_corners=True)[0, 0]
                         for side in sides)                                # (side, 3)
        factor = rows @ even(bias, count, channels, 3, 3) @ columns.T      # f, (B, C, H, W)
        factor += 1 + even(gain, count, channels, 1, 1)
        return torch.addcmul(even(shift, count, channels, 1, 1), image.float(), factor), target

    augment.arguments = {"gain": gain, "shift": shift, "bias": bias}
    augment.__name__ = "scanner"
    return augment


def chain(*augments: Callable) -> Callable:
    """Several augmentations as one, in the order given."""

    def augment(image, target, generator):
        for each in augments:
            image, target = each(image, target, generator)
        return image, target

    augment.arguments = {"steps": [{"name": each.__name__, **each.arguments}
                                   for each in augments]}
    augment.__name__ = "chain"
    return augment
