"""Patients as folders of tif slices: found, read, and checked in the same pass.

The layout is that of the Kaggle LGG set: a folder per patient, in it `<anything>_<n>.tif`
(H, W, 3), uint8, and beside each `<anything>_<n>_mask.tif` (H, W), 0 and 255 (or 0 and 1).
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from course_lib.data.page import read_page
from course_lib.errors import CourseError, DataError

NAME = re.compile(r"^(?!\.)(?P<stem>.+)_(?P<slice>\d+)(?P<mask>_mask)?\.tiff?$", re.IGNORECASE)
# Folders of the system, of file managers and of archives: never a patient's.
HIDDEN = re.compile(r"^[.@#$]|^__|^(System Volume Information|lost\+found|Thumbs\.db)$")
INNER = ("kaggle_3m", "lgg-mri-segmentation/kaggle_3m")     # where archives hold the patients
LARGEST, SMALLEST = 1e12, 1e-12                             # that a brightest voxel may be
MUCH = 0.5                                                  # of an image or its border


@dataclass(frozen=True)
class Patient:
    """One patient as the files have it.

    Attributes:
        name: of the folder.
        image: (S, H, W, 3), the files' own type; pre-contrast, FLAIR, post-contrast.
        target: (S, H, W) uint8 label map; None where no masks were asked for.
        slices: the S slice numbers in the file names, ascending.
        files: the S names of the image files.
    """

    name: str
    image: np.ndarray
    target: np.ndarray | None
    slices: list[int]
    files: list[str] = field(default_factory=list)


def _list_folder(folder: Path) -> list[Path]:
    """List a patient's folder.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise DataError(what=f"the folder cannot be read ({error.strerror or error})",
                        cure="allow reading it, or leave the patient out",
                        patient=folder.name) from error


def holds_slices(folder: Path) -> bool:
    """Tell whether a folder is a patient's; one that cannot be read is taken for one."""
    if HIDDEN.search(folder.name):
        return False
    try:
        return any(NAME.match(path.name) for path in _list_folder(folder))
    except DataError:
        return True


def find_patients(folder: str | Path) -> list[Path]:
    """Find the patients' folders in a data set's folder, sorted by name.

    The Kaggle archive holds everything twice, once in a nested kaggle_3m: each patient counts once.
    Hidden and system folders count as none.

    Raises:
        DataError: there is no such folder, or it holds no patient.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(what="there is no such folder", where=str(folder),
                        cure="data.fetch('lgg-phantom') makes one, data.fetch('lgg-mri') "
                             "downloads one")
    for root in (folder, *(folder / inner for inner in INNER)):
        patients = sorted(path for path in root.glob("*/") if holds_slices(path))
        if patients:
            return patients
    lying = [path.name for path in folder.glob("*") if NAME.match(path.name)]
    raise DataError(what="no patient in it: " + (
        f"files such as {lying[0]} lie in the folder itself" if lying else
        "no folder with files named …_1.tif, …_1_mask.tif"), where=str(folder),
        cure="point to the folder that holds one folder per patient")


def list_slices(folder: Path) -> dict[int, Path]:
    """Map slice number to image file, ascending. Numbers, not names: 2 comes before 10.

    Raises:
        DataError: the folder cannot be read; a file belongs to another scan; a number is there
            twice.
    """
    matches = [(path, match) for path in sorted(_list_folder(folder))
               if (match := NAME.match(path.name)) and not match["mask"]]
    stems = Counter(match["stem"] for _, match in matches)
    slices = {}
    for path, match in matches:
        usual = stems.most_common(1)[0][0]
        if match["stem"] != usual:
            raise DataError(what=f"belongs to {match['stem']}, the other files to {usual}",
                            cure="give each patient a folder: one folder per patient, with the "
                                 "slices of one scan", patient=folder.name, file=path.name)
        other = slices.setdefault(int(match["slice"]), path)
        if other != path:
            raise DataError(what=f"has the same slice number as {other.name}",
                            cure="keep one of the two", patient=folder.name, file=path.name)
    return dict(sorted(slices.items()))


def mask_of(image_file: Path) -> Path:
    """Name the mask's file that belongs to an image's."""
    return image_file.with_name(f"{image_file.stem}_mask{image_file.suffix}")


def check_labels(labels: dict[str, int] | None) -> dict[str, int]:
    """Check names and values of labels; None is {"tumour": 1}.

    Raises:
        CourseError: values are not 1, 2 … K.
    """
    if labels is None:
        return {"tumour": 1}
    if (not isinstance(labels, dict) or not labels
            or sorted(map(str, labels.values())) != sorted(map(str, range(1, len(labels) + 1)))):
        raise CourseError(what=f"labels={labels!r}", where="data",
                          cure="give a dict of name to value, with the values 1, 2, 3 …")
    return {str(name): int(value) for name, value in labels.items()}


def _read_stack(files: list[Path], expected: str, fits: Callable,
                flaw: Callable) -> tuple[np.ndarray | None, list[DataError]]:
    """Read all files of one kind as one array, or None; and list what is wrong with them.

    Args:
        expected, fits: the shape of a file in words, and whether a shape is right.
        flaw: (array) -> what is wrong with its values and the cure, or None.
    """
    arrays, problems = [], []
    for path in files:
        try:
            array = read_page(path)
        except DataError as error:
            problems.append(error)
            continue
        if expected != "(H, W, 3)" and array.ndim == 3 and array.shape[-1] == 3:
            array = _one_of_equal(array)                  # a mask saved in colour, but grey
        arrays.append(array)
        problem = flaw(array)
        if array.dtype != arrays[0].dtype:
            problem = (f"is {array.dtype}, the first slice {arrays[0].dtype}",
                       "save all slices of a patient in the same type")
        if array.shape != arrays[0].shape or not fits(array.shape):
            problem = (f"has shape {array.shape}, the first slice {arrays[0].shape}, expected "
                       f"{expected}, the same in all slices", "save all slices of a patient in "
                       "the same size: images with three channels, masks with one")
        if problem:
            problems.append(DataError(what=problem[0], cure=problem[1], patient=path.parent.name,
                                      file=path.name))
    return (None if problems or not arrays else np.stack(arrays)), problems


def _one_of_equal(array: np.ndarray) -> np.ndarray:
    """Give one channel of three that are equal; else all of them."""
    first = array[..., 0]
    return first if (array == first[..., None]).all() else array


def _flaw_of_image(image: np.ndarray) -> tuple[str, str] | None:
    if image.dtype.kind not in "uif":
        return (f"the image is {image.dtype}, not numbers of brightness", "save it as uint8")
    if image.dtype.kind == "u":
        return None
    if not np.isfinite(image).all():
        return ("the image holds NaN or infinity", "save it as uint8, or leave the patient out")
    if image.min() < 0:
        return (f"intensities are negative, down to {image.min():g}, and 0 is taken for background",
                "shift them so that air is 0, or leave the patient out")
    return None


def _flaw_of_mask(mask: np.ndarray, highest: int) -> tuple[str, str] | None:
    """Say what is wrong with a mask's values: of one label two, of several 0 to the highest."""
    if mask.dtype.kind == "c":
        return (f"the mask is {mask.dtype}", "save it as uint8")
    if not mask.any():
        return None
    values = set(np.unique(mask).tolist())
    top = np.iinfo(mask.dtype).max if mask.dtype.kind in "ui" else 255
    if highest == 1 and any(values <= {0, one} for one in (1, 255, top)):
        return None
    if highest > 1 and values <= set(range(highest + 1)):
        return None
    wanted = ("two (0 and 1, or 0 and 255)" if highest == 1 else
              f"those of the labels, 0 to {highest}")
    return (f"the mask has values {sorted(values)[:8]}, expected {wanted}",
            "save it without anti-aliasing and without lossy compression" if highest == 1 else
            "save label maps with these values, or give other labels")


def check_names(folder: Path, files: dict[int, Path], with_target: bool = True) -> list[DataError]:
    """List what the names of a patient's files tell: masks missing or stray, and gaps."""
    problems = []
    if with_target:
        images = set(files.values())
        masks = {path for path in _list_folder(folder)
                 if (match := NAME.match(path.name)) and match["mask"]}
        expected = {mask_of(path) for path in images}
        problems = [DataError(what=what, patient=folder.name, file=path.name,
                              cure="every <name>.tif needs its <name>_mask.tif, and the reverse; "
                                   "to predict a patient without masks, take with_target=False")
                    for what, paths in (("the mask is missing", expected - masks),
                                        ("a mask without an image", masks - expected))
                    for path in sorted(paths)]
    first, last = min(files, default=0), max(files, default=0)
    missing = last - first + 1 - len(files) if files else 0
    if missing:
        gaps = [number for number in range(first, min(last, first + 10_000))
                if number not in files][:8]
        problems.append(DataError(
            what=f"slice numbers {gaps} are missing between {first} and {last}",
            patient=folder.name, cure="fetch the files again; as it is, what lies apart counts as "
                                      "neighbours", fatal=False))
    return problems


def _check_volume(name: str, image: np.ndarray) -> list[DataError]:
    """List what is wrong with a patient's images taken together."""
    brightest = float(image.max())
    if not brightest:
        return [DataError(what=f"all voxels of {len(image)} slices are zero", patient=name,
                          cure="leave this patient out, or restore its images")]
    if not SMALLEST <= brightest <= LARGEST:
        return [DataError(what=f"the brightest voxel is {brightest:g}", patient=name,
                          cure="scale the intensities, such as to 0 … 255, or leave the patient "
                               "out")]
    return []


def _join_masks(masks: np.ndarray, files: list[Path],
                highest: int) -> tuple[np.ndarray, list[DataError]]:
    """Make (S, H, W) uint8 label maps of masks, and list what is wrong with them together."""
    problems, patient = [], files[0].parent.name
    if highest == 1:
        tops = [float(mask.max()) for mask in masks]
        if len(set(tops) - {0.0}) > 1:
            largest = max(tops)
            problems = [DataError(what=f"the mask has values [0, {top:g}], the others "
                                       f"[0, {largest:g}]", cure="save all masks alike",
                                  patient=patient, file=path.name)
                        for path, top in zip(files, tops, strict=True) if top not in (0, largest)]
        masks = masks > 0
    target = masks.astype(np.uint8)
    border = np.concatenate([target[:, (0, -1)].ravel(), target[:, :, (0, -1)].ravel()])
    share, edge = (target > 0).mean(), (border > 0).mean()
    if share > MUCH or edge > MUCH:
        problems.append(DataError(
            what=f"masks cover {share:.0%} of the images and {edge:.0%} of their border",
            cure="look whether they are inverted: 0 is background", patient=patient, fatal=False))
    return target, problems


def examine(folder: str | Path, with_target: bool = True,
            labels: dict[str, int] | None = None) -> tuple[Patient | None, list[DataError]]:
    """Read one patient's folder, and collect all that is wrong with it.

    Returns:
        The patient, or None where a problem is fatal; and the problems.
    """
    folder, highest = Path(folder), len(check_labels(labels))
    try:
        files = list_slices(folder) if folder.is_dir() else {}
        if not files:
            raise DataError(what="no images named …_<slice number>.tif", patient=folder.name,
                            cure="point to a folder with one patient's slices")
        problems = check_names(folder, files, with_target)
    except DataError as error:
        return None, [error]
    image, more = _read_stack(list(files.values()), "(H, W, 3)",
                              lambda shape: len(shape) == 3 and shape[-1] == 3, _flaw_of_image)
    problems, target = problems + more, None
    if image is not None:
        problems += _check_volume(folder.name, image)
    if with_target:
        masks = [path for path in map(mask_of, files.values()) if os.path.lexists(path)]
        size = None if image is None else image.shape[1:3]
        target, more = _read_stack(masks, f"{size or '(H, W)'}",
                                   lambda shape: len(shape) == 2 and shape == (size or shape),
                                   lambda mask: _flaw_of_mask(mask, highest))
        problems += more
        if target is not None:
            target, more = _join_masks(target, masks, highest)
            problems += more
    if any(problem.fatal for problem in problems):
        return None, problems
    return Patient(folder.name, image, target, list(files),
                   [path.name for path in files.values()]), problems


def read_patient(folder: str | Path, with_target: bool = True,
                 labels: dict[str, int] | None = None) -> Patient:
    """Read and check one patient's folder.

    Args:
        folder: with the tif files.
        with_target: read the masks too; False where there are none.
        labels: name to value in the masks, 1 … K. One label, as None has it, takes masks of two
            values; several take label maps.
    Raises:
        DataError: a mask is missing or without image, a slice is there twice or of another scan, a
            file cannot be read, shapes differ, an image is negative or not finite, or a mask has
            other values than its labels.
    """
    patient, problems = examine(folder, with_target, labels)
    if patient is None:
        first, *others = [problem for problem in problems if problem.fatal]
        more = (f" (and {len(others)} more: data.verify({str(Path(folder).parent)!r}) lists all)"
                if others else "")
        raise DataError(what=first.what + more, cure=first.cure, patient=first.patient,
                        file=first.file)
    return patient


def digests(patient: Patient) -> dict[str, dict[str, str]]:
    """Checksum the content of each file: {"image": {file: checksum}, "target": {…}}.

    What tells that a slice is there twice, or has changed. An array of one value has that as its
    checksum: many slices are black, and most masks empty, without being the same slice.
    """
    masks = [mask_of(Path(name)).name for name in patient.files]
    targets = [] if patient.target is None else zip(masks, patient.target, strict=True)
    return {"image": {name: _digest(image) for name, image
                      in zip(patient.files, patient.image, strict=True)},
            "target": {name: _digest(mask) for name, mask in targets}}


def _digest(array: np.ndarray) -> str:
    if array.min() == array.max():
        return f"all {array.flat[0]}"
    facts = f"{array.shape} {array.dtype.str}".encode()
    return hashlib.blake2b(facts + np.ascontiguousarray(array).tobytes(), digest_size=6).hexdigest()
