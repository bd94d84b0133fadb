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

from course_lib.data.masks import (
    check_labels,
    flaw_of_mask,
    join_masks,
    look_at_masks,
    read_mask,
)
from course_lib.data.page import odd_one, read_page
from course_lib.errors import DataError

NAME = re.compile(r"^(?!\.)(?P<stem>.+)_(?P<slice>\d+)(?P<mask>_mask)?\.tiff?$", re.IGNORECASE)
# Folders of the system, of file managers and of archives: never a patient's.
HIDDEN = re.compile(r"^([.@#$~]|__)|^(System Volume Information|RECYCLER|Network Trash Folder|"
                    r"Temporary Items|lost\+found)$", re.IGNORECASE)
INNER = ("kaggle_3m", "lgg-mri-segmentation/kaggle_3m")     # where archives hold the patients
LARGEST, SMALLEST = 1e12, 1e-12                             # that a brightest voxel may be


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
    """List a patient's folder; one that is not there is empty.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(what=f"the folder cannot be read ({error.strerror or error})",
                        cure="allow reading it, or leave the patient out",
                        patient=folder.name) from error


def loose_slices(folder: Path) -> list[Path]:
    """List the slices that lie in a folder itself, sorted."""
    return [path for path in _list_folder(folder) if NAME.match(path.name)]


def holds_slices(folder: Path) -> bool:
    """Tell whether a folder is a patient's; one that cannot be read is taken for one."""
    if HIDDEN.search(folder.name):
        return False
    try:
        return bool(loose_slices(folder))
    except DataError:
        return True


def find_patients(folder: str | Path) -> list[Path]:
    """Find the patients' folders in a data set's folder, sorted by name.

    The Kaggle archive holds everything twice, once in a nested kaggle_3m: each patient counts once.
    Hidden and system folders count as none.

    Raises:
        DataError: there is no such folder, it cannot be read, or it holds no patient.
    """
    if not isinstance(folder, str | os.PathLike):
        raise DataError(what=f"folder={folder!r:.80}", where="data", cure="give a path")
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise DataError(what="there is no such folder", where=str(folder),
                        cure="data.fetch('lgg-phantom') makes one, data.fetch('lgg-mri') "
                             "downloads one")
    try:
        loose = loose_slices(folder)
    except DataError as error:
        raise DataError(what=error.what, where=str(folder), cure="allow reading it") from error
    for root in (folder, *(folder / inner for inner in INNER)):
        patients = sorted(path for path in root.glob("*/") if holds_slices(path))
        if patients:
            return patients
    raise _without_patients(folder, loose)


def _without_patients(folder: Path, loose: list[Path]) -> DataError:
    """Say what a folder without patients is: one patient's, many patients' in one, or another."""
    what = "no patient in it: no folder with files named …_1.tif, …_1_mask.tif"
    cure = "point to the folder that holds one folder per patient"
    if loose:
        what = f"no patient in it: files such as {loose[0].name} lie in the folder itself"
        stems = {NAME.match(path.name)["stem"] for path in loose}
        cure = (f"point to the folder that holds one folder per patient, {folder.absolute().parent}"
                if len(stems) == 1 else
                f"make one folder per patient and move each patient's files there: {len(stems)} "
                f"patients lie here, such as {min(stems)}")
    return DataError(what=what, where=str(folder), cure=cure)


def list_slices(folder: Path) -> dict[int, Path]:
    """Map slice number to image file, ascending. Numbers, not names: 2 comes before 10.

    Raises:
        DataError: the folder cannot be read; a file belongs to another scan; a number is there
            twice.
    """
    matches = [(path, match) for path in _list_folder(folder)
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


def _read_stack(files: list[Path], read: Callable,
                flaw: Callable) -> tuple[np.ndarray | None, list[DataError]]:
    """Read all files of one kind as one array, or None; and list what is wrong with them.

    Args:
        read: (path) -> array.
        flaw: (array, the first file's array) -> what is wrong and the cure, or None.
    """
    arrays, problems = [], []
    for path in files:
        try:
            arrays.append(read(path))
        except DataError as error:
            problems.append(error)
            continue
        if problem := flaw(arrays[-1], arrays[0]):
            problems.append(DataError(what=problem[0], cure=problem[1], patient=path.parent.name,
                                      file=path.name))
    return (None if problems or not arrays else np.stack(arrays)), problems


def _flaw_of_image(image: np.ndarray, first: np.ndarray) -> tuple[str, str] | None:
    if image.dtype.kind not in "uif":
        return f"the image is {image.dtype}, not numbers of brightness", "save it as uint8"
    if odd := odd_one(image, first, "(H, W, 3)", image.ndim == 3 and image.shape[-1] == 3):
        return odd
    if image.dtype.kind == "u":
        return None
    if not np.isfinite(image).all():
        return "the image holds NaN or infinity", "save it as uint8, or leave the patient out"
    if image.min() < 0:
        return (f"intensities are negative, down to {image.min():g}, and 0 is taken for background",
                "shift them so that air is 0, or leave the patient out")
    return None


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


def examine(folder: str | Path, with_target: bool = True,
            labels: dict[str, int] | None = None) -> tuple[Patient | None, list[DataError]]:
    """Read one patient's folder, and collect all that is wrong with it.

    Returns:
        The patient, or None where a problem is fatal; and the problems.
    """
    folder, highest = Path(folder), len(check_labels(labels))
    try:
        if folder.name.encode(errors="replace").decode() != folder.name:
            raise DataError(what="the folder's name is not text (it comes from a system with "
                                 "another encoding)", cure="rename the folder, with plain letters",
                            patient=ascii(folder.name))
        files = list_slices(folder)
        if not files:
            raise DataError(what="no images named …_<slice number>.tif", patient=folder.name,
                            cure="point to a folder with one patient's slices")
        problems = check_names(folder, files, with_target)
    except DataError as error:
        return None, [error]
    image, more = _read_stack([*files.values()], read_page, _flaw_of_image)
    problems, target = problems + more, None
    if image is not None:
        problems += _check_volume(folder.name, image)
    if with_target:
        masks = [path for path in map(mask_of, files.values()) if os.path.lexists(path)]
        size = None if image is None else image.shape[1:3]
        target, more = _read_stack(masks, read_mask, lambda mask, first: flaw_of_mask(
            mask, first, size, highest))
        problems += more
    if target is not None:
        target, more = join_masks(target, masks, highest)
        problems += more
        if image is not None and len(target) == len(image):
            problems += look_at_masks(image, target, masks)
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
    """Checksum shape and values, whatever type holds them: uint8 and uint16 of 7 are the same."""
    if array.dtype != np.uint8:
        small = array.astype(np.uint8)
        array = small if (small == array).all() else array.astype(np.float64)
    if (array == array.flat[0]).all():
        return f"all {array.flat[0]:g}"
    checksum = hashlib.blake2b(f"{array.shape} {array.dtype}".encode(), digest_size=6)
    checksum.update(np.ascontiguousarray(array))
    return checksum.hexdigest()
