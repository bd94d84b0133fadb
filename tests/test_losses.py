import inspect
import itertools
import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from course_lib import losses, models
from course_lib.errors import CourseError
from course_lib.losses import BCE, BCEDice, DiceCE, Focal, SoftDice, SoftIoU, Tversky
from course_lib.registry import build, describe

LOSSES = [BCE(), SoftDice(), SoftDice(pooled=False), SoftIoU(), BCEDice(), BCEDice(bce_weight=0.5),
          Focal(), Focal(gamma=0.5, alpha=0.25), Tversky(), DiceCE()]
SEVERAL = [SoftDice(), SoftDice(pooled=False), SoftIoU(), Focal(), Focal(gamma=0.5, alpha=0.25),
           Tversky(), DiceCE(), DiceCE(background=True), DiceCE(pooled=False)]


def name(loss: nn.Module) -> str:
    arguments = describe(loss)["arguments"]
    return type(loss).__name__ + "".join(f"-{value}" for value in arguments.values())


def logit(*probabilities: float) -> torch.Tensor:
    """Logits (1, 1, 1, n) with these probabilities."""
    return torch.logit(torch.tensor(probabilities)).view(1, 1, 1, -1)


def mask(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8).view(1, 1, 1, -1)


def one_hot(target: torch.Tensor, channels: int) -> torch.Tensor:
    """(B, 1, …) label map to (B, K, …), float."""
    return functional.one_hot(target[:, 0].long(), channels).movedim(-1, 1).float()


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (4, 1, 8, 8), and a target that is empty in image 2."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 1, 8, 8, generator=generator)
    target = (torch.rand(4, 1, 8, 8, generator=generator) < 0.3).to(torch.uint8)
    target[2] = 0
    return logits, target


@pytest.fixture
def labels() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (3, 4, 6, 5), and a target of 0 to 3 that lacks label 3 in image 1."""
    generator = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn(3, 4, 6, 5, generator=generator)
    target = torch.randint(0, 4, (3, 1, 6, 5), generator=generator, dtype=torch.uint8)
    target[1][target[1] == 3] = 0
    return logits, target


# --- by hand, one channel ---

def test_soft_dice_by_hand():
    # p = 0.5, 0.25, 0.75, 0.5 and t = 1, 0, 1, 0: Σp·t = 1.25, Σp = 2, Σt = 2, s = 1.
    loss = SoftDice()(logit(0.5, 0.25, 0.75, 0.5), mask(1, 0, 1, 0))
    assert loss.item() == pytest.approx(1 - (2 * 1.25 + 1) / (2 + 2 + 1), abs=1e-6)      # 0.3
    # The same with s = 0: 1 - 2.5 / 4.
    loss = SoftDice(smooth=0)(logit(0.5, 0.25, 0.75, 0.5), mask(1, 0, 1, 0))
    assert loss.item() == pytest.approx(0.375, abs=1e-6)


@pytest.mark.parametrize("loss, expected", [
    (SoftIoU(), 1 - 1.25 / 2.75),                                    # Σp + Σt - Σp·t = 2.75
    (SoftIoU(smooth=1), 1 - 2.25 / 3.75),
    # TP = 1.25, FP = 2 - 1.25 = 0.75, FN = 0.75: 1 - (1.25 + 1) / (1.25 + 0.225 + 0.525 + 1)
    (Tversky(), 1 - 2.25 / 3),
    (Tversky(alpha=0.2, beta=0.5, smooth=0), 1 - 1.25 / (1.25 + 0.15 + 0.375)),
    # p of the truth: 0.5, 0.75, 0.75, 0.5; (1 - p)² = 1/4, 1/16, 1/16, 1/4
    (Focal(), (2 / 4 * math.log(2) + 2 / 16 * math.log(4 / 3)) / 4),
    (Focal(gamma=0), math.log(64 / 9) / 4),                          # BCE, below
    # Weights 0.25 (label), 0.75, 0.25, 0.75: each sort of pixel once with either
    (Focal(alpha=0.25), (1 / 4 * math.log(2) + 1 / 16 * math.log(4 / 3)) / 4),
    (BCEDice(bce_weight=0.5), (math.log(64 / 9) / 4 + 0.3) / 2),
    (BCEDice(bce_weight=0.2), 0.2 * math.log(64 / 9) / 4 + 0.8 * 0.3),
    (BCEDice(), math.log(64 / 9) / 4 + 0.3),
    (DiceCE(), math.log(64 / 9) / 4 + 0.3),
], ids=lambda value: name(value) if isinstance(value, nn.Module) else "")
def test_one_channel_by_hand(loss, expected):
    # p = 0.5, 0.25, 0.75, 0.5 and t = 1, 0, 1, 0: Σp·t = 1.25, Σp = 2, Σt = 2.
    found = loss(logit(0.5, 0.25, 0.75, 0.5), mask(1, 0, 1, 0))
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_soft_dice_of_nothing_found_where_nothing_is_to_be_found_is_zero():
    loss = SoftDice()(torch.full((2, 1, 8, 8), -50.0), torch.zeros(2, 1, 8, 8))
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_soft_dice_of_a_perfect_prediction_is_zero_and_of_a_miss_nearly_one():
    target = mask(*[1] * 50, *[0] * 50)
    assert SoftDice()(100.0 * (2.0 * target - 1), target).item() == pytest.approx(0, abs=1e-6)
    # Everything wrong: Σp·t = 0, Σp = 50, Σt = 50, so 1 - 1 / 101.
    loss = SoftDice()(100.0 * (1 - 2.0 * target), target)
    assert loss.item() == pytest.approx(100 / 101, abs=1e-6)


def test_soft_dice_of_an_empty_target_costs_the_false_positives():
    # p = 0.5 in 4 pixels, no target: 1 - 1 / (2 + 1).
    loss = SoftDice()(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    assert loss.item() == pytest.approx(2 / 3, abs=1e-6)


def test_soft_dice_is_pooled_over_the_batch_or_the_mean_over_images():
    # Image 1: 8 pixels, all found. Image 2: 2 pixels of tumour, all missed.
    target = torch.zeros(2, 1, 2, 4)
    target[0], target[1, 0, 0, :2] = 1, 1
    logits = torch.full_like(target, -100.0)
    logits[0] = 100
    # Pooled: 1 - (2·8 + 1) / (8 + 10 + 1) = 2/19. Mean of images: (0 + 1 - 1/3) / 2 = 1/3.
    assert SoftDice()(logits, target).item() == pytest.approx(2 / 19, abs=1e-6)
    assert SoftDice(pooled=False)(logits, target).item() == pytest.approx(1 / 3, abs=1e-6)
    alone = [SoftDice()(logits[i : i + 1], target[i : i + 1]).item() for i in (0, 1)]
    assert sum(alone) / 2 == pytest.approx(1 / 3, abs=1e-6)


def test_tversky_punishes_what_its_weights_say():
    # 10 pixels of tumour; 5 false ones beside them, or 5 of them missed. s = 0.
    target = mask(*[1] * 10, *[0] * 10)
    more = 100.0 * (2.0 * mask(*[1] * 15, *[0] * 5) - 1)
    fewer = 100.0 * (2.0 * mask(*[1] * 5, *[0] * 15) - 1)
    loss = Tversky(alpha=0.3, beta=0.7, smooth=0)
    assert loss(more, target).item() == pytest.approx(1 - 10 / (10 + 0.3 * 5), abs=1e-6)
    assert loss(fewer, target).item() == pytest.approx(1 - 5 / (5 + 0.7 * 5), abs=1e-6)


def test_tversky_has_dice_and_iou_as_special_cases(batch, labels):
    for logits, target in (batch, labels):
        torch.testing.assert_close(Tversky(0.5, 0.5, smooth=0.5)(logits, target),
                                   SoftDice(smooth=1)(logits, target))
        torch.testing.assert_close(Tversky(1, 1, smooth=0.5)(logits, target),
                                   SoftIoU(smooth=0.5)(logits, target))


def test_bce_by_hand():
    # p of the truth: 0.5, 0.75, 0.75, 0.5. Mean of -ln p = ln(2·4/3·4/3·2) / 4.
    loss = BCE()(logit(0.5, 0.25, 0.75, 0.5), mask(1, 0, 1, 0))
    assert loss.item() == pytest.approx(math.log(64 / 9) / 4, abs=1e-6)


def test_bce_is_torchs(batch):
    logits, target = batch
    expected = functional.binary_cross_entropy(torch.sigmoid(logits), target.float())
    torch.testing.assert_close(BCE()(logits, target), expected)


@pytest.mark.parametrize("smooth", [1.0, 10.0])
def test_bce_dice_is_the_sum(batch, smooth):
    torch.testing.assert_close(BCEDice(smooth)(*batch), BCE()(*batch) + SoftDice(smooth)(*batch))
    assert SoftDice(1.0)(*batch) != SoftDice(10.0)(*batch)
    torch.testing.assert_close(2 * BCEDice(smooth, bce_weight=0.5)(*batch), BCEDice(smooth)(*batch))


def as_recorded(logits: torch.Tensor, target: torch.Tensor, smooth: float) -> torch.Tensor:
    """BCEDice as it was when the results of docs/results.md were measured."""
    bce = functional.binary_cross_entropy_with_logits(logits.float(), target.float())
    probabilities, target = torch.sigmoid(logits.float()), target.float()
    overlap = (probabilities * target).sum()
    size = probabilities.sum() + target.sum()
    return bce + (1 - (2 * overlap + smooth) / (size + smooth))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(16, 1, 64, 64), (3, 1, 37, 41), (1, 1, 5, 7),
                                   (2, 1, 20, 24, 16)], ids=str)
def test_bce_dice_is_to_the_bit_what_recorded_results_rest_on(shape, dtype):
    generator = torch.Generator().manual_seed(sum(shape))
    for smooth in (1.0, 0.3):
        logits = (4 * torch.randn(shape, generator=generator)).to(dtype)
        target = (torch.rand(shape, generator=generator) < 0.1).to(torch.uint8)
        values, gradients = [], []
        for loss in (lambda *pair, s=smooth: as_recorded(*pair, s), BCEDice(smooth)):
            leaf = logits.clone().requires_grad_()
            values.append(loss(leaf, target))
            values[-1].backward()
            gradients.append(leaf.grad)
        assert torch.equal(*values) and torch.equal(*gradients)


# --- by hand, several channels ---

# Four pixels, a row each: p of background, label 1, label 2; t = 1, 1, 2, 0.
ROWS = [(0.5, 0.25, 0.25), (0.25, 0.5, 0.25), (0.25, 0.25, 0.5), (0.5, 0.25, 0.25)]
#                Σp·t                Σp     Σt
# background     0.5                 1.5    1
# label 1        0.25 + 0.5 = 0.75   1.25   2
# label 2        0.5                 1.25   1
DICE = [2 / 3.5, 2.5 / 4.25, 2 / 3.25]                               # s = 1
CROSS = 5 * math.log(2) / 4                                          # p of the truth: ¼, ½, ½, ½


@pytest.mark.parametrize("loss, expected", [
    (SoftDice(), 1 - (DICE[1] + DICE[2]) / 2),
    (SoftDice(pooled=False), 1 - (DICE[1] + DICE[2]) / 2),           # one image
    (SoftIoU(), 1 - (0.75 / 2.5 + 0.5 / 1.75) / 2),
    # FP = 0.5 and 0.75, FN = 1.25 and 0.5
    (Tversky(), 1 - (1.75 / (1.75 + 0.15 + 0.875) + 1.5 / (1.5 + 0.225 + 0.35)) / 2),
    # (¾)²·ln 4 and three of (½)²·ln 2
    (Focal(), (9 / 16 * 2 + 3 / 4) * math.log(2) / 4),
    # Weights 0.25, 0.25, 0.25 and, of the last pixel, 0.75
    (Focal(alpha=0.25), (0.25 * 9 / 16 * 2 + 0.5 / 4 + 0.75 / 4) * math.log(2) / 4),
    (DiceCE(), CROSS + 1 - (DICE[1] + DICE[2]) / 2),
    (DiceCE(background=True), CROSS + 1 - sum(DICE) / 3),
], ids=lambda value: name(value) if isinstance(value, nn.Module) else "")
def test_several_channels_by_hand(loss, expected):
    logits = torch.tensor(ROWS).log().T.view(1, 3, 2, 2)
    target = torch.tensor([1, 1, 2, 0], dtype=torch.uint8).view(1, 1, 2, 2)
    assert loss(logits, target).item() == pytest.approx(expected, abs=1e-6)


def test_pooled_or_not_holds_for_each_label():
    # Label 1 fills image 1 and is found; label 2 fills image 2 and is found; s = 1, 4 pixels each.
    target = torch.tensor([1, 2], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    right = 100 * one_hot(target, 3)
    for pooled in (True, False):
        assert SoftDice(pooled=pooled)(right, target).item() == pytest.approx(0, abs=1e-6)
    # Image 2 as label 1. Pooled: label 1 (2·4 + 1) / (8 + 4 + 1), label 2 (0 + 1) / (0 + 4 + 1).
    wrong = 100 * one_hot(torch.ones_like(target), 3)
    assert SoftDice()(wrong, target).item() == pytest.approx(1 - (9 / 13 + 1 / 5) / 2, abs=1e-6)
    # Per image: image 1 has 1 and 1 (nothing to find); image 2 has 1/5 and 1/5.
    assert SoftDice(pooled=False)(wrong, target).item() == pytest.approx(
        1 - (1 + 1 + 1 / 5 + 1 / 5) / 4, abs=1e-6)


def test_two_channels_are_one_channel_with_the_difference_as_logit(batch):
    logits, target = batch
    two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    for loss in (SoftDice(), SoftDice(pooled=False), SoftIoU(), Tversky(), Focal(alpha=0.3),
                 DiceCE()):
        torch.testing.assert_close(loss(two, target), loss(logits, target))


# --- by other packages' word ---

@pytest.mark.parametrize("smooth", [1.0, 1e-5])
@pytest.mark.parametrize("pooled", [True, False])
def test_soft_dice_agrees_with_monai(batch, labels, smooth, pooled):
    from monai.losses import DiceLoss

    # MONAI: 1 - (2·I + smooth_nr) / (P + T + smooth_dr), so both are our s.
    same = {"batch": pooled, "smooth_nr": smooth, "smooth_dr": smooth}
    logits, target = batch
    torch.testing.assert_close(SoftDice(smooth, pooled)(logits, target),
                               DiceLoss(sigmoid=True, **same)(logits, target.float()))
    logits, target = labels
    theirs = DiceLoss(softmax=True, to_onehot_y=True, include_background=False, **same)
    torch.testing.assert_close(SoftDice(smooth, pooled)(logits, target), theirs(logits, target))


def test_soft_iou_agrees_with_monai(batch, labels):
    from monai.losses import DiceLoss

    # MONAI: 1 - (2·I + smooth_nr) / (2·U + smooth_dr), so both are twice our s.
    same = {"jaccard": True, "batch": True, "smooth_nr": 2e-6, "smooth_dr": 2e-6}
    logits, target = batch
    torch.testing.assert_close(SoftIoU()(logits, target),
                               DiceLoss(sigmoid=True, **same)(logits, target.float()))
    theirs = DiceLoss(softmax=True, to_onehot_y=True, include_background=False, **same)
    torch.testing.assert_close(SoftIoU()(*labels), theirs(*labels))


def test_tversky_agrees_with_monai(batch, labels):
    from monai.losses import TverskyLoss

    same = {"alpha": 0.2, "beta": 0.9, "batch": True, "smooth_nr": 0.5, "smooth_dr": 0.5}
    logits, target = batch
    torch.testing.assert_close(Tversky(0.2, 0.9, smooth=0.5)(logits, target),
                               TverskyLoss(sigmoid=True, **same)(logits, target.float()))
    theirs = TverskyLoss(softmax=True, to_onehot_y=True, include_background=False, **same)
    torch.testing.assert_close(Tversky(0.2, 0.9, smooth=0.5)(*labels), theirs(*labels))


@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_agrees_with_monai(batch, labels, gamma, alpha):
    from monai.losses import FocalLoss

    logits, target = batch
    torch.testing.assert_close(Focal(gamma, alpha)(logits, target),
                               FocalLoss(gamma=gamma, alpha=alpha)(logits, target.float()))
    # MONAI's mean is over channels, too, though all but the true one add 0.
    theirs = FocalLoss(gamma=gamma, alpha=alpha, use_softmax=True, to_onehot_y=True)
    torch.testing.assert_close(Focal(gamma, alpha)(*labels), 4 * theirs(*labels))


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("pooled", [True, False])
def test_dice_ce_agrees_with_monai(batch, labels, pooled, background):
    from monai.losses import DiceCELoss

    same = {"batch": pooled, "smooth_nr": 1e-5, "smooth_dr": 1e-5}
    theirs = DiceCELoss(softmax=True, to_onehot_y=True, include_background=background, **same)
    torch.testing.assert_close(DiceCE(1e-5, pooled, background)(*labels), theirs(*labels))
    logits, target = batch
    theirs = DiceCELoss(sigmoid=True, **same)
    torch.testing.assert_close(DiceCE(1e-5, pooled, background)(logits, target),
                               theirs(logits, target.float()))


def smp_tversky(probabilities, target, alpha, beta, smooth):
    """`soft_tversky_score` of segmentation_models_pytorch 0.6.0 (losses/_functional.py); its Dice
    has alpha = beta = 0.5, its Jaccard 1. Pooled, as its losses are."""
    axes = (0, *range(2, probabilities.ndim))
    predicted, wanted = probabilities.sum(axes), target.sum(axes)
    overlap = (predicted + wanted - (probabilities - target).abs().sum(axes)) / 2
    false, missed = predicted - overlap, wanted - overlap
    return (overlap + smooth) / (overlap + alpha * false + beta * missed + smooth).clamp_min(1e-7)


@pytest.mark.parametrize("loss, alpha, beta, smooth", [
    (SoftDice(smooth=1.0), 0.5, 0.5, 0.5),                   # their smooth is half of ours
    (SoftIoU(smooth=0.1), 1.0, 1.0, 0.1),
    (Tversky(0.3, 0.7, smooth=2.0), 0.3, 0.7, 2.0)], ids=["dice", "iou", "tversky"])
def test_overlap_losses_agree_with_segmentation_models_pytorch(batch, labels, loss, alpha, beta,
                                                               smooth):
    logits, target = batch
    theirs = 1 - smp_tversky(logits.sigmoid(), target.float(), alpha, beta, smooth).mean()
    torch.testing.assert_close(loss(logits, target), theirs)
    logits, target = labels
    each = smp_tversky(logits.softmax(1), one_hot(target, 4), alpha, beta, smooth)
    torch.testing.assert_close(loss(logits, target), 1 - each[1:].mean())       # classes=[1, 2, 3]


def test_focal_agrees_with_segmentation_models_pytorch(batch, labels):
    # losses/_functional.py 0.6.0: focal_loss_with_logits and softmax_focal_loss_with_logits.
    logits, target = batch
    each = functional.binary_cross_entropy_with_logits(logits, target.float(), reduction="none")
    weight = 0.25 * target + 0.75 * (1.0 - target)
    torch.testing.assert_close(Focal(alpha=0.25)(logits, target),
                               ((1 - torch.exp(-each)) ** 2 * each * weight).mean())
    logits, target = labels
    each = functional.cross_entropy(logits, target[:, 0].long(), reduction="none")
    torch.testing.assert_close(Focal()(logits, target),
                               ((1 - torch.exp(-each)) ** 2 * each).mean())


# --- gradients ---

@pytest.mark.parametrize("loss", LOSSES, ids=name)
@pytest.mark.parametrize("shape", [(2, 1, 3, 4), (2, 1, 2, 3, 2)], ids=["2D", "3D"])
def test_gradients_of_one_channel_are_right(loss, shape):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    target = (torch.rand(shape, generator=generator) < 0.4).to(torch.uint8)
    target[1] = 0
    assert torch.autograd.gradcheck(lambda leaf: loss(leaf, target), (logits,))


@pytest.mark.parametrize("loss", SEVERAL, ids=name)
@pytest.mark.parametrize("size", [(3, 4), (2, 3, 2)], ids=["2D", "3D"])
def test_gradients_of_several_channels_are_right(loss, size):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 3, *size, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 3, (2, 1, *size), generator=generator, dtype=torch.uint8)
    target[1] = 0
    assert torch.autograd.gradcheck(lambda leaf: loss(leaf, target), (logits,))


def extremes(channels: int):
    """Empty, full and half-empty targets (4, 1, 8, 8), each with logits of 0, and of ±60 that are
    right, wrong, all for one channel, and anything."""
    full = torch.full((4, 1, 8, 8), max(1, channels - 1), dtype=torch.uint8)
    half = full.clone()
    half[:2] = 0
    generator = torch.Generator().manual_seed(4)
    for target in (torch.zeros_like(full), full, half):
        right = 120.0 * (target if channels == 1 else one_hot(target, channels)) - 60
        low = torch.full_like(right, -60)
        first = low.clone()
        first[:, 0] = 60
        yield from itertools.product(
            [right, -right, low, -low, first, torch.zeros_like(right),
             60 * torch.randn(right.shape, generator=generator).sign()], [target])


@pytest.mark.parametrize("channels, loss", [(1, loss) for loss in LOSSES]
                         + [(3, loss) for loss in SEVERAL],
                         ids=[name(loss) for loss in LOSSES + SEVERAL])
def test_all_is_finite_for_empty_full_half_empty_and_saturated_input(channels, loss):
    for logits, target in extremes(channels):
        for dtype in (torch.float32, torch.float16):
            leaf = logits.to(dtype, copy=True).requires_grad_()
            found = loss(leaf, target)
            found.backward()
            assert found.isfinite() and found >= 0 and leaf.grad.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES, ids=name)
@pytest.mark.parametrize("extreme", [-1000.0, -100.0, 100.0, 1000.0])
@pytest.mark.parametrize("value", [0, 1])
def test_gradients_are_finite_at_extreme_logits(loss, extreme, value):
    logits = torch.full((1, 1, 4, 4), extreme, requires_grad=True)
    found = loss(logits, torch.full((1, 1, 4, 4), value, dtype=torch.uint8))
    found.backward()
    assert found.isfinite() and logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", [BCE(), Focal()], ids=name)
def test_cross_entropy_still_pulls_at_extreme_logits(loss):
    logits = torch.full((1, 1, 4, 4), -100.0, requires_grad=True)
    loss(logits, torch.ones(1, 1, 4, 4)).backward()
    torch.testing.assert_close(logits.grad, torch.full_like(logits, -1 / 16))   # (p - t) / pixels


@pytest.mark.parametrize("loss, tumours, expected", [
    # Of an image alone: s / (500 + s)² · p(1 - p) / 8 images.
    (SoftDice(smooth=1e-5, pooled=False), 7, 1.2e-12),
    (SoftDice(smooth=1, pooled=False), 7, 1.2e-7),
    # Pooled: (2·7,000 + s) / (7,500 + 7,000 + s)² · p(1 - p), whatever s.
    (SoftDice(smooth=1e-5), 7, 1.7e-5),
    (SoftDice(smooth=1), 7, 1.7e-5),
    # Pooled, nothing to find in any image: s / (500 + s)² · p(1 - p).
    (SoftDice(smooth=1), 0, 9.9e-7)], ids=lambda value: name(value) if callable(value) else "")
def test_what_a_false_positive_on_an_empty_mask_costs(loss, tumours, expected):
    # Eight images of 128 px; `tumours` of them with 1,000 pixels that are found; 1,000 false pixels
    # of p = 0.5 in the last one, which is empty. The gradient of one of these.
    target = torch.zeros(8, 1, 128, 128, dtype=torch.float64)
    target[:tumours].flatten(1)[:, :1000] = 1
    logits = 200 * target - 100
    logits[7].flatten()[:1000] = 0
    logits.requires_grad_()
    loss(logits, target).backward()
    of_one = logits.grad[7].flatten()[:1000].unique()
    assert len(of_one) == 1 and of_one.item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_a_step_against_the_gradient_lowers_the_loss(loss, batch):
    logits, target = batch[0].requires_grad_(), batch[1]
    before = loss(logits, target)
    before.backward()
    assert loss((logits - logits.grad).detach(), target) < before


# --- the doubled sigmoid ---

TOP = 1 / (1 + math.exp(-1))                        # 0.7311: the sigmoid of a probability of 1


def doubled_iou_floor(share: float) -> float:
    """The least SoftIoU of values in [0.5, 0.7311], s = 0; share: of tumour in the pixels seen.

    Best is 0.7311 on the tumour and 0.5 elsewhere. Per pixel then Σp·t = 0.7311·f and the union
    0.5·(1 - f) + 0.7311·f + f - 0.7311·f.
    """
    return 1 - TOP * share / (0.5 * (1 - share) + share)


def doubled_bce_dice_floor(share: float) -> float:
    """The same of BCEDice(bce_weight=0.5): each half is least for the same values."""
    bce = (1 - share) * math.log(2) + share * math.log(1 + math.exp(-1))
    dice = 1 - 2 * TOP * share / (0.5 * (1 - share) + TOP * share + share)
    return (bce + dice) / 2


@pytest.mark.filterwarnings("ignore:.*like probabilities")
@pytest.mark.parametrize("loss, floor", [
    (SoftIoU(), doubled_iou_floor), (BCEDice(smooth=0, bce_weight=0.5), doubled_bce_dice_floor)],
    ids=["iou", "bce dice"])
def test_a_second_sigmoid_leaves_a_floor_in_closed_form(loss, floor):
    generator = torch.Generator().manual_seed(5)
    target = torch.rand(4, 1, 64, 64, generator=generator) < 0.04
    share = target.float().mean().item()
    sure = (120.0 * target - 60).sigmoid()                       # the network's own sigmoid, sure
    assert loss(sure, target).item() == pytest.approx(floor(share), abs=1e-5)
    assert loss(120.0 * target - 60, target).item() == pytest.approx(0, abs=1e-5)    # and mended
    for _ in range(20):                                          # nothing else is below
        change = 0.2 * torch.rand(target.shape, generator=generator)
        assert loss((sure - change).abs(), target).item() > floor(share)


# --- alike for all ---

@pytest.mark.parametrize("loss", LOSSES, ids=name)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(loss, dtype):
    # 300 x 300 pixels of p = 0.5: float16 ends at 65,504, bfloat16 counts in steps of 256 there.
    logits = torch.zeros(1, 1, 300, 300, dtype=dtype)
    target = torch.ones(1, 1, 300, 300, dtype=torch.uint8)
    found = loss(logits, target)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(logits.float(), target.float()), rtol=0, atol=0)
    dice = 1 - (90_000 + 1) / (45_000 + 90_000 + 1)
    expected = {"BCE-": math.log(2), "SoftDice": dice, "SoftIoU": 0.5,
                "BCEDice-1.0-0.5": (math.log(2) + dice) / 2,
                "BCEDice-1.0-None": math.log(2) + dice, "DiceCE": math.log(2) + dice,
                "Focal-2": math.log(2) / 4, "Focal-0.5": 0.25 * 0.5 ** 0.5 * math.log(2),
                "Tversky": 1 - 45_001 / (45_001 + 0.7 * 45_000)}
    wanted, = (value for key, value in expected.items() if f"{name(loss)}-".startswith(key))
    assert found.item() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_order_of_the_batch_does_not_matter(loss, batch):
    logits, target = batch
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(loss(logits[order], target[order]), loss(logits, target))


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_volumes_are_scored_like_slices(loss, batch):
    logits, target = batch
    if not getattr(loss, "pooled", True):                        # of one image each
        logits, target = logits[:1], target[:1]
    volume = (1, 1, len(logits), 8, 8)
    torch.testing.assert_close(loss(logits.view(volume), target.view(volume)), loss(logits, target))


@pytest.mark.parametrize("loss", SEVERAL, ids=name)
def test_volumes_of_several_channels_are_scored_like_slices(loss, labels):
    logits, target = labels
    torch.testing.assert_close(loss(logits.view(3, 4, 3, 2, 5), target.view(3, 1, 3, 2, 5)),
                               loss(logits, target))


@pytest.mark.parametrize("loss", LOSSES + SEVERAL, ids=name)
def test_a_loss_comes_back_from_config_json(loss, batch):
    loss(*batch)                                         # what it has looked at is no argument
    again = build(describe(loss), losses.LOSSES)
    assert describe(again) == describe(loss) and torch.equal(again(*batch), loss(*batch))
    named = inspect.signature(type(loss)).parameters.values()
    assert set(describe(loss)["arguments"]) == {one.name for one in named
                                                if one.kind is one.POSITIONAL_OR_KEYWORD}


def test_every_loss_of_the_library_can_be_rebuilt():
    written = {key: value for key, value in vars(losses).items()
               if isinstance(value, type) and issubclass(value, nn.Module)}
    assert written == losses.LOSSES and {type(loss) for loss in LOSSES} == set(written.values())


# --- what is refused, and what is warned of ---

@pytest.mark.parametrize("loss", LOSSES, ids=name)
@pytest.mark.parametrize("shape", [(2, 4, 4), (2, 1, 4, 5), (1, 1, 4, 4), (2, 2, 4, 4), (2, 1, 4)],
                         ids=str)
def test_another_shape_is_refused(loss, shape):
    words = rf"losses.{type(loss).__name__}: logits have shape \(2, 1, 4, 4\), target \({shape[0]}"
    with pytest.raises(CourseError, match=words) as caught:
        loss(torch.zeros(2, 1, 4, 4), torch.zeros(shape))
    assert str(shape) in str(caught.value)


def test_several_channels_take_a_label_map():
    logits = torch.zeros(2, 3, 4, 4)
    for loss in SEVERAL:
        with pytest.raises(CourseError, match=r"\(2, 3, 4, 4\), target \(2, 3, 4, 4\). Give .*label"
                                              r" map \(B, 1, …\) of the same size"):
            loss(logits, torch.zeros(2, 3, 4, 4))
    for loss in (BCE(), BCEDice()):
        with pytest.raises(CourseError, match=r"\(2, 3, 4, 4\), target \(2, 1, 4, 4\), and this "
                                              r"loss is for one channel. Take losses.DiceCE"):
            loss(logits, torch.zeros(2, 1, 4, 4))


def test_an_empty_batch_is_refused():
    with pytest.raises(CourseError, match=r"\(0, 1, 4, 4\), target \(0, 1, 4, 4\)"):
        BCE()(torch.zeros(0, 1, 4, 4), torch.zeros(0, 1, 4, 4))


@pytest.mark.parametrize("loss", LOSSES + SEVERAL, ids=name)
def test_values_that_are_no_labels_are_refused_in_every_call(loss):
    channels, highest = (3, 2) if loss in SEVERAL else (1, 1)
    logits, target = torch.zeros(2, channels, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    loss(logits, target)
    target[0, 0, 1, 2] = 255                             # the first time that a tumour is seen
    with pytest.raises(CourseError, match=rf"losses.{type(loss).__name__}: the target has values "
                                          rf"from 0 to 255, the labels are 0 to {highest} "
                                          rf"\(logits have shape \(2, {channels}, 4, 4\), target "
                                          r"\(2, 1, 4, 4\)\). Bring masks to"):
        loss(logits, target)


@pytest.mark.parametrize("value, channels, words", [
    (2, 1, "0 to 2, the labels are 0 to 1"), (3, 3, "0 to 3, the labels are 0 to 2"),
    (-1, 3, "-1 to 0, the labels are 0 to 2"), (0.5, 1, "0 to 0.5, fractions among them"),
    (1.5, 3, "0 to 1.5, fractions among them"), (math.nan, 1, "nan, fractions among them")])
def test_labels_that_the_channels_lack_are_refused(value, channels, words):
    target = torch.zeros(1, 1, 4, 4, dtype=torch.float32 if value % 1 else torch.int64)
    target[0, 0, 0, 0] = value
    with pytest.raises(CourseError, match=words):
        DiceCE()(torch.zeros(1, channels, 4, 4), target)


def warnings_of(loss, logits, target, calls: int = 2) -> list:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(calls):
            loss(logits, target)
    return caught


@pytest.mark.parametrize("make, given", [
    (make, given) for make in losses.LOSSES.values() for given in ("one", "several")
    if given == "one" or make not in (BCE, BCEDice)])
def test_probabilities_are_warned_of_once(make, given, batch, labels):
    logits, target = batch if given == "one" else labels
    probabilities = logits.sigmoid() if given == "one" else logits.softmax(1)
    for dtype in (torch.float32, torch.bfloat16):
        warned, = warnings_of(make(), probabilities.to(dtype), target)
        assert str(warned.message) == (
            f"losses.{make.__name__}: all logits of the first batch are within [0, 1], like "
            "probabilities. If the network ends in a sigmoid or softmax, remove it: the loss "
            "applies its own")
        assert warned.filename == __file__
    assert not warnings_of(make(), logits, target)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("norm", ["batch", None])
def test_a_fresh_network_is_warned_of_only_where_it_ends_in_a_sigmoid(norm, channels):
    target = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    within = 0
    for seed in range(12):
        torch.manual_seed(seed)
        with torch.no_grad():
            logits = models.UNet(3, channels, features=8, norm=norm)(torch.randn(2, 3, 16, 16))
        within += bool((logits.min() >= 0) and (logits.max() <= 1))
        assert not warnings_of(DiceCE(), logits, target)
        assert len(warnings_of(DiceCE(), logits.sigmoid(), target)) == 1
    assert within or norm or channels > 1                # such logits do occur without a norm
    assert not warnings_of(DiceCE(), torch.zeros(2, channels, 16, 16), target)    # a head of zeros


@pytest.mark.parametrize("loss", LOSSES + SEVERAL, ids=name)
def test_off_the_cpu_values_are_looked_at_in_the_first_call_alone(loss):
    # A tensor on "meta" has no values: looking at one raises.
    shape = (2, 3 if loss in SEVERAL else 1, 4, 4)
    logits = torch.empty(shape, device="meta")
    target = torch.empty(2, 1, 4, 4, dtype=torch.uint8, device="meta")
    with pytest.raises((RuntimeError, NotImplementedError)):
        build(describe(loss), losses.LOSSES)(logits, target)
    loss(torch.zeros(shape), torch.zeros(2, 1, 4, 4))
    assert loss(logits, target).shape == ()


@pytest.mark.parametrize("make, arguments", [
    (SoftDice, {"smooth": -1}), (SoftDice, {"smooth": math.nan}), (SoftDice, {"pooled": 1}),
    (SoftIoU, {"smooth": -1e-6}), (BCEDice, {"smooth": "1"}), (BCEDice, {"bce_weight": 1.5}),
    (Focal, {"gamma": -1}), (Focal, {"alpha": 2}), (Tversky, {"alpha": -0.1}),
    (Tversky, {"beta": None}), (Tversky, {"smooth": -1}), (DiceCE, {"smooth": -1}),
    (DiceCE, {"pooled": "yes"}), (DiceCE, {"background": 0})])
def test_arguments_out_of_range_are_refused(make, arguments):
    (argument, value), = arguments.items()
    with pytest.raises(CourseError, match=f"^losses.{make.__name__}: {argument}={value!r}"):
        make(**arguments)
