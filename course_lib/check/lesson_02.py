"""The exercises of lesson 02, U-Net block by block."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from course_lib.check.core import Verdict, check_choice, check_function, is_open
from course_lib.check.record import exercise


def _fill(block: nn.Module, image: torch.Tensor) -> None:
    """Give the layers weights that depend on nothing but their order of use and their shapes.

    So two blocks that compute the same agree, whatever their layers are called.
    """
    used = []
    hooks = [layer.register_forward_pre_hook(lambda layer, _: used.append(layer))
             for layer in block.modules() if layer._parameters]
    block(image)
    for hook in hooks:
        hook.remove()
    for number, layer in enumerate(dict.fromkeys([*used, *block.modules()])):
        generator = torch.Generator().manual_seed(number)
        if hasattr(layer, "reset_running_stats"):        # the pass above has left its traces
            layer.reset_running_stats()
        for parameter in layer.parameters(recurse=False):
            values = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(values / (parameter.numel() / len(parameter)) ** 0.5)


@torch.no_grad()
def _behaviour(block: nn.Module, in_channels: int) -> list:
    """Record what a block does with one image, in both modes, and how many parameters it has."""
    if not isinstance(block, nn.Module):
        raise TypeError(f"{type(block).__name__} is no nn.Module: is there a `return`?")
    image = torch.randn(3, in_channels, 7, 10, generator=torch.Generator().manual_seed(9))
    block.train()
    _fill(block, image.clone())
    outputs = [block.train()(image.clone()), block.eval()(image.clone())]
    return [*outputs, f"{sum(weight.numel() for weight in block.parameters())} parameters"]


def _block(norm: Callable | None = None, activation: Callable | None = None, bias: bool = False,
           padding: int = 1, order: str = "cnacna") -> Callable:
    """Give a maker of blocks: c convolution, n norm, a activation, in this order."""
    norm = norm or (lambda channels: nn.InstanceNorm2d(channels, affine=True))
    activation = activation or (lambda: nn.LeakyReLU(0.01))

    def make(in_channels, out_channels):
        layers, channels = [], in_channels
        for letter in order:
            if letter == "c":
                layers.append(nn.Conv2d(channels, out_channels, 3, padding=padding, bias=bias))
                channels = out_channels
            else:
                layers.append(norm(channels) if letter == "n" else activation())
        return nn.Sequential(*layers)
    return make


@exercise("02")
def instance_block(answer) -> Verdict:
    """Check a block: twice 3x3 convolution (no bias), instance norm (affine), LeakyReLU(0.01)."""
    def behave(make):
        def run(in_channels, out_channels):
            block = make(in_channels, out_channels)
            return ... if block is ... else _behaviour(block, in_channels)
        return run

    slips = {
        "nn.InstanceNorm2d learns no scale and shift unless you say affine=True.":
            _block(norm=nn.InstanceNorm2d),
        "The slope of LeakyReLU is 0.01.": _block(activation=lambda: nn.LeakyReLU(0.1)),
        "That is ReLU: it lets nothing negative through, LeakyReLU a hundredth of it.":
            _block(activation=nn.ReLU),
        "That is batch norm: it mixes the images of a batch.": _block(norm=nn.BatchNorm2d),
        "The convolutions have a bias; the norm that follows takes it out again: bias=False.":
            _block(bias=True),
        "The convolutions take pixels off the rim: padding=1 keeps the size.": _block(padding=0),
        "The last activation is missing.": _block(order="cnacn"),
        "There is an activation only at the end; the convolutions in a row are one convolution.":
            _block(order="cncna"),
        "There is no activation at all: the block is linear but for the norm.":
            _block(order="cncn"),
        "The norm stands before the convolution; here it comes after.": _block(order="ncanca"),
        "The activation stands before the norm; the order is convolution, norm, activation.":
            _block(order="cancan"),
        "That is one convolution; the block has two.": _block(order="cna"),
        "There is no norm.": _block(order="caca"),
    }
    return check_function(
        answer if is_open(answer) else behave(answer), behave(_block()),
        {"2 to 4 channels": (2, 4), "3 to 3 channels": (3, 3), "6 to 2 channels": (6, 2)},
        slips={sentence: behave(make) for sentence, make in slips.items()},
        remark="this is the block of nnU-Net (lesson 08), which gives its convolutions a bias all "
               "the same; instance norm does not care how many images are in a batch")


def _sides(side: int, levels: int, block: int = 4, deepest: int = 4, up: int = 4,
           strict: bool = True, floor: float = 0) -> int:
    """Compute the output's side; a block takes pixels off on the way down, at the bottom, up."""
    for _ in range(levels):
        side -= block
        if strict and side % 2:
            return 0
        side //= 2
    side -= deepest
    for _ in range(levels):
        side = 2 * side - up
    return max(side, floor)


@exercise("02")
def valid_side(answer) -> Verdict:
    """Check the output's side with valid padding, 0 where it does not work."""
    return check_function(
        answer, _sides,
        {"572, four levels": (572, 4), "188, four levels": (188, 4), "570, four levels": (570, 4),
         "172, four levels": (172, 4), "576, four levels": (576, 4), "580, four levels": (580, 4),
         "46, one level": (46, 1), "140, two levels": (140, 2), "44, one level": (44, 1)},
        slips={
            "That is same padding: every valid 3x3 convolution takes one pixel off each border.":
                lambda side, levels: side,
            "A block has two convolutions of 2 pixels each: it takes 4 off a side, not 2.":
                lambda side, levels: _sides(side, levels, 2, 2, 2),
            "The bottleneck has two convolutions, too.":
                lambda side, levels: _sides(side, levels, deepest=0),
            "The decoder's blocks take 4 pixels off as well.":
                lambda side, levels: _sides(side, levels, up=0),
            "An odd side cannot be halved without losing a row: return 0 there.":
                lambda side, levels: _sides(side, levels, strict=False),
            "That is right for sides that work; return 0 where a side is odd before a pooling.":
                lambda side, levels: max(side - 12 * 2 ** levels + 8, 0),
            "That formula is right for sides that work; return 0 where nothing is left, or where a "
            "side is odd before a pooling.": lambda side, levels: side - 12 * 2 ** levels + 8,
            "Where nothing is left, return 0, not a negative side.":
                lambda side, levels: _sides(side, levels, floor=-float("inf")),
            "That is 388 whatever the image: compute it from side and levels.":
                lambda side, levels: 388,
            "The loss of 184 pixels belongs to four levels; with fewer it is less.":
                lambda side, levels: _sides(side, 4),
        },
        tolerance=0,
        remark="572 gives 388. The loss is 12·2^levels - 8: a level more costs twice the border, "
               "which is why deep networks are padded")


def _crop(skip, height, width, top=None, left=None):
    top = (skip.shape[2] - height) // 2 if top is None else top
    left = (skip.shape[3] - width) // 2 if left is None else left
    return skip[:, :, top:top + height, left:left + width]


@exercise("02")
def crop_and_join(answer) -> Verdict:
    """Crop the skip's centre to the decoder's size and put it behind the decoder's channels."""
    def numbers(channels, height, width, first, batch=2):
        count = batch * channels * height * width
        return torch.arange(first, first + count).reshape(batch, channels, height, width).float()

    def joined(decoder, skip):
        return torch.cat([decoder, _crop(skip, *decoder.shape[2:])], dim=1)

    def padded(decoder, skip):
        spare = [have - want for have, want in zip(skip.shape[2:], decoder.shape[2:], strict=True)]
        return torch.cat([functional.pad(decoder, [spare[1] // 2, spare[1] - spare[1] // 2,
                                                   spare[0] // 2, spare[0] - spare[0] // 2]), skip],
                         dim=1)

    def corner(decoder, skip):
        return torch.cat([decoder, _crop(skip, *decoder.shape[2:], top=0, left=0)], dim=1)

    def other_corner(decoder, skip):
        height, width = decoder.shape[2:]
        return torch.cat([decoder, skip[:, :, skip.shape[2] - height:, skip.shape[3] - width:]],
                         dim=1)

    def swapped(decoder, skip):
        height, width = decoder.shape[2:]
        return torch.cat([decoder, _crop(skip, height, width, (skip.shape[3] - width) // 2,
                                         (skip.shape[2] - height) // 2)], dim=1)

    def shrunk(decoder, skip):
        return torch.cat([decoder, functional.interpolate(skip, tuple(decoder.shape[2:]))], dim=1)

    return check_function(
        answer, joined,
        {"4x4 and 8x8, one channel each": (numbers(1, 4, 4, 0), numbers(1, 8, 8, 1000)),
         "two channels, 6x4 and 10x12": (numbers(2, 6, 4, 0), numbers(2, 10, 12, 1000)),
         "nothing to crop": (numbers(3, 4, 6, 0), numbers(3, 4, 6, 1000))},
        slips={
            "You cropped at the upper left corner: the skip's middle lies above the decoder.":
                corner,
            "You cropped at the lower right corner: the skip's middle lies above the decoder.":
                other_corner,
            "You took the offset of the rows for the columns; the two axes may differ.": swapped,
            "You padded the decoder; here the skip is cropped.": padded,
            "You shrank the skip: its pixels no longer lie where the decoder's do. Crop it.":
                shrunk,
            "The skip's channels come first; put the decoder's first, as the weights expect.":
                lambda decoder, skip: joined(decoder, skip).roll(-decoder.shape[1], dims=1),
            "That is the decoder alone.": lambda decoder, skip: decoder,
            "That is the cropped skip alone.":
                lambda decoder, skip: _crop(skip, *decoder.shape[2:]),
            "You stacked along the batch; channels are axis 1.":
                lambda decoder, skip: torch.cat([decoder, _crop(skip, *decoder.shape[2:])]),
            "You added, as a fully convolutional network does; put the channels side by side.":
                lambda decoder, skip: decoder + _crop(skip, *decoder.shape[2:]),
        },
        remark="the other way, padding the decoder, keeps the border but fills it with zeros that "
               "no image ever held")


def _count(inputs: int, outputs: int, f: int, *, doubled: bool = True, bias: bool = False,
           norm: int = 2, up_bias: bool = True, head_bias: bool = True, up_kernel: int = 4,
           bottleneck: bool = True, second: bool = True, halved: bool = True) -> int:
    """Count the parameters of the library's U-Net, with what may be forgotten as switches."""
    widths = [f, 2 * f, 4 * f, 8 * f, 16 * f]
    down = list(zip([inputs, *widths], widths, strict=False))
    up = [((2 if doubled else 1) * width, width) for width in widths[:4]]
    blocks = sum(9 * i * o + second * 9 * o * o + (1 + second) * o * (norm + bias)
                 for i, o in down[: 4 + bottleneck] + up)
    ups = sum(up_kernel * (1 + halved) * width * width + up_bias * width for width in widths[:4])
    return blocks + ups + f * outputs + head_bias * outputs


@exercise("02")
def parameters_by_hand(answer) -> Verdict:
    """Check how many parameters models.UNet(in_channels, out_channels, features=…) has."""
    def but(**switches):
        return lambda *arguments: _count(*arguments, **switches)

    return check_function(
        answer, _count,
        {"3 channels in, 1 out, 32 features": (3, 1, 32),
         "1 channel in, 1 out, 64 features": (1, 1, 64),
         "2 channels in, 5 out, 8 features": (2, 5, 8)},
        slips={
            "In the decoder the first convolution of a block takes twice the width: the skip's "
            "channels and the decoder's.": but(doubled=False),
            "You counted a bias for the 3x3 convolutions; a norm follows, so there is none.":
                but(bias=True),
            "Each norm has a scale and a shift per channel.": but(norm=0),
            "A norm has two numbers per channel, scale and shift, not one.": but(norm=1),
            "The running mean and variance are not trained: they are no parameters.": but(norm=4),
            "The up-convolutions have a bias.": but(up_bias=False),
            "The head has a bias.": but(head_bias=False),
            "The up-convolutions and the head have a bias.": but(up_bias=False, head_bias=False),
            "The up-convolutions' kernel is 2x2, not 3x3.": but(up_kernel=9),
            "The up-convolutions are missing.": but(up_kernel=0, up_bias=False),
            "The bottleneck is missing.": but(bottleneck=False),
            "A double convolution has two convolutions.": but(second=False),
            "An up-convolution takes in twice the channels that it puts out.": but(halved=False),
        },
        tolerance=0,
        remark="nearly nine tenths stand in the two deepest levels. Twice the features, four times "
               "the parameters")


@exercise("02")
def training_memory(answer) -> Verdict:
    """Check the MB that a training step holds: outputs, weights, gradients, optimiser's numbers."""
    def megabytes(outputs, parameters, moments, *, weights=2, twice=1, unit=1e6, number=4):
        return number * (twice * outputs + parameters * (weights + moments)) / unit

    def but(**switches):
        return lambda *arguments: megabytes(*arguments, **switches)

    return check_function(
        answer, megabytes,
        {"one million outputs, SGD without momentum": (1_000_000, 250_000, 0),
         "more parameters than outputs, SGD with momentum": (2_000_000, 8_000_000, 1),
         "the U-Net of this section, Adam": (404_886_544, 31_042_369, 2)},
        slips={
            "The gradients are missing: one number for each weight.": but(weights=1),
            "Weights and gradients are missing.": but(weights=0),
            "You counted the outputs twice, as torchinfo does; they are kept once.": but(twice=2),
            "The optimiser's numbers are kept for each weight: multiply by the parameters.":
                lambda outputs, parameters, moments: megabytes(outputs, parameters, 0)
                + 4 * moments / 1e6,
            "The optimiser's numbers are missing.":
                lambda outputs, parameters, moments: megabytes(outputs, parameters, 0),
            "A float32 number takes four bytes.": but(number=1),
            "A float32 number takes four bytes, a float64 eight.": but(number=8),
            "Those are MiB (1,048,576 bytes); MB are asked for.": but(unit=2**20),
            "Those are bytes; MB are asked for.": but(unit=1),
            "The kept outputs are missing, the largest part.": but(twice=0),
        },
        remark="still without the batch: the outputs grow with it, the rest does not. Nor does it "
               "hold what a convolution borrows while it works")


@exercise("02")
def judge_the_claim(answer) -> Verdict:
    """Check which of four claims about U-Net this lesson's measurements bear."""
    return check_choice(answer, right="c", wrong={
        "a": "section 5 counts them: the U-Net of the paper has 31 million parameters, more than "
             "many a classification network. Few images are enough for other reasons",
        "b": "the receptive field comes from pooling and from the depth. Without skips it is as "
             "large: the way through the bottleneck is the widest",
        "d": "that is one training of each on a few patients. Another seed may turn the order "
             "round; it takes patients, seeds and an interval"},
        remark="shown by a measurement of the same networks on the same patients, and said no "
               "wider than that")
