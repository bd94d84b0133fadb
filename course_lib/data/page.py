"""One tif file as the array that every viewer shows, or a sentence that says why not."""

import io
import math
import stat
from itertools import islice
from pathlib import Path

import numpy as np
import tifffile

from course_lib.errors import DataError

MOST_BYTES = 2**26            # of one slice, unpacked: 64 MiB
MOST_PER_BYTE = 1100          # deflate packs at most 1,032 bytes into one; more is a damaged header
MOST_PAGES = 100              # that are looked at: a damaged chain of pages may have no end
BESIDE = 0b101                # kinds of page: a reduced copy of another, and its transparency
ALPHA = (1, 2)                # kinds of extra channel: transparency; 0 is a channel as any other
JPEG = (6, 7)                 # compressions whose decoder turns YCbCr into RGB
NAMES = {"SEPARATED": "SEPARATED (CMYK)"}
AGAIN = "fetch this file again, or leave the patient out"


class _Refused(Exception):
    """Arguments: what is wrong, and the cure."""


def read_page(path: Path) -> np.ndarray:
    """Read one tif file.

    Returns:
        (H, W) or (H, W, C). MinIsWhite is turned around, a palette's colours are looked up, planes
        are moved to the end, an even alpha channel is dropped.
    Raises:
        DataError: it is no regular file, not readable, holds several pages, expands to more than
            64 MiB, or has colours that are neither grey nor RGB.
    """
    try:
        content = _read_bytes(path)
        with tifffile.TiffFile(io.BytesIO(content)) as file:      # half as long as from the path
            return _as_shown(_choose_page(file, len(content)))
    except _Refused as refused:
        what, cure = refused.args
    except Exception as error:    # a damaged file can make the reader raise nearly anything
        what, cure = _explain(error)
    raise DataError(what=what, cure=cure, patient=path.parent.name, file=path.name)


def _read_bytes(path: Path) -> bytes:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):                          # a pipe would be waited for
        raise _Refused("is no regular file, but a folder, a pipe or a device",
                       "put the file in its place, or leave the patient out")
    if status.st_size > 2 * MOST_BYTES:
        raise _Refused(f"has {status.st_size:,} bytes, too many for one slice",
                       "save one slice per file")
    return path.read_bytes()


def _explain(error: Exception) -> tuple[str, str]:
    """Say what an error means for the reader of a file, and the cure."""
    what = f"cannot be read as tif ({type(error).__name__}: {error})"
    if isinstance(error, OSError) and error.strerror:
        return (f"cannot be read ({error.strerror})",
                "put the file in its place and allow reading it, or leave the patient out")
    if isinstance(error, ImportError) or "imagecodecs" in str(error):
        return what, ("run `pip install imagecodecs`, which knows this compression, or save the "
                      "file uncompressed")
    return what, AGAIN


def _choose_page(file: tifffile.TiffFile, size: int) -> tifffile.TiffPage:
    """Choose the only page that is no thumbnail; refuse others beside it, and what is too large.

    Args:
        size: of the file, in bytes: what its header claims is believed up to a bound.
    """
    pages = list(islice(file.pages, MOST_PAGES))
    whole = [page for page in pages if not page.subfiletype & BESIDE] or pages
    if len(whole) > 1:
        raise _Refused(f"holds {len(whole)} pages, and which one is the slice is not known",
                       "save one page per file, the three sequences as channels of one page")
    (page,) = whole
    claimed = max(page.nbytes, _unpacked(page))
    if not page.nbytes:
        raise _Refused("has no pixels", AGAIN)
    if claimed > min(MOST_BYTES, MOST_PER_BYTE * size):
        raise _Refused(f"its header claims {claimed:,} bytes of pixels in a file of {size:,}",
                       f"save slices of at most {MOST_BYTES:,} bytes, or fetch this file again")
    # No compression makes pixels half as large again: what is stored would expand to far more.
    if (stored := sum(page.databytecounts)) > 1.5 * claimed + 4096:
        raise _Refused(f"stores {stored:,} bytes for {claimed:,} bytes of pixels", AGAIN)
    return page


def _unpacked(page: tifffile.TiffPage) -> int:
    """Count the bytes of a page's strips or tiles, the parts of tiles beyond the image included."""
    itemsize = page.dtype.itemsize if page.dtype else 1
    return math.prod(page.chunks) * math.prod(page.chunked) * itemsize


def _as_shown(page: tifffile.TiffPage) -> np.ndarray:
    """Turn a page's numbers into what viewers show."""
    colours = getattr(page.photometric, "name", f"number {page.photometric}")
    if colours == "YCBCR" and page.compression in JPEG:
        colours = "RGB"
    if colours not in ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE"):
        raise _Refused(f"has colours of the kind {NAMES.get(colours, colours)}",
                       "save it in grey or RGB")
    orientation = page.tags.valueof(274, 1)
    if orientation in range(2, 9):
        raise _Refused(f"is stored turned or mirrored (orientation {int(orientation)})",
                       "save it upright, as viewers show it")
    array = page.asarray()
    if page.planarconfig == 2 and page.samplesperpixel > 1:                # separate planes
        array = np.moveaxis(array, 0, -1)
    array = _without_alpha(array, sum(kind in ALPHA for kind in page.extrasamples))
    if colours == "PALETTE":
        return _look_up(array, page.colormap)
    return _turn_around(array, page.bitspersample) if colours == "MINISWHITE" else array


def _without_alpha(array: np.ndarray, count: int) -> np.ndarray:
    """Drop the last channels, which are transparency, where they hide nothing."""
    if not count:
        return array
    alpha = array[..., -count:]
    if not alpha.any() or alpha.min() < alpha.max():
        raise _Refused(f"has {array.shape[-1]} channels, of which {count} are transparency",
                       "save it without transparency (alpha)")
    array = array[..., :-count]
    return array[..., 0] if array.shape[-1] == 1 else array


def _look_up(array: np.ndarray, colormap: np.ndarray) -> np.ndarray:
    """Give (H, W) places in a palette (3, N) their colours: (H, W, 3) uint8."""
    # Colours have 16 bits; some writers fill in only 8, and viewers know that.
    colours = (colormap >> 8 if colormap.max() > 255 else colormap).astype(np.uint8)
    return colours.T[array.astype(np.intp)]


def _turn_around(array: np.ndarray, bits: int) -> np.ndarray:
    """Make white the largest value, where it is stored as the smallest."""
    if array.dtype.kind == "b":
        array = ~array
        if np.concatenate([array[(0, -1), :].ravel(), array[:, (0, -1)].ravel()]).mean() > 0.5:
            raise _Refused("is stored as MinIsWhite, and its border is white in every viewer",
                           "save masks as uint8: tifffile writes a bool array as MinIsWhite "
                           "without turning it around")
        return array
    if array.dtype.kind != "u":
        raise _Refused(f"is {array.dtype}, stored as MinIsWhite (0 is white)",
                       "save it as MinIsBlack, with 0 for black")
    return (2**bits - 1) - array


def odd_one(array: np.ndarray, first: np.ndarray, expected: str,
            fits: bool) -> tuple[str, str] | None:
    """Say what sets a slice apart: a shape that does not fit, or another than the first one's."""
    if array.shape != first.shape or not fits:
        return (f"has shape {array.shape}, the first slice {first.shape}, expected {expected}, the "
                "same in all slices", "save all slices of a patient in the same size: images with "
                "three channels, masks with one")
    if array.dtype != first.dtype:
        return (f"is {array.dtype}, the first slice {first.dtype}",
                "save all slices of a patient in the same type")
    return None
