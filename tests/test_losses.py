import math

import pytest
import torch
from torch.nn import functional

from course_lib.errors import CourseError
from course_lib.losses import BCE, BCEDice, SoftDice

LOSSES = [BCE(), SoftDice(), BCEDice()]


def name(loss: torch.nn.Module) -> str:
    return type(loss).__name__


def logit(*probabilities: float) -> torch.Tensor:
    """Logits (1, 1, 1, n) with these probabilities."""
    return torch.logit(torch.tensor(probabilities)).view(1, 1, 1, -1)


def mask(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8).view(1, 1, 1, -1)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (4, 1, 8, 8), and a target that is empty in image 2."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 1, 8, 8, generator=generator)
    target = (torch.rand(4, 1, 8, 8, generator=generator) < 0.3).to(torch.uint8)
    target[2] = 0
    return logits, target


def test_soft_dice_by_hand():
    # p = 0.5, 0.25, 0.75, 0.5 and t = 1, 0, 1, 0: Σp·t = 1.25, Σp = 2, Σt = 2, s = 1.
    loss = SoftDice()(logit(0.5, 0.25, 0.75, 0.5), mask(1, 0, 1, 0))
    assert loss.item() == pytest.approx(1 - (2 * 1.25 + 1) / (2 + 2 + 1), abs=1e-6)      # 0.3
    # The same with s = 0: 1 - 2.5 / 4.
    loss = SoftDice(smooth=0)(logit(0.5, 0.25, 0.75, 0.5), mask(1, 0, 1, 0))
    assert loss.item() == pytest.approx(0.375, abs=1e-6)


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


def test_soft_dice_is_pooled_over_the_batch_and_not_a_mean_of_images():
    # Image 1: 8 pixels, all found. Image 2: 2 pixels of tumour, all missed.
    target = torch.zeros(2, 1, 2, 4)
    target[0], target[1, 0, 0, :2] = 1, 1
    logits = torch.full_like(target, -100.0)
    logits[0] = 100
    # Pooled: 1 - (2·8 + 1) / (8 + 10 + 1) = 2/19. Mean of images: (0 + 1 - 1/3) / 2 = 1/3.
    assert SoftDice()(logits, target).item() == pytest.approx(2 / 19, abs=1e-6)
    alone = [SoftDice()(logits[i : i + 1], target[i : i + 1]).item() for i in (0, 1)]
    assert sum(alone) / 2 == pytest.approx(1 / 3, abs=1e-6)


def test_soft_dice_agrees_with_monai(batch):
    from monai.losses import DiceLoss

    logits, target = batch
    # MONAI: 1 - (2·I + smooth_nr) / (P + T + smooth_dr), so both are our s.
    for smooth in (1.0, 0.1):
        theirs = DiceLoss(sigmoid=True, batch=True, smooth_nr=smooth, smooth_dr=smooth,
                          squared_pred=False)(logits, target.float())
        torch.testing.assert_close(SoftDice(smooth)(logits, target), theirs)


def test_soft_dice_refuses_what_torch_would_broadcast():
    with pytest.raises(CourseError, match=r"logits have shape \(2, 1, 4, 4\), target \(2, 4, 4\)"):
        SoftDice()(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4))


def test_bce_by_hand():
    # p of the truth: 0.5, 0.75, 0.75, 0.5. Mean of -ln p = ln(2·4/3·4/3·2) / 4.
    loss = BCE()(logit(0.5, 0.25, 0.75, 0.5), mask(1, 0, 1, 0))
    assert loss.item() == pytest.approx(math.log(64 / 9) / 4, abs=1e-6)


def test_bce_is_torchs(batch):
    logits, target = batch
    expected = functional.binary_cross_entropy(torch.sigmoid(logits), target.float())
    torch.testing.assert_close(BCE()(logits, target), expected)


def test_bce_refuses_another_shape():
    with pytest.raises(CourseError, match=r"losses.BCE: logits have shape \(2, 1, 4, 4\), target"):
        BCE()(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4))


@pytest.mark.parametrize("smooth", [1.0, 10.0])
def test_bce_dice_is_the_sum(batch, smooth):
    torch.testing.assert_close(BCEDice(smooth)(*batch), BCE()(*batch) + SoftDice(smooth)(*batch))
    assert SoftDice(1.0)(*batch) != SoftDice(10.0)(*batch)


@pytest.mark.parametrize("loss", LOSSES, ids=name)
@pytest.mark.parametrize("extreme", [-100.0, 100.0])
@pytest.mark.parametrize("value", [0, 1])
def test_gradients_are_finite_at_extreme_logits(loss, extreme, value):
    logits = torch.full((1, 1, 4, 4), extreme, requires_grad=True)
    found = loss(logits, torch.full((1, 1, 4, 4), value, dtype=torch.uint8))
    found.backward()
    assert found.isfinite() and logits.grad.isfinite().all()


def test_bce_still_pulls_at_extreme_logits():
    logits = torch.full((1, 1, 4, 4), -100.0, requires_grad=True)
    BCE()(logits, torch.ones(1, 1, 4, 4)).backward()
    torch.testing.assert_close(logits.grad, torch.full_like(logits, -1 / 16))   # (p - t) / pixels


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
    expected = {"BCE": math.log(2), "SoftDice": dice, "BCEDice": math.log(2) + dice}
    assert found.item() == pytest.approx(expected[name(loss)], abs=1e-5)


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_order_of_the_batch_does_not_matter(loss, batch):
    logits, target = batch
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(loss(logits[order], target[order]), loss(logits, target))


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_volumes_are_scored_like_slices(loss, batch):
    logits, target = batch
    torch.testing.assert_close(loss(logits.view(1, 1, 4, 8, 8), target.view(1, 1, 4, 8, 8)),
                               loss(logits, target))


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_a_step_against_the_gradient_lowers_the_loss(loss, batch):
    logits, target = batch[0].requires_grad_(), batch[1]
    before = loss(logits, target)
    before.backward()
    assert loss((logits - logits.grad).detach(), target) < before
