"""Parts that the networks share, in 2D and 3D, and the check at their door."""

from collections.abc import Callable

import torch
from torch import nn

from course_lib.errors import CourseError

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED_CONV = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX_POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
NORM = {("batch", 2): nn.BatchNorm2d, ("batch", 3): nn.BatchNorm3d,
        ("instance", 2): nn.InstanceNorm2d, ("instance", 3): nn.InstanceNorm3d}
ACTIVATION = {"relu": lambda: nn.ReLU(inplace=True),
              "leaky_relu": lambda: nn.LeakyReLU(0.01, inplace=True)}


def norm_layer(norm: str | None, channels: int, dim: int) -> nn.Module:
    """Make batch or instance normalisation with a learned scale and shift; None for none."""
    if norm is None:
        return nn.Identity()
    return NORM[norm, dim](channels, affine=True)


class ConvNormAct(nn.Sequential):
    """Convolution, normalisation, activation. (B, in, …) to (B, out, …).

    Args:
        in_channels, out_channels: of the convolution.
        dim: 2 or 3.
        kernel_size: odd; one number, or one per axis.
        stride: one number, or one per axis.
        norm: "batch", "instance" or None.
        activation: "relu" or "leaky_relu" (slope 0.01).
        padding: "same" keeps the size at stride 1; "valid" pads nothing.
        bias: None gives one only where no normalisation follows, which would take it out again.
    Raises:
        CourseError: an argument is none of these.
    """

    def __init__(self, in_channels: int, out_channels: int, *, dim: int = 2,
                 kernel_size: int | tuple = 3, stride: int | tuple = 1, norm: str | None = "batch",
                 activation: str = "relu", padding: str = "same", bias: bool | None = None):
        if (dim not in CONV or norm not in ("batch", "instance", None)
                or activation not in ACTIVATION or padding not in ("same", "valid")):
            raise CourseError(
                what=f"dim={dim!r}, norm={norm!r}, activation={activation!r}, padding={padding!r}",
                where="models", cure="use dim 2 or 3, norm 'batch', 'instance' or None, activation "
                                     "'relu' or 'leaky_relu', padding 'same' or 'valid'")
        sides = (kernel_size,) * dim if isinstance(kernel_size, int) else tuple(kernel_size)
        super().__init__(
            CONV[dim](in_channels, out_channels, kernel_size=kernel_size, stride=stride,
                      padding=tuple(side // 2 for side in sides) if padding == "same" else 0,
                      bias=norm is None if bias is None else bias),
            norm_layer(norm, out_channels, dim), ACTIVATION[activation]())


class DoubleConv(nn.Sequential):
    """Twice: 3x3 convolution, normalisation, ReLU. (B, in, …) to (B, out, …).

    Args:
        in_channels, out_channels: of the block; the first convolution changes the number.
        dim, norm, padding: see ConvNormAct; "valid" takes 2 pixels off each axis per convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, *, dim: int = 2,
                 norm: str | None = "batch", padding: str = "same"):
        super().__init__(*(ConvNormAct(channels, out_channels, dim=dim, norm=norm, padding=padding)
                           for channels in (in_channels, out_channels)))


class UpBlock(nn.Module):
    """Double the size of the map below, concatenate the maps on the left, convolve twice; 2D.

    (B, below, H/2, W/2) and any number of (B, …, H, W), with `left` channels in all, to
    (B, out_channels, H, W). The transposed convolution has out_channels, too.
    """

    def __init__(self, below: int, left: int, out_channels: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(below, out_channels, kernel_size=2, stride=2)
        self.conv = DoubleConv(out_channels + left, out_channels)

    def forward(self, below: torch.Tensor, *left: torch.Tensor) -> torch.Tensor:
        return self.conv(torch.cat([self.up(below), *left], dim=1))


def halves(times: int) -> Callable[[int], bool]:
    """Make check_image's `fits` for a network that halves each side so many times."""
    return lambda side: side > 0 and side % 2 ** times == 0


def check_image(image: torch.Tensor, dim: int, in_channels: int, fits: Callable[[int], bool],
                where: str) -> None:
    """Refuse at a network's door what would fail, or lose pixels, further in.

    Args:
        image: (B, C, …).
        dim, in_channels: what the network takes.
        fits: whether a side of so many pixels passes through the network.
        where: the network's name.
    Raises:
        CourseError: for other axes or channels, or a size that does not fit; names the nearest
            sizes that do.
    """
    if image.ndim != dim + 2 or image.shape[1] != in_channels:
        raise CourseError(what=f"image has shape {tuple(image.shape)}", where=where,
                          cure=f"this network takes (B, {in_channels}, …) with {dim} spatial axes")
    sides = tuple(image.shape[2:])
    if all(map(fits, sides)):
        return
    smaller = [next((size for size in range(side, 0, -1) if fits(size)), None) for side in sides]
    larger = [next(size for size in range(side, side + 1024) if fits(size)) for side in sides]
    nearest = [f"({', '.join(map(str, sizes))})" for sizes in (smaller, larger)
               if None not in sizes]
    raise CourseError(what=f"a size of {sides} does not pass through all poolings", where=where,
                      cure=f"pad or resize the image; the nearest sizes that work are "
                           f"{' and '.join(nearest)}")
