"""The script of lesson 02's saved run takes its networks from the lesson's text."""

import csv
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


def test_the_saved_run_is_there_whole():
    """Three networks, three seeds, the same patients with each."""
    saved = CHECKOUT / "course_lib" / "saved" / "lesson_02_skips.csv"
    how, *lines = saved.read_text("utf-8").splitlines()
    rows = list(csv.DictReader(lines))
    assert how.startswith("# benchmarks/skips.py") and {row["network"] for row in rows} == set(
        skips.JOINS)
    runs = {(row["network"], row["seed"]) for row in rows}
    patients = {row["patient"] for row in rows}
    assert len(runs) == 9 and len(patients) == 12 and len(rows) == 9 * 12
