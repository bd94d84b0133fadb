import math
from dataclasses import replace

import pytest
import torch

from course_lib.compute import Compute
from course_lib.doctor import probe

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def reference() -> probe.Step:
    return probe.one_step(CPU)


def test_a_step_is_the_same_each_time_and_changes_something(reference):
    again = probe.one_step(CPU)
    assert again.loss == reference.loss
    assert len(reference.changes) == 2 * 9 + 4 + 1       # nine double convolutions, four up, head
    for one, other in zip(again.changes, reference.changes, strict=True):
        assert torch.equal(one, other) and (one != 0).float().mean() > 0.9


def test_the_readers_random_numbers_are_left_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    probe.one_step(CPU)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_layout_and_precision_only_round(reference, layout, precision):
    step = probe.one_step(CPU, Compute(layout, precision))
    assert probe.agrees(step, reference, precision)
    assert (probe.distances(step, reference)[1] > 1e-3) == (precision == "bfloat16")


def test_a_gradient_that_is_missing_in_one_part_is_seen(reference, monkeypatch):
    """The loss is right, but nothing flows back through the up-convolutions."""
    forward = torch.nn.ConvTranspose2d.forward
    monkeypatch.setattr(torch.nn.ConvTranspose2d, "forward",
                        lambda layer, image: forward(layer, image).detach())
    step = probe.one_step(CPU)
    assert step.loss == reference.loss
    assert not probe.agrees(step, reference, "bfloat16")


@pytest.mark.parametrize("wrong", [
    lambda step: replace(step, loss=19.9), lambda step: replace(step, loss=math.nan),
    lambda step: replace(step, changes=[0 * change for change in step.changes]),
    lambda step: replace(step, changes=[-step.changes[0], *step.changes[1:]]),
    lambda step: replace(step, changes=[*step.changes[:-1], step.changes[-1] * math.nan])])
@pytest.mark.parametrize("precision", probe.TOLERANCE)
def test_wrong_losses_and_wrong_changes_do_not_agree(reference, wrong, precision):
    assert probe.agrees(reference, reference, precision)
    assert not probe.agrees(wrong(reference), reference, precision)


@pytest.mark.parametrize(("at_most", "steps"), [(0.0, 3), (1e9, 20)])
def test_the_probe_takes_3_to_20_steps_after_one_that_does_not_count(monkeypatch, at_most, steps):
    calls = []
    monkeypatch.setattr(probe, "small_training",
                        lambda *args, **sizes: (None, lambda: calls.append(1)))
    assert probe.seconds_per_step(CPU, at_most) >= 0
    assert len(calls) == 1 + steps
