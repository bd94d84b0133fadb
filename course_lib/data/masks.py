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
    whole = all(value == int(value) and value >= 0 for value in values)
    cure = ("give labels={…} for several labels" if whole and max(values) < FEW else
            "save background as 0 and what is marked as 255" if len(values) <= 2 else
            "save it without anti-aliasing and without lossy compression")
    return f"the mask has values {sorted(values)[:8]}, expected two (0 and 1, or 0 and 255)", cure


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
    """Look for masks that cover the background: inverted ones, or those of another image."""
    share = np.array([np.count_nonzero(mask) / mask.size for mask in target])          # (S,)
    edges = [target[:, 0], target[:, -1], target[:, :, 0], target[:, :, -1]]           # 4 of (S, n)
    border = (np.concatenate(edges, axis=1) > 0).mean(axis=1)                          # (S,)
    covering = np.flatnonzero(np.maximum(border, share) > MUCH)
    if len(covering):
        number = covering[0]
        what = (f"the mask covers {share[number]:.0%} of the image and {border[number]:.0%} of its "
                f"border, as {len(covering)} of {len(files)} masks do")
    else:
        number = share.argmax()              # one slice is enough to see it, and all take too long
        marked = image[number][target[number] > 0]                                     # (n, 3)
        dark = np.count_nonzero(marked.max(axis=-1) < BACKGROUND * image.max())
        if dark <= MUCH * len(marked):
            return []
        what = f"{dark:,} of the mask's {len(marked):,} pixels are background in the image"
    return [DataError(what=what, cure="look whether the mask is inverted (0 is background), or "
                      "belongs to another image", patient=files[0].parent.name,
                      file=files[number].name, fatal=False)]
