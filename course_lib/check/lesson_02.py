"""The exercises of lesson 02, U-Net block by block."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from course_lib.check.choosing import check_choice
from course_lib.check.comparing import written
from course_lib.check.core import Verdict, check_function
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
def _behaviour(make: Callable, in_channels: int, out_channels: int) -> dict:
    """Observe a maker of blocks: shape and parameters first, then what comes out in both modes."""
    block = make(in_channels, out_channels)
    if block is ...:
        return ...
    if not isinstance(block, nn.Module):
        raise TypeError(f"you returned {written(block)}, which is no nn.Module: is there a "
                        "`return`, and are the layers in an nn.Sequential?")
    image = torch.randn(3, in_channels, 7, 10, generator=torch.Generator().manual_seed(9))
    block.train()
    _fill(block, image.clone())
    training, evaluating = block.train()(image.clone()), block.eval()(image.clone())
    if not isinstance(training, torch.Tensor):
        raise TypeError(f"its forward returns {written(training)}: is there a `return`?")
    return {"the shape of the output": tuple(training.shape),
            "parameters": sum(weight.numel() for weight in block.parameters()),
            "the output while training": training, "the output in eval mode": evaluating}


def _instance_block(in_channels, out_channels, *, order="cnacna", norm=nn.InstanceNorm2d,
                    affine=(True, True), slope=(0.01, 0.01), kernel=3, padding=1,
                    bias=(False, False), widens=0):
    """Make a block: c convolution, n norm, a activation; what may be done otherwise are arguments.
    """
    widths = [in_channels] * (1 + widens) + [out_channels] * 2
    layers, convolutions, norms, slopes = [], 0, 0, iter(slope)
    for letter in order:
        if letter == "c":
            layers.append(nn.Conv2d(*widths[convolutions:convolutions + 2], kernel,
                                    padding=padding, bias=bias[convolutions]))
            convolutions += 1
        elif letter == "n":
            layers.append(norm(widths[convolutions], affine=affine[norms]))
            norms += 1
        else:
            layers.append(nn.LeakyReLU(next(slopes)))
    return nn.Sequential(*layers)


def _one_norm_twice(in_channels, out_channels):
    block = _instance_block(in_channels, out_channels)
    block[4] = block[1]
    return block


def _eps_taken_for_affine(in_channels, out_channels):
    return _instance_block(in_channels, out_channels,
                           norm=lambda channels, affine: nn.InstanceNorm2d(channels, True))


def _one_group(channels, affine):
    return nn.GroupNorm(1, channels, affine=affine)


def _with_running_mean(channels, affine):
    return nn.InstanceNorm2d(channels, affine=affine, track_running_stats=True)


def _alone(**changed) -> Callable:
    """Make a slip that is not tried together with others, of which there would be hundreds."""
    return partial(_instance_block, **changed)


@exercise("02")
def instance_block(answer) -> Verdict:
    """Check a block: twice 3x3 convolution (no bias), instance norm (affine), LeakyReLU(0.01)."""
    slips: dict[str, Callable | dict] = {
        "nn.InstanceNorm2d learns no scale and shift unless you say affine=True.":
            {"affine": (False, False)},
        "Only the first norm is affine; the second learns no scale and shift.":
            {"affine": (True, False)},
        "Only the second norm is affine; the first learns no scale and shift.":
            {"affine": (False, True)},
        "That is ReLU: it lets nothing negative through, LeakyReLU a hundredth of it.":
            {"slope": (0, 0)},
        "One activation is ReLU: it lets nothing negative through, LeakyReLU a hundredth of it.":
            _alone(slope=(0, 0.01)),
        "One activation is ReLU, the second: it lets nothing negative through.":
            _alone(slope=(0.01, 0)),
        "nn.InstanceNorm2d(channels, True) sets eps, its second argument: write affine=True.":
            _eps_taken_for_affine,
        "That is batch norm: it mixes the images of a batch.": {"norm": nn.BatchNorm2d},
        "One norm for all channels together (layer norm): instance norm takes each channel alone.":
            _alone(norm=_one_group),
        "track_running_stats keeps a mean over many images; here each image stands alone.":
            _alone(norm=_with_running_mean),
        "Both norms are one and the same layer: make two, each with a scale and shift of its own.":
            _one_norm_twice,
        "The convolutions have a bias; the norm that follows takes it out again: bias=False.":
            {"bias": (True, True)},
        "One of the convolutions has a bias; the norm that follows takes it out again.":
            {"bias": (False, True)},
        "The convolutions take pixels off the rim: padding=1 keeps the size.": {"padding": 0},
        "padding=2 adds pixels to the rim: padding=1 keeps the size of a 3x3 convolution.":
            _alone(padding=2),
        "The convolutions see one pixel: the kernel is 3x3, with padding=1.":
            _alone(kernel=1, padding=0),
        "The kernel is 5x5; 3x3 is asked for.": _alone(kernel=5, padding=2),
        "The first convolution keeps in_channels; it is the one that makes out_channels.":
            _alone(widens=1),
        "The last activation is missing.": {"order": "cnacn"},
        "There is an activation only at the end; the convolutions in a row are one convolution.":
            _alone(order="cncna"),
        "There is no activation at all: the block is linear but for the norm.":
            _alone(order="cncn"),
        "The second norm is missing.": _alone(order="cnaca"),
        "The first norm is missing.": _alone(order="cacna"),
        "The norm stands before the convolution; here it comes after.": _alone(order="ncanca"),
        "The activation stands before the norm; the order is convolution, norm, activation.":
            _alone(order="cancan"),
        "That is one convolution; the block has two.": _alone(order="cna"),
        "There is no norm.": _alone(order="caca"),
    }
    for slope in (0.1, 0.2, 0.3, 0.001):
        slips[f"The slope of LeakyReLU is 0.01, yours is {slope:g}."] = {"slope": (slope, slope)}
        slips[f"One slope of LeakyReLU is 0.01, the other {slope:g}."] = _alone(slope=(slope, 0.01))
        slips[f"One slope of LeakyReLU is 0.01, the last {slope:g}."] = _alone(slope=(0.01, slope))
    return check_function(
        answer, _instance_block,
        {"2 to 4 channels": (2, 4), "3 to 3 channels": (3, 3), "6 to 2 channels": (6, 2)},
        slips, observe=_behaviour,
        remark="this is the block of nnU-Net (lesson 08), which gives its convolutions a bias all "
               "the same; instance norm does not care how many images are in a batch")


def _centre(decoder, skip):
    """Crop the skip's middle."""
    return _cut(decoder, skip, *((have - want) // 2 for have, want in _sides(decoder, skip)))


def _sides(decoder, skip):
    return list(zip(skip.shape[2:], decoder.shape[2:], strict=True))


def _cut(decoder, skip, top, left):
    height, width = decoder.shape[2:]
    return skip[:, :, top:top + height, left:left + width]


def _crop_and_join(decoder, skip, *, crop=_centre,
                   join=lambda decoder, skip: torch.cat([decoder, skip], dim=1)):
    """Crop, then join; what may be done otherwise are arguments."""
    return join(decoder, crop(decoder, skip))


def _pad_and_join(decoder, skip):
    """Pad the decoder to the skip's size."""
    (rows, columns) = ((have - want) for have, want in _sides(decoder, skip))
    return torch.cat([functional.pad(decoder, [columns // 2, columns - columns // 2,
                                               rows // 2, rows - rows // 2]), skip], dim=1)


@exercise("02")
def crop_and_join(answer) -> Verdict:
    """Crop the skip's centre to the decoder's size and put it behind the decoder's channels."""
    def numbers(channels, height, width, first, batch=2):
        count = batch * channels * height * width
        return torch.arange(first, first + count).reshape(batch, channels, height, width).float()

    return check_function(
        answer, _crop_and_join,
        {"one pixel and 3x3": (numbers(1, 1, 1, 0, 1), numbers(1, 3, 3, 1, 1)),
         "nothing to crop": (numbers(3, 4, 6, 0), numbers(3, 4, 6, 1000)),
         "4x4 and 8x8, one channel each": (numbers(1, 4, 4, 0), numbers(1, 8, 8, 1000)),
         "two channels, 6x4 and 10x12": (numbers(2, 6, 4, 0), numbers(2, 10, 12, 1000))},
        slips={
            "You cropped at the upper left corner: the skip's middle lies above the decoder.":
                {"crop": lambda decoder, skip: _cut(decoder, skip, 0, 0)},
            "You cropped at the lower right corner: the skip's middle lies above the decoder.":
                {"crop": lambda decoder, skip: _cut(decoder, skip, *(
                    have - want for have, want in _sides(decoder, skip)))},
            "You took the offset of the rows for the columns; the two axes may differ.":
                {"crop": lambda decoder, skip: _cut(decoder, skip, *(
                    (have - want) // 2 for have, want in _sides(decoder, skip)[::-1]))},
            "You took the rows' offset for the columns, too; the two axes may differ.":
                {"crop": lambda decoder, skip: _cut(decoder, skip, *[
                    (skip.shape[2] - decoder.shape[2]) // 2] * 2)},
            "You padded the decoder; here the skip is cropped.": _pad_and_join,
            "You shrank the skip: its pixels no longer lie where the decoder's do. Crop it.":
                {"crop": lambda decoder, skip: functional.interpolate(skip, decoder.shape[2:])},
            "You shrank the skip by interpolation: its pixels no longer lie where the decoder's "
            "do. Crop it.": {"crop": lambda decoder, skip: functional.interpolate(
                skip, decoder.shape[2:], mode="bilinear")},
            "You pooled the skip: its pixels no longer lie where the decoder's do. Crop it.":
                {"crop": lambda decoder, skip: functional.adaptive_avg_pool2d(
                    skip, decoder.shape[2:])},
            "You pooled the skip by maximum: its pixels no longer lie where the decoder's do. Crop "
            "it.": {"crop": lambda decoder, skip: functional.adaptive_max_pool2d(
                skip, decoder.shape[2:])},
            "The skip's channels come first; put the decoder's first, as the weights expect.":
                {"join": lambda decoder, skip: torch.cat([skip, decoder], dim=1)},
            "That is the decoder alone.": {"join": lambda decoder, skip: decoder},
            "That is the cropped skip alone.": {"join": lambda decoder, skip: skip},
            "You stacked along the batch; channels are axis 1.":
                {"join": lambda decoder, skip: torch.cat([decoder, skip])},
            "You joined along the rows; channels are axis 1.":
                {"join": lambda decoder, skip: torch.cat([decoder, skip], dim=2)},
            "You joined along the columns; channels are axis 1.":
                {"join": lambda decoder, skip: torch.cat([decoder, skip], dim=3)},
            "You added, as a fully convolutional network does; put the channels side by side.":
                {"join": torch.add},
            "torch.stack makes a new axis; torch.cat joins along one that is there.":
                {"join": lambda decoder, skip: torch.stack([decoder, skip], dim=1)},
            "You returned both in a tuple; torch.cat makes one tensor of them.":
                lambda decoder, skip: (decoder, _centre(decoder, skip)),
        },
        remark="the other way, padding the decoder, keeps the border but fills it with zeros that "
               "no image ever held")


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
