"""What holds for each of the other networks, then what is particular to each."""

import math
from urllib.error import URLError

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet34

from course_lib import losses
from course_lib.errors import CourseError
from course_lib.models import FCN, MODELS, AttentionUNet, ResUNet34, UNet, UNetPlusPlus
from course_lib.models.attention_unet import AttentionGate
from course_lib.models.blocks import ConvNormAct, DoubleConv
from course_lib.registry import build, describe

# name -> (small network, multiple that a side must be of)
SMALL = {"AttentionUNet": (lambda i, o: AttentionUNet(i, o, features=8), 16),
         "ResUNet34": (lambda i, o: ResUNet34(i, o, pretrained=False), 32),
         "UNetPlusPlus": (lambda i, o: UNetPlusPlus(i, o, features=8), 16),
         "UNetPlusPlus, supervised": (
             lambda i, o: UNetPlusPlus(i, o, features=8, deep_supervision=True), 16),
         "FCN": (lambda i, o: FCN(i, o, features=8), 32)}
each = pytest.mark.parametrize("name", SMALL)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_adds(model: nn.Module, channels: int = 3, side: int = 256) -> int:
    """As torch counts them: it counts a multiplication and an addition as two."""
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        model.to("meta").eval()(torch.empty(1, channels, side, side))
    return counter.get_total_flops() // 2


def multiply_adds_by_hand(model: nn.Module, channels: int = 3, side: int = 256) -> int:
    """A convolution uses each weight once per pixel of its output, a transposed one (2x2, stride 2)
    once per pixel of its input."""
    found = []

    def count(layer, inputs, output):
        pixels = (inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output).shape[2:]
        found.append(layer.weight.numel() * math.prod(pixels))

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    model.to("meta").eval()(torch.empty(1, channels, side, side, device="meta"))
    return sum(found)


def test_every_network_can_be_rebuilt_by_its_name():
    assert MODELS == {"UNet": UNet, "AttentionUNet": AttentionUNet, "ResUNet34": ResUNet34,
                      "UNetPlusPlus": UNetPlusPlus, "FCN": FCN}


@each
@pytest.mark.parametrize(("shape", "out_channels"), [
    ((2, 3, 64, 64), 1), ((1, 1, 32, 96), 4), ((1, 5, 64, 32), 2)])
def test_output_has_the_image_size_and_the_channels_asked_for(name, shape, out_channels):
    model = SMALL[name][0](shape[1], out_channels).eval()
    with torch.no_grad():
        assert model(torch.randn(shape)).shape == (shape[0], out_channels, *shape[2:])


@each
def test_a_size_that_does_not_fit_is_refused_and_the_nearest_that_do_are_named(name):
    make, multiple = SMALL[name]
    smaller, larger = {16: (32, 48), 32: (32, 64)}[multiple]
    words = (rf"{name.split(',')[0]}: a size of \(40, 64\) does not pass through all poolings\. .*"
             rf"work are \({smaller}, 64\) and \({larger}, 64\)")
    with pytest.raises(CourseError, match=words):
        make(3, 1)(torch.zeros(1, 3, 40, 64))
    with pytest.raises(CourseError, match=rf"sizes that work are \({multiple}, 64\)\."):
        make(3, 1)(torch.zeros(1, 3, 0, 64))


@each
@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (3, 64, 64), (1, 3, 64, 64, 64)])
def test_other_channels_and_other_axes_are_refused(name, shape):
    words = r"image has shape .*takes \(B, 3, …\) with 2 spatial axes"
    with pytest.raises(CourseError, match=words):
        SMALL[name][0](3, 1)(torch.zeros(shape))


@pytest.mark.parametrize("bad", [{"features": 0}, {"in_channels": 2.5}, {"out_channels": True}])
@pytest.mark.parametrize("network", [AttentionUNet, UNetPlusPlus, FCN])
def test_a_count_that_cannot_work_is_named(network, bad):
    (name, value), = bad.items()
    with pytest.raises(CourseError, match=f"{name}={value!r}. Give {name} as a whole"):
        network(**({"in_channels": 1, "out_channels": 1, "features": 2} | bad))


@pytest.mark.parametrize("make", [lambda: ResUNet34(3, 1, pretrained="imagenet"),
                                  lambda: UNetPlusPlus(3, 1, features=2, deep_supervision=1)])
def test_a_switch_that_is_neither_true_nor_false_is_refused(make):
    with pytest.raises(CourseError, match="(pretrained='imagenet'|deep_supervision=1).*True, Fal"):
        make()


@each
def test_logits_are_unbounded(name):
    model = SMALL[name][0](1, 1).eval()
    heads = {"FCN": ["score3", "score4", "score7"], "AttentionUNet": ["unet.head"],
             "ResUNet34": ["head"]}.get(name, ["head1", "head2", "head3", "head4"])
    ends = []
    for bias in (-50.0, 50.0):
        for head in heads:
            nn.init.constant_(model.get_submodule(head).bias, bias)
        with torch.no_grad():
            ends.append(model(torch.randn(1, 1, 32, 32)))
    assert ends[0].max() < -10 and ends[1].min() > 10            # a sigmoid stays within [0, 1]


@each
def test_gradient_reaches_every_parameter(name):
    """In eval mode: a normalisation over the batch takes out the biases before it (the gates')."""
    torch.manual_seed(0)
    model = SMALL[name][0](2, 3).eval()
    model(torch.randn(2, 2, 64, 64)).square().mean().backward()
    untouched = [name for name, parameter in model.named_parameters()
                 if parameter.grad is None or not parameter.grad.abs().sum() > 0]
    assert not untouched


@each
def test_one_batch_can_be_overfitted(name):
    """Rectangles on a grid of 8 pixels, for FCN's finest scores have that step."""
    torch.manual_seed(0)
    side = 64 if name == "FCN" else 32
    image, target = torch.randn(2, 1, side, side), torch.zeros(2, 1, side, side)
    target[0, :, 8:24, 0:16], target[1, :, 16:, 8:] = 1, 1       # no image tells where: by heart
    model = SMALL[name][0](1, 1)
    rate, steps = (3e-3, 15) if name == "ResUNet34" else (1e-2, 30)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(steps):
        loss = losses.weigh_levels(losses.BCEDice(), model(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    logits = model(image)
    logits = logits[0] if isinstance(logits, list) else logits
    assert ((logits > 0) == target.bool()).float().mean() > 0.98


@each
def test_config_and_weights_rebuild_the_network(name):
    torch.manual_seed(0)
    model = SMALL[name][0](2, 3)
    model(torch.randn(2, 2, 64, 64))                             # statistics move, too
    again = build(describe(model), MODELS)
    again.load_state_dict(model.state_dict())
    assert type(again) is type(model) and describe(again) == describe(model)
    image = torch.randn(1, 2, 32, 64)
    assert torch.equal(model.eval()(image), again.eval()(image))


@pytest.mark.parametrize(("make", "weights", "operations"), [
    (lambda: UNet(3, 1), 7_763_041, 12_071_206_912),
    (lambda: AttentionUNet(3, 1), 7_851_773, 12_341_608_448),
    (lambda: AttentionUNet(3, 1, features=64), 31_389_165, 49_245_061_120),
    (lambda: ResUNet34(3, 1, pretrained=False), 24_349_441, 7_218_397_184),
    (lambda: UNetPlusPlus(3, 1), 9_045_924, 29_794_238_464),
    (lambda: FCN(3, 1), 3_798_627, 3_773_005_824)])
def test_parameters_and_multiply_adds_at_256_pixels(make, weights, operations):
    with torch.device("meta"):                                   # counts, and allocates nothing
        model = make()
    assert parameters(model) == weights
    assert multiply_adds(model) == multiply_adds_by_hand(model) == operations


def biased(*channels: int) -> nn.Sequential:
    """3x3 convolutions with bias, batch norm and ReLU, as three of the layouts below have them."""
    return nn.Sequential(*(ConvNormAct(inputs, outputs, bias=True)
                           for inputs, outputs in zip(channels, channels[1:], strict=False)))


def size_of_output(model: nn.Module, channels: int) -> tuple[int, ...]:
    """A rebuilt layout must not only have the right count, but also run."""
    return tuple(model.to("meta").eval()(torch.empty(1, channels, 64, 64, device="meta")).shape)


# --- Attention U-Net ---

def test_the_gate_weighs_the_skip_as_the_formula_says():
    """One pixel, by hand: W_g g = 1 + 2 = 3, W_x x + 0.5 = 3 - 4 + 0.5 = -0.5, relu 2.5; psi
    2 · 2.5 - 5 = 0, so α = sigmoid(0) = 0.5, and x α = (1.5, 2)."""
    gate = AttentionGate(2).eval()
    for norm in (gate.W_g[1], gate.W_x[1], gate.psi[1]):
        norm.eps = 0.0
    for (layer, *_), weight, bias in ((gate.W_g, [1, 1], 0), (gate.W_x, [1, -1], 0.5),
                                      (gate.psi, [2], -5)):
        layer.weight.data = torch.tensor(weight, dtype=torch.float).reshape(layer.weight.shape)
        layer.bias.data.fill_(bias)
    g, x = (torch.tensor(pixel).reshape(1, 2, 1, 1) for pixel in ([1.0, 2.0], [3.0, 4.0]))
    assert gate(g, x).flatten().tolist() == [1.5, 2.0]


def test_attention_maps_are_read_by_hooks_on_psi():
    model, maps = AttentionUNet(3, 1, features=4).eval(), []
    for gate in (model.gate1, model.gate2, model.gate3, model.gate4):
        gate.psi.register_forward_hook(lambda layer, inputs, alpha: maps.append(alpha.detach()))
    model(torch.randn(2, 3, 64, 32))
    assert [tuple(alpha.shape) for alpha in maps] == [
        (2, 1, 8, 4), (2, 1, 16, 8), (2, 1, 32, 16), (2, 1, 64, 32)]      # gate4 comes first
    assert all(0 <= alpha.min() < alpha.max() <= 1 for alpha in maps)


def test_with_open_gates_it_is_the_unet_within():
    torch.manual_seed(0)
    model, image = AttentionUNet(3, 1, features=4).eval(), torch.randn(1, 3, 32, 32)
    assert (model(image) - model.unet(image)).abs().max() > 1e-3
    for gate in (model.gate1, model.gate2, model.gate3, model.gate4):
        nn.init.zeros_(gate.psi[1].weight)
        nn.init.constant_(gate.psi[1].bias, 50.0)                # sigmoid(50) is 1
    assert torch.equal(model(image), model.unet(image))


def test_leejunhyuns_layout_has_its_34_878_573_parameters():
    """AttU_Net of github.com/LeeJunHyun/Image_Segmentation: convolutions with bias, sizes doubled
    by nearest neighbours and a 3x3 convolution; the gates are the library's."""
    with torch.device("meta"):
        model = AttentionUNet(3, 1, features=64)
        for level, f in enumerate((64, 128, 256, 512), start=1):
            setattr(model.unet, f"enc{level}", biased(3 if level == 1 else f // 2, f, f))
            setattr(model.unet, f"up{level}", nn.Sequential(nn.Upsample(scale_factor=2),
                                                            biased(2 * f, f)))
            setattr(model.unet, f"dec{level}", biased(2 * f, f, f))
        model.unet.bottleneck = biased(512, 1024, 1024)
    assert parameters(model) == 34_878_573
    assert size_of_output(model, 3) == (1, 1, 64, 64)


# --- U-Net++ ---

COLUMN = {"x00": (1, 32), "x10": (32, 64), "x20": (64, 128), "x30": (128, 256), "x40": (256, 512)}
NODES = {"x01": (64, 1, 32), "x11": (128, 1, 64), "x21": (256, 1, 128), "x31": (512, 1, 256),
         "x02": (64, 2, 32), "x12": (128, 2, 64), "x22": (256, 2, 128),
         "x03": (64, 3, 32), "x13": (128, 3, 64), "x04": (64, 4, 32)}      # below, skips, width


def relaid(in_channels: int, out_channels: int, *, column, node) -> UNetPlusPlus:
    """The library's grid, each block replaced as another version lays it out."""
    with torch.device("meta"):
        model = UNetPlusPlus(in_channels, out_channels)
        for name, (inputs, width) in COLUMN.items():
            setattr(model, name, column(in_channels if name == "x00" else inputs, width, width))
        for name, (below, skips, width) in NODES.items():
            node(getattr(model, name), below, skips * width, width)
    assert size_of_output(model, in_channels) == (1, out_channels, 64, 64)
    return model


def without_norm(block, below, left, width):
    block.conv = DoubleConv(width + left, width, norm=None)


def bilinear(block, below, left, width):
    block.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    block.conv = biased(below + left, width, width)


@pytest.mark.parametrize(("in_channels", "classes", "expected"), [(1, 2, 9_045_800),
                                                                  (3, 1, 9_046_244)])
def test_shawnbits_layout_has_its_parameters(in_channels, classes, expected):
    """UNet_Nested of github.com/ShawnBIT/UNet-family at feature_scale 2: batch normalisation in the
    left column alone."""
    model = relaid(in_channels, classes, column=biased, node=without_norm)
    assert parameters(model) == expected
    if in_channels == 3:                                         # the same work as the library's
        assert multiply_adds(model) == multiply_adds(UNetPlusPlus(3, 1)) == 29_794_238_464


def test_4uiiurz1s_layout_has_its_parameters_with_one_head_and_with_four():
    model = relaid(3, 1, column=biased, node=bilinear)
    assert parameters(model) == 9_163_428
    assert parameters(model) - sum(map(parameters, (model.head1, model.head2, model.head3))
                                   ) == 9_163_329


def test_the_authors_layout_has_their_parameters():
    """Nest_Net of github.com/MrGiovanni/UNetPlusPlus (model_logic.py): nothing is normalised, and
    one head without deep supervision. Their U_Net beside it has 7,759,521."""
    def column(inputs, width, _):
        return DoubleConv(inputs, width, norm=None)

    model = relaid(1, 1, column=column, node=without_norm)
    heads = sum(map(parameters, (model.head1, model.head2, model.head3)))
    assert parameters(model) - heads == 9_041_601
    assert parameters(UNet(1, 1, norm=None)) == 7_759_521


def test_deep_supervision_gives_four_maps_while_training_that_of_x04_first():
    model = UNetPlusPlus(1, 2, features=2, deep_supervision=True)
    for number, head in enumerate((model.head1, model.head2, model.head3, model.head4), start=1):
        nn.init.zeros_(head.weight)
        nn.init.constant_(head.bias, number)
    logits = model(torch.randn(2, 1, 32, 32))
    assert [part.unique().item() for part in logits] == [4, 3, 2, 1]
    assert {part.shape for part in logits} == {(2, 2, 32, 32)}
    assert model.eval()(torch.randn(1, 1, 32, 32)).unique().item() == 2.5
    average = UNetPlusPlus(1, 2, features=2)
    assert isinstance(average(torch.randn(2, 1, 32, 32)), torch.Tensor)


def test_without_pruning_it_is_the_mean_of_the_four_heads():
    torch.manual_seed(0)
    model, image = UNetPlusPlus(3, 1, features=4).eval(), torch.randn(1, 3, 32, 32)
    alone = [model.prune(head)(image) for head in (1, 2, 3, 4)]
    assert (alone[0] - alone[3]).abs().max() > 1e-3
    torch.testing.assert_close(model.prune(None)(image), torch.stack(alone).mean(dim=0))


# At 256 pixels, parameters and multiply-adds. By hand for head 1: x00 3·32·9 + 32·32·9 + 128,
# x10 32·64·9 + 64·64·9 + 256, x01 64·32·4 + 32 + 64·32·9 + 32·32·9 + 128, head 33.
@pytest.mark.parametrize(("head", "weights", "operations"), [
    (1, 101_793, 3_514_826_752), (2, 512_385, 8_917_090_304), (3, 2_207_201, 17_473_470_464),
    (4, 9_045_825, 29_787_947_008)])
def test_pruned_it_computes_only_what_the_head_needs(head, weights, operations):
    model = UNetPlusPlus(3, 1).eval().prune(head)
    model(torch.randn(1, 3, 16, 16)).sum().backward()
    used = [weight for weight in model.parameters() if weight.grad is not None]
    assert sum(weight.numel() for weight in used) == weights
    assert multiply_adds(model) == operations


def test_pruning_does_not_touch_training_nor_the_config():
    model = UNetPlusPlus(3, 1, features=2, deep_supervision=True)
    config = describe(model)
    assert len(model.prune(1)(torch.randn(2, 3, 32, 32))) == 4 and describe(model) == config


@pytest.mark.parametrize("head", [0, 5, "2", True])
def test_a_head_that_is_not_there_is_refused(head):
    with pytest.raises(CourseError, match=f"UNetPlusPlus.prune: head={head!r}. Use one of 1, 2, 3"):
        UNetPlusPlus(3, 1, features=2).prune(head)


# --- ResUNet34 ---

def test_the_layout_of_segmentation_models_has_its_parameters():
    """smp.Unet("resnet34"): sizes doubled by nearest neighbours, a head of 3x3."""
    with torch.device("meta"):
        model = ResUNet34(3, 1, pretrained=False)
        widths = {"dec4": (512, 256, 256), "dec3": (256, 128, 128), "dec2": (128, 64, 64),
                  "dec1": (64, 64, 32), "dec0": (32, 0, 16)}
        for name, (below, left, width) in widths.items():
            getattr(model, name).up = nn.Upsample(scale_factor=2)
            getattr(model, name).conv = DoubleConv(below + left, width)
        model.head = nn.Conv2d(16, 1, kernel_size=3, padding=1)
    assert parameters(model) == 24_436_369
    assert size_of_output(model, 3) == (1, 1, 64, 64)


@pytest.fixture
def no_download(tmp_path, monkeypatch):
    """Torch's cache is empty, and nothing can be downloaded into it. Returns where weights lie."""
    def refuse(*arguments, **options):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    file = tmp_path / "hub" / "checkpoints" / "resnet34-b627a593.pth"
    file.parent.mkdir(parents=True)
    return file


def test_weights_that_cannot_be_downloaded_are_a_sentence(no_download):
    with pytest.raises(CourseError, match=r"ResUNet34: ImageNet's weights cannot be loaded "
                                          r"\(URLError.*no network.*\)\. Give pretrained=False.*"
                                          r"download https://download.pytorch.org/.*resnet34-"
                                          r"b627a593\.pth by hand to .*/resnet34-b627a593\.pth"):
        ResUNet34(3, 1)
    ResUNet34(3, 1, pretrained=False)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_a_damaged_file_of_weights_is_a_sentence(no_download, content):
    no_download.write_bytes(content)
    with pytest.raises(CourseError, match="weights cannot be loaded .*resnet34-b627a593.pth"):
        ResUNet34(3, 1)


def test_weights_of_another_network_are_a_sentence(no_download):
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, no_download)
    with pytest.raises(CourseError, match="weights cannot be loaded .*Missing key"):
        ResUNet34(3, 1)


def test_weights_are_taken_over_for_any_number_of_channels(no_download):
    torch.manual_seed(0)
    network = resnet34().eval()
    torch.save(network.state_dict(), no_download)
    image = torch.randn(1, 3, 64, 64)
    features = network.layer4(network.layer3(network.layer2(network.layer1(network.maxpool(
        network.relu(network.bn1(network.conv1(image))))))))
    model = ResUNet34(3, 1).eval()
    assert torch.equal(model.bottleneck(model.enc4(model.enc3(model.enc2(model.enc1(image))))),
                       features)
    assert torch.equal(model.enc1[0].weight, network.conv1.weight)
    grey = image[:, :1]
    torch.testing.assert_close(ResUNet34(1, 1).enc1[0](grey),
                               network.conv1(torch.cat([grey, grey, grey], dim=1)))
    twice = torch.cat([image, image], dim=1)
    torch.testing.assert_close(ResUNet34(6, 1).enc1[0](twice), network.conv1(image))
    two = ResUNet34(2, 1).enc1[0].weight                         # red and green, half as many again
    torch.testing.assert_close(two, network.conv1.weight[:, :2] * 1.5)
    four = ResUNet34(4, 1).enc1[0].weight                        # the fourth is red again
    torch.testing.assert_close(four, network.conv1.weight[:, [0, 1, 2, 0]] * 0.75)


def test_a_run_is_rebuilt_without_downloading_weights(no_download):
    torch.save(resnet34().state_dict(), no_download)
    model = ResUNet34(3, 1)
    assert describe(model)["arguments"] == {"in_channels": 3, "out_channels": 1, "pretrained": True}
    no_download.unlink()
    again = build(describe(model), MODELS)
    again.load_state_dict(model.state_dict())
    assert again.pretrained is False


# --- FCN ---

def test_scores_of_three_depths_are_resized_and_added():
    """Everything behind the scores is linear: each depth alone, then the sum."""
    torch.manual_seed(0)
    model, image = FCN(1, 2, features=4).eval(), torch.randn(1, 1, 64, 96)
    scores = {"score7": 32, "score4": 16, "score3": 8}
    whole, parts = model(image), []
    for name, stride in scores.items():
        alone = FCN(1, 2, features=4).eval()
        alone.load_state_dict(model.state_dict())
        caught = []
        getattr(alone, name).register_forward_hook(
            lambda layer, inputs, out, caught=caught: caught.append(out))
        for other in scores.keys() - {name}:
            nn.init.zeros_(getattr(alone, other).weight)
            nn.init.zeros_(getattr(alone, other).bias)
        parts.append(alone(image))
        assert caught[0].shape == (1, 2, 64 // stride, 96 // stride)
        assert parts[-1].mean().item() == pytest.approx(caught[0].mean().item(), abs=0.05)
    torch.testing.assert_close(whole, sum(parts))


def test_fcn_has_the_parameters_of_its_figure():
    """Two 3x3 a level (two numbers of the norm per channel), conv6 3x3, conv7 1x1, three scores."""
    f, out = 32, 1
    widths = [(3, f), (f, 2 * f), (2 * f, 4 * f), (4 * f, 8 * f), (8 * f, 8 * f)]
    levels = sum(9 * i * o + 9 * o * o + 4 * o for i, o in widths)
    deep = 9 * 8 * f * 16 * f + 16 * f * 16 * f + 4 * 16 * f
    assert parameters(FCN(3, out)) == levels + deep + (4 + 8 + 16) * f * out + 3 * out
