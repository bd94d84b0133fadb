"""Where a number becomes a label: logits → probabilities → labels. The only place that decides.

A task with one label has one channel and a sigmoid; a task with K labels has K + 1 channels,
background first, and a softmax. With two channels for one label a sigmoid and a softmax would
disagree, so a network whose channels do not fit the labels is refused.
"""

import numpy as np
import torch

from course_lib import metrics
from course_lib.errors import CourseError

THRESHOLD = 0.5      # on the probability of a single label
POSTPROCESS = ("largest_component", "deepest_component", None)


def to_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Turn logits (B, K, …) into probabilities of the same shape: sigmoid for one channel."""
    return torch.sigmoid(logits) if logits.shape[1] == 1 else torch.softmax(logits, dim=1)


def to_labels(probabilities: torch.Tensor) -> torch.Tensor:
    """Turn probabilities (B, K, …) into a label map (B, 1, …), uint8.

    One channel: 1 above a probability of 0.5. Several: the likeliest; the first one is background.
    """
    if probabilities.shape[1] == 1:
        return (probabilities > THRESHOLD).to(torch.uint8)
    return probabilities.argmax(dim=1, keepdim=True).to(torch.uint8)


def check_channels(logits, labels: dict[str, int], where: str) -> None:
    """Refuse what a network returned where it does not fit the labels.

    Args:
        logits: what it returned for a batch, in eval mode.
        labels: name to value, 1 … K.
    Raises:
        CourseError: it is no tensor (B, channels, …), or has another number of channels.
    """
    if not isinstance(logits, torch.Tensor):
        raise CourseError(what=f"the network returned a {type(logits).__name__}", where=where,
                          cure="return one tensor of logits in eval mode; lists (deep supervision) "
                               "only while training")
    channels = 1 if len(labels) == 1 else len(labels) + 1
    if logits.ndim < 3 or logits.shape[1] != channels:
        raise CourseError(what=f"the network returned {tuple(logits.shape)} for the labels "
                               f"{', '.join(labels)}", where=where,
                          cure=f"give it {channels} output channel{'s' * (channels > 1)}: one for "
                               "one label, else one for each label and one for the background")


def apply_postprocess(mask: np.ndarray, rule: str | None) -> np.ndarray:
    """Clean a patient's label map, 2D or 3D: keep one connected part of each label, or all.

    Args:
        rule: "largest_component", "deepest_component" (of slices; see metrics), or None for all.
    """
    if rule is None:
        return mask
    keep = metrics.deepest_component if rule == "deepest_component" else metrics.largest_component
    cleaned = np.zeros_like(mask)
    for value in np.unique(mask)[1:] if 0 in mask else np.unique(mask):
        cleaned[keep(mask == value)] = value
    return cleaned


def label_scores(score, mask: np.ndarray, target: np.ndarray,
                 labels: dict[str, int]) -> dict[str, float]:
    """Score each label of a patient by itself: label to number.

    Args:
        score: (prediction, target) of 0 and 1 -> number, such as metrics.dsc.
        mask, target: label maps of one shape.
    """
    return {name: score(mask == value, target == value) for name, value in labels.items()}
