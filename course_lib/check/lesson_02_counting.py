"""The exercises of lesson 02 that are arithmetic: sides, parameters, memory."""

from collections.abc import Callable

from course_lib.check.comparing import single
from course_lib.check.core import Verdict, check_function
from course_lib.check.record import exercise


def _valid_side(side: int, levels: int, *, block: int = 4, deepest: int = 4, up: int = 4,
                parity: str = "before", floor: float = 0, doubled: int = 2, late: bool = False,
                halve: Callable = lambda side: side // 2) -> int:
    """Compute the output's side; a block takes pixels off on the way down, at the bottom, up.

    `parity` says where an odd side is refused; `late` takes a block's pixels off after halving.
    """
    if "image" in parity and side % 2 or "divisible" in parity and side % 2 ** levels:
        return 0
    for _ in range(levels):
        side -= 0 if late else block
        if "before" in parity and side % 2:
            return 0
        side = halve(side) - (block if late else 0)
        if "after" in parity and side % 2:
            return 0
    side -= deepest
    for _ in range(levels):
        side = doubled * side - up
    return max(side, floor)


def _works_or_zero(value, side, levels) -> str:
    """Rule for sides: a number of pixels, 0 where the size does not work."""
    value = single(value)
    is_side = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    return "" if is_side else "Where the size does not work, return 0."


@exercise("02")
def valid_side(answer) -> Verdict:
    """Check the output's side with valid padding, 0 where it does not work."""
    nowhere = -float("inf")
    return check_function(
        answer, _valid_side, rule=_works_or_zero, probes={
            f"{side} pixels, {levels} levels": (side, levels) for side, levels in (
                (572, 4), (188, 4), (570, 4), (172, 4), (576, 4), (580, 4), (46, 1), (140, 2),
                (44, 1), (45, 1), (10, 1), (92, 3), (184, 3))},
        slips={
            "That is same padding: every valid 3x3 convolution takes one pixel off each border.":
                lambda side, levels: side,
            "That is same padding, odd sides refused: every valid 3x3 convolution takes one pixel "
            "off each border.": {"block": 0, "deepest": 0, "up": 0},
            "A block has two convolutions of 2 pixels each: it takes 4 off a side, not 2.":
                {"block": 2, "deepest": 2, "up": 2},
            "A convolution takes one pixel off each border, 2 off a side: a block takes 4, not 8.":
                {"block": 8, "deepest": 8, "up": 8},
            "The bottleneck has two convolutions, too.": {"deepest": 0},
            "The decoder's blocks take 4 pixels off as well.": {"up": 0},
            "The encoder's blocks take 4 pixels off as well.": {"block": 0},
            "On the way up each level doubles the side first.": {"doubled": 1},
            "An odd side cannot be halved without losing a row: return 0 there.": {"parity": ""},
            "You test whether a side is odd after halving it; an odd one is lost before.":
                {"parity": "after"},
            "You test only whether the image's side is odd; ask before each pooling.":
                {"parity": "image"},
            "A side may be odd after the last pooling, in the bottleneck: it is halved no more. "
            "Ask before each pooling.": {"parity": "before, after"},
            "The image's side need not be divisible by 2^levels: 4 pixels go off before each "
            "pooling.": {"parity": "divisible"},
            "A block stands before each pooling: take 4 off first, then halve.": {"late": True},
            "On the way up double first, then take 4 off.": {"up": 8},
            "A block of the decoder has two convolutions: it takes 4 off, not 2.": {"up": 2},
            "The levels do not take off 46 each: a pixel further down is worth more.":
                lambda side, levels: max(side - 46 * levels, 0),
            "You round up where a side is odd; return 0 there.":
                {"parity": "", "halve": lambda side: -(-side // 2)},
            "That is right for sides that work; return 0 where a side is odd before a pooling.":
                lambda side, levels: max(side - 12 * 2 ** levels + 8, 0),
            "That formula is right for sides that work; return 0 where nothing is left, or where a "
            "side is odd before a pooling.": lambda side, levels: side - 12 * 2 ** levels + 8,
            "Where nothing is left, return 0, not a negative side.": {"floor": nowhere},
            "Where nothing is left, return 0, not 1.": {"floor": 1},
            "That is 388 whatever the image: compute it from side and levels.":
                lambda side, levels: 388,
            "The loss of 184 pixels belongs to four levels; with fewer it is less.":
                lambda side, levels: _valid_side(side, 4),
            "184 is what four levels take off; with fewer it is less, and a side that is odd "
            "before a pooling gives 0.": lambda side, levels: side - 184,
            "184 is what four levels take off; with fewer it is less, and odd sides give 0.":
                lambda side, levels: max(side - 184, 0),
            "You have a level too few.": lambda side, levels: _valid_side(side, levels - 1),
            "You have a level too many.": lambda side, levels: _valid_side(side, levels + 1),
            "That is the side of the bottleneck; the way up is still to come.":
                lambda side, levels: max(_valid_side(side, levels, doubled=1, up=0), 0),
        },
        tolerance=0,
        remark="572 gives 388. The loss is 12·2^levels - 8: a level more costs twice the border, "
               "which is why deep networks are padded")


def _parameters_by_hand(inputs: int, outputs: int, f: int, *, doubled: bool = True,
                        bias: bool = False, norm: int = 2, up_bias: bool = True,
                        head_bias: bool = True, up_kernel: int = 4, kernel: int = 9,
                        bottleneck: bool = True, second: bool = True,
                        head: bool = True, again: bool = False, decoder: bool = True) -> int:
    """Count the parameters of the library's U-Net, with what may be forgotten as switches."""
    widths = [f, 2 * f, 4 * f, 8 * f, 16 * f]
    down = list(zip([inputs, *widths], widths, strict=False))
    up = [((2 if doubled else 1) * width, width) for width in widths[:4] if decoder]
    blocks = sum(kernel * i * o + second * kernel * (i if again else o) * o
                 + (1 + second) * o * (norm + bias) for i, o in down[: 4 + bottleneck] + up)
    ups = sum(up_kernel * 2 * width * width + up_bias * width for width in widths[:4])
    return blocks + ups + head * f * outputs + head_bias * outputs


@exercise("02")
def parameters_by_hand(answer) -> Verdict:
    """Check how many parameters models.UNet(in_channels, out_channels, features=…) has."""
    return check_function(
        answer, _parameters_by_hand,
        {"3 channels in, 1 out, 32 features": (3, 1, 32),
         "1 channel in, 1 out, 64 features": (1, 1, 64),
         "2 channels in, 5 out, 8 features": (2, 5, 8)},
        slips={
            "In the decoder the first convolution of a block takes twice the width: the skip's "
            "channels and the decoder's.": {"doubled": False},
            "You counted a bias for the 3x3 convolutions; a norm follows, so there is none.":
                {"bias": True},
            "The norms are missing: each has a scale and a shift per channel.": {"norm": 0},
            "You counted one number per channel after each convolution: a norm has two, a scale "
            "and a shift, and the convolution before it has no bias.": {"norm": 1},
            "The running mean and variance are not trained: they are no parameters.": {"norm": 4},
            "The up-convolutions have a bias.": {"up_bias": False},
            "The head has a bias.": {"head_bias": False},
            "The up-convolutions' kernel is 2x2, not 3x3.": {"up_kernel": 9},
            "The up-convolutions have too few weights: 2x2 for each pair of channels, and twice as "
            "many channels come in as go out.": {"up_kernel": 2},
            "A 3x3 kernel has 9 weights for each pair of channels, not 3.": {"kernel": 3},
            "The up-convolutions are missing.": {"up_kernel": 0, "up_bias": False},
            "The head is missing.": {"head": False, "head_bias": False},
            "The bottleneck is missing.": {"bottleneck": False},
            "The decoder's blocks are missing.": {"decoder": False},
            "A double convolution has two convolutions.": {"second": False},
            "The second convolution of a block takes in what the first puts out.": {"again": True},
            "That counts three input channels always; in_channels says how many.":
                lambda inputs, outputs, f: _parameters_by_hand(3, outputs, f),
            "The decoder's norms are missing: each block has two.":
                lambda inputs, outputs, f: _parameters_by_hand(inputs, outputs, f) - 60 * f,
            "The head is a 1x1 convolution, not 3x3.":
                lambda inputs, outputs, f: _parameters_by_hand(inputs, outputs, f)
                + 8 * f * outputs,
            "Those are millions; the number itself is asked for.":
                lambda *arguments: _parameters_by_hand(*arguments) / 1e6,
            "Those are bytes; parameters are asked for.":
                lambda *arguments: _parameters_by_hand(*arguments) * 4,
            "That counts one output channel always; out_channels says how many.":
                lambda inputs, outputs, f: _parameters_by_hand(inputs, 1, f),
            "That is the number for 3 channels, one output and 32 features, whatever is asked.":
                lambda inputs, outputs, f: 7_763_041,
        },
        tolerance=0,
        remark="nearly nine tenths stand in the two deepest levels. Twice the features, four times "
               "the parameters")


def _training_memory(outputs, parameters, moments, *, weights=2, twice=1, unit=1e6, number=4,
                     kept=None):
    """Compute MB; `kept` numbers for each weight where it is not `moments`."""
    kept = moments if kept is None else kept
    return number * (twice * outputs + parameters * (weights + kept)) / unit


@exercise("02")
def training_memory(answer) -> Verdict:
    """Check the MB that a training step holds: outputs, weights, gradients, optimiser's numbers."""
    return check_function(
        answer, _training_memory,
        {"one million outputs, SGD without momentum": (1_000_000, 250_000, 0),
         "more parameters than outputs, SGD with momentum": (2_000_000, 8_000_000, 1),
         "the U-Net of this section, Adam": (404_886_544, 31_042_369, 2)},
        slips={
            "Weights or gradients are missing: each weight has a gradient, one number.":
                {"weights": 1},
            "Weights and gradients are missing.": {"weights": 0},
            "You counted a number too many for each weight: there is itself and its gradient.":
                {"weights": 3},
            "You counted the outputs twice, as torchinfo does; they are kept once.": {"twice": 2},
            "The optimiser's numbers are kept for each weight: multiply by the parameters.":
                lambda outputs, parameters, moments: _training_memory(outputs, parameters, moments)
                - 4 * moments * (parameters - 1) / 1e6,
            "The optimiser's numbers are kept for each weight, not for each output.":
                lambda outputs, parameters, moments: _training_memory(
                    outputs * (1 + moments), parameters, 0),
            "The optimiser's numbers are missing.": {"kept": 0},
            "You counted Adam's two numbers for each weight always; `moments` says how many.":
                {"kept": 2},
            "Those are numbers; each takes four bytes in float32.": {"number": 1},
            "A float32 number takes four bytes, a float64 eight.": {"number": 8},
            "A float32 number takes four bytes, a float16 two.": {"number": 2},
            "Those are bits: 32 bits are four bytes.": {"number": 32},
            "Those are MiB (1,048,576 bytes); MB are asked for.": {"unit": 2**20},
            "Those are bytes; MB are asked for.": {"unit": 1},
            "Those are kB; MB are asked for, a million bytes.": {"unit": 1e3},
            "Those are GB; MB are asked for, a million bytes.": {"unit": 1e9},
            "The kept outputs are missing, the largest part.": {"twice": 0},
            "You multiplied outputs and weights; both are kept, so their numbers add up.":
                lambda outputs, parameters, moments: 4 * outputs * parameters * (2 + moments) / 1e6,
            "Each weight has 2 + moments numbers, not 2 * moments.":
                lambda outputs, parameters, moments:
                    4 * (outputs + 2 * moments * parameters) / 1e6,
            "You rounded, or divided by `//`; return the number as it is.":
                lambda *arguments: _training_memory(*arguments) // 1,
            "The outputs are counted once, not once for each number that a weight has.":
                lambda outputs, parameters, moments:
                    4 * (outputs + parameters) * (2 + moments) / 1e6,
        },
        tolerance=1e-9,
        remark="still without the batch: the outputs grow with it, the rest does not. Nor does it "
               "hold what a convolution borrows while it works")
