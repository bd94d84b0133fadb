"""Attention U-Net: our U-Net with a gate on every skip connection.

Oktay et al. (2018), Attention U-Net: Learning Where to Look for the Pancreas, arXiv:1804.03999:
figure 2 is the gate, figure 1 the network. The gates are laid out as in `network.py` of
github.com/LeeJunHyun/Image_Segmentation, the U-Net around them is ours: comparing the two networks
compares the gates.

What differs from the authors' own code (`unet_CT_single_att_dsv_3D.py` of
github.com/ozan-oktay/Attention-Gated-Networks): there the top skip has no gate. The gating signal
comes from one level further down, where a strided convolution brings the skip, and the attention
map is resized back; here the signal is taken after the up-convolution, at the skip's size. W_g and
W_x have as many channels as the skip, not half as many, and no batch normalisation; two 1x1
convolutions follow the product; logits of all four levels are joined at the end; all of it is 3D.
"""

import torch
from torch import nn

from course_lib.models.blocks import check_image, halves
from course_lib.models.unet import UNet, join


class AttentionGate(nn.Module):
    """Weigh each pixel of a skip connection: x · α with α = psi(relu(W_g(g) + W_x(x))).

    W_g, W_x and psi are 1x1 convolutions with bias and batch normalisation. psi ends in a sigmoid:
    its output is the attention map α, (B, 1, H, W) in [0, 1]. To see it:

        gate.psi.register_forward_hook(lambda layer, inputs, alpha: maps.append(alpha.detach()))

    Args:
        channels: of the gating signal g and of the skip x; W_g and W_x have half as many.
    """

    def __init__(self, channels: int):
        super().__init__()

        def conv1x1(inputs, outputs):
            return nn.Conv2d(inputs, outputs, kernel_size=1), nn.BatchNorm2d(outputs)

        half = max(1, channels // 2)
        self.W_g = nn.Sequential(*conv1x1(channels, half))
        self.W_x = nn.Sequential(*conv1x1(channels, half))
        self.psi = nn.Sequential(*conv1x1(half, 1), nn.Sigmoid())

    def forward(self, g: torch.Tensor, x: torch.Tensor) -> torch.Tensor:   # both (B, C, H, W)
        alpha = self.psi(torch.relu(self.W_g(g) + self.W_x(x)))            # (B, 1, H, W)
        return x * alpha                                                   # (B, C, H, W)


class AttentionUNet(nn.Module):
    """Attention U-Net with four levels and four gates, 2D. Returns logits.

    7,851,773 parameters for 3 channels, 1 class and 32 features (UNet has 7,763,041), 12.3 G
    multiply-adds at 256 px (12.1). The attention maps are the outputs of gate1.psi (full size) to
    gate4.psi (an eighth). `unet` is the U-Net around the gates, and works without them.

    Args:
        in_channels, out_channels, features: see UNet.
    Raises:
        CourseError: as UNet does.
    """

    def __init__(self, in_channels: int, out_channels: int, *, features: int = 32):
        super().__init__()
        self.unet = UNet(in_channels, out_channels, features=features)
        self.in_channels, self.out_channels = self.unet.in_channels, self.unet.out_channels
        self.features = f = self.unet.features
        self.gate1, self.gate2 = AttentionGate(f), AttentionGate(2 * f)
        self.gate3, self.gate4 = AttentionGate(4 * f), AttentionGate(8 * f)

    def forward(self, image: torch.Tensor) -> torch.Tensor:   # (B, C, H, W)
        check_image(image, 2, self.in_channels, halves(4), "AttentionUNet")
        unet = self.unet
        enc1 = unet.enc1(image)                               # (B, f, H, W)
        enc2 = unet.enc2(unet.pool(enc1))                     # (B, 2f, H/2, W/2)
        enc3 = unet.enc3(unet.pool(enc2))                     # (B, 4f, H/4, W/4)
        enc4 = unet.enc4(unet.pool(enc3))                     # (B, 8f, H/8, W/8)
        bottleneck = unet.bottleneck(unet.pool(enc4))         # (B, 16f, H/16, W/16)
        up4 = unet.up4(bottleneck)                            # (B, 8f, H/8, W/8): the signal g
        dec4 = unet.dec4(join(up4, self.gate4(up4, enc4)))
        up3 = unet.up3(dec4)                                  # (B, 4f, H/4, W/4)
        dec3 = unet.dec3(join(up3, self.gate3(up3, enc3)))
        up2 = unet.up2(dec3)                                  # (B, 2f, H/2, W/2)
        dec2 = unet.dec2(join(up2, self.gate2(up2, enc2)))
        up1 = unet.up1(dec2)                                  # (B, f, H, W)
        dec1 = unet.dec1(join(up1, self.gate1(up1, enc1)))
        return unet.head(dec1)                                # logits (B, out, H, W)
