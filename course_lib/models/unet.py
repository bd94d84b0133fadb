"""U-Net: an encoder, a decoder, and a skip connection at every level.

Ronneberger, Fischer, Brox (2015), U-Net: Convolutional Networks for Biomedical Image Segmentation,
arXiv:1505.04597, figure 1. Names and widths follow `unet.py` of
github.com/mateuszbuda/brain-segmentation-pytorch, whose weights `UNet.from_reference` loads.

What differs from the paper: convolutions are padded, so that the output is as large as the input
(`padding="valid"` is the paper's way); batch normalisation stands after every convolution
(`norm=None` leaves it out); 32 features instead of 64 at the top; no dropout; one logit per pixel
for a binary task instead of two; the same figure serves 3D (`dim=3`).
"""

import re
from textwrap import shorten

import torch
from torch import nn

from course_lib import settings
from course_lib.errors import CourseError, whole_number
from course_lib.models.blocks import CONV, MAX_POOL, TRANSPOSED_CONV, DoubleConv, check_image

KEPT_BYTES = 43        # what UNet keeps for its gradients, per pixel and feature, in 16 bits


class UNet(nn.Module):
    """U-Net with four levels. Returns logits: no sigmoid, no softmax.

    Args:
        in_channels: of the image.
        out_channels: classes; 1 for a binary task.
        dim: 2 for (B, C, H, W), 3 for (B, C, X, Y, Z).
        features: channels at the top level; each level below has twice as many.
        norm: "batch", "instance" or None.
        padding: "same" or "valid".
    Raises:
        CourseError: for an argument that is none of these; in forward, for other channels or a
            size that four poolings cannot halve.
    """

    def __init__(self, in_channels: int, out_channels: int, *, dim: int = 2, features: int = 32,
                 norm: str | None = "batch", padding: str = "same"):
        super().__init__()
        self.in_channels = whole_number(in_channels, "in_channels", "UNet")
        self.out_channels = whole_number(out_channels, "out_channels", "UNet")
        self.features = f = whole_number(features, "features", "UNet")
        self.dim, self.norm, self.padding = dim, norm, padding

        def double_conv(inputs, outputs):
            return DoubleConv(inputs, outputs, dim=dim, norm=norm, padding=padding)

        def up(inputs, outputs):
            return TRANSPOSED_CONV[dim](inputs, outputs, kernel_size=2, stride=2)

        self.enc1 = double_conv(self.in_channels, f)
        self.enc2 = double_conv(f, 2 * f)
        self.enc3 = double_conv(2 * f, 4 * f)
        self.enc4 = double_conv(4 * f, 8 * f)
        self.bottleneck = double_conv(8 * f, 16 * f)
        self.pool = MAX_POOL[dim](kernel_size=2)
        self.up4, self.dec4 = up(16 * f, 8 * f), double_conv(16 * f, 8 * f)
        self.up3, self.dec3 = up(8 * f, 4 * f), double_conv(8 * f, 4 * f)
        self.up2, self.dec2 = up(4 * f, 2 * f), double_conv(4 * f, 2 * f)
        self.up1, self.dec1 = up(2 * f, f), double_conv(2 * f, f)
        self.head = CONV[dim](f, self.out_channels, kernel_size=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:   # (B, C, H, W), same padding:
        check_image(image, self.dim, self.in_channels, self.fits, "UNet")
        enc1 = self.enc1(image)                               # (B, f, H, W)
        enc2 = self.enc2(self.pool(enc1))                     # (B, 2f, H/2, W/2)
        enc3 = self.enc3(self.pool(enc2))                     # (B, 4f, H/4, W/4)
        enc4 = self.enc4(self.pool(enc3))                     # (B, 8f, H/8, W/8)
        bottleneck = self.bottleneck(self.pool(enc4))         # (B, 16f, H/16, W/16)
        dec4 = self.dec4(join(self.up4(bottleneck), enc4))    # (B, 8f, H/8, W/8)
        dec3 = self.dec3(join(self.up3(dec4), enc3))          # (B, 4f, H/4, W/4)
        dec2 = self.dec2(join(self.up2(dec3), enc2))          # (B, 2f, H/2, W/2)
        dec1 = self.dec1(join(self.up1(dec2), enc1))          # (B, f, H, W)
        return self.head(dec1)                                # logits (B, out, H, W)

    def fits(self, side: int) -> bool:
        """Tell whether a side of so many pixels can be halved four times, with pixels left."""
        for _ in range(4):                                                # four poolings
            side -= 4 if self.padding == "valid" else 0
            if side % 2 or side < 2:
                return False
            side //= 2
        return self.padding == "same" or side >= 8                        # else dec1 is empty

    @classmethod
    def ronneberger(cls) -> "UNet":
        """Make the paper's own layout: one channel to two, 64 features, no padding, no norm.

        (B, 1, 572, 572) to (B, 2, 388, 388); 31,030,658 parameters. Without the dropout.
        """
        return cls(1, 2, features=64, norm=None, padding="valid")

    @classmethod
    def from_reference(cls, state_dict: dict[str, torch.Tensor]) -> "UNet":
        """Take over the weights of github.com/mateuszbuda/brain-segmentation-pytorch, any width.

        The reference ends in a sigmoid; this network returns the logits before it.

        Args:
            state_dict: with names such as encoder1.enc1conv1.weight, upconv4.bias, conv.weight.
        Raises:
            CourseError: a name or a shape does not belong to that network.
        """
        try:
            features, in_channels = state_dict["encoder1.enc1conv1.weight"].shape[:2]
            model = cls(in_channels, state_dict["conv.weight"].shape[0], features=features)
            model.load_state_dict({_translate(name): value for name, value in state_dict.items()})
        except (KeyError, RuntimeError) as error:
            raise CourseError(what="these are not the reference network's weights "
                                   f"({shorten(str(error), 200)})", where="UNet.from_reference",
                              cure="pass the state dict of its unet.pt, loaded with "
                                   "torch.load") from error
        return model


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


def join(decoder: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """Make the skip connection: crop the skip to the decoder's size, concatenate channels.

    With same padding there is nothing to crop.
    """
    crop = [slice((have - want) // 2, (have - want) // 2 + want)
            for have, want in zip(skip.shape[2:], decoder.shape[2:], strict=True)]
    return torch.cat([decoder, skip[:, :, *crop]], dim=1)


def _translate(name: str) -> str:
    """Translate encoder1.enc1norm2.bias to enc1.1.1.bias, upconv4.… to up4.…, conv.… to head.…."""
    block = r"^(?:encoder|decoder|bottleneck)\d?\.(enc\d|dec\d|bottleneck)(conv|norm)([12])\."
    name = re.sub(block, lambda m: f"{m[1]}.{int(m[3]) - 1}.{int(m[2] == 'norm')}.", name)
    return re.sub(r"^conv\.", "head.", re.sub(r"^upconv", "up", name))
