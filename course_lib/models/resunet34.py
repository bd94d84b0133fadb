"""ResUNet34: a U-Net whose encoder is ResNet-34, with the weights it learnt on ImageNet.

The encoder is torchvision's resnet34 (He et al. 2015, Deep Residual Learning for Image Recognition,
arXiv:1512.03385, table 1, column "34-layer") without its last two layers. The decoder is U-Net's
(Ronneberger et al. 2015, arXiv:1505.04597): four skip connections, then one doubling more without a
skip, for ResNet halves the image before its first skip. A U-Net on a pretrained encoder is the idea
of TernausNet (Iglovikov and Shvets 2018, arXiv:1801.05746). The decoder's widths are those of
segmentation_models.pytorch's Unet("resnet34") (24,436,369 parameters), which doubles sizes by
nearest neighbours instead of transposed convolutions, and has a 3x3 convolution as its head.
"""

from pathlib import Path
from textwrap import shorten

import torch
from torch import nn

from course_lib import settings
from course_lib.errors import CourseError, one_of, whole_number
from course_lib.models.blocks import UpBlock, check_image, halves


def _load_imagenet(resnet: nn.Module) -> None:
    """Fill a resnet34 with ImageNet's weights, downloaded once to torch's own cache."""
    from torchvision.models import ResNet34_Weights

    weights = ResNet34_Weights.IMAGENET1K_V1
    try:
        resnet.load_state_dict(weights.get_state_dict(progress=True, check_hash=True))
    except Exception as error:        # no network, a broken file: it can raise nearly anything
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
        raise CourseError(
            what="ImageNet's weights cannot be loaded "
                 f"({shorten(f'{type(error).__name__}: {error}', 200)})", where="ResUNet34",
            cure=f"give pretrained=False for random weights, or download {weights.url} by hand to "
                 f"{settings.show_path(file)}") from error


def _make_encoder(in_channels: int, pretrained: bool) -> nn.Module:
    """Make torchvision's resnet34 for any number of channels; see ResUNet34."""
    from torchvision.models import resnet34

    resnet = resnet34()
    if pretrained:
        _load_imagenet(resnet)
    if in_channels != 3:
        colours = resnet.conv1.weight.data                                # (64, 3, 7, 7)
        resnet.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        if pretrained:
            resnet.conv1.weight.data = (
                colours.sum(dim=1, keepdim=True) if in_channels == 1 else
                colours[:, [channel % 3 for channel in range(in_channels)]] * 3 / in_channels)
    return resnet


class ResUNet34(nn.Module):
    """U-Net on a ResNet-34 encoder, 2D. Returns logits.

    24,349,441 parameters for 3 channels and 1 class, 21,284,672 of them in the encoder; 7.2 G
    multiply-adds at 256 px. ImageNet's images were scaled to mean 0 and standard deviation 1 per
    colour, as ours are per channel.

    Args:
        in_channels: of the image. For other than 3 the first convolution takes over ImageNet's
            weights as segmentation_models.pytorch does it (encoders/_utils.py): one channel gets
            the sum over the colours; channel i of n those of colour i modulo 3, times 3/n, so that
            what the next layer sees has about the same size.
        out_channels: classes; 1 for a binary task.
        pretrained: begin with ImageNet's weights (torchvision's IMAGENET1K_V1, 83 MB); False draws
            them at random.
    Raises:
        CourseError: as UNet does; a side must be a multiple of 32; weights cannot be loaded.
    """

    def __init__(self, in_channels: int, out_channels: int, *, pretrained: bool = True):
        super().__init__()
        self.in_channels = whole_number(in_channels, "in_channels", "ResUNet34")
        self.out_channels = whole_number(out_channels, "out_channels", "ResUNet34")
        self.pretrained = one_of(pretrained, "pretrained", "ResUNet34", (True, False))
        resnet = _make_encoder(self.in_channels, self.pretrained)
        self.enc1 = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu)
        self.enc2 = nn.Sequential(resnet.maxpool, resnet.layer1)
        self.enc3, self.enc4, self.bottleneck = resnet.layer2, resnet.layer3, resnet.layer4
        self.dec4 = UpBlock(512, 256, 256)                    # from below, from the left, out
        self.dec3 = UpBlock(256, 128, 128)
        self.dec2 = UpBlock(128, 64, 64)
        self.dec1 = UpBlock(64, 64, 32)
        self.dec0 = UpBlock(32, 0, 16)
        self.head = nn.Conv2d(16, self.out_channels, kernel_size=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:   # (B, C, H, W)
        check_image(image, 2, self.in_channels, halves(5), "ResUNet34")
        enc1 = self.enc1(image)                               # (B, 64, H/2, W/2)
        enc2 = self.enc2(enc1)                                # (B, 64, H/4, W/4)
        enc3 = self.enc3(enc2)                                # (B, 128, H/8, W/8)
        enc4 = self.enc4(enc3)                                # (B, 256, H/16, W/16)
        bottleneck = self.bottleneck(enc4)                    # (B, 512, H/32, W/32)
        dec4 = self.dec4(bottleneck, enc4)                    # (B, 256, H/16, W/16)
        dec3 = self.dec3(dec4, enc3)                          # (B, 128, H/8, W/8)
        dec2 = self.dec2(dec3, enc2)                          # (B, 64, H/4, W/4)
        dec1 = self.dec1(dec2, enc1)                          # (B, 32, H/2, W/2)
        dec0 = self.dec0(dec1)                                # (B, 16, H, W)
        return self.head(dec0)                                # logits (B, out, H, W)
