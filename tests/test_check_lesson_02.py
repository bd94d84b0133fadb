"""Each checker of lesson 02: right answers in several words, wrong ones, and what none explains."""

import numpy as np
import pytest
import torch
from answers import ask, listed, names_a_slip, parts_of
from torch import nn
from torch.nn import functional

from course_lib import check, models

CODING = ("instance_block", "valid_side", "crop_and_join", "parameters_by_hand", "training_memory")


# --- instance_block -------------------------------------------------------------------------------

def block(i, o):
    return nn.Sequential(
        nn.Conv2d(i, o, 3, padding=1, bias=False), nn.InstanceNorm2d(o, affine=True),
        nn.LeakyReLU(0.01, inplace=True),
        nn.Conv2d(o, o, 3, padding=1, bias=False), nn.InstanceNorm2d(o, affine=True),
        nn.LeakyReLU(0.01, inplace=True))


class Block(nn.Module):
    """The same, made in another order, with other names."""

    def __init__(self, i, o):
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(o, o) for _ in range(2))
        self.second = nn.Conv2d(o, o, 3, padding="same", bias=False)
        self.first = nn.Conv2d(i, o, 3, padding="same", bias=False)

    def forward(self, image):
        for convolution, norm in zip((self.first, self.second), self.norms, strict=True):
            image = functional.leaky_relu(norm(convolution(image)))
        return image


class WithoutReturn(Block):
    def forward(self, image):
        super().forward(image)


def by_loop(i, o):
    layers = []
    for channels in (i, o):
        layers += [nn.Conv2d(channels, o, kernel_size=(3, 3), padding=(1, 1), bias=False),
                   nn.InstanceNorm2d(o, affine=True), nn.LeakyReLU()]
    return nn.Sequential(*layers)


def in_halves(i, o):
    def half(channels):
        return nn.Sequential(nn.Conv2d(channels, o, 3, 1, 1, bias=False),
                             nn.InstanceNorm2d(o, affine=True), nn.LeakyReLU(1e-2))
    return nn.Sequential(half(i), half(o))


def with_one_activation(i, o):
    act = nn.LeakyReLU(negative_slope=0.01)
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False),
                         nn.InstanceNorm2d(o, affine=True), act,
                         nn.Conv2d(o, o, 3, padding=1, bias=False),
                         nn.InstanceNorm2d(o, affine=True), act)


def changed(change):
    """The block with its layers changed in place."""
    def make(i, o):
        return nn.Sequential(*change(list(block(i, o)), i, o))
    return make


def with_layer(positions, layer):
    return changed(lambda layers, i, o: [layer(o) if n in positions else old
                                         for n, old in enumerate(layers)])


def kept(*positions):
    return changed(lambda layers, i, o: [layers[n] for n in positions])


def convolutions(first, second):
    """The block with its two convolutions made otherwise."""
    return changed(lambda layers, i, o: [first(i, o), *layers[1:3], second(o, o), *layers[4:]])


def plain(i, o):
    return nn.Conv2d(i, o, 3, padding=1, bias=False)


def norm_first(i, o):
    layers = list(block(i, o))
    return nn.Sequential(nn.InstanceNorm2d(i, affine=True), layers[0], layers[2], layers[1],
                         layers[3], layers[5])


def one_norm(i, o):
    layers = list(block(i, o))
    return nn.Sequential(*layers[:4], layers[1], layers[5])


def widening_late(i, o):
    layers = list(block(i, o))
    return nn.Sequential(plain(i, i), nn.InstanceNorm2d(i, affine=True), layers[2], plain(i, o),
                         *layers[4:])


def too_narrow(i, o):
    layers = list(block(i, o))
    return nn.Sequential(*layers[:3], nn.Conv2d(i, o, 3, padding=1, bias=False), *layers[4:])


# --- valid_side -----------------------------------------------------------------------------------

def side(side, levels):
    for _ in range(levels):
        side -= 4
        if side % 2:
            return 0
        side //= 2
    side -= 4
    for _ in range(levels):
        side = side * 2 - 4
    return max(side, 0)


def side_by_level(side, levels):
    if levels == 0:
        return max(side - 4, 0)
    inner = 0 if (side - 4) % 2 or side < 6 else side_by_level((side - 4) // 2, levels - 1)
    return max(2 * inner - 4, 0)


def side_by_convolution(side, levels):
    for _ in range(levels):
        for _ in range(2):
            side = side - 2
        if side & 1 or side < 0:
            return 0
        side = int(side / 2)
    side = side - 2 - 2
    for _ in range(levels):
        side = 2 * side
        side = side - 2 - 2
    return side if side > 0 else 0


def side_by_formula(side, levels):
    works = all((side - 4 * (2 ** level - 1) - 4 * 2 ** (level - 1) * 0) % 2 ** level == 0
                for level in range(1, levels + 1))
    return float(max(side - 12 * 2 ** levels + 8, 0)) if works else 0.0


def side_by_numpy(side, levels):
    sides = [np.int64(side)]
    for _ in range(levels):
        sides.append((sides[-1] - 4) / 2)
    if any(value != round(value) for value in sides):
        return 0
    value = sides[-1] - 4
    for _ in range(levels):
        value = 2 * value - 4
    return np.maximum(value, 0)


def side_with(down=4, deepest=4, up=4, ask="before", round_up=False, least=0, double=2, wrong=0):
    """The side as it comes out of one mistake."""
    def compute(side, levels):
        if ask == "first" and side % 2 or ask == "divisible" and side % 2 ** levels:
            return wrong
        for _ in range(levels):
            side -= down
            if ask in ("before", "both", "bottom") and side % 2:
                return wrong
            side = (side + round_up) // 2
            if ask in ("after", "both") and side % 2:
                return wrong
        side -= deepest
        if ask == "bottom" and side % 2:
            return wrong
        for _ in range(levels):
            side = double * side - up
        return max(least, side)
    return compute


def side_halved_first(side, levels):
    for _ in range(levels):
        if side % 2:
            return 0
        side = side // 2 - 4
    side -= 4
    for _ in range(levels):
        side = 2 * side - 4
    return max(0, side)


# --- crop_and_join --------------------------------------------------------------------------------

def join(decoder, skip):
    top, left = ((s - d) // 2 for s, d in zip(skip.shape[2:], decoder.shape[2:], strict=True))
    height, width = decoder.shape[2:]
    return torch.cat((decoder, skip[..., top:top + height, left:left + width]), 1)


def join_by_padding(decoder, skip):
    rows, columns = ((d - s) // 2 for s, d in zip(skip.shape[2:], decoder.shape[2:], strict=True))
    return torch.cat((decoder, functional.pad(skip, (columns, columns, rows, rows))), 1)


def join_by_narrow(decoder, skip):
    for axis in (2, 3):
        length = decoder.shape[axis]
        skip = skip.narrow(axis, (skip.shape[axis] - length) // 2, length)
    return torch.concat([decoder, skip], dim=-3)


def join_by_copying(decoder, skip):
    b, c, h, w = decoder.shape
    made = torch.empty(b, c + skip.shape[1], h, w)
    y, x = (skip.shape[2] - h) // 2, (skip.shape[3] - w) // 2
    made[:, :c], made[:, c:] = decoder, skip[:, :, y:y + h, x:x + w]
    return made


def join_unless_equal(decoder, skip):
    cut = (skip.shape[2] - decoder.shape[2]) // 2
    return torch.cat((decoder, skip[:, :, cut:-cut, cut:-cut]), 1)


def cropped(decoder, skip):
    return join(decoder, skip)[:, decoder.shape[1]:]


def at(decoder, skip, top, left):
    height, width = decoder.shape[2:]
    return skip[:, :, top:top + height, left:left + width]


def beside(way):
    return lambda d, s: torch.cat([d, way(d, s)], 1)


def shrunk(mode, **more):
    return beside(lambda d, s: functional.interpolate(s, tuple(d.shape[2:]), mode=mode, **more))


def decoder_padded(decoder, skip):
    room = [n for axis in (3, 2) for n in 2 * [(skip.shape[axis] - decoder.shape[axis]) // 2]]
    return torch.cat([functional.pad(decoder, room), skip], 1)


# --- parameters_by_hand ---------------------------------------------------------------------------

def count(i, o, f, *, norm=4, three=9, bias=0, double=2, bottom=True, ups=4, up_bias=1,
          head=True, head_bias=1, second=1):
    total = 0
    pairs = [(i, f), (f, 2 * f), (2 * f, 4 * f), (4 * f, 8 * f)]
    pairs += [(8 * f, 16 * f)] * bottom
    pairs += [(double * n * f, n * f) for n in (8, 4, 2, 1)]
    for a, b in pairs:
        total += three * a * b + second * three * b * b + norm * b + bias * 2 * b
    for b in (8 * f, 4 * f, 2 * f, f):
        total += ups * 2 * b * b + up_bias * b
    return total + head * f * o + head_bias * o


def count_for_real(i, o, f):
    return sum(weight.numel() for weight in models.UNet(i, o, features=f).parameters())


def count_by_formula(i, o, f):
    return 7574 * f * f + (9 * i + 199 + o) * f + o


def count_by_arrays(i, o, f):
    w = np.array([1, 2, 4, 8, 16]) * f
    into = np.concatenate([[i], w[:4], 2 * w[:4]])
    out = np.concatenate([w, w[:4]])
    return (9 * (into * out + out * out) + 4 * out).sum() + (8 * w[:4] ** 2 + w[:4]).sum() + (f + 1
                                                                                              ) * o


def count_by_level(i, o, f):
    def block(a, b):
        return 9 * a * b + 2 * b + 9 * b * b + 2 * b

    def level(a, b, deep):
        if deep == 0:
            return block(a, b)
        return block(a, b) + level(b, 2 * b, deep - 1) + (2 * b * b * 4 + b) + block(2 * b, b)
    return level(i, f, 4) + f * o + o


def memory(numbers=4, outputs=1, weights=2, unit=1e6, moments=None):
    """The memory as it comes out of one mistake."""
    def compute(n, p, m):
        return numbers * (outputs * n + p * (weights + (m if moments is None else moments))) / unit
    return compute


RIGHT = {
    "instance_block": [block, Block, by_loop, in_halves, with_one_activation],
    "valid_side": [side, side_by_level, side_by_convolution, side_by_formula, side_by_numpy],
    "crop_and_join": [join, join_by_padding, join_by_narrow, join_by_copying, models.unet.join],
    "parameters_by_hand": [count, count_for_real, count_by_formula, count_by_arrays,
                           count_by_level, lambda i, o, f: float(count(i, o, f)),
                           lambda i, o, f: torch.tensor(count(i, o, f))],
    "training_memory": [memory(), lambda n, p, m: (n + p + p + m * p) * 4 / 1_000_000,
                        lambda n, p, m: n * 4e-6 + p * (8 + 4 * m) * 1e-6,
                        lambda n, p, m: np.float64(4 * n + 8 * p + 4 * m * p) / 10**6,
                        lambda n, p, m: sum([n, p, p] + [p] * m) * 32 / 8 / 1000 / 1000]}

WRONG = {
    "instance_block": [
        (with_layer({1, 4}, nn.InstanceNorm2d), "affine=True"),
        (with_layer({4}, nn.InstanceNorm2d), "Only the first norm is affine"),
        (with_layer({1}, nn.InstanceNorm2d), "Only the second norm is affine"),
        (with_layer({2, 5}, lambda o: nn.ReLU()), "That is ReLU"),
        (with_layer({2, 5}, lambda o: nn.LeakyReLU(0.1)), "0.01, yours is 0.1."),
        (with_layer({2, 5}, lambda o: nn.LeakyReLU(0.2)), "0.01, yours is 0.2."),
        (with_layer({2}, lambda o: nn.ReLU()), "One activation is ReLU:"),
        (with_layer({5}, lambda o: nn.ReLU()), "One activation is ReLU, the second"),
        (with_layer({5}, lambda o: nn.LeakyReLU(0.2)), "One slope of LeakyReLU is 0.01, the last"),
        (with_layer({2}, lambda o: nn.LeakyReLU(0.2)), "is 0.01, the other 0.2."),
        (with_layer({1, 4}, lambda o: nn.InstanceNorm2d(o, True)), "sets eps"),
        (with_layer({1, 4}, nn.BatchNorm2d), "mixes the images"),
        (with_layer({1, 4}, lambda o: nn.GroupNorm(1, o)), "layer norm"),
        (with_layer({1, 4}, lambda o: nn.InstanceNorm2d(o, affine=True, track_running_stats=True)),
         "track_running_stats"),
        (one_norm, "one and the same layer"),
        (with_layer({2}, lambda o: nn.Identity()), "only at the end"),
        (with_layer({5}, lambda o: nn.Identity()), "last activation"),
        (with_layer({2, 5}, lambda o: nn.Identity()), "no activation at all"),
        (with_layer({1, 4}, lambda o: nn.Identity()), "no norm"),
        (kept(0, 1, 2, 3, 5), "The second norm is missing"),
        (kept(0, 2, 3, 4, 5), "The first norm is missing"),
        (kept(0, 1, 2), "one convolution"), (norm_first, "before the convolution"),
        (kept(0, 2, 1, 3, 5, 4), "before the norm"),
        (convolutions(lambda i, o: nn.Conv2d(i, o, 3, bias=False),
                      lambda i, o: nn.Conv2d(i, o, 3, bias=False)), "padding=1"),
        (convolutions(lambda i, o: nn.Conv2d(i, o, 3, padding=1),
                      lambda i, o: nn.Conv2d(i, o, 3, padding=1)), "bias=False"),
        (convolutions(plain, lambda i, o: nn.Conv2d(i, o, 3, padding=1)),
         "parameters: expected 232, yours has 236. One of the convolutions has"),
        (convolutions(lambda i, o: nn.Conv2d(i, o, 3, padding=2, bias=False),
                      lambda i, o: nn.Conv2d(o, o, 3, padding=2, bias=False)), "padding=2 adds"),
        (WithoutReturn, "its forward returns None: is there a `return`?"),
        (convolutions(lambda i, o: nn.Conv2d(i, o, 1, bias=False),
                      lambda i, o: nn.Conv2d(i, o, 1, bias=False)), "see one pixel"),
        (convolutions(lambda i, o: nn.Conv2d(i, o, 5, padding=2, bias=False),
                      lambda i, o: nn.Conv2d(i, o, 5, padding=2, bias=False)), "kernel is 5x5"),
        (widening_late, "keeps in_channels"),
        (lambda i, o: nn.Sequential(
            nn.Conv2d(i, o, 3, padding=1), nn.InstanceNorm2d(o), nn.LeakyReLU(0.01),
            nn.Conv2d(o, o, 3, padding=1), nn.InstanceNorm2d(o), nn.LeakyReLU(0.01)),
         "Two things at once. nn.InstanceNorm2d learns no scale and shift unless you say "
         "affine=True. The convolutions have a bias"),
        (lambda i, o: nn.Sequential(
            plain(i, o), nn.BatchNorm2d(o), nn.ReLU(), plain(o, o), nn.BatchNorm2d(o), nn.ReLU()),
         "Two things at once. That is ReLU"),
        (too_narrow, "a convolution made for 2 channels got 4"),
        (lambda i, o: block(o, i), "a convolution made for 4 channels got 2"),
        (with_layer({4}, lambda o: nn.InstanceNorm2d(o + 1, affine=True)),
         "a norm made for 5 channels got 4"),
        (lambda i, o: nn.Sequential(list(block(i, o))), "takes the layers one by one"),
        (lambda i, o: block(2, 4), "a convolution made for 2 channels got 3"),
        (lambda i, o: list(block(i, o)), "which is no nn.Module"),
        (lambda i, o: block, "which is no nn.Module"),
        (lambda i, o: None, "is there a `return`"),
        (lambda i, o: nn.Identity(), "the shape of the output: expected (3, 4, 7, 10), yours has"),
        (lambda i, o: nn.Linear(i, o), "a linear layer takes in as many"),
        (lambda i, o: nn.Sequential(nn.Flatten(), nn.BatchNorm2d(o)), "a layer for 4D got 2 axes")],
    "valid_side": [
        (lambda s, n: s, "same padding"), (side_with(0, 0, 0), "same padding, odd sides"),
        (side_with(2, 2, 2), "4 off a side"), (side_with(8, 8, 8), "a block takes 4, not 8"),
        (side_with(deepest=0), "bottleneck has"), (side_with(up=0), "decoder's blocks"),
        (side_with(down=0), "encoder's blocks"), (side_with(double=1), "doubles the side"),
        (side_with(ask=""), "odd side cannot be halved"),
        (side_with(ask="after"), "odd after halving"), (side_with(ask="first"), "only whether the"),
        (side_with(ask="", round_up=True), "round up"),
        (lambda s, n: max(s - 12 * 2 ** n + 8, 0), "sides that work"),
        (lambda s, n: s - 12 * 2 ** n + 8, "where nothing is left"),
        (side_with(least=-999), "nothing is left"), (side_with(least=1), "0, not 1"),
        (lambda s, n: 388, "388 whatever"), (lambda s, n: side(s, 4), "fewer it is less"),
        (lambda s, n: s - 184, "184 is what four levels"),
        (lambda s, n: max(0, s - 184), "odd sides give 0"),
        (lambda s, n: side(s, n - 1), "a level too few"),
        (lambda s, n: side(s, n + 1), "a level too many"),
        (side_with(ask="both"), "A side may be odd after the last pooling"),
        (side_with(ask="bottom"), "after the last pooling, in the bottleneck"),
        (side_with(ask="divisible"), "need not be divisible by 2^levels"),
        (side_halved_first, "take 4 off first, then halve"), (side_with(up=8), "double first"),
        (side_with(up=2), "it takes 4 off, not 2"),
        (lambda s, n: max(0, s - 46 * n), "do not take off 46 each"),
        (side_with(wrong=None), "Where the size does not work, return 0."),
        (side_with(wrong=-1), "you returned -1. Where the size does not work, return 0."),
        (side_with(wrong=False), "you returned False. Where the size does not work, return 0."),
        (side_with(deepest=0, ask=""), "Two things at once. The bottleneck has"),
        (side_with(up=0, ask="after"), "Two things at once. The decoder's"),
        (lambda s, n: 0, "expected 388, you returned 0"),
        (lambda s, n: max(s - 12 * 2 ** n + 8, 0) if s % 4 == 0 else 0, "576 pixels, 4 levels"),
        (lambda s, n: str(side(s, n)), "expected a number, you returned '388'"),
        (lambda s, n: (s, n), "expected a number, you returned (572, 4)"),
        (lambda s, n: side(s, n) or None, "570 pixels, 4 levels: it returned None"),
        (lambda s, n: s // 0, "it divides by zero here")],
    "crop_and_join": [
        (beside(lambda d, s: s[:, :, :d.shape[2], :d.shape[3]]), "upper left"),
        (beside(lambda d, s: s[:, :, -d.shape[2]:, -d.shape[3]:]), "lower right"),
        (beside(lambda d, s: at(d, s, s.shape[2] - d.shape[2], s.shape[3] - d.shape[3])), "lower"),
        (beside(lambda d, s: at(d, s, (s.shape[3] - d.shape[3]) // 2,
                                (s.shape[2] - d.shape[2]) // 2)), "rows for the columns"),
        (beside(lambda d, s: at(d, s, *[(s.shape[2] - d.shape[2]) // 2] * 2)), "rows' offset"),
        (lambda d, s: torch.cat([cropped(d, s), d], 1), "come first"),
        (decoder_padded, "padded the decoder"), (shrunk("nearest"), "You shrank the skip:"),
        (shrunk("bilinear"), "shrank the skip by interpolation"),
        (shrunk("bilinear", align_corners=False), "shrank the skip by interpolation"),
        (beside(lambda d, s: functional.adaptive_avg_pool2d(s, d.shape[2:])), "pooled the skip:"),
        (beside(lambda d, s: functional.adaptive_max_pool2d(s, d.shape[2:])), "by maximum"),
        (lambda d, s: d, "decoder alone"), (cropped, "skip alone"),
        (lambda d, s: d + cropped(d, s), "You added"),
        (lambda d, s: torch.cat([d, cropped(d, s)]), "the batch"),
        (lambda d, s: torch.cat([d, cropped(d, s)], 2), "along the rows"),
        (lambda d, s: torch.cat([d, cropped(d, s)], 3), "along the columns"),
        (lambda d, s: (d, cropped(d, s)), "both in a tuple"),
        (lambda d, s: torch.cat([at(d, s, 0, 0), d], 1),
         "Two things at once. You cropped at the upper left"),
        (lambda d, s: torch.stack([d, cropped(d, s)], 1), "torch.stack makes a new axis"),
        (join_unless_equal, "nothing to crop: it raised RuntimeError: torch.cat got a tensor that "
                            "is empty: a slice [a:-b] holds nothing where b is 0"),
        (lambda d, s: torch.cat([d, s], 1), "one is 1 here and 3 there"),
        (lambda d, s: torch.cat([d, s[0]], 1), "tensors of as many axes each, and got 4 and 3"),
        (lambda d, s: d * s[:, :, :2], "expected shape (1, 2, 1, 1), you returned (1, 1, 2, 3)"),
        (lambda d, s: join(d, s).flip(1), "you returned [[[[5]], [[0]]]]"),
        (lambda d, s: join(d, s).numpy(), "expected a Tensor, you returned"),
        (lambda d, s: join(d, s).double(), "expected torch.float32, you returned torch.float64"),
        (lambda d, s: join(d, s).long(), "you returned torch.int64, which holds no decimals"),
        (lambda d, s: torch.zeros_like(join(d, s)), "you returned [[[[0]], [[0]]]]"),
        (lambda d, s: np.concatenate([d, cropped(d, s)], 1), "expected a Tensor")],
    "parameters_by_hand": [
        (lambda i, o, f: count(i, o, f, double=1), "twice the width"),
        (lambda i, o, f: count(i, o, f, bias=1), "a bias for the 3x3"),
        (lambda i, o, f: count(i, o, f, norm=0), "The norms are missing"),
        (lambda i, o, f: count(i, o, f, norm=2), "You counted one number per channel"),
        (lambda i, o, f: count(i, o, f, norm=8), "running mean"),
        (lambda i, o, f: count(i, o, f, up_bias=0), "up-convolutions have a bias"),
        (lambda i, o, f: count(i, o, f, head_bias=0), "The head has"),
        (lambda i, o, f: count(i, o, f, head_bias=0, up_bias=0), "Two things at once."),
        (lambda i, o, f: count(i, o, f, norm=0, bias=1),
         "a norm has two, a scale and a shift, and the convolution before it has no bias"),
        (lambda i, o, f: count(i, o, f, norm=0, double=1), "Two things at once. In the decoder"),
        (lambda i, o, f: count(i, o, f, ups=9), "not 3x3"),
        (lambda i, o, f: count(i, o, f, ups=2), "too few weights"),
        (lambda i, o, f: count(i, o, f, three=3), "3x3 kernel has 9"),
        (lambda i, o, f: count(i, o, f, ups=0, up_bias=0), "The up-convolutions are missing"),
        (lambda i, o, f: count(i, o, f, head=False, head_bias=0), "The head is missing"),
        (lambda i, o, f: count(i, o, f, bottom=False), "bottleneck is"),
        (lambda i, o, f: count(i, o, f, second=0) - 2 * 46 * f, "two convolutions"),
        (lambda i, o, f: count(i, o, f) - 340 * f * f, "twice as many channels come in"),
        (lambda i, o, f: count(i, o, f) - 4 * 15 * f, "decoder's norms"),
        (lambda i, o, f: count(i, o, f) + 8 * f * o, "The head is a 1x1"),
        (lambda i, o, f: count(i, o, f) / 1e6, "Those are millions"),
        (lambda i, o, f: count(i, o, f) * 4, "Those are bytes"),
        (lambda i, o, f: count(3, o, f), "three input channels always"),
        (lambda i, o, f: count(i, 1, f), "one output channel always"),
        (lambda i, o, f: 7_763_041, "whatever is asked"),
        (lambda i, o, f: 31_036_481, "expected 7,763,041, you returned 31,036,481"),
        (lambda i, o, f: {32: 7_763_041, 64: 31_036_481}.get(f, 0), "2 channels"),
        (lambda i, o, f: count(i, o, f) + 1, "expected 7,763,041, you returned 7,763,042"),
        (lambda i, o, f: f"{count(i, o, f):,}", "expected a number"),
        (lambda i, o, f: float("nan"), "NaN")],
    "training_memory": [
        (memory(weights=1), "each weight has a gradient"),
        (memory(weights=0), "Weights and gradients"), (memory(weights=3), "a number too many"),
        (memory(moments=0), "optimiser's numbers are missing"),
        (memory(moments=2), "two numbers for each weight always"),
        (memory(outputs=2), "counted the outputs twice"),
        (memory(outputs=0), "largest part"), (memory(1), "Those are numbers"),
        (memory(8), "a float64 eight"), (memory(2), "a float16 two"), (memory(32), "are bits"),
        (memory(unit=2**20), "MiB"), (memory(unit=1), "Those are bytes"),
        (memory(unit=1e3), "are kB"), (memory(unit=1e9), "are GB"),
        (lambda n, p, m: 4 * (n + 2 * p + m) / 1e6, "for each weight: multiply"),
        (lambda n, p, m: 4 * (n + 2 * p + m * n) / 1e6, "not for each output"),
        (lambda n, p, m: 4 * n * p * (2 + m) / 1e6, "You multiplied outputs"),
        (lambda n, p, m: 4 * (n + 2 * m * p) / 1e6, "not 2 * moments"),
        (lambda n, p, m: round(memory()(n, p, m)), "You rounded"),
        (lambda n, p, m: 4 * (n + p) * (2 + m) / 1e6, "The outputs are counted once"),
        (memory(32, weights=1), "Two things at once. Weights or gradients are missing"),
        (memory(8, outputs=2), "Two things at once. You counted the outputs twice"),
        (lambda n, p, m: 6.0, "more parameters than outputs"),
        (lambda n, p, m: 0.0, "expected 6, you returned 0"),
        (lambda n, p, m: "6 MB", "expected a number, you returned '6 MB'")]}

# Wrong in a way that no slip describes: what was expected is said, and nothing is guessed.
UNKNOWN = {
    "instance_block": [
        with_layer({2, 5}, lambda o: nn.ELU()), with_layer({1, 4}, lambda o: nn.Dropout(1.0)),
        kept(0, 1, 2, 3, 4, 5, 3),
        with_layer({2}, lambda o: nn.LeakyReLU(0.5)), with_layer({5}, lambda o: nn.Sigmoid())],
    "valid_side": [lambda s, n: side(s, n) + 1, lambda s, n: side(s, n) // 2, lambda s, n: s // n,
                   lambda s, n: 100, lambda s, n: side(s, n) if n == 4 else 7,
                   lambda s, n: side(s + 2, n), lambda s, n: 2 * side(s, n)],
    "crop_and_join": [lambda d, s: 2 * join(d, s), lambda d, s: join(d, s) + 1,
                      lambda d, s: join(d, s).flip(3), lambda d, s: join(s, s),
                      lambda d, s: torch.cat([d, d], 1)],
    "parameters_by_hand": [lambda i, o, f: count(i, o, f) - i, lambda i, o, f: 2 * count(i, o, f),
                           lambda i, o, f: count(i, o, f + 1), lambda i, o, f: i * o * f,
                           lambda i, o, f: count(i, o, f) + 9 * f],
    "training_memory": [lambda n, p, m: memory()(n, p, m) + 1, lambda n, p, m: memory()(p, n, m),
                        lambda n, p, m: memory()(n, p, m + 1) * 1.5, lambda n, p, m: n / p,
                        lambda n, p, m: memory()(n, p, m) / 3]}


@pytest.mark.parametrize(("name", "answer"), listed(RIGHT))
def test_right_answers_pass_however_they_are_written(name, answer):
    verdict = ask(name, answer)
    assert verdict.solved, verdict


@pytest.mark.parametrize(("name", "answer", "says"), listed(WRONG))
def test_wrong_answers_are_refused_with_their_cause(name, answer, says):
    verdict = ask(name, answer)
    assert verdict.solved is False and says in verdict.text, verdict


@pytest.mark.parametrize(("name", "answer"), listed(UNKNOWN))
def test_what_no_slip_explains_gets_no_diagnosis(name, answer):
    verdict = ask(name, answer)
    assert verdict.solved is False and "expected" in verdict.text, verdict
    assert "you returned" in verdict.text or "yours has" in verdict.text
    assert "Two things" not in verdict.text
    assert not names_a_slip(name, verdict.text)


@pytest.mark.parametrize("name", CODING)
def test_each_slip_is_named_for_what_it_does(name):
    for sentence, slip in parts_of(name)["slips"].items():
        verdict = ask(name, slip)
        assert verdict.solved is False and sentence in verdict.text, verdict


def test_there_are_answers_enough():
    assert all(len(RIGHT[name]) >= 5 and len(WRONG[name]) >= 12 for name in CODING)


@pytest.mark.parametrize("name", [*CODING, "judge_the_claim"])
@pytest.mark.parametrize("answer", [..., None, lambda *_: ...])
def test_what_was_not_attempted_is_said_to_be_open(name, answer):
    if name == "judge_the_claim" and callable(answer):
        answer = ""
    assert ask(name, answer).solved is None


def test_the_call_and_what_it_should_give_are_printed():
    def valid_side(side, levels):
        return side

    def instance_block(in_channels, out_channels):
        return nn.Identity()

    assert check.valid_side(valid_side).text.startswith(
        "valid_side(572, 4): expected 388, you returned 572. That is same padding")
    assert check.instance_block(instance_block).text == (
        "instance_block(2, 4): the shape of the output: expected (3, 4, 7, 10), yours has "
        "(3, 2, 7, 10).")


def test_the_claim():
    assert all(check.judge_the_claim(letter).solved for letter in ("c", " C ", "c)", "(c)", "C."))
    for letter, says in (("a", "31 million"), ("b", "receptive field"), ("d", "one training"),
                         ("e", "choose one of a, b, c, d"), ("ac", "choose one of")):
        verdict = check.judge_the_claim(letter)
        assert verdict.solved is False and says in verdict.text
