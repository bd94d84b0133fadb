"""Things as text in config.json, and rebuilt from it."""

import enum
import functools
import json
import math
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from course_lib import augment, losses, models
from course_lib.errors import CourseError
from course_lib.registry import build, describe, source_checksum


def stored(thing):
    """What comes back from config.json."""
    return json.loads(json.dumps(describe(thing), allow_nan=False))


def test_a_network_comes_back_with_its_arguments():
    model = models.UNet(3, 2, features=4, norm=None)
    again = build(stored(model), models.MODELS)
    assert describe(again) == stored(model) == describe(model)
    assert stored(model)["module"] == "course_lib.models.unet" and "source" not in stored(model)


@pytest.mark.parametrize("loss", [losses.BCE(), losses.SoftDice(2.0), losses.BCEDice(smooth=0.5)])
def test_a_loss_comes_back_with_its_arguments(loss):
    again = build(stored(loss), losses.LOSSES)
    assert type(again) is type(loss) and describe(again) == describe(loss)


def test_nothing_comes_back_as_nothing():
    assert describe(None) is None and build(None, {}) is None


class UNet(nn.Module):
    """A student's class that bears the name of one of ours."""

    def __init__(self, width=3):
        super().__init__()
        self.width = width


def test_a_class_of_the_same_name_elsewhere_is_told_apart():
    described = stored(UNet())
    assert described["name"] == "UNet" and described["arguments"] == {"width": 3}
    with pytest.raises(CourseError, match=r"test_registry\.UNet is not one of .*Pass it: model="):
        build(described, models.MODELS)


def own_loss(logits, target):
    return logits.mean()


class Colour(enum.Enum):
    RED = 1


class Odd(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value


@pytest.mark.parametrize("thing", [
    own_loss, lambda logits, target: 0, functools.partial(own_loss, target=1), [].append,
    nn.CrossEntropyLoss(weight=torch.ones(3)), nn.Sequential(nn.Conv2d(3, 1, 1)),
    *map(Odd, (np.float32(1.5), np.arange(3), torch.float16, pathlib.Path("a"), Colour.RED, None,
               object(), math.nan, {"a": (1, 2)}, own_loss, UNet, float("inf")))])
def test_whatever_is_described_is_json_and_equal_to_itself(thing):
    assert stored(thing) == describe(thing) and " at 0x" not in json.dumps(describe(thing))


def test_another_tensor_is_another_description():
    one, other = (nn.CrossEntropyLoss(weight=torch.tensor(w)) for w in ([1.0, 2.0], [1.0, 3.0]))
    assert describe(one) != describe(other)


def test_what_wraps_an_augmentation_is_that_augmentation():
    plain = augment.Compose([augment.Affine()])

    @functools.wraps(plain)
    def wrapper(image, target, generator):
        return plain(image, target, generator)

    assert describe(wrapper) == describe(plain)


FIRST = "class Net:\n    def forward(self, x):\n        return [y + 1 for y in x]\n"


def test_a_changed_body_is_noticed_with_source_and_without(tmp_path, monkeypatch):
    changed = FIRST.replace("+ 1", "+ 2")
    sums = []
    for text in (FIRST, FIRST, changed):
        space = {"__name__": "no_file"}
        exec(text, space)
        sums.append(source_checksum(space["Net"]))
        sums.append(source_checksum(space["Net"].forward))
    assert sums[0] == sums[2] != sums[4] and sums[1] == sums[3] != sums[5]
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "net_one.py").write_text(FIRST)
    (tmp_path / "net_two.py").write_text(changed)
    import net_one
    import net_two
    assert source_checksum(net_one.Net) != source_checksum(net_two.Net)


def test_a_checksum_without_source_is_the_same_in_another_process():
    code = ("from course_lib.registry import source_checksum\nspace = {'__name__': 'no_file'}\n"
            f"exec({FIRST!r}, space)\nprint(source_checksum(space['Net']))")
    sums = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                           check=True).stdout for _ in range(2)}
    assert len(sums) == 1 and sums != {""}


def test_first_weights_are_not_downloaded_to_be_replaced():
    made = []

    def network(pretrained=True):
        made.append(pretrained)

    build({"name": "Net", "module": "course_lib.models.net", "arguments": {"pretrained": True}},
          {"Net": network})
    assert made == [False]


@pytest.mark.parametrize("damaged", [[], {}, {"name": "UNet"}, {"name": 1, "module": "course_lib."},
                                     "UNet", {"name": "UNet", "module": "course_lib.models.unet",
                                              "arguments": []}])
def test_a_damaged_description_is_one_sentence(damaged):
    with pytest.raises(CourseError, match="describes nothing"):
        build(damaged, models.MODELS)


def test_arguments_of_another_version_are_one_sentence():
    described = stored(models.UNet(1, 1, features=2))
    described["arguments"]["dropout"] = 0.5
    with pytest.raises(CourseError, match="UNet does not take these arguments .*dropout"):
        build(described, models.MODELS)
