"""Each checker of lesson 02: the right answer, the same in other words, and wrong ones."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from course_lib import models
from course_lib.check import lesson_02 as check


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


def changed(change):
    """The block with its layers changed in place."""
    def make(i, o):
        layers = list(block(i, o))
        return nn.Sequential(*change(layers, i, o))
    return make


def with_layer(positions, layer):
    return changed(lambda layers, i, o: [layer(o) if n in positions else old
                                         for n, old in enumerate(layers)])


def side_by_level(side, levels):
    if levels == 0:
        return max(side - 4, 0)
    inner = 0 if (side - 4) % 2 or side < 6 else side_by_level((side - 4) // 2, levels - 1)
    return max(2 * inner - 4, 0)


def side_unchecked(side, levels):
    for _ in range(levels):
        side = (side - 4) // 2
    side -= 4
    for _ in range(levels):
        side = side * 2 - 4
    return max(0, side)


def join(decoder, skip):
    top, left = ((s - d) // 2 for s, d in zip(skip.shape[2:], decoder.shape[2:], strict=True))
    height, width = decoder.shape[2:]
    return torch.cat((decoder, skip[..., top:top + height, left:left + width]), 1)


def join_by_padding(decoder, skip):
    rows, columns = ((d - s) // 2 for s, d in zip(skip.shape[2:], decoder.shape[2:], strict=True))
    return torch.cat((decoder, functional.pad(skip, (columns, columns, rows, rows))), 1)


def join_unless_equal(decoder, skip):
    cut = (skip.shape[2] - decoder.shape[2]) // 2
    return torch.cat((decoder, skip[:, :, cut:-cut, cut:-cut]), 1)


def count(i, o, f):
    total = 0
    for a, b in [(i, f), (f, 2 * f), (2 * f, 4 * f), (4 * f, 8 * f), (8 * f, 16 * f), (16 * f,
                 8 * f),
                 (8 * f, 4 * f), (4 * f, 2 * f), (2 * f, f)]:
        total += 9 * a * b + 9 * b * b + 4 * b
    for b in (8 * f, 4 * f, 2 * f, f):
        total += 4 * 2 * b * b + b
    return total + f * o + o


def count_for_real(i, o, f):
    return sum(weight.numel() for weight in models.UNet(i, o, features=f).parameters())


RIGHT = [
    (check.instance_block, block), (check.instance_block, Block),
    (check.valid_side, lambda side, levels: check._sides(side, levels)),
    (check.valid_side, side_by_level),
    (check.crop_and_join, join), (check.crop_and_join, join_by_padding),
    (check.crop_and_join, models.unet.join),
    (check.parameters_by_hand, count), (check.parameters_by_hand, count_for_real),
    (check.parameters_by_hand, lambda i, o, f: float(count(i, o, f))),
    (check.training_memory, lambda n, p, m: (n + p + p + m * p) * 4 / 1_000_000),
    (check.training_memory, lambda n, p, m: n * 4e-6 + p * (8 + 4 * m) * 1e-6),
    (check.judge_the_claim, "c"), (check.judge_the_claim, " C "),
]


@pytest.mark.parametrize(("checker", "answer"), RIGHT)
def test_right_answers_pass(checker, answer):
    verdict = checker(answer)
    assert verdict.solved, verdict


WRONG = [
    (check.instance_block, with_layer({1, 4}, nn.InstanceNorm2d), "affine=True"),
    (check.instance_block, with_layer({2, 5}, lambda o: nn.ReLU()), "That is ReLU"),
    (check.instance_block, with_layer({1, 4}, nn.BatchNorm2d), "mixes the images"),
    (check.instance_block, with_layer({2}, lambda o: nn.Identity()), "only at the end"),
    (check.instance_block, with_layer({5}, lambda o: nn.Identity()), "last activation"),
    (check.instance_block, with_layer({2, 5}, lambda o: nn.Identity()), "no activation at all"),
    (check.instance_block, with_layer({1, 4}, lambda o: nn.Identity()), "no norm"),
    (check.instance_block, changed(lambda layers, i, o: layers[:3]), "one convolution"),
    (check.instance_block, changed(lambda layers, i, o: [nn.BatchNorm2d(i), layers[0], layers[2]]),
     "differ"),
    (check.instance_block, changed(lambda layers, i, o: [
        nn.InstanceNorm2d(i, affine=True), layers[0], layers[2], layers[1], layers[3], layers[5]]),
     "before the convolution"),
    (check.instance_block, changed(lambda layers, i, o: [layers[n] for n in (0, 2, 1, 3, 5, 4)]),
     "before the norm"),
    (check.instance_block, changed(lambda layers, i, o: [
        nn.Conv2d(i, o, 3, bias=False), *layers[1:3], nn.Conv2d(o, o, 3, bias=False), *layers[4:]]),
     "padding=1"),
    (check.instance_block, changed(lambda layers, i, o: [
        nn.Conv2d(i, o, 3, padding=1), *layers[1:3], nn.Conv2d(o, o, 3, padding=1), *layers[4:]]),
     "bias=False"),
    (check.instance_block, with_layer({1, 4}, lambda o: nn.InstanceNorm2d(
        o, affine=True, track_running_stats=True)), "differ"),
    (check.instance_block, lambda i, o: block(2, 4), "3 to 3 channels"),
    (check.instance_block, lambda i, o: list(block(i, o)), "list is no nn.Module"),
    (check.instance_block, lambda i, o: None, "is there a `return`"),
    (check.instance_block, lambda i, o: nn.Identity(), "expected shape"),
    (check.valid_side, lambda side, levels: side, "same padding"),
    (check.valid_side, lambda side, levels: check._sides(side, levels, 2, 2, 2), "4 off a side"),
    (check.valid_side, lambda side, levels: check._sides(side, levels, deepest=0),
     "bottleneck has"),
    (check.valid_side, lambda side, levels: check._sides(side, levels, up=0), "decoder's blocks"),
    (check.valid_side, side_unchecked, "odd side cannot be halved"),
    (check.valid_side, lambda side, levels: max(side - 12 * 2 ** levels + 8, 0), "sides that work"),
    (check.valid_side, lambda side, levels: check._sides(side, levels, floor=-999),
     "nothing is left"),
    (check.valid_side, lambda side, levels: check._sides(side, 4), "fewer it is less"),
    (check.valid_side, lambda side, levels: 388, "388 whatever"),
    (check.valid_side, lambda side, levels: 0, "expected 388, you returned 0"),
    (check.crop_and_join, lambda d, s: torch.cat([d, s[:, :, :d.shape[2], :d.shape[3]]], 1),
     "upper left"),
    (check.crop_and_join, lambda d, s: torch.cat([d, s[:, :, -d.shape[2]:, -d.shape[3]:]], 1),
     "lower right"),
    (check.crop_and_join, lambda d, s: join(d, s).flip(1), "values differ"),
    (check.crop_and_join, lambda d, s: torch.cat([join(d, s)[:, d.shape[1]:], d], 1), "come first"),
    (check.crop_and_join, lambda d, s: torch.cat(
        [functional.pad(d, [n for axis in (3,
                 2) for n in 2 * [(s.shape[axis] - d.shape[axis]) // 2]]),
         s], 1), "padded the decoder"),
    (check.crop_and_join, lambda d, s: torch.cat(
        [d, functional.interpolate(s, d.shape[2:])], 1), "shrank"),
    (check.crop_and_join, lambda d, s: d, "decoder alone"),
    (check.crop_and_join, lambda d, s: join(d, s)[:, d.shape[1]:], "skip alone"),
    (check.crop_and_join, join_unless_equal, "two channels, 6x4"),
    (check.crop_and_join, lambda d, s: d + join(d, s)[:, d.shape[1]:], "You added"),
    (check.crop_and_join, lambda d, s: torch.cat([d, join(d, s)[:, d.shape[1]:]]), "the batch"),
    (check.crop_and_join, lambda d, s: torch.zeros_like(join(d, s)), "values differ"),
    (check.parameters_by_hand, lambda i, o, f: check._count(i, o, f, doubled=False),
     "twice the width"),
    (check.parameters_by_hand, lambda i, o, f: check._count(i, o, f, bias=True),
     "a bias for the 3x3"),
    (check.parameters_by_hand, lambda i, o, f: check._count(i, o, f, norm=0), "scale and a shift"),
    (check.parameters_by_hand, lambda i, o, f: check._count(i, o, f, norm=1), "not one"),
    (check.parameters_by_hand, lambda i, o, f: check._count(i, o, f, norm=4), "running mean"),
    (check.parameters_by_hand, lambda i, o, f: check._count(i, o, f, up_bias=False),
     "up-convolutions have a bias"),
    (check.parameters_by_hand, lambda i, o, f: check._count(i, o, f, head_bias=False),
     "The head has"),
    (check.parameters_by_hand, lambda i, o, f: count(i, o, f) - o - 15 * f, "and the head have"),
    (check.parameters_by_hand, lambda i, o, f: check._count(i, o, f, up_kernel=9), "not 3x3"),
    (check.parameters_by_hand, lambda i, o, f: count(i, o, f) - 680 * f * f - 15 * f,
     "are missing"),
    (check.parameters_by_hand, lambda i, o, f: 31_036_481, "7,763,041"),
    (check.parameters_by_hand, lambda i, o, f: {32: 7_763_041, 64: 31_036_481}.get(f, 0),
     "2 channels"),
    (check.parameters_by_hand, lambda i, o, f: 0, "you returned 0"),
    (check.parameters_by_hand, lambda i, o, f: count(i, o, f) + 1, "7,763,042"),
    (check.training_memory, lambda n, p, m: (n + p + m * p) * 4 / 1e6,
     "gradients are missing: one"),
    (check.training_memory, lambda n, p, m: (n + m * p) * 4 / 1e6, "Weights and gradients"),
    (check.training_memory, lambda n, p, m: (n + 2 * p) * 4 / 1e6, "optimiser's numbers"),
    (check.training_memory, lambda n, p, m: (2 * n + p * (2 + m)) * 4 / 1e6, "counted the outputs"),
    (check.training_memory, lambda n, p, m: (n + p * (2 + m)) / 1e6, "takes four bytes."),
    (check.training_memory, lambda n, p, m: (n + p * (2 + m)) * 8 / 1e6, "a float64 eight"),
    (check.training_memory, lambda n, p, m: (n + p * (2 + m)) * 4 / 2**20, "MiB"),
    (check.training_memory, lambda n, p, m: (n + p * (2 + m)) * 4, "Those are bytes"),
    (check.training_memory, lambda n, p, m: p * (2 + m) * 4 / 1e6, "largest part"),
    (check.training_memory, lambda n, p, m: 4 * (n + 2 * p + m) / 1e6, "for each weight"),
    (check.training_memory, lambda n, p, m: 6.0, "more parameters"),
    (check.instance_block, check._block(activation=lambda: nn.LeakyReLU(0.1)), "slope"),
    (check.valid_side, lambda s, n: s - 12 * 2 ** n + 8, "where nothing is left"),
    (check.valid_side, lambda s, n: max(s - 12 * 2 ** n + 8, 0) if s % 4 == 0 else 0, "level"),
    (check.valid_side, lambda s, n: str(check._sides(s, n)), "expected a number"),
    (check.parameters_by_hand, lambda *a: f"{check._count(*a):,}", "expected a number"),
    (check.parameters_by_hand, lambda *a: float("nan"), "NaN"),
    (check.parameters_by_hand, lambda *a: check._count(*a, bottleneck=False), "bottleneck is"),
    (check.parameters_by_hand, lambda *a: check._count(*a, second=False), "two convolutions"),
    (check.parameters_by_hand, lambda *a: check._count(*a, halved=False), "takes in twice"),
    (check.training_memory, lambda n, p, m: 0.0, "you returned 0"),
    (check.judge_the_claim, "a", "31 million"), (check.judge_the_claim, "b", "receptive field"),
    (check.judge_the_claim, "d", "one training"), (check.judge_the_claim, "e", "choose one of"),
]


@pytest.mark.parametrize(("checker", "answer", "words"), WRONG)
def test_wrong_answers_are_refused_with_their_own_diagnosis(checker, answer, words):
    verdict = checker(answer)
    assert verdict.solved is False
    assert words in verdict.text, verdict


CHECKERS = list(dict.fromkeys(checker for checker, _ in RIGHT))


@pytest.mark.parametrize("checker", CHECKERS)
@pytest.mark.parametrize("answer", [..., None, lambda *_: ...])
def test_what_was_not_attempted_is_said_to_be_open(checker, answer):
    if checker is check.judge_the_claim and callable(answer):
        answer = ""
    assert checker(answer).solved is None


def test_each_slip_of_the_block_is_told_apart_from_the_others():
    told = {check.instance_block(make).text for make in (
        check._block(order="cnacn"), check._block(order="cncna"), check._block(order="cncn"),
        check._block(order="ncanca"), check._block(order="cancan"), check._block(order="cna"),
        check._block(order="caca"), check._block(padding=0), check._block(bias=True))}
    assert len(told) == 9


def test_the_wrong_letters_of_the_claim_have_diagnoses_of_their_own():
    assert len({check.judge_the_claim(letter).text for letter in "abd"}) == 3
