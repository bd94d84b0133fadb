"""One tif file as the array that every viewer shows, or a sentence that says why not."""

from pathlib import Path

import numpy as np
import tifffile

from course_lib.errors import DataError

MOST_BYTES = 2**26            # of one slice, unpacked: 64 MiB
MOST_PER_BYTE = 1100          # deflate packs at most 1,032 bytes into one; more is a damaged header
GREY, COLOUR = ("MINISBLACK", "MINISWHITE"), ("RGB", "PALETTE")


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
        if not path.is_file():                    # to open a pipe would wait for ever
            raise _Refused("is no regular file", "put the file in its place, or leave the patient "
                                                 "out")
        if path.stat().st_size > 2 * MOST_BYTES:
            raise _Refused(f"has {path.stat().st_size:,} bytes, too many for one slice",
                           "save one slice per file")
        with tifffile.TiffFile(path) as file:
            return _as_shown(_choose_page(file, path.stat().st_size))
    except _Refused as refused:
        what, cure = refused.args
    except Exception as error:    # a damaged file can make the reader raise nearly anything
        what = f"cannot be read as tif ({type(error).__name__}: {error})"
        cure = ("run `pip install imagecodecs`, which knows this compression, or save the file "
                "uncompressed" if "imagecodecs" in str(error) else
                "fetch this file again, or leave the patient out")
    raise DataError(what=what, cure=cure, patient=path.parent.name, file=path.name)


def _choose_page(file: tifffile.TiffFile, size: int) -> tifffile.TiffPage:
    """Choose the first page that is no thumbnail; refuse others beside it, and what is too large.

    Args:
        size: of the file, in bytes: what its header claims is believed up to a bound.
    """
    whole = [page for page in file.pages if not page.subfiletype & 1]      # 1: reduced resolution
    if len(whole) != 1:
        raise _Refused(f"holds {len(whole)} pages, and which one is the slice is not known",
                       "save one page per file")
    page = whole[0]
    if not page.nbytes:
        raise _Refused("has no pixels", "fetch this file again, or leave the patient out")
    if page.nbytes > min(MOST_BYTES, MOST_PER_BYTE * size):
        raise _Refused(f"its header claims {page.nbytes:,} bytes of pixels in a file of {size:,}",
                       f"save slices of at most {MOST_BYTES:,} bytes, or fetch this file again")
    return page


def _as_shown(page: tifffile.TiffPage) -> np.ndarray:
    """Turn a page's numbers into what viewers show."""
    name = getattr(page.photometric, "name", str(page.photometric))
    if name not in GREY + COLOUR:
        raise _Refused(f"has colours of the kind {name}", "save it in grey or RGB")
    orientation = page.tags.valueof("Orientation", 1)
    if int(orientation) not in (0, 1):
        raise _Refused(f"is stored turned or mirrored (orientation {int(orientation)})",
                       "save it upright, as viewers show it")
    array = page.asarray()
    if page.planarconfig == 2 and page.samplesperpixel > 1:                # separate planes
        array = np.moveaxis(array, 0, -1)
    array = _without_alpha(array, len(page.extrasamples))
    if name == "PALETTE":
        return (page.colormap >> 8).astype(np.uint8).T[array]              # (H, W, 3)
    return _turn_around(array, page.bitspersample) if name == "MINISWHITE" else array


def _without_alpha(array: np.ndarray, extra: int) -> np.ndarray:
    """Drop channels beside grey or RGB that are the same everywhere."""
    if not extra:
        return array
    alpha = array[..., -extra:]
    if alpha.min() < alpha.max():
        raise _Refused(f"has {array.shape[-1]} channels, of which {extra} are transparency",
                       "save it without transparency (alpha)")
    array = array[..., :-extra]
    return array[..., 0] if array.shape[-1] == 1 else array


def _turn_around(array: np.ndarray, bits: int) -> np.ndarray:
    """Make white the largest value, where it is stored as the smallest."""
    if array.dtype.kind == "b":
        return ~array
    if array.dtype.kind != "u":
        raise _Refused(f"is {array.dtype} with white as the smallest value",
                       "save it with black as the smallest (MinIsBlack)")
    return (2**bits - 1) - array
