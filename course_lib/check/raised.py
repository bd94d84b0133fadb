"""What a student's function raised, in words: torch's and numpy's usual errors, and the line."""

import linecache
import re
import traceback
from textwrap import shorten

LONGEST = 90           # characters of a line that is named

# Pattern of a message to a sentence that takes the pattern's groups.
SENTENCES = {
    r"mat1 and mat2 shapes cannot be multiplied \((\d+)x(\d+) and (\d+)x(\d+)\)":
        "rows of {1} numbers met weights for {2}: a linear layer takes in as many numbers as its "
        "first argument says",
    r"weight of size \[(\d+), .*expected input.* to have (\d+) channels, but got (\d+)":
        "a convolution made for {1} channels got {2}: its first argument is the channels that come "
        "in, its second those that go out",
    r"(?:to match num_features \((\d+)\), but got: (\d+))":
        "a norm made for {0} channels got {1}",
    r"running_mean should contain (\d+) elements not (\d+)":
        "a norm made for {1} channels got {0}",
    r"(?i)expected 3D \(unbatched\) or 4D.* size: \[(.*)\]":
        "a 2D layer takes (B, C, H, W), and got a tensor of shape ({0})",
    r"(?i)expected ([\dD or]+) input \(got (\d)D input\)":
        "a layer for {0} got {1} axes: nn.…2d takes (B, C, H, W)",
    r"Given normalized_shape":
        "nn.LayerNorm looks at the last axes, of any channel: nn.InstanceNorm2d takes each channel "
        "of each image alone",
    r"before Module\.__init__\(\) call":
        "super().__init__() is missing: it comes first in __init__",
    r"Expected size 0 but|but got size 0":
        "torch.cat got a tensor that is empty: a slice [a:-b] holds nothing where b is 0 or the "
        "map is small. Write start:start + length",
    r"slice indices must be integers": "a slice takes whole numbers: halve with `//`",
    r"Sizes of tensors must match except in dimension (\d+)\. Expected size (\d+) but got size "
    r"(\d+)":
        "torch.cat along axis {0} needs all other axes alike, and one is {1} here and {2} there",
    r"Tensors must have same number of dimensions: got (\d+) and (\d+)":
        "torch.cat takes tensors of as many axes each, and got {0} and {1}",
    r"size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\).* dimension (\d+)":
        "along axis {2} one tensor has {0} and the other {1}: they cannot be taken pixel by pixel",
    r"could not be broadcast together with shapes (\(.*?\)) (\(.*?\))":
        "arrays of shape {0} and {1} cannot be taken value by value: `keepdims=True` keeps the "
        "axes that a mean would drop",
    r"Cannot cast ufunc '(\w+)' output from .* to dtype\('(\w+)'\)":
        "{0} in place (-=, /=) would write decimals into whole numbers ({1}): compute in float, in "
        "a copy",
    r"result type (\w+) can't be cast to the desired output type (\w+)":
        "decimals ({0}) do not fit into whole numbers ({1}): make it float first, with .float()",
    r"(?:Got: |only support floating point)|Found dtype (?:Byte|Long|Int) but expected":
        "this takes decimals, and got whole numbers: make it float first, with .float()",
    r"have the same dtype|should be the same|expected scalar type|Found dtype":
        "two tensors of different types met, such as float32 and float64 or uint8: bring both to "
        "one, with .float()",
    r"the target has values from 0 to 0\.00392157, fractions":
        "the target is 0 and 1 already, and was divided by 255",
    r"the target has values from -.*, fractions among them":
        "a loss got a target that is no label map: are logits and target the wrong way round? "
        "loss_fn(logits, target)",
    r"does not require grad":
        "the loss has no gradient: .detach(), .item(), torch.no_grad() or a threshold cut it off "
        "from the weights",
    r"modified by an inplace operation":
        "what loss.backward() needs was changed before it: optimizer.step() comes after backward, "
        "and nothing on the way to the loss is done in place",
    r"backward through the graph a second time":
        "backward ran twice on one loss; once is enough, for the graph is freed then",
    r"Can't call numpy\(\) on Tensor that requires grad":
        "a tensor with a gradient becomes an array only after .detach()",
    r"[Tt]ruth value|Boolean value of Tensor":
        "`if`, `and`, `or`, `not` take one truth value, and got a whole array: use .any() or "
        ".all(), and &, |, ~ between masks",
    r"[Bb]oolean subtract|two bool tensors|Negation":
        "masks of True and False cannot be subtracted: `~mask` is the opposite, `&` the overlap",
    r"(\w+)>?\(\) takes (\d+) positional arguments? but (\d+) were given":
        "{0} was called with {2} values and takes {1}",
    r"([\w.]+)>?\(\) missing \d+ required positional arguments?: (.*)":
        "{0} was called without {1}",
    r"^name '(\w+)' is not defined":
        "{0} is not known here: is it spelt so, and have the cells above been run?",
    r"'(?:float|int)' object has no attribute 'backward'":
        "a plain number has no .backward(): take .item() of what you return, not before",
    r"'(\w+)' object has no attribute 'shape'":
        "a {0} came where a tensor is taken: was something not called, such as model(image)?",
    r"'[<>]=?' not supported between instances of 'list'":
        "a list cannot be compared with a number: take its parts one by one",
    r"'numpy\.ndarray' object has no attribute '(\w+)'":
        "what comes in is a numpy array, which has no .{0}",
    r"'Tensor' object has no attribute '(\w+)'":
        "what comes in is a torch tensor, which has no .{0}",
    r"must be Tensor, not numpy\.ndarray|but got numpy\.ndarray":
        "torch takes tensors, and got a numpy array: torch.from_numpy makes one of it",
    r"only (?:0-dimensional|length-1|size-1) arrays|only one element tensors|converted to Scalar":
        "float(…) takes one number, and got an array: a .mean() or .sum() may be missing",
    r"axis (\d+) is out of bounds for array of dimension (\d+)":
        "there is no axis {0}: the array has {1}, counted from 0",
    r"(?:division|modulo) by zero": "it divides by zero here",
    r"list is not a Module subclass":
        "nn.Sequential takes the layers one by one: nn.Sequential(*layers)",
}


def in_words(error: BaseException, function) -> str:
    """Say what was raised, as a sentence where the message is a usual one, and at which line.

    Args:
        error: what a function raised.
        function: the student's; lines of other files are not theirs.
    """
    message = str(error)
    found = ((re.search(pattern, message), words) for pattern, words in SENTENCES.items())
    words = next((words.format(*match.groups()) for match, words in found if match),
                 message.splitlines()[0][:160] if message else "no more is said")
    line = _line_of(error, function)
    return f"it raised {type(error).__name__}: {words}" + (f" (at `{line}`)" if line else "")


def _line_of(error: BaseException, function) -> str:
    """Find the last line of the function's file on the way to the error; "" for none."""
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    lines = [shorten(linecache.getline(file, number), LONGEST, placeholder=" …")
             for frame, number in traceback.walk_tb(error.__traceback__)
             if frame.f_code.co_filename == file]
    return lines[-1] if lines else ""
