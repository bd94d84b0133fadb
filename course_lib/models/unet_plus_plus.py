"""U-Net++: the skip connections of U-Net filled with nodes, a grid of smaller U-Nets in one.

Zhou et al. (2018), UNet++: A Nested U-Net Architecture for Medical Image Segmentation,
arXiv:1807.10165, figure 1: node x_ij stands on level i; it reads all nodes to its left and, doubled
in size, the one below them, x_(i+1)(j-1). U-Net is the left column and the last diagonal.

What differs from the authors' code (Keras, `model_logic.py` of github.com/MrGiovanni/UNetPlusPlus):
batch normalisation after every 3x3 convolution, as in our UNet, so that comparing the two compares
the grid; no dropout; no sigmoid. Of two well-known PyTorch versions github.com/ShawnBIT/UNet-family
normalises the left column alone (9,046,244 parameters for 3 channels and 1 class), and
github.com/4uiiurz1/pytorch-nested-unet resizes bilinearly, without the transposed convolutions
(9,163,329; 9,163,428 with four heads).
"""

import torch
from torch import nn

from course_lib.errors import one_of, whole_number
from course_lib.models.blocks import DoubleConv, UpBlock, check_image, halves


class UNetPlusPlus(nn.Module):
    """U-Net++ with five levels and a head on each of x01 … x04, 2D. Returns logits.

    All heads have the full size. Returned is the mean of their logits (the paper, whose heads end
    in a sigmoid, averages probabilities), as ShawnBIT does, also while training; with deep
    supervision it is then the list of the four, that of x04 first. The paper weighs the four losses
    alike, train.fit each half of the one before (losses.weigh_levels). In eval mode: see `prune`.

    9,045,924 parameters for 3 channels, 1 class and 32 features (1.17 times UNet's), 29.8 G
    multiply-adds at 256 px (2.47 times).

    Args:
        in_channels, out_channels, features: see UNet.
        deep_supervision: return a list while training.
    Raises:
        CourseError: as UNet does.
    """

    def __init__(self, in_channels: int, out_channels: int, *, features: int = 32,
                 deep_supervision: bool = False):
        super().__init__()
        self.in_channels = whole_number(in_channels, "in_channels", "UNetPlusPlus")
        self.out_channels = whole_number(out_channels, "out_channels", "UNetPlusPlus")
        self.features = f = whole_number(features, "features", "UNetPlusPlus")
        self.deep_supervision = one_of(deep_supervision, "deep_supervision", "UNetPlusPlus",
                                       (True, False))
        self.pruned_to = None
        self.pool = nn.MaxPool2d(kernel_size=2)
        self.x00 = DoubleConv(self.in_channels, f)
        self.x10 = DoubleConv(f, 2 * f)
        self.x20 = DoubleConv(2 * f, 4 * f)
        self.x30 = DoubleConv(4 * f, 8 * f)
        self.x40 = DoubleConv(8 * f, 16 * f)
        self.x01 = UpBlock(2 * f, f, f)                       # from below, from the left, out
        self.x11 = UpBlock(4 * f, 2 * f, 2 * f)
        self.x21 = UpBlock(8 * f, 4 * f, 4 * f)
        self.x31 = UpBlock(16 * f, 8 * f, 8 * f)
        self.x02 = UpBlock(2 * f, 2 * f, f)
        self.x12 = UpBlock(4 * f, 4 * f, 2 * f)
        self.x22 = UpBlock(8 * f, 8 * f, 4 * f)
        self.x03 = UpBlock(2 * f, 3 * f, f)
        self.x13 = UpBlock(4 * f, 6 * f, 2 * f)
        self.x04 = UpBlock(2 * f, 4 * f, f)
        self.head1, self.head2, self.head3, self.head4 = (
            nn.Conv2d(f, self.out_channels, kernel_size=1) for _ in range(4))

    def forward(self, image: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        check_image(image, 2, self.in_channels, halves(4), "UNetPlusPlus")
        pruned_to = None if self.training else self.pruned_to
        x00 = self.x00(image)                                 # (B, f, H, W)
        x10 = self.x10(self.pool(x00))                        # (B, 2f, H/2, W/2)
        x01 = self.x01(x10, x00)                              # (B, f, H, W), as all of x0j
        if pruned_to == 1:
            return self.head1(x01)
        x20 = self.x20(self.pool(x10))                        # (B, 4f, H/4, W/4)
        x11 = self.x11(x20, x10)                              # (B, 2f, H/2, W/2), as all of x1j
        x02 = self.x02(x11, x00, x01)
        if pruned_to == 2:
            return self.head2(x02)
        x30 = self.x30(self.pool(x20))                        # (B, 8f, H/8, W/8)
        x21 = self.x21(x30, x20)                              # (B, 4f, H/4, W/4)
        x12 = self.x12(x21, x10, x11)
        x03 = self.x03(x12, x00, x01, x02)
        if pruned_to == 3:
            return self.head3(x03)
        x40 = self.x40(self.pool(x30))                        # (B, 16f, H/16, W/16)
        x31 = self.x31(x40, x30)                              # (B, 8f, H/8, W/8)
        x22 = self.x22(x31, x20, x21)                         # (B, 4f, H/4, W/4)
        x13 = self.x13(x22, x10, x11, x12)
        x04 = self.x04(x13, x00, x01, x02, x03)
        if pruned_to == 4:
            return self.head4(x04)
        logits = [self.head4(x04), self.head3(x03), self.head2(x02), self.head1(x01)]
        if self.training and self.deep_supervision:
            return logits                                     # each (B, out, H, W)
        return sum(logits) / 4                                # (B, out, H, W)

    def prune(self, head: int | None) -> "UNetPlusPlus":
        """Compute in eval mode only what one head needs; returns the network itself.

        Only after deep supervision has each head learnt to stand alone. Training takes all four.

        Args:
            head: 1 to 4, the paper's L1 to L4; None for the mean of all.
        """
        self.pruned_to = one_of(head, "head", "UNetPlusPlus.prune", (1, 2, 3, 4, None))
        return self
