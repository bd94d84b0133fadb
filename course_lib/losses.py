"""Losses for binary segmentation. All take logits, (B, 1, …), and a target of 0 and 1, (B, 1, …).

A target left at 0 and 255 makes overlap losses negative; `train.fit` refuses it before it starts.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from course_lib.errors import CourseError, number_within


def check_shapes(logits: torch.Tensor, target: torch.Tensor, where: str) -> None:
    """Refuse different shapes: torch would broadcast them, in silence."""
    if logits.shape != target.shape:
        raise CourseError(what=f"logits have shape {tuple(logits.shape)}, target "
                               f"{tuple(target.shape)}", where=where,
                          cure="give both as (B, 1, …); for several labels take a loss of several "
                               "channels")


class BCE(nn.Module):
    """Binary cross-entropy, the mean over all pixels of the batch.

    Every pixel counts the same, so on small tumours the background decides. An empty mask is
    nothing special.
    """

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        check_shapes(logits, target, "losses.BCE")
        return functional.binary_cross_entropy_with_logits(logits.float(), target.float())


class SoftDice(nn.Module):
    """1 - soft Dice, pooled over the batch: 1 - (2·Σp·t + s) / (Σp + Σt + s), p = sigmoid(logits).

    Sums run over all pixels of all images together, so large tumours outweigh small ones, and an
    image with an empty mask still costs its false positives. With nothing to find and nothing
    predicted the loss is 0, thanks to s.

    Args:
        smooth: s, in pixels; 1 as in the reference (brain-segmentation-pytorch, `loss.py`).
    Raises:
        CourseError: in forward, for logits and target of different shapes.
    Source: Milletari et al. (2016), arXiv:1606.04797, with sums instead of squares.
    """

    def __init__(self, smooth: float = 1.0):
        super().__init__()
        self.smooth = number_within(smooth, "smooth", "losses.SoftDice", 0)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        check_shapes(logits, target, "losses.SoftDice")
        probabilities, target = torch.sigmoid(logits.float()), target.float()
        overlap = (probabilities * target).sum()
        size = probabilities.sum() + target.sum()
        return 1 - (2 * overlap + self.smooth) / (size + self.smooth)


class BCEDice(nn.Module):
    """BCE + SoftDice: a gradient at every pixel, and overlap rewarded."""

    def __init__(self, smooth: float = 1.0):
        super().__init__()
        self.bce, self.dice = BCE(), SoftDice(smooth)
        self.smooth = self.dice.smooth

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self.bce(logits, target) + self.dice(logits, target)


def is_loss(value) -> bool:
    """Tell whether a loss returned one number; where gradients are on, with a gradient."""
    return (isinstance(value, torch.Tensor) and not value.ndim
            and (value.requires_grad or not torch.is_grad_enabled()))


LOSSES = {"BCE": BCE, "SoftDice": SoftDice, "BCEDice": BCEDice}      # to rebuild a run


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
