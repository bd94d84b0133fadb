"""Losses: each takes logits and a target, in 2D or 3D, and returns one number to be lowered.

Logits are (B, 1, …) for one label, with p = sigmoid(logits), or (B, K, …) for several, background
first, with p = softmax(logits) over the channels. The target is a label map (B, 1, …) of 0 and 1,
or of 0 … K - 1; t is 1 where the target is the channel's label. All sums are in float32 or finer.

Overlap losses (SoftDice, SoftIoU, Tversky) compare Σp·t, Σp and Σt of each label and are the mean
over labels, the background left out. A label that the target lacks costs its false positives.

Every loss raises a CourseError for shapes that differ and for values that are no labels, and warns
once where logits look like probabilities.
"""

import warnings
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from course_lib.errors import CourseError, number_within, one_of

# Values within [0, 1] are taken for probabilities if the highest is at least this: a fresh network
# without normalisation has logits that are nearly constant, and smaller (below 0.36 with 8
# features or more); a sigmoid would bring these to 0.41 or above.
LIKE_A_PROBABILITY = 0.4


def _check(loss: nn.Module, logits: torch.Tensor, target: torch.Tensor,
           several: bool = True) -> None:
    """Refuse shapes and labels that do not fit; warn of probabilities in the place of logits.

    Logits are looked at in a loss's first call. So are labels; on a CPU, where it takes
    microseconds, in every call. A GPU would have to be waited for.
    """
    where = f"losses.{type(loss).__name__}"
    shapes = f"logits have shape {tuple(logits.shape)}, target {tuple(target.shape)}"
    if (logits.ndim < 3 or not logits.numel()
            or target.shape != (len(logits), 1, *logits.shape[2:])):
        raise CourseError(what=shapes, where=where, cure="give logits (B, channels, …) and a label "
                                                         "map (B, 1, …) of the same size")
    if logits.shape[1] > 1 and not several:
        raise CourseError(what=f"{shapes}, and this loss is for one channel", where=where,
                          cure="take losses.DiceCE for several")
    first = not getattr(loss, "_looked", False)
    if first or target.device.type == "cpu":
        _check_labels(target, max(1, logits.shape[1] - 1), shapes, where)
    if first:
        loss._looked = True
        _warn_of_probabilities(logits, where)


def _check_labels(target: torch.Tensor, highest: int, shapes: str, where: str) -> None:
    """Refuse values beyond the labels (255 makes overlap losses negative), and between them."""
    if target.dtype == torch.bool:
        return
    least, most = target.min().item(), target.max().item()
    whole = not target.is_floating_point() or bool((target == target.round()).all())
    if not (whole and 0 <= least and most <= highest):
        raise CourseError(what=f"the target has values from {least:g} to {most:g}"
                               f"{'' if whole else ', fractions among them'}, the labels are 0 to "
                               f"{highest} ({shapes})", where=where,
                          cure="bring masks to the values of the labels, such as 0 and 1")


def _warn_of_probabilities(logits: torch.Tensor, where: str) -> None:
    least, most = logits.min().item(), logits.max().item()
    if least >= 0 and LIKE_A_PROBABILITY <= most <= 1:
        warnings.warn(f"{where}: all logits of the first batch are within [0, 1], like "
                      "probabilities. If the network ends in a sigmoid or softmax, remove it: the "
                      "loss applies its own", stacklevel=6)              # where the loss is called


def _precise(logits: torch.Tensor) -> torch.Tensor:
    """Bring half precision to float32; float64 stays."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _is_label(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compute t of each channel: (B, K, …), bool."""
    labels = torch.arange(logits.shape[1], device=logits.device)
    return target == labels.view(1, -1, *[1] * (logits.ndim - 2))


def _sums(logits: torch.Tensor, target: torch.Tensor,
          axes: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sum p·t, p and t over `axes`: (B, K) over space, (K,) over space and batch; in pixels."""
    logits = _precise(logits)
    if logits.shape[1] == 1:
        probabilities = torch.sigmoid(logits)
    else:
        probabilities, target = torch.softmax(logits, dim=1), _is_label(logits, target)
    target = target.to(logits.dtype)
    return (probabilities * target).sum(axes), probabilities.sum(axes), target.sum(axes)


def _axes(logits: torch.Tensor, pooled: bool = True) -> tuple[int, ...]:
    """Name the axes of space, and that of the batch where images are pooled."""
    space = tuple(range(2, logits.ndim))
    return (0, *space) if pooled else space


def _one_less(overlap: torch.Tensor, background: bool = False) -> torch.Tensor:
    """Compute 1 - the mean over labels (and images) of (…, K), of several without background."""
    several = overlap.shape[-1] > 1
    return 1 - (overlap[..., 1:] if several and not background else overlap).mean()


def _soft_dice(logits: torch.Tensor, target: torch.Tensor, smooth: float, pooled: bool = True,
               background: bool = False) -> torch.Tensor:
    overlap, predicted, wanted = _sums(logits, target, _axes(logits, pooled))
    return _one_less((2 * overlap + smooth) / (predicted + wanted + smooth), background)


def _cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compute -ln p of the true label, the mean over all pixels of the batch."""
    logits = _precise(logits)
    if logits.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(logits, target.to(logits.dtype))
    return functional.cross_entropy(logits, target[:, 0].long())


class BCE(nn.Module):
    """Binary cross-entropy, the mean over all pixels of the batch; one channel.

    Every pixel counts the same, so on small tumours the background decides. An empty mask is
    nothing special.
    """

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        _check(self, logits, target, several=False)
        return _cross_entropy(logits, target)


class SoftDice(nn.Module):
    """1 - soft Dice: 1 - (2·Σp·t + s) / (Σp + Σt + s) of each label; the mean over labels.

    Pooled, sums run over all pixels of all images together, so large tumours outweigh small ones,
    and a false positive costs the same whether its image has a tumour or not. Per image, each
    counts the same; in one with an empty mask a false positive costs s / (Σp + s)², next to
    nothing for a small s. With nothing to find and nothing predicted the loss is 0, thanks to s
    (not a number for s = 0).

    Args:
        smooth: s, in pixels; 1 as in the reference (brain-segmentation-pytorch, `loss.py`).
        pooled: over the batch (nnU-Net's batch_dice), or the mean over images.
    Source: Milletari et al. (2016), arXiv:1606.04797, with sums instead of squares.
    """

    def __init__(self, smooth: float = 1.0, pooled: bool = True):
        super().__init__()
        self.smooth = number_within(smooth, "smooth", "losses.SoftDice", 0)
        self.pooled = one_of(pooled, "pooled", "losses.SoftDice", (True, False))

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        _check(self, logits, target)
        return _soft_dice(logits, target, self.smooth, self.pooled)


class SoftIoU(nn.Module):
    """1 - soft IoU: 1 - (Σp·t + s) / (Σp + Σt - Σp·t + s) of each label; the mean over labels.

    Sums run over all pixels of the batch. With s as small as this, a batch with nothing to find
    costs nearly 1 whatever is predicted, with next to no gradient.

    Args:
        smooth: s, in pixels.
    Source: Rahman and Wang (2016), doi:10.1007/978-3-319-50835-1_22.
    """

    def __init__(self, smooth: float = 1e-6):
        super().__init__()
        self.smooth = number_within(smooth, "smooth", "losses.SoftIoU", 0)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        _check(self, logits, target)
        overlap, predicted, wanted = _sums(logits, target, _axes(logits))
        return _one_less((overlap + self.smooth) / (predicted + wanted - overlap + self.smooth))


class Tversky(nn.Module):
    """1 - Tversky index: TP = Σp·t, FP = Σp - TP, FN = Σt - TP; the mean over labels of
    1 - (TP + s) / (TP + alpha·FP + beta·FN + s).

    Sums run over all pixels of the batch. alpha = beta = 0.5 is SoftDice(2s), alpha = beta = 1
    SoftIoU(s). With nothing to find and nothing predicted the loss is 0, thanks to s.

    Args:
        alpha: weight of false positives, from 0 on.
        beta: weight of false negatives, from 0 on: above alpha, misses cost more than false finds.
        smooth: s, in pixels.
    Source: Salehi et al. (2017), arXiv:1706.05721, whose best weights are these; s is added.
    """

    def __init__(self, alpha: float = 0.3, beta: float = 0.7, smooth: float = 1.0):
        super().__init__()
        self.alpha = number_within(alpha, "alpha", "losses.Tversky", 0)
        self.beta = number_within(beta, "beta", "losses.Tversky", 0)
        self.smooth = number_within(smooth, "smooth", "losses.Tversky", 0)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        _check(self, logits, target)
        overlap, predicted, wanted = _sums(logits, target, _axes(logits))
        errors = self.alpha * (predicted - overlap) + self.beta * (wanted - overlap)
        return _one_less((overlap + self.smooth) / (overlap + errors + self.smooth))


class Focal(nn.Module):
    """Cross-entropy with less weight on easy pixels: -(1 - p)^gamma · ln p, p of the true label.

    The mean over all pixels of the batch (the paper divides by the number of anchors on objects).
    gamma = 0 is cross-entropy. An empty mask is nothing special.

    Args:
        gamma: from 0 on; at 2 a pixel of p = 0.9 counts a hundredth.
        alpha: weight of pixels with a label, 1 - alpha that of the background; None weighs none.
    Source: Lin et al. (2017), arXiv:1708.02002; there gamma = 2 and alpha = 0.25.
    """

    def __init__(self, gamma: float = 2.0, alpha: float | None = None):
        super().__init__()
        self.gamma = number_within(gamma, "gamma", "losses.Focal", 0)
        self.alpha = alpha if alpha is None else number_within(alpha, "alpha", "losses.Focal", 0, 1)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        _check(self, logits, target)
        margin = _margin(logits, target)
        # (1 - p)^gamma as a power of e: exact, with a finite gradient, where 1 - p rounds to 0.
        each = -functional.logsigmoid(margin) * (self.gamma * functional.logsigmoid(-margin)).exp()
        if self.alpha is not None:
            each = torch.where(target > 0, self.alpha * each, (1 - self.alpha) * each)
        return each.mean()


def _margin(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compute the logit of the true label's probability, ln p/(1 - p): (B, 1, …)."""
    logits = _precise(logits)
    if logits.shape[1] == 1:
        return torch.where(target > 0, logits, -logits)
    true = target.long()
    others = logits.scatter(1, true, -torch.inf).logsumexp(1, keepdim=True)
    return logits.gather(1, true) - others


class BCEDice(nn.Module):
    """BCE + SoftDice, pooled: a gradient at every pixel, and overlap rewarded; one channel.

    Args:
        smooth: of SoftDice, in pixels.
        bce_weight: w in [0, 1] for w·BCE + (1 - w)·SoftDice; None for the plain sum, which is twice
            what 0.5 gives.
    """

    def __init__(self, smooth: float = 1.0, bce_weight: float | None = None):
        super().__init__()
        self.smooth = number_within(smooth, "smooth", "losses.BCEDice", 0)
        self.bce_weight = bce_weight if bce_weight is None else number_within(
            bce_weight, "bce_weight", "losses.BCEDice", 0, 1)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        _check(self, logits, target, several=False)
        target = target.float()                              # once for both
        bce, dice = _cross_entropy(logits, target), _soft_dice(logits, target, self.smooth)
        if self.bce_weight is None:
            return bce + dice
        return self.bce_weight * bce + (1 - self.bce_weight) * dice


class DiceCE(nn.Module):
    """Cross-entropy + SoftDice: of several channels with a softmax; of one the same as BCEDice.

    nnU-Net's loss is this with smooth = 1e-5, less 1, so that its best is -1, not 0.

    Args:
        smooth: of SoftDice, in pixels.
        pooled: as in SoftDice.
        background: whether SoftDice's mean over labels counts the background as one of them.
    Source: Isensee et al. (2021), doi:10.1038/s41592-020-01008-z.
    """

    def __init__(self, smooth: float = 1.0, pooled: bool = True, background: bool = False):
        super().__init__()
        self.smooth = number_within(smooth, "smooth", "losses.DiceCE", 0)
        self.pooled = one_of(pooled, "pooled", "losses.DiceCE", (True, False))
        self.background = one_of(background, "background", "losses.DiceCE", (True, False))

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        _check(self, logits, target)
        return _cross_entropy(logits, target) + _soft_dice(logits, target, self.smooth,
                                                           self.pooled, self.background)


def is_loss(value) -> bool:
    """Tell whether a loss returned one number; where gradients are on, with a gradient."""
    return (isinstance(value, torch.Tensor) and not value.ndim
            and (value.requires_grad or not torch.is_grad_enabled()))


LOSSES = {"BCE": BCE, "SoftDice": SoftDice, "SoftIoU": SoftIoU, "BCEDice": BCEDice,
          "Focal": Focal, "Tversky": Tversky, "DiceCE": DiceCE}      # to rebuild a run


def weigh_levels(loss_fn: Callable, logits: torch.Tensor | list[torch.Tensor],
                 target: torch.Tensor) -> torch.Tensor:
    """Compute the loss; of a list of logits, finest first (deep supervision), the weighted mean.

    Each level counts half of the one before, against the target at its size (nearest voxel).
    Source: nnU-Net (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z), which also leaves out
    the coarsest level.
    """
    if isinstance(logits, torch.Tensor):
        return loss_fn(logits, target)
    weights = [0.5 ** level for level in range(len(logits))]
    parts = [weight * loss_fn(part, target if part.shape[2:] == target.shape[2:] else
                              functional.interpolate(target.float(), part.shape[2:]).to(
                                  target.dtype))
             for weight, part in zip(weights, logits, strict=True)]
    return sum(parts) / sum(weights)
