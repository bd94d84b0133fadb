"""Scores of masks. One number per call, no unit, in [0, 1]; say what it is of, and per what."""

from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage

from course_lib.errors import CourseError


def _masks(prediction, target, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Turn both into bool arrays of one shape."""
    masks = []
    for mask in (prediction, target):
        mask = mask.detach().cpu().numpy() if isinstance(mask, torch.Tensor) else np.asarray(mask)
        if mask.dtype.kind == "f" or (mask.size and (mask.min() < 0 or mask.max() > 1)):
            raise CourseError(what=f"{where.split('.')[1]} takes masks of 0 and 1, got "
                                   "probabilities or a label map", where=where,
                              cure="threshold first; for classes score (prediction == k, "
                                   "target == k)")
        masks.append(mask.astype(bool))
    if masks[0].shape != masks[1].shape:
        raise CourseError(what=f"prediction has shape {masks[0].shape}, target {masks[1].shape}",
                          where=where,
                          cure="bring the prediction to the target's grid before scoring")
    return masks[0], masks[1]


def dsc(prediction, target, *, empty: float = float("nan")) -> float:
    """Compute the Dice similarity coefficient of two masks, 2·|P ∩ T| / (|P| + |T|).

    Args:
        prediction: bool or integer 0/1, array or tensor of any shape. Threshold first.
        target: the same shape.
        empty: the score where both are empty, for then there is nothing to measure. A target that
            is empty while the prediction is not scores 0.
    Returns:
        Score in [0, 1].
    Raises:
        CourseError: the shapes differ, or an input is not a mask.
    Source: Dice (1945), doi:10.2307/1932409.

    >>> dsc(torch.tensor([True, True, False]), torch.tensor([True, False, True]))   # 2·1 / (2 + 2)
    0.5
    """
    prediction, target = _masks(prediction, target, "metrics.dsc")
    size = int(prediction.sum()) + int(target.sum())
    return 2 * int((prediction & target).sum()) / size if size else empty


def iou(prediction, target, *, empty: float = float("nan")) -> float:
    """Compute intersection over union, |P ∩ T| / |P ∪ T|; arguments and edges as in `dsc`.

    Always at most the DSC: iou = dsc / (2 - dsc).
    Source: Jaccard (1912), doi:10.1111/j.1469-8137.1912.tb05611.x.
    """
    prediction, target = _masks(prediction, target, "metrics.iou")
    union = int((prediction | target).sum())
    return int((prediction & target).sum()) / union if union else empty


def largest_component(mask: np.ndarray) -> np.ndarray:
    """Find the largest connected part of a mask; voxels are joined by faces.

    Args:
        mask: bool or 0/1, 2D or 3D.
    Returns:
        The same shape and type; the first of equally large parts; an empty mask stays empty.
    """
    return _keep_component(mask, lambda labels, count: np.bincount(labels.ravel())[1:])


def deepest_component(mask: np.ndarray) -> np.ndarray:
    """Find the connected part of a stack of slices that goes deepest: largest Σ area^¼ over slices.

    A part of many slices ranks above one that is larger, but flat, such as a disc of scalp above
    the brain, which networks take for a tumour. Between ½ (a width) and 0 (the number of slices) ¼
    kept tumours furthest ahead of false parts (docs/decisions.md).

    Args:
        mask: (S, H, W), bool or 0/1; S slices.
    Returns:
        As from `largest_component`.
    """
    def depths(labels: np.ndarray, count: int) -> np.ndarray:
        areas = [np.bincount(part.ravel(), minlength=count + 1)[1:] for part in labels]
        return (np.array(areas) ** 0.25).sum(axis=0)

    return _keep_component(mask, depths)


def _keep_component(mask: np.ndarray, measure: Callable) -> np.ndarray:
    """Keep the connected part for which measure(labels, count), one number a part, is highest."""
    mask = np.asarray(mask)
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask.copy()
    return (labels == 1 + measure(labels, count).argmax()).astype(mask.dtype)
