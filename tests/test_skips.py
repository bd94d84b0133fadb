"""The script of lesson 02's saved run takes its networks from the lesson's text."""

import importlib.util
from pathlib import Path

import pytest
import torch

from course_lib import models

CHECKOUT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("skips", CHECKOUT / "benchmarks" / "skips.py")
skips = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(skips)


def test_the_lesson_still_defines_what_the_script_takes():
    lesson = skips.from_lesson()
    image = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    outputs = []
    for join in skips.JOINS:
        torch.manual_seed(0)
        outputs.append(lesson["Net"](lesson[join], features=2)(image))
        assert outputs[-1].shape == (2, 1, 32, 32)
    assert not torch.allclose(outputs[0], outputs[1])            # the skip is used
    network = lesson["Net"](lesson["concatenate"], features=2)
    library = models.UNet(3, 1, features=2)
    network.load_state_dict(library.state_dict())
    torch.testing.assert_close(network(image), library(image))


def test_a_renamed_part_of_the_lesson_is_noticed(tmp_path, monkeypatch):
    text = skips.LESSON.read_text("utf-8").replace("def wire(", "def cable(")
    (tmp_path / "lesson.py").write_text(text, "utf-8")
    monkeypatch.setattr(skips, "LESSON", tmp_path / "lesson.py")
    with pytest.raises(AssertionError, match="lesson.py no longer defines wire"):
        skips.from_lesson()
