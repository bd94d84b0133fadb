"""Parts that the networks share, in 2D and 3D."""

from torch import nn

from course_lib.errors import CourseError

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED_CONV = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX_POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
NORM = {("batch", 2): nn.BatchNorm2d, ("batch", 3): nn.BatchNorm3d,
        ("instance", 2): nn.InstanceNorm2d, ("instance", 3): nn.InstanceNorm3d}
PADDING = {"same": 1, "valid": 0}      # pixels on each side of a 3x3 convolution


def norm_layer(norm: str | None, channels: int, dim: int) -> nn.Module:
    """Batch or instance normalisation with a learned scale and shift; None for no normalisation."""
    if norm is None:
        return nn.Identity()
    return NORM[norm, dim](channels, affine=True)


class DoubleConv(nn.Sequential):
    """Twice: 3x3 convolution, normalisation, ReLU. (B, in, …) to (B, out, …).

    Convolutions have a bias only where no normalisation follows, which would take it out again.

    Args:
        in_channels, out_channels: of the block; the first convolution changes the number.
        dim: 2 or 3.
        norm: "batch", "instance" or None.
        padding: "same" keeps the size; "valid" takes 2 pixels off each axis per convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, *, dim: int = 2,
                 norm: str | None = "batch", padding: str = "same"):
        if dim not in CONV or norm not in ("batch", "instance", None) or padding not in PADDING:
            raise CourseError(what=f"dim={dim!r}, norm={norm!r}, padding={padding!r}",
                              where="models", cure="use dim 2 or 3, norm 'batch', 'instance' or "
                                                   "None, padding 'same' or 'valid'")
        layers = []
        for channels in (in_channels, out_channels):
            layers += [CONV[dim](channels, out_channels, kernel_size=3, bias=norm is None,
                                 padding=PADDING[padding]),
                       norm_layer(norm, out_channels, dim), nn.ReLU(inplace=True)]
        super().__init__(*layers)
