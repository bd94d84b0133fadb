"""Patients as folders of tif slices: found, read, and checked in the same pass.

The layout is that of the Kaggle LGG set: a folder per patient, in it `<anything>_<n>.tif`
(H, W, 3), uint8, and beside each `<anything>_<n>_mask.tif` (H, W), 0 and 255 (or 0 and 1).
"""

import hashlib
import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from course_lib.errors import DataError

NAME = re.compile(r"^(?!\.)(?P<stem>.+_(?P<slice>\d+))(?P<mask>_mask)?\.tiff?$", re.IGNORECASE)
MOST_PER_BYTE = 1100          # deflate packs at most 1,032 bytes into one; more is a damaged header


@dataclass(frozen=True)
class Patient:
    """One patient as the files have it.

    Attributes:
        name: of the folder.
        image: (S, H, W, 3), the files' own type; pre-contrast, FLAIR, post-contrast.
        target: (S, H, W) uint8 of 0 and 1; None where no masks were asked for.
        slices: the S slice numbers in the file names, ascending.
    """

    name: str
    image: np.ndarray
    target: np.ndarray | None
    slices: list[int]


def find_patients(folder: str | Path) -> list[Path]:
    """The patients' folders in a data set's folder, sorted by name.

    The Kaggle archive holds everything twice, once in a nested kaggle_3m: each patient counts once.

    Raises:
        DataError: there is no such folder, or it holds no patient.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(what="there is no such folder", where=str(folder),
                        cure="data.fetch('lgg-phantom') makes one, data.fetch('lgg-mri') "
                             "downloads one")
    for root in (folder, folder / "kaggle_3m", folder / "lgg-mri-segmentation" / "kaggle_3m"):
        found = sorted(path for path in root.glob("*/")
                       if any(NAME.match(file.name) for file in path.iterdir()))
        if found:
            return found
    raise DataError(what="no patient in it: no folder with files named …_1.tif, …_1_mask.tif",
                    where=str(folder), cure="point to the folder that holds one folder per patient")


def list_slices(folder: Path) -> dict[int, Path]:
    """Slice number to image file, ascending. Numbers, not names: 2 comes before 10."""
    found = {}
    for path in folder.iterdir():
        match = NAME.match(path.name)
        if match and not match["mask"]:
            other = found.setdefault(int(match["slice"]), path)
            if other != path:
                raise DataError(what=f"has the same slice number as {other.name}",
                                patient=folder.name, file=path.name, cure="keep one of the two")
    return dict(sorted(found.items()))


def mask_of(image_file: Path) -> Path:
    """The mask's file that belongs to an image's."""
    return image_file.with_name(f"{image_file.stem}_mask{image_file.suffix}")


def _read_tif(path: Path) -> np.ndarray:
    try:
        content = path.read_bytes()
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            page = file.pages.first
            if len(file.pages) > 1 or page.nbytes > MOST_PER_BYTE * len(content):
                raise ValueError(f"{len(file.pages)} pages, the first of {page.nbytes:,} bytes")
            return page.asarray()
    except Exception as error:    # a damaged file can make the reader raise nearly anything
        raise DataError(what=f"cannot be read as tif ({type(error).__name__}: {error})",
                        patient=path.parent.name, file=path.name,
                        cure="fetch this file again, or leave the patient out") from error


def _read_stack(files: list[Path], expected: str, fits: Callable,
                flaw: Callable) -> tuple[np.ndarray | None, list[DataError]]:
    """All files of one kind as one array, or None; and what is wrong with them.

    Args:
        expected, fits: the shape of a file in words, and whether a shape is right.
        flaw: (array) -> what is wrong with its values and the cure, or None.
    """
    arrays, problems = [], []
    for path in files:
        try:
            array = _read_tif(path)
        except DataError as error:
            problems.append(error)
            continue
        arrays.append(array)
        found = flaw(array)
        if array.dtype != arrays[0].dtype:
            found = (f"is {array.dtype}, the first slice {arrays[0].dtype}",
                     "save all slices of a patient in the same type")
        if array.shape != arrays[0].shape or not fits(array.shape):
            found = (f"has shape {array.shape}, the first slice {arrays[0].shape}, expected "
                     f"{expected}, the same in all slices", "save all slices of a patient in the "
                     "same size: images with three channels, masks with one")
        if found:
            problems.append(DataError(what=found[0], patient=path.parent.name, file=path.name,
                                      cure=found[1]))
    return (None if problems or not arrays else np.stack(arrays)), problems


def _flaw_of_image(image: np.ndarray) -> tuple[str, str] | None:
    if image.dtype.kind in "ui" or np.isfinite(image).all():
        return None
    return ("the image holds NaN or infinity", "save it as uint8, or leave the patient out")


def _flaw_of_mask(mask: np.ndarray) -> tuple[str, str] | None:
    if not mask.any():
        return None
    values = np.unique(mask)
    if set(values.tolist()) <= {0, 255} or set(values.tolist()) <= {0, 1}:
        return None
    return (f"the mask has values {values.tolist()[:8]}, expected two (0 and 1, or 0 and 255)",
            "save it without anti-aliasing and without lossy compression")


def check_names(folder: Path, files: dict[int, Path], with_target: bool = True) -> list[DataError]:
    """What the names of a patient's files tell: masks that are missing or stray, and gaps."""
    problems = []
    if with_target:
        images = set(files.values())
        masks = {path for path in folder.iterdir()
                 if (match := NAME.match(path.name)) and match["mask"]}
        expected = {mask_of(path) for path in images}
        problems = [DataError(what=what, patient=folder.name, file=path.name,
                              cure="every <name>.tif needs its <name>_mask.tif, and the reverse; "
                                   "to predict a patient without masks, take with_target=False")
                    for what, paths in (("the mask is missing", expected - masks),
                                        ("a mask without an image", masks - expected))
                    for path in sorted(paths)]
    gaps = sorted(set(range(min(files, default=0), max(files, default=0))) - set(files))
    if gaps:
        problems.append(DataError(
            what=f"slice numbers {gaps[:8]} are missing between {min(files)} and {max(files)}",
            patient=folder.name, cure="fetch the files again; as it is, what lies apart counts as "
                                    "neighbours", fatal=False))
    return problems


def examine(folder: str | Path, with_target: bool = True) -> tuple[Patient | None, list[DataError]]:
    """Read one patient's folder, and collect all that is wrong with it.

    Returns:
        The patient, or None where a problem is fatal; and the problems.
    """
    folder = Path(folder)
    try:
        files = list_slices(folder) if folder.is_dir() else {}
    except DataError as error:
        return None, [error]
    if not files:
        return None, [DataError(what="no images named …_<slice number>.tif", patient=folder.name,
                                cure="point to a folder with one patient's slices")]
    problems = check_names(folder, files, with_target)
    image, more = _read_stack(list(files.values()), "(H, W, 3)",
                              lambda shape: len(shape) == 3 and shape[-1] == 3, _flaw_of_image)
    problems, target = problems + more, None
    if image is not None and not image.any():
        problems.append(DataError(what=f"all voxels of {len(image)} slices are zero",
                                  patient=folder.name, cure="leave this patient out, or restore its "
                                                          "images"))
    if with_target:
        masks = [path for path in map(mask_of, files.values()) if os.path.lexists(path)]
        shape = None if image is None else image.shape[1:3]
        target, more = _read_stack(masks, f"{shape or '(H, W)'}",
                                   lambda found: len(found) == 2 and found == (shape or found),
                                   _flaw_of_mask)
        problems += more
        if target is not None and target.max() > 1:
            problems += [DataError(what="the mask has values [0, 1], the others [0, 255]",
                                   patient=folder.name, file=path.name, cure="save all masks alike")
                         for path, mask in zip(masks, target, strict=True) if 1 in mask]
    if any(problem.fatal for problem in problems):
        return None, problems
    target = None if target is None else (target > 0).astype(np.uint8)
    return Patient(folder.name, image, target, list(files)), problems


def _as_one(problems: list[DataError], folder: Path) -> DataError:
    """A patient's first fatal problem, with the number of those that are not told."""
    first, *others = [problem for problem in problems if problem.fatal]
    if not others:
        return first
    return DataError(what=f"{first.what} (and {len(others)} more: data.verify({str(folder)!r}) "
                          "lists all)", where=first.where, cure=first.cure)


def read_patient(folder: str | Path, with_target: bool = True) -> Patient:
    """Read and check one patient's folder.

    Args:
        folder: with the tif files.
        with_target: read the masks too; False where there are none.
    Raises:
        DataError: a mask is missing or without image, a slice is there twice, a file cannot be
            read, shapes differ, an image is not finite, or a mask has other values than 0 and 1,
            or 0 and 255.
    """
    patient, problems = examine(folder, with_target)
    if patient is None:
        raise _as_one(problems, Path(folder).parent)
    return patient


def digest(image: np.ndarray) -> str:
    """A checksum of a patient's images: what tells that one patient is there twice."""
    return hashlib.blake2b(np.ascontiguousarray(image), digest_size=8).hexdigest()


def same_images(name: str, other: str) -> DataError:
    """The problem that a patient is there twice, under two names."""
    return DataError(what=f"has the same images as {other}", patient=name,
                     cure="keep one of the two: on both sides of a split they would leak")
