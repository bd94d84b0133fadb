import copy
import json
import re

import numpy as np
import pytest
import torch
from torch import nn

from course_lib import models, settings
from course_lib.errors import CourseError
from course_lib.models import MODELS, UNet
from course_lib.models.blocks import ConvNormAct
from course_lib.models.unet import KEPT_BYTES
from course_lib.registry import build, describe


@pytest.fixture(autouse=True)
def _one_thread():
    """Networks this small only lose time to threads, most of all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def convolutions(f: int, in_channels: int, out_channels: int) -> int:
    """Weights of figure 1, counted by hand, without norms and without biases of 3x3 convolutions.

    Two 3x3 convolutions per block, widths f, 2f, 4f, 8f, 16f going down and 8f, 4f, 2f, f going up,
    where the concatenation doubles the input; four 2x2 up-convolutions and a 1x1 with bias.
    """
    down = [(in_channels, f), (f, 2 * f), (2 * f, 4 * f), (4 * f, 8 * f), (8 * f, 16 * f)]
    up = [(16 * f, 8 * f), (8 * f, 4 * f), (4 * f, 2 * f), (2 * f, f)]
    blocks = sum(9 * inputs * outputs + 9 * outputs * outputs for inputs, outputs in down + up)
    up_convolutions = sum(4 * inputs * outputs + outputs for inputs, outputs in up)
    return blocks + up_convolutions + f * out_channels + out_channels


# Channels that carry a norm or a bias: twice f, 2f, 4f, 8f, 16f, 8f, 4f, 2f, f, which is 2 · 46 f.
@pytest.mark.parametrize(("arguments", "expected"), [
    # 7,763,041 is the reference's number (brain-segmentation-pytorch); a norm has scale and shift.
    (dict(in_channels=3, out_channels=1), 7_763_041),
    (dict(in_channels=1, out_channels=1, features=64), 31_036_481),
    (dict(in_channels=3, out_channels=1, norm="instance"), 7_763_041),
    # The paper's layout: a bias per channel instead of the norm's two numbers, 5,888 fewer.
    (dict(in_channels=1, out_channels=1, features=64, norm=None, padding="valid"), 31_030_593)])
def test_number_of_parameters_is_the_papers(arguments, expected):
    with torch.device("meta"):                                   # counts, and allocates nothing
        model = UNet(**arguments)
    f = arguments.get("features", 32)
    per_channel = 1 if arguments.get("norm", "batch") is None else 2
    counted = convolutions(f, arguments["in_channels"], 1) + per_channel * 92 * f
    assert parameters(model) == counted == expected


@pytest.mark.parametrize(("shape", "out_channels", "dim"), [
    ((2, 3, 64, 64), 1, 2), ((1, 1, 32, 48), 4, 2), ((3, 5, 16, 32), 2, 2),
    ((1, 1, 32, 16, 16), 1, 3), ((2, 4, 16, 16, 32), 3, 3)])
@pytest.mark.parametrize("norm", ["batch", "instance", None])
def test_output_has_the_image_size_and_the_channels_asked_for(shape, out_channels, dim, norm):
    model = UNet(shape[1], out_channels, dim=dim, features=4, norm=norm).eval()
    assert model(torch.randn(shape)).shape == (shape[0], out_channels, *shape[2:])


def test_logits_are_unbounded():
    model = UNet(1, 1, features=4).eval()
    with torch.no_grad():
        model.head.bias.fill_(-50.0)
        low = model(torch.randn(1, 1, 32, 32))
        model.head.bias.fill_(50.0)
        high = model(torch.randn(1, 1, 32, 32))
    assert low.max() < -10 and high.min() > 10                   # a sigmoid stays within [0, 1]


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("norm", ["batch", "instance", None])
def test_gradient_reaches_every_parameter(dim, norm):
    torch.manual_seed(0)
    model = UNet(2, 1, dim=dim, features=4, norm=norm)
    model(torch.randn(2, 2, *[32, 32, 16][:dim])).square().mean().backward()
    untouched = [name for name, parameter in model.named_parameters()
                 if parameter.grad is None or not parameter.grad.abs().sum() > 0]
    assert not untouched


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_one_batch_can_be_overfitted(norm):
    torch.manual_seed(0)
    image = torch.randn(2, 1, 32, 32)
    target = torch.zeros(2, 1, 32, 32)
    target[0, :, 5:20, 8:30], target[1, :, 16:28, 3:12] = 1, 1   # no image tells where: by heart
    model = UNet(1, 1, features=8, norm=norm)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        loss = nn.functional.binary_cross_entropy_with_logits(model(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert ((model(image) > 0) == target.bool()).float().mean() > 0.99


def test_convolutions_have_a_bias_only_without_normalisation():
    def biased(norm):
        blocks = UNet(1, 1, features=2, norm=norm).enc1
        return [layer.bias is not None for layer in blocks.modules()
                if isinstance(layer, nn.Conv2d)]

    assert biased("batch") == biased("instance") == [False, False]
    assert biased(None) == [True, True]


def test_instance_norm_sees_each_image_alone():
    torch.manual_seed(0)
    image = torch.randn(3, 1, 32, 32)
    difference = {}
    for norm in ("instance", "batch"):
        model = UNet(1, 1, features=4, norm=norm)                # in training mode
        alone = torch.cat([model(one[None]) for one in image])
        difference[norm] = (model(image) - alone).abs().max()
    assert difference["instance"] < 1e-4 < 1e-2 < difference["batch"]


def test_arguments_rebuild_the_network():
    model = UNet(3, 2, features=4, norm="instance", dim=2, padding="same").eval()
    again = build(describe(model), MODELS).eval()
    again.load_state_dict(model.state_dict())
    image = torch.randn(1, 3, 32, 32)
    assert torch.equal(model(image), again(image))


@pytest.mark.parametrize("shape", [(1, 3, 100, 64), (1, 3, 64, 100), (1, 3, 8, 8), (1, 3, 24, 32)])
def test_size_that_cannot_be_halved_four_times_is_refused(shape):
    with pytest.raises(CourseError, match="does not pass through .*nearest sizes") as caught:
        UNet(3, 1, features=2)(torch.zeros(shape))
    assert str(shape[2:]) in str(caught.value)


def test_uneven_depth_is_refused_in_3d():
    with pytest.raises(CourseError, match=r"\(32, 32, 20\) does not pass through all poolings"):
        UNet(1, 1, dim=3, features=2)(torch.zeros(1, 1, 32, 32, 20))


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (3, 32, 32), (1, 3, 32, 32, 32)])
def test_other_channels_and_other_axes_are_refused(shape):
    words = r"image has shape .*takes \(B, 3, …\) with 2 spatial axes"
    with pytest.raises(CourseError, match=words):
        UNet(3, 1, features=2)(torch.zeros(shape))


@pytest.mark.parametrize("argument", [{"dim": 4}, {"norm": "group"}, {"padding": "reflect"}])
def test_unknown_layouts_are_refused(argument):
    (name, value), = argument.items()
    with pytest.raises(CourseError, match=f"{name}={value!r}.*Use dim 2 or 3, norm 'batch'"):
        UNet(1, 1, features=2, **argument)


@pytest.mark.parametrize(("size", "expected"), [(572, 388), (188, 4)])
def test_valid_padding_gives_the_papers_sizes(size, expected):
    model = UNet(1, 2, features=2, norm=None, padding="valid").eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 1, size, size)).shape == (1, 2, expected, expected)


def test_the_papers_layout_has_its_parameters_and_its_sizes():
    with torch.device("meta"):                                   # 572 pixels, and nothing computed
        model = UNet.ronneberger()
        assert model(torch.empty(1, 1, 572, 572)).shape == (1, 2, 388, 388)
    assert parameters(model) == convolutions(64, 1, 2) + 92 * 64 == 31_030_658


@pytest.mark.parametrize(("size", "words"), [
    (570, r"(556, 556) and (572, 572)"),                         # (570 - 4) / 2 = 283, odd
    (512, r"(508, 508) and (524, 524)"),                         # 254, 125, odd
    (172, r"(188, 188)"),                                        # 84, 40, 18, 7; up 3, 2, 0
    (60, r"(188, 188)")])                                        # 28, 12, 4, 0
def test_valid_padding_refuses_sizes_that_break(size, words):
    with pytest.raises(CourseError, match=f"nearest sizes that work are {re.escape(words)}"):
        UNet(1, 1, features=2, norm=None, padding="valid")(torch.zeros(1, 1, size, size))


def test_the_nearest_sizes_that_work_are_named():
    with pytest.raises(CourseError, match=r"sizes that work are \(96, 64\) and \(112, 64\)"):
        UNet(3, 1, features=2)(torch.zeros(1, 3, 100, 64))


@pytest.mark.parametrize("bad", [{"features": 0}, {"features": "8"}, {"features": 2.5},
                                 {"in_channels": 0}, {"out_channels": -1}, {"features": True}])
def test_a_count_that_cannot_work_is_named(bad):
    (name, value), = bad.items()
    with pytest.raises(CourseError, match=f"UNet: {name}={value!r}. Give {name} as a whole"):
        UNet(**({"in_channels": 1, "out_channels": 1, "features": 2} | bad))


def test_numbers_of_numpy_work_and_become_python_numbers():
    model = UNet(np.int64(3), np.int32(1), features=np.int8(2))
    assert json.dumps(describe(model)["arguments"]).startswith('{"in_channels": 3, "out_channels"')


def test_a_strided_block_with_uneven_kernel_and_leaky_relu():
    block = ConvNormAct(2, 4, dim=3, kernel_size=(1, 3, 3), stride=(1, 2, 2), norm="instance",
                        activation="leaky_relu", bias=True)
    assert block(torch.randn(1, 2, 8, 8, 8)).shape == (1, 4, 8, 4, 4)
    assert block[0].bias is not None and isinstance(block[2], nn.LeakyReLU)
    with pytest.raises(CourseError, match="activation='gelu'"):
        ConvNormAct(1, 1, activation="gelu")


def test_skip_is_cropped_at_the_centre():
    from course_lib.models.unet import join

    skip = torch.arange(36.0).reshape(1, 1, 6, 6)
    joined = join(torch.zeros(1, 2, 2, 2), skip)                 # 2 pixels off each side
    assert joined.shape == (1, 3, 2, 2)
    assert joined[0, 2].tolist() == [[14.0, 15.0], [20.0, 21.0]]
    assert joined[:, :2].eq(0).all()                             # the decoder's channels come first


class Reference(nn.Module):
    """The layout of brain-segmentation-pytorch, unet.py, with its names: our oracle."""

    def __init__(self, in_channels: int, out_channels: int, f: int):
        super().__init__()
        widths = [f, 2 * f, 4 * f, 8 * f, 16 * f]
        for level, outputs in enumerate(widths[:4], start=1):
            inputs = in_channels if level == 1 else outputs // 2
            setattr(self, f"encoder{level}", self.block(f"enc{level}", inputs, outputs))
            setattr(self, f"upconv{level}", nn.ConvTranspose2d(2 * outputs, outputs, 2, stride=2))
            setattr(self, f"decoder{level}", self.block(f"dec{level}", 2 * outputs, outputs))
        self.bottleneck = self.block("bottleneck", widths[3], widths[4])
        self.pool = nn.MaxPool2d(2, 2)
        self.conv = nn.Conv2d(f, out_channels, 1)

    @staticmethod
    def block(name: str, inputs: int, outputs: int) -> nn.Sequential:
        block = nn.Sequential()
        for number, channels in ((1, inputs), (2, outputs)):
            convolution = nn.Conv2d(channels, outputs, kernel_size=3, padding=1, bias=False)
            block.add_module(f"{name}conv{number}", convolution)
            block.add_module(f"{name}norm{number}", nn.BatchNorm2d(outputs))
            block.add_module(f"{name}relu{number}", nn.ReLU())
        return block

    def forward(self, image):
        skips, deep = [], image
        for level in (1, 2, 3, 4):
            skips.append(getattr(self, f"encoder{level}")(deep))
            deep = self.pool(skips[-1])
        deep = self.bottleneck(deep)
        for level in (4, 3, 2, 1):
            up = getattr(self, f"upconv{level}")(deep)
            deep = getattr(self, f"decoder{level}")(torch.cat((up, skips[level - 1]), dim=1))
        return torch.sigmoid(self.conv(deep))


def reference(in_channels: int = 3, out_channels: int = 1, features: int = 8) -> Reference:
    """With random weights, and statistics as a training would leave them."""
    torch.manual_seed(0)
    network = Reference(in_channels, out_channels, features)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.3)
            layer.running_mean.normal_(std=0.3)
            layer.running_var.uniform_(0.5, 1.5)
            layer.num_batches_tracked += 17
    return network.eval()


@pytest.mark.parametrize(("in_channels", "out_channels", "features"),
                         [(3, 1, 32), (3, 1, 8), (1, 4, 8)])
def test_from_reference_predicts_what_the_reference_predicts(in_channels, out_channels, features):
    network = reference(in_channels, out_channels, features)
    model = UNet.from_reference(network.state_dict()).eval()
    assert parameters(model) == parameters(network)
    image = torch.randn(2, in_channels, 64, 32, requires_grad=True)
    expected, found = network(image), torch.sigmoid(model(image))
    assert expected.std() > 0.1                                  # else every network would agree
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    expected_grad, = torch.autograd.grad(expected.square().sum(), image)
    found_grad, = torch.autograd.grad(found.square().sum(), image)
    torch.testing.assert_close(found_grad, expected_grad)


def test_from_reference_remembers_its_arguments():
    model = UNet.from_reference(reference().state_dict())
    assert describe(model) == describe(UNet(3, 1, features=8))
    assert model.enc1[0][1].num_batches_tracked == 17


def without(state_dict, name):
    return {key: value for key, value in state_dict.items() if key != name}


@pytest.mark.parametrize("spoil", [
    lambda weights: {},
    lambda weights: UNet(3, 1, features=8).state_dict(),         # ours already
    lambda weights: {"model": weights},                          # the whole checkpoint
    lambda weights: without(weights, "decoder2.dec2conv1.weight"),
    lambda weights: weights | {"extra.weight": torch.zeros(1)},
    lambda weights: weights | {"upconv3.weight": torch.zeros(1, 1, 2, 2)}])
def test_weights_of_another_network_are_refused(spoil):
    weights = spoil(copy.copy(reference().state_dict()))
    words = "these are not the reference network's weights.*unet.pt"
    with pytest.raises(CourseError, match=words) as caught:
        UNet.from_reference(weights)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


# --- what fits into a GPU ---

# A third of the free memory over 43 bytes · features · size²: how many slices fit.
@pytest.mark.parametrize("free_gib, features, size, found", [
    (14.5, 32, 256, (16, 256)),        # a T4: 5.19e9 / 90.2e6 = 57, more than 16
    (4.1, 32, 256, (16, 256)),         # 1.467e9 / 90.2e6 = 16.3
    (4.0, 32, 256, (8, 256)),          # 15.9
    (1.05, 32, 256, (4, 256)),         # 4.2
    (1.0, 32, 256, (4, 128)),          # 3.97 of 256 px
    (1.0, 32, 240, (4, 240)),          # 4.5
    (0.8, 32, 240, (4, 112)),          # 3.6 of 240 px
    (0, 32, 256, (4, 64))])            # as small as it gets
def test_batch_and_size_follow_the_free_memory(monkeypatch, free_gib, features, size, found):
    monkeypatch.setattr(settings, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free_gib * 2**30), 0))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    assert models.fitting_batch(features, size) == found
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))     # an earlier training
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: int(free_gib * 2**30))
    assert models.fitting_batch(features, size) == found
    assert models.fitting_batch(features, 64, batch_size=2) == (2, 64)


def test_without_a_gpu_batch_and_size_stay():
    assert models.fitting_batch(512, 2048, batch_size=99) == (99, 2048)


@pytest.mark.parametrize("features", [4, 8])
def test_what_a_unet_keeps_for_its_gradients_is_what_the_estimate_says(features):
    """Counted on the CPU, by how much more two more slices take: weights do not count."""
    kept = {1: {}, 3: {}}
    for batch_size, found in kept.items():
        def keep(tensor, found=found):
            found[tensor.untyped_storage().data_ptr()] = tensor      # held: addresses stay taken
            return tensor

        model = UNet(3, 1, features=features)
        with (torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
              torch.autocast("cpu", dtype=torch.bfloat16)):
            model(torch.randn(batch_size, 3, 64, 64))
    one, three = (sum(tensor.untyped_storage().nbytes() for tensor in found.values())
                  for found in kept.values())
    assert (three - one) / (2 * 64 * 64 * features) == pytest.approx(KEPT_BYTES, rel=0.05)
