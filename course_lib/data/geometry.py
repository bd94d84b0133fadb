"""From the scanner's grid to the network's and back: crop, pad, resize, normalise, and the inverse.

The steps are those of the reference implementation of U-Net for FLAIR abnormality segmentation
(github.com/mateuszbuda/brain-segmentation-pytorch, `dataset.py` and `utils.py`; Buda et al. 2019,
arXiv:1906.03720), in its order. One thing is done differently: skimage's resize is separable and
linear, so here it is two products with sparse matrices of the very same spline weights.

What is needed to come back is a `box`, a plain dict of numbers:
    kind: "slices"; shape: (S, H, W) of the raw volume; start, stop: the part that was kept, in raw
    voxels; size: side of the prepared square, in pixels; floor: what is below it is background.
"""

from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
import torch
from scipy import ndimage, sparse

from course_lib.errors import CourseError, DataError

BACKGROUND = 0.1          # voxels below this share of the volume's maximum are set to zero
FEWEST = 0.001           # share of voxels that are no background: a head takes a tenth or more
PERCENTILES = (10, 99)    # intensities are clipped to these, taken over all channels


@lru_cache(maxsize=256)
def resize_weights(length: int, size: int, order: int) -> sparse.csr_array:
    """Make the (size, length) matrix that resizes one axis as skimage.transform.resize does.

    Resizing the identity gives each pixel's share in each output pixel. A spline's shares fall off
    quickly: those below 1e-7, beyond about eight pixels, are left out.

    Args:
        length, size: pixels before and after.
        order: of the spline; 0 picks the nearest pixel, 2 is the reference's for images.
    """
    weights = ndimage.zoom(np.eye(length), (size / length, 1), order=order,
                           mode="grid-constant", grid_mode=True)
    weights[np.abs(weights) < 1e-7] = 0
    return sparse.csr_array(weights.astype(np.float32))


def resize_slices(slices: np.ndarray, size: int | tuple[int, int], order: int) -> np.ndarray:
    """Resize (…, H, W) to (…, size, size) by two matrix products, clipped to the input's range.

    As skimage's resize with mode "constant", where the input's range includes 0, as it does here.

    Args:
        slices: any dtype; the last two axes are resized.
        size: of the result, in pixels: one number, or (height, width).
        order: of the spline, 0 to 5.
    Returns:
        float32.
    """
    height, width = (size, size) if isinstance(size, int) else size
    rows = resize_weights(slices.shape[-2], height, order)            # (height, H)
    columns = resize_weights(slices.shape[-1], width, order)          # (width, W)
    resized = np.empty((*slices.shape[:-2], height, width), dtype=np.float32)
    for index in np.ndindex(slices.shape[:-2]):
        resized[index] = (columns @ (rows @ slices[index].astype(np.float32)).T).T
    return np.clip(resized, slices.min(), slices.max(), out=resized)


def find_box(volume: np.ndarray, size: int, drop_ends: bool, patient: str) -> dict:
    """Find the smallest box around what is not background.

    Args:
        volume: (S, H, W, C), raw intensities.
        size: side of the prepared square, in pixels.
        drop_ends: leave out the first and the last slice, as the reference does.
        patient: name, for the error.
    Raises:
        DataError: nothing is left.
    """
    first, last = (1, len(volume) - 1) if drop_ends else (0, len(volume))
    kept = volume[first:last]
    if not len(kept):
        raise DataError(what=f"nothing is left of {len(volume)} slices without first and last",
                        patient=patient, cure="take drop_ends=False, or leave this patient out")
    if kept.max() <= 0:
        raise DataError(what=f"nothing is left of {len(volume)} slices: all voxels are zero",
                        patient=patient, cure="leave this patient out, or restore its images")
    floor = float(kept.max() * BACKGROUND)
    # The maximum over channels, channel by channel: 19 times faster than kept.max(axis=-1).
    foreground = reduce(np.maximum, np.moveaxis(kept, -1, 0)) >= floor          # (S, H, W)
    count = int(np.count_nonzero(foreground))
    if count < FEWEST * foreground.size:
        raise DataError(what=f"only {count:,} of {foreground.size:,} voxels reach a tenth of the "
                             f"brightest, {kept.max():g}: the others would be cut away as air",
                        patient=patient, cure="look for single voxels that are far too bright, and "
                                              "clip them, or leave this patient out")
    start, stop = [], []
    for axis in range(3):
        occupied = np.flatnonzero(foreground.any(axis=tuple({0, 1, 2} - {axis})))
        start.append(int(occupied[0]))
        stop.append(int(occupied[-1]) + 1)
    start[0], stop[0] = start[0] + first, stop[0] + first
    return {"kind": "slices", "shape": list(volume.shape[:3]), "start": start, "stop": stop,
            "size": size, "floor": floor}


def _padding(box: dict) -> tuple[int, int, int, int]:
    """Count rows before and after, columns before and after, that make a cropped slice square."""
    height, width = (box["stop"][axis] - box["start"][axis] for axis in (1, 2))
    missing = abs(height - width)
    before, after = missing // 2, missing - missing // 2
    return (0, 0, before, after) if height > width else (before, after, 0, 0)


def _crop_and_pad(volume: np.ndarray, box: dict) -> np.ndarray:
    """Crop (S, H, W) to the box, and pad it with zeros to (S', side, side)."""
    top, bottom, left, right = _padding(box)
    return np.pad(volume[_kept(box)], ((0, 0), (top, bottom), (left, right)))


def _kept(box: dict) -> tuple[slice, ...]:
    """Index the part of the raw volume that the box keeps."""
    return tuple(slice(start, stop) for start, stop
                 in zip(box["start"], box["stop"], strict=True))


def prepare_image(volume: np.ndarray, box: dict) -> np.ndarray:
    """Turn raw slices into what the network sees.

    Args:
        volume: (S, H, W, C), raw intensities, any range.
        box: from find_box.
    Returns:
        (S', C, size, size) float16: each channel of the volume has mean 0 and standard deviation 1.
        A channel that is constant is all zeros.
    """
    channels = [_crop_and_pad(volume[..., c], box) for c in range(volume.shape[-1])]
    image = np.stack(channels, axis=1)                                        # (S', C, side, side)
    image[image < box["floor"]] = 0
    image = resize_slices(image, box["size"], order=2)                        # (S', C, size, size)
    low, high = np.percentile(image, PERCENTILES)
    np.clip(image, low, high, out=image)
    for channel in image.swapaxes(0, 1):                                      # views of image
        channel -= channel.mean(dtype=np.float64)
        deviation = np.sqrt(np.square(channel).mean(dtype=np.float64))
        channel /= deviation if deviation > 0 else 1
    return image.astype(np.float16)


def prepare_target(target: np.ndarray, box: dict) -> np.ndarray:
    """Turn raw label maps (S, H, W) into (S', 1, size, size) uint8, by nearest neighbour."""
    square = _crop_and_pad(target, box)                                   # (S', side, side)
    prepared = np.zeros((len(square), 1, box["size"], box["size"]), dtype=np.uint8)
    for number in np.flatnonzero(square.any(axis=(1, 2))):                # most slices are empty
        prepared[number, 0] = resize_slices(square[number], box["size"], order=0).round()
    return prepared


def restore_slices(probabilities: np.ndarray, box: dict) -> np.ndarray:
    """Bring one channel (S', size, size) back to the raw grid (S, H, W); see restore."""
    height, width = (box["stop"][axis] - box["start"][axis] for axis in (1, 2))
    top, _, left, _ = _padding(box)
    square = resize_slices(probabilities, max(height, width), order=1)
    raw = np.zeros(box["shape"], dtype=np.float32)
    raw[_kept(box)] = square[:, top : top + height, left : left + width]
    return raw


@dataclass(frozen=True)
class Prepared:
    """One patient as the network sees them.

    Attributes:
        image: (N, C, …) float16; N slices in 2D, N = 1 in 3D.
        target: (N, 1, …) uint8 label map, or None.
        box: leads back to the raw grid.
    """

    image: torch.Tensor
    target: torch.Tensor | None
    box: dict


def prepare(raw, preparation: dict) -> Prepared:
    """Prepare one patient as a data set with this preparation does.

    Args:
        raw: with name, image (S, H, W, C) and target (S, H, W) or None, as read_patient returns.
        preparation: kind "slices", size, drop_ends; a run stores it in config.json.
    Raises:
        DataError: nothing is left of the image.
        CourseError: the preparation is of a kind that this version does not know.
    """
    _check_kind(preparation)
    box = find_box(raw.image, preparation["size"], preparation["drop_ends"], raw.name)
    target = None if raw.target is None else torch.from_numpy(prepare_target(raw.target, box))
    return Prepared(torch.from_numpy(prepare_image(raw.image, box)), target, box)


def restore(probabilities: np.ndarray, box: dict) -> np.ndarray:
    """Bring prepared probabilities (N, K, …) back to the raw grid: (K, …) float32.

    In 2D, (N, K, size, size) becomes (K, S, H, W): resized linearly, padding removed, zero outside
    of the box. Dropped slices are zero too: nothing was predicted there.

    Args:
        probabilities: in [0, 1].
        box: of the prepared patient.
    """
    _check_kind(box)
    return np.stack([restore_slices(channel, box) for channel in probabilities.swapaxes(0, 1)])


def _check_kind(facts: dict) -> None:
    if facts.get("kind") != "slices":
        raise CourseError(what=f"a preparation of the kind {facts.get('kind')!r}",
                          where="data.prepare", cure="this version knows the kind 'slices'")
