"""Networks traced on toy versions of what the lessons build, and drawn."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from course_lib import models, show
from course_lib.errors import CourseError
from course_lib.models.blocks import DoubleConv
from course_lib.show import drawing

DOWN = [("enc1", "enc2", 1), ("enc2", "enc3", 1), ("enc3", "enc4", 1), ("enc4", "bottleneck", 1)]
UP = [("bottleneck", "dec4", -1), ("dec4", "dec3", -1), ("dec3", "dec2", -1), ("dec2", "dec1", -1)]
SKIPS = [(f"enc{level}", f"dec{level}", 0) for level in "4321"]
ON = [("image", "enc1", 0), ("dec1", "head", 0)]


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("features", [2, 5])
def test_a_unet_is_found_as_in_the_papers_figure(dim, features, padding):
    model = models.UNet(3, 2, dim=dim, features=features, padding=padding)
    side = 32 if padding == "same" else 188
    boxes, arrows = show.trace_network(model, (1, 3, *[side] * dim))
    assert list(boxes) == ["image", "enc1", "enc2", "enc3", "enc4", "bottleneck", "dec4", "dec3",
                           "dec2", "dec1", "head"]
    assert sorted(arrows) == sorted(DOWN + UP + SKIPS + ON)
    channels = [3, *(features * 2**level for level in (0, 1, 2, 3, 4, 3, 2, 1, 0)), 2]
    sides = {"same": [32, 32, 16, 8, 4, 2, 4, 8, 16, 32, 32],
             "valid": [188, 184, 88, 40, 16, 4, 4, 4, 4, 4, 4]}[padding]
    assert list(boxes.values()) == [(count, *[side] * dim)
                                    for count, side in zip(channels, sides, strict=True)]


def test_the_papers_own_sides_are_found():
    boxes, _ = show.trace_network(models.UNet.ronneberger(), (1, 1, 572, 572))
    assert [shape[1] for shape in boxes.values()] == [572, 568, 280, 136, 64, 28, 52, 100, 196, 388,
                                                      388]


def test_tracing_leaves_the_network_as_it_was():
    model = models.UNet(1, 1, features=2).train()
    model.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        _, arrows = show.trace_network(model, (1, 1, 16, 16))
    assert len(arrows) == 14 and model.training
    assert not any(module._forward_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        assert value.device.type == "cpu" and torch.equal(value, before[name])


def test_a_size_that_does_not_fit_is_refused_by_the_network_and_no_hook_stays():
    model = models.UNet(1, 1, features=2)
    with pytest.raises(CourseError, match="does not pass through all poolings"):
        show.topology(model, (1, 1, 20, 20))
    assert not any(module._forward_hooks for module in model.modules())


class Net(nn.ModuleDict):
    """Two levels, wired as in lesson 02: poolings are functions, `join` makes the skip."""

    def __init__(self, join, double=1):
        super().__init__({"enc1": DoubleConv(1, 2), "bottleneck": DoubleConv(2, 4),
                          "up1": nn.ConvTranspose2d(4, 2, 2, stride=2),
                          "dec1": DoubleConv(2 * double, 2), "head": nn.Conv2d(2, 1, 1)})
        self.join = join

    def forward(self, image):
        enc1 = self.enc1(image)
        bottleneck = self.bottleneck(functional.max_pool2d(enc1, 2))
        return self.head(self.dec1(self.join(self.up1(bottleneck), enc1)))


@pytest.mark.parametrize(("net", "skips"), [
    (Net(lambda decoder, skip: torch.cat([decoder, skip], dim=1), 2), [("enc1", "dec1", 0)]),
    (Net(lambda decoder, skip: decoder + skip), [("enc1", "dec1", 0)]),
    (Net(lambda decoder, skip: decoder), [])])
def test_skips_are_found_where_they_are_and_nowhere_else(net, skips):
    _, arrows = show.trace_network(net, (1, 1, 8, 8))
    assert sorted(arrows) == sorted([("image", "enc1", 0), ("enc1", "bottleneck", 1),
                                     ("bottleneck", "dec1", -1), ("dec1", "head", 0), *skips])


class Gate(nn.Module):
    """An attention gate with a pooling in it, which does not change its level."""

    def __init__(self, channels):
        super().__init__()
        self.weigh = nn.Conv2d(channels, 1, 1)

    def forward(self, signal, skip):
        coarse = functional.max_pool2d(self.weigh(signal + skip), 2)
        return skip * torch.sigmoid(functional.interpolate(coarse, scale_factor=2.0))


class Plan(nn.Module):
    """Stages in lists, strided convolutions, one of one axis alone, gates, and two heads."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([DoubleConv(1, 2), nn.Conv2d(2, 4, 3, (2, 1), 1),
                                     nn.Conv2d(4, 4, 3, 4, 1)])
        self.gate = Gate(4)
        self.decoder = nn.ModuleList([DoubleConv(8, 4), DoubleConv(6, 2)])
        self.heads = nn.ModuleList([nn.Conv2d(4, 1, 1), nn.Conv2d(2, 1, 1)])

    def forward(self, image):
        first = self.stages[0](image)
        second = self.stages[1](first)
        up = functional.interpolate(self.stages[2](second), second.shape[2:], mode="bilinear")
        coarse = self.decoder[0](torch.cat([up, self.gate(up, second)], dim=1))
        up = functional.interpolate(coarse, scale_factor=(2.0, 1.0))
        fine = self.decoder[1](torch.cat([up, first], dim=1))
        return [self.heads[1](fine), self.heads[0](coarse)]


def test_lists_are_opened_and_strides_gates_and_several_heads_are_found():
    boxes, arrows = show.trace_network(Plan(), (2, 1, 16, 16))
    assert boxes == {"image": (1, 16, 16), "stages.0": (2, 16, 16), "stages.1": (4, 8, 16),
                     "stages.2": (4, 2, 4), "gate": (4, 8, 16), "decoder.0": (4, 8, 16),
                     "decoder.1": (2, 16, 16), "heads.1": (1, 16, 16), "heads.0": (1, 8, 16)}
    assert sorted(arrows) == sorted([
        ("image", "stages.0", 0), ("stages.0", "stages.1", 1), ("stages.1", "stages.2", 2),
        ("stages.1", "gate", 0), ("stages.2", "gate", -2), ("gate", "decoder.0", 0),
        ("stages.2", "decoder.0", -2), ("stages.0", "decoder.1", 0), ("decoder.0", "decoder.1", -1),
        ("decoder.1", "heads.1", 0), ("decoder.0", "heads.0", 0)])


def test_what_no_block_makes_is_the_output():
    net = Net(lambda decoder, skip: decoder)
    boxes, arrows = show.trace_network(nn.Sequential(*net.values(), nn.Sigmoid()), (1, 1, 8, 8))
    assert list(boxes)[-2:] == ["4", "output"] and arrows[-1] == ("4", "output", 0)
    boxes, arrows = show.trace_network(nn.Sigmoid(), (1, 1, 8, 8))
    assert boxes == {"image": (1, 8, 8), "output": (1, 8, 8)} and arrows == [("image", "output", 0)]


def test_boxes_are_laid_out_as_a_u():
    places = drawing._place(*show.trace_network(models.UNet(1, 1, features=2), (1, 1, 16, 16)), 1)
    rows = [places[name][1] for name in ("enc1", "enc2", "enc3", "enc4", "bottleneck")]
    assert rows == [0, -1, -2, -3, -4]
    for level, row in zip("1234", rows[:4], strict=True):
        left, right = places[f"enc{level}"], places[f"dec{level}"]
        assert left[1] == right[1] == row and right[0] - left[0] >= 1.2           # widths of a box
    assert places["enc4"][0] < places["bottleneck"][0] < places["dec4"][0]
    assert places["image"][0] < places["enc1"][0] - 1 and places["head"][0] > places["dec1"][0] + 1
    assert places["image"][1] == places["head"][1] == 0


def test_no_two_boxes_overlap_in_a_network_of_many_skips():
    boxes = {name: (1, 8, 8) for name in ("x00", "x10", "x01", "x20", "x11", "x02")}
    arrows = [("x00", "x10", 1), ("x00", "x01", 0), ("x10", "x01", -1), ("x10", "x20", 1),
              ("x10", "x11", 0), ("x20", "x11", -1), ("x00", "x02", 0), ("x01", "x02", 0),
              ("x11", "x02", -1)]
    places = list(drawing._place(boxes, arrows, 1).values())
    for number, (x, y) in enumerate(places):
        assert all(y != other_y or abs(x - other_x) > 1.1
                   for other_x, other_y in places[number + 1 :])


@pytest.fixture
def drawn(monkeypatch):
    """The kind of each arrow that is drawn, with its two ends, and the words of each box."""
    seen = SimpleNamespace(arrows=[], boxes=[])
    monkeypatch.setattr(drawing, "_draw_arrow",
                        lambda axis, start, end, height, kind, places: seen.arrows.append(kind))
    monkeypatch.setattr(drawing, "_draw_box",
                        lambda axis, x, y, height, words, values: seen.boxes.append(words))
    return seen


def test_a_drawing_has_a_box_for_each_block_and_an_arrow_for_each_way(drawn):
    show.topology(models.UNet(3, 1, features=2), (1, 3, 16, 32))
    assert len(drawn.boxes) == 11 and drawn.boxes[:2] == ["image\n3 × 16 × 32", "enc1\n2 × 16 × 32"]
    assert [drawn.arrows.count(kind) for kind in ("down", "up", "skip", "on")] == [4, 4, 4, 2]


def test_a_drawing_says_in_words_what_is_drawn():
    picture = show.topology(Net(lambda decoder, skip: decoder + skip), (1, 1, 8, 8), alt="Ours.")
    assert picture.alt == (
        "Ours. Boxes, channels × sides: image 1 × 8 × 8, enc1 2 × 8 × 8, bottleneck 4 × 4 × 4, "
        "dec1 2 × 8 × 8, head 1 × 8 × 8. Arrows down: enc1 to bottleneck. Arrows up: bottleneck to "
        "dec1. Arrows skip: enc1 to dec1. Arrows on: image to enc1, dec1 to head.")


def dark(picture: show.Picture) -> int:
    """How many pixels are black or nearly so."""
    return int((np.asarray(Image.open(io.BytesIO(picture.data)).convert("L")) < 30).sum())


def test_maps_are_shown_in_their_boxes():
    boxes, arrows = {"a": (1, 8, 8), "b": (2, 4, 4)}, [("a", "b", 1)]
    ramp = np.linspace(-3, 7, 64).reshape(8, 8)
    plain = show.draw_network(boxes, arrows)
    one, two = (show.draw_network(boxes, arrows, maps=maps)
                for maps in ({"a": ramp}, {"a": ramp, "b": -ramp}))
    few, more = (dark(picture) - dark(plain) for picture in (one, two))
    assert few > 1000 and more > 1.6 * few                       # the dark end of each ramp


def test_a_bow_leads_over_a_box_that_stands_between():
    from matplotlib.figure import Figure

    axis = Figure(figsize=(4, 4)).subplots()
    axis.set(xlim=(0, 3), ylim=(0, 3))
    places = [(0, 0), (1.5, 0), (3, 0)]
    for start, end in ((0, 1), (0, 2)):
        drawing._draw_arrow(axis, places[start], places[end], 0.4, "skip", places)
    straight, bowed = (patch.get_path().vertices for patch in axis.patches)
    assert straight[:, 1].max() < 0.1
    assert bowed[:, 1].max() > 0.4                               # boxes end at 0.2
