"""Masks: from the numbers in their files to label maps, and what can be wrong with them."""

import operator
from pathlib import Path

import numpy as np

from course_lib.data.geometry import BACKGROUND
from course_lib.data.page import odd_one, read_page
from course_lib.errors import CourseError, DataError

MUCH = 0.5                # of an image, of its border, of what is marked
FEW = 32                  # values below are rather labels than shades of an edge


def check_labels(labels: dict[str, int] | None) -> dict[str, int]:
    """Check names and values of labels; None is {"tumour": 1}.

    Raises:
        CourseError: values are not 1, 2 … K, or more than 255.
    """
    if labels is None:
        return {"tumour": 1}
    try:
        checked = {str(name): operator.index(value) for name, value in labels.items()}
    except (AttributeError, TypeError):
        checked = {}
    if not 0 < len(checked) < 256 or sorted(checked.values()) != [*range(1, len(checked) + 1)]:
        raise CourseError(what=f"labels={labels!r}", where="data",
                          cure="give a dict of name to value, with the values 1, 2, 3 … and "
                               "without the background")
    return checked


def read_mask(path: Path) -> np.ndarray:
    """Read a mask; some programs save grey as three equal channels, of which one is given."""
    mask = read_page(path)
    if mask.ndim != 3 or mask.shape[-1] != 3:
        return mask
    if (mask != mask[..., :1]).any():
        raise DataError(what="the mask is in colour", cure="save it in grey, one number a pixel: "
                        "0 for background", patient=path.parent.name, file=path.name)
    return mask[..., 0]


def flaw_of_mask(mask: np.ndarray, first: np.ndarray, size: tuple | None,
                 highest: int) -> tuple[str, str] | None:
    """Say what is wrong with one mask, and the cure; None for nothing.

    For one label a mask holds two values, 0 and 1, 255 or the largest of its type; for several
    labels it holds their values, 1 to `highest`, and 0.

    Args:
        first: the first slice's mask.
        size: of the images, (H, W); None where they could not be read.
    """
    if mask.dtype.kind not in "buif":
        return f"the mask is {mask.dtype}", "save it as uint8"
    if odd := odd_one(mask, first, f"{size or '(H, W)'}",
                      mask.ndim == 2 and mask.shape == (size or mask.shape)):
        return odd
    if not mask.any():
        return None
    if not np.isfinite(mask).all():
        return "the mask holds NaN or infinity", "save it as uint8"
    values = set(np.unique(mask).tolist())
    if highest > 1:
        others = sorted(values - set(range(highest + 1)))
        return (f"the mask has values {others[:8]}, expected those of the labels, 0 to {highest}",
                "save label maps with these values, or give other labels") if others else None
    top = np.iinfo(mask.dtype).max if mask.dtype.kind in "ui" else 255
    if any(values <= {0, one} for one in (1, 255, top)):
        return None
    return (f"the mask has values {sorted(values)[:8]}, expected two (0 and 1, or 0 and 255)",
            "give labels={…} for several labels" if max(values) < FEW else
            "save it without anti-aliasing and without lossy compression")


def join_masks(masks: np.ndarray, files: list[Path],
               highest: int) -> tuple[np.ndarray, list[DataError]]:
    """Make (S, H, W) uint8 label maps; for one label, list masks that use another value for it."""
    if highest > 1:
        return masks.astype(np.uint8), []
    tops = [float(mask.max()) for mask in masks]
    largest = max(tops)
    return (masks > 0).astype(np.uint8), [
        DataError(what=f"the mask has values [0, {top:g}], the others [0, {largest:g}]",
                  cure="save all masks alike", patient=path.parent.name, file=path.name)
        for path, top in zip(files, tops, strict=True) if top not in (0, largest)]


def look_at_masks(image: np.ndarray, target: np.ndarray, files: list[Path]) -> list[DataError]:
    """List masks that cover the background: inverted ones, or those of other images."""
    marked = target > 0                                                      # (S, H, W)
    rows, columns = marked[:, (0, -1)], marked[:, :, (0, -1)].swapaxes(1, 2)  # (S, 2, W), (S, 2, H)
    border = np.concatenate([rows, columns], axis=2).mean(axis=(1, 2))       # (S,)
    share = marked.mean(axis=(1, 2))                                         # (S,)
    covering = np.flatnonzero(np.maximum(border, share) > MUCH)
    if len(covering):
        first = covering[0]
        return [DataError(what=f"the mask covers {share[first]:.0%} of the image and "
                               f"{border[first]:.0%} of its border, as {len(covering)} of "
                               f"{len(files)} masks do", cure="look whether it is inverted: 0 is "
                          "background", patient=files[first].parent.name, file=files[first].name,
                          fatal=False)]
    under = image[marked]                                                    # (pixels, 3)
    dark = (under.max(axis=-1) < BACKGROUND * image.max()).mean() if len(under) else 0
    return [DataError(what=f"{dark:.0%} of what the masks mark is background in the images",
                      cure="look whether the masks belong to these images", fatal=False,
                      patient=files[0].parent.name)] if dark > MUCH else []
