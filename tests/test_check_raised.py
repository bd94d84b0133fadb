"""What torch and numpy raise is put into words, and the student's own line is named."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from course_lib import losses
from course_lib.check import raised

WHOLE = torch.ones(2, 3, dtype=torch.uint8)
PIXELS, ONES = np.ones((2, 3), np.uint8), torch.ones(2, 1, 4, 4)


def subtract_in_place():
    made = PIXELS.copy()
    made -= made.mean()


def divide_a_tensor_in_place():
    WHOLE.clone().div_(2)


def backward_twice():
    weight = torch.ones(2, requires_grad=True)
    loss = (weight * weight).sum()
    loss.backward()
    loss.backward()


def changed_before_backward():
    weight = torch.ones(2, requires_grad=True)
    middle = weight.exp()
    loss = middle.sum()
    middle += 1
    loss.backward()


class Unfinished(nn.Module):
    def __init__(self):
        self.layer = nn.ReLU()


RAISED = [
    (lambda: nn.Linear(4, 5)(torch.ones(2, 3)), "rows of 3 numbers met weights for 4"),
    (lambda: torch.ones(2, 3) @ torch.ones(4, 5), "rows of 3 numbers met weights for 4"),
    (lambda: nn.Conv2d(3, 4, 3)(torch.ones(2, 5, 7, 7)), "made for 3 channels got 5"),
    (lambda: nn.Conv2d(3, 4, 3)(torch.ones(2, 5)), "got a tensor of shape (2, 5)"),
    (lambda: nn.BatchNorm2d(3)(torch.ones(3, 4, 4)), "a layer for 4D got 3 axes: nn.…2d takes (B"),
    (lambda: nn.InstanceNorm2d(3)(torch.ones(4, 5)), "a layer for 3D or 4D got 2 axes"),
    (lambda: nn.InstanceNorm2d(3, affine=True)(torch.ones(2, 4, 5, 5)), "for 3 channels got 4"),
    (lambda: nn.BatchNorm2d(3)(torch.ones(2, 4, 5, 5)), "a norm made for 3 channels got 4"),
    (lambda: torch.cat([torch.ones(1, 2, 4, 4), torch.ones(1, 2, 8, 8)], 1),
     "torch.cat along axis 1 needs all other axes alike, and one is 4 here and 8 there"),
    (lambda: torch.cat([torch.ones(1, 2, 4), torch.ones(1, 2, 4)[:, :, 2:-0]], 1), "that is empty"),
    (lambda: [1, 2, 3][1.0:], "a slice takes whole numbers: halve with `//`"),
    (lambda: nn.LayerNorm(3)(torch.ones(2, 3, 5, 5)), "takes each channel of each image alone"),
    (lambda: nn.BatchNorm1d(3)(torch.ones(2, 3, 5, 5)), "a layer for 2D or 3D got 4 axes"),
    (lambda: nn.InstanceNorm2d(affine=True), "__init__ was called without 'num_features'"),
    (Unfinished, "super().__init__() is missing"),
    (lambda: torch.cat([torch.ones(1, 2, 4), torch.ones(1, 2)], 1), "got 3 and 2"),
    (lambda: torch.ones(2, 4) + torch.ones(2, 3), "along axis 1 one tensor has 4 and the other 3"),
    (lambda: np.ones((2, 4)) + np.ones((2, 3)), "arrays of shape (2,4) and (2,3)"),
    (subtract_in_place, "in place (-=, /=) would write decimals into whole numbers (uint8)"),
    (divide_a_tensor_in_place, "decimals (Float) do not fit into whole numbers (Byte)"),
    (lambda: WHOLE.mean(), "this takes decimals, and got whole numbers"),
    (lambda: WHOLE.std(), "this takes decimals, and got whole numbers"),
    (lambda: functional.binary_cross_entropy(torch.ones(2), torch.ones(2, dtype=torch.uint8)),
     "got whole numbers"),
    (lambda: nn.Linear(3, 4)(torch.ones(2, 3, dtype=torch.float64)), "of different types met"),
    (lambda: nn.Conv2d(3, 4, 3)(torch.ones(1, 3, 5, 5).double()), "of different types met"),
    (lambda: nn.Conv2d(3, 4, 3)(torch.ones(1, 3, 5, 5).byte()), "of different types met"),
    (lambda: torch.ones(2, 2) @ torch.ones(2, 2).double(), "of different types met"),
    (lambda: torch.ones(()).backward(), "the loss has no gradient"),
    (backward_twice, "backward ran twice on one loss"),
    (changed_before_backward, "optimizer.step() comes after backward"),
    (lambda: torch.ones(2, requires_grad=True).numpy(), "only after .detach()"),
    (lambda: bool(torch.ones(3)), "take one truth value"),
    (lambda: bool(np.ones(3)), "take one truth value"),
    (lambda: np.ones(3, bool) - np.ones(3, bool), "`~mask` is the opposite"),
    (lambda: torch.ones(3).bool() - torch.ones(3).bool(), "`~mask` is the opposite"),
    (lambda: -torch.ones(3).bool(), "`~mask` is the opposite"),
    (lambda: (lambda value: value)(1, 2), "lambda was called with 2 values and takes 1"),
    (lambda: (lambda value, other: value)(1), "lambda was called without 'other'"),
    (lambda: missing_name, "missing_name is not known here"),   # noqa: F821
    (lambda: PIXELS.unsqueeze(0), "a numpy array, which has no .unsqueeze"),
    (lambda: torch.ones(2).astype(float), "a torch tensor, which has no .astype"),
    (lambda: torch.sigmoid(PIXELS), "torch.from_numpy makes one of it"),
    (lambda: torch.cat([torch.ones(2), PIXELS]), "torch.from_numpy makes one of it"),
    (lambda: float(np.ones(3)), "a .mean() or .sum() may be missing"),
    (lambda: float(torch.ones(3)), "a .mean() or .sum() may be missing"),
    (lambda: np.ones(2).mean(axis=(0, 1)), "there is no axis 1: the array has 1"),
    (lambda: (1.5).backward(), "a plain number has no .backward()"),
    (lambda: nn.ReLU().shape, "a ReLU came where a tensor is taken"),
    (lambda: losses.BCE()(ONES, -ONES / 2), "the wrong way round"),
    (lambda: losses.BCE()(ONES, ONES.tril() / 255), "was divided by 255"),
    (lambda: [0.5] > 0.4, "take its parts one by one"),
    (lambda: 1 / 0, "it divides by zero here"), (lambda: 1.0 // 0, "it divides by zero here"),
    (lambda: 1 % 0, "it divides by zero here"),
    (lambda: nn.Sequential([nn.ReLU()]), "takes the layers one by one"),
    (lambda: [1][3], "list index out of range"), (lambda: {}["a"], "'a'")]


def words_for(function) -> str:
    with pytest.raises(Exception) as caught:
        function()
    return raised.in_words(caught.value, function)


@pytest.mark.parametrize(("function", "says"), RAISED)
def test_usual_errors_are_sentences(function, says):
    assert says in words_for(function)


def test_the_students_line_is_named():
    assert words_for(subtract_in_place).endswith("(at `made -= made.mean()`)")
    assert words_for(subtract_in_place).startswith("it raised UFuncTypeError: subtract in place")


def test_an_error_without_words_or_lines_is_still_a_sentence():
    assert raised.in_words(ValueError(), 3) == "it raised ValueError: no more is said"
    assert raised.in_words(ValueError("first\nsecond"), print) == "it raised ValueError: first"
    assert len(raised.in_words(ValueError("x" * 999), None)) < 200


def test_every_sentence_is_reached():
    said = " ".join(words_for(function) for function, _ in RAISED)
    parts = [max(words.replace("{", "}").split("}")[::2], key=len)
             for words in raised.SENTENCES.values()]
    assert [part for part in parts if part not in said] == []
