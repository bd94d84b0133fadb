"""FCN-8s: class scores from three depths, added and resized. The network before U-Net.

Long, Shelhamer, Darrell (2015), Fully Convolutional Networks for Semantic Segmentation,
arXiv:1411.4038, figure 3, third row. Scores, not features, cross from encoder to decoder; they are
added, not concatenated; and the last step is a resizing by eight, where fine detail is lost.

What differs from the paper: the encoder is a small VGG, two convolutions a level instead of up to
three, 32 to 256 channels instead of 64 to 512, with batch normalisation, not pretrained; conv6 is
3x3 instead of 7x7, and conv6 and conv7 have 512 channels instead of 4,096; no dropout. Convolutions
are padded, so that nothing is padded by 100 pixels first and cropped afterwards. Score layers begin
at random, not at zero. Resizing is bilinear and fixed, as in the authors' later code
(github.com/shelhamer/fcn.berkeleyvision.org), where learning it made no difference.
"""

import torch
from torch import nn

from course_lib.errors import whole_number
from course_lib.models.blocks import ConvNormAct, DoubleConv, check_image, halves


class FCN(nn.Module):
    """FCN-8s on a small VGG-like encoder, 2D. Returns logits.

    3,798,627 parameters for 3 channels, 1 class and 32 features, 3.8 G multiply-adds at 256 px.

    Args:
        in_channels, out_channels: see UNet.
        features: channels of conv1; conv2 has twice as many, conv3 four times, conv4 and conv5
            eight times, conv6 and conv7 16 times.
    Raises:
        CourseError: as UNet does; a side must be a multiple of 32.
    """

    def __init__(self, in_channels: int, out_channels: int, *, features: int = 32):
        super().__init__()
        self.in_channels = whole_number(in_channels, "in_channels", "FCN")
        self.out_channels = whole_number(out_channels, "out_channels", "FCN")
        self.features = f = whole_number(features, "features", "FCN")
        self.conv1 = DoubleConv(self.in_channels, f)
        self.conv2 = DoubleConv(f, 2 * f)
        self.conv3 = DoubleConv(2 * f, 4 * f)
        self.conv4 = DoubleConv(4 * f, 8 * f)
        self.conv5 = DoubleConv(8 * f, 8 * f)
        self.conv6 = ConvNormAct(8 * f, 16 * f)
        self.conv7 = ConvNormAct(16 * f, 16 * f, kernel_size=1)
        self.pool = nn.MaxPool2d(kernel_size=2)
        self.score3 = nn.Conv2d(4 * f, self.out_channels, kernel_size=1)
        self.score4 = nn.Conv2d(8 * f, self.out_channels, kernel_size=1)
        self.score7 = nn.Conv2d(16 * f, self.out_channels, kernel_size=1)
        self.up2 = nn.Upsample(scale_factor=2, mode="bilinear")
        self.up8 = nn.Upsample(scale_factor=8, mode="bilinear")

    def forward(self, image: torch.Tensor) -> torch.Tensor:   # (B, C, H, W)
        check_image(image, 2, self.in_channels, halves(5), "FCN")
        pool1 = self.pool(self.conv1(image))                  # (B, f, H/2, W/2)
        pool2 = self.pool(self.conv2(pool1))                  # (B, 2f, H/4, W/4)
        pool3 = self.pool(self.conv3(pool2))                  # (B, 4f, H/8, W/8)
        pool4 = self.pool(self.conv4(pool3))                  # (B, 8f, H/16, W/16)
        pool5 = self.pool(self.conv5(pool4))                  # (B, 8f, H/32, W/32)
        conv7 = self.conv7(self.conv6(pool5))                 # (B, 16f, H/32, W/32)
        fcn32 = self.score7(conv7)                            # (B, out, H/32, W/32)
        fcn16 = self.up2(fcn32) + self.score4(pool4)          # (B, out, H/16, W/16)
        fcn8 = self.up2(fcn16) + self.score3(pool3)           # (B, out, H/8, W/8)
        return self.up8(fcn8)                                 # logits (B, out, H, W)
