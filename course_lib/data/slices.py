"""Patients as stacks of tif slices: read, checked, prepared by the recipe, kept in memory.

The layout is that of the Kaggle LGG set: a folder per patient, in it `<anything>_<n>.tif`
(H, W, 3), uint8, and beside each `<anything>_<n>_mask.tif` (H, W), 0 and 255 (or 0 and 1).
"""

import os
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
import torch

from course_lib.data import cache, geometry
from course_lib.errors import CourseError, DataError

NAME = re.compile(r"^(?!\.)(?P<stem>.+_(?P<slice>\d+))(?P<mask>_mask)?\.tiff?$", re.IGNORECASE)
RECIPE = 1    # raise it when the preparation changes: older cached arrays are then left alone


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
        found = sorted(path for path in root.glob("*/") if any(path.glob("*_[0-9]*.tif*")))
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
                                where=f"{folder.name}/{path.name}", cure="keep one of the two")
    return dict(sorted(found.items()))


def mask_of(image_file: Path) -> Path:
    """The mask's file that belongs to an image's."""
    return image_file.with_name(f"{image_file.stem}_mask{image_file.suffix}")


def _read_tif(path: Path) -> np.ndarray:
    try:
        return tifffile.imread(path)
    except Exception as error:    # a damaged file can make the reader raise nearly anything
        raise DataError(what=f"cannot be read as tif ({type(error).__name__}: {error})",
                        where=f"{path.parent.name}/{path.name}",
                        cure="fetch this file again, or leave the patient out") from error


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
    folder = Path(folder)
    files = list_slices(folder) if folder.is_dir() else {}
    if not files:
        raise DataError(what="no images named …_<slice number>.tif", where=str(folder),
                        cure="point to a folder with one patient's slices")
    image = _stack([_read_tif(path) for path in files.values()], list(files.values()), "(H, W, 3)",
                   lambda shape: len(shape) == 3 and shape[-1] == 3)
    if not np.isfinite(image).all():
        raise DataError(what="the images hold NaN or infinity", where=folder.name,
                        cure="save them as uint8, or leave the patient out")
    target = _read_target(list(files.values()), image.shape[:3]) if with_target else None
    return Patient(folder.name, image, target, list(files))


def _stack(arrays: list[np.ndarray], files: list[Path], expected: str, fits) -> np.ndarray:
    for array, path in zip(arrays, files, strict=True):
        if array.shape != arrays[0].shape or not fits(array.shape):
            raise DataError(what=f"has shape {array.shape}, the first slice {arrays[0].shape}, "
                                 f"expected {expected}, the same in all slices",
                            where=f"{path.parent.name}/{path.name}",
                            cure="save all slices of a patient in the same size: images with three "
                                 "channels, masks with one")
    return np.stack(arrays)


def _read_target(image_files: list[Path], shape: tuple[int, int, int]) -> np.ndarray:
    """(S, H, W) uint8 of 0 and 1."""
    files = [mask_of(path) for path in image_files]
    stray = {path for path in image_files[0].parent.iterdir()
             if (match := NAME.match(path.name)) and match["mask"]} - set(files)
    for path, problem in [(path, "the mask is missing") for path in files if not path.is_file()] + \
                         [(path, "a mask without an image") for path in sorted(stray)]:
        raise DataError(what=problem, where=f"{path.parent.name}/{path.name}",
                        cure="every <name>.tif needs its <name>_mask.tif, and the reverse; to "
                             "predict a patient without masks, take with_target=False")
    target = _stack([_read_tif(path) for path in files], files, f"{shape[1:]}",
                    lambda found: found == shape[1:])
    values = np.unique(target)
    if not (set(values.tolist()) <= {0, 255} or set(values.tolist()) <= {0, 1}):
        bad = next(path for path, mask in zip(files, target, strict=True)
                   if not set(np.unique(mask).tolist()) <= {0, 255})
        raise DataError(what=f"the mask has values {values.tolist()[:8]}, expected two "
                             "(0 and 1, or 0 and 255)", where=f"{bad.parent.name}/{bad.name}",
                        cure="save it without anti-aliasing and without lossy compression")
    return (target > 0).astype(np.uint8)


class SliceDataset:
    """Slices of many patients, prepared by the recipe and resident in memory.

    Prepared arrays are cached, so that the second time takes a moment. Raw files are only read.

    Args:
        folder: with one folder per patient.
        size: side of the prepared slices, in pixels.
        patients: names to take, in this order; None takes all.
        on_error: "raise" stops at the first bad patient; "skip" leaves it out with a warning and
            keeps its error in `.skipped`.
        drop_ends: leave out each patient's first and last slice, as the reference does.

    Attributes:
        images: (N, 3, size, size) float16, z-scored per patient and channel.
        targets: (N, 1, size, size) uint8 of 0 and 1.
        index: N pairs (patient, slice number in the file name).
        patients: their names.
        boxes: patient to the dict that leads back to the raw grid (see data/geometry.py).
        geometry: the settings a run stores to prepare new patients in the same way.
        skipped: patient to DataError.

    Raises:
        DataError: see read_patient; or no patient is left.
    """

    def __init__(self, folder: str | Path, size: int = 256, patients: list[str] | None = None,
                 on_error: str = "raise", drop_ends: bool = True):
        if on_error not in ("raise", "skip"):
            raise CourseError(what=f"on_error={on_error!r}", where="SliceDataset",
                              cure="use 'raise' or 'skip'")
        folders = {path.name: path for path in find_patients(folder)}
        names = list(folders) if patients is None else list(patients)
        if not names:
            raise DataError(what="an empty list of patients", where="SliceDataset",
                            cure="give at least one; a split without test part has .reported")
        missing = [name for name in names if name not in folders]
        if missing:
            raise DataError(what=f"{len(missing)} of {len(names)} patients are not there, "
                                 f"the first is {missing[0]}", where=str(folder),
                            cure="take names from data.find_patients")
        self.folder = next(iter(folders.values())).parent
        self.geometry = {"size": size, "drop_ends": drop_ends}
        self.skipped: dict[str, DataError] = {}

        def prepared(name):
            try:
                return prepare_patient(folders[name], size, drop_ends)
            except DataError as error:
                if on_error == "raise":
                    raise
                self.skipped[name] = error
                warnings.warn(f"patient left out: {error}", stacklevel=2)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            parts = {name: part for name, part in zip(names, pool.map(prepared, names), strict=True)
                     if part is not None}
        if not parts:
            raise DataError(what="no patient could be read", where=str(folder),
                            cure="see the warnings above, or use on_error='raise'")
        self.patients = list(parts)
        self.boxes = {name: part["box"] for name, part in parts.items()}
        self.index = [(name, number) for name, part in parts.items() for number in part["slices"]]
        self.images = torch.cat([torch.from_numpy(part.pop("image")) for part in parts.values()])
        self.targets = torch.cat([torch.from_numpy(part.pop("target")) for part in parts.values()])

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.images[item], self.targets[item]

    def rows(self, patient: str) -> slice:
        """Where a patient's slices lie in images, targets and index."""
        inside = [row for row, (name, _) in enumerate(self.index) if name == patient]
        if not inside:
            raise CourseError(what=f"there is no patient {patient!r}", where="SliceDataset",
                              cure=f"take one of its .patients, such as {self.patients[0]!r}")
        return slice(inside[0], inside[-1] + 1)

    def subset(self, patients: list[str]) -> "SliceDataset":
        """The same data set with fewer patients, in the order given. Copies their arrays."""
        part = object.__new__(SliceDataset)
        rows = [row for name in patients for row in range(*self.rows(name).indices(len(self)))]
        part.folder, part.geometry, part.skipped = self.folder, self.geometry, {}
        part.patients, part.boxes = list(patients), {name: self.boxes[name] for name in patients}
        part.index = [self.index[row] for row in rows]
        part.images, part.targets = self.images[rows], self.targets[rows]
        return part

    def sampling_weights(self) -> torch.Tensor:
        """Probability of each slice to be drawn for training: (N,) float64, sums to 1.

        A patient is drawn evenly, then one of its n slices with probability
        (s + 0.1·S/n) / (1.1·S), s the slice's tumour area and S the patient's. Slices of a patient
        without tumour are drawn evenly.
        Source: brain-segmentation-pytorch, `dataset.py`.
        """
        areas = self.targets.sum(dim=(1, 2, 3), dtype=torch.float64)
        weights = torch.empty_like(areas)
        for name in self.patients:
            area = areas[self.rows(name)]
            total, count = area.sum(), len(area)
            within = (area + 0.1 * total / count) / (1.1 * total) if total else 1 / count
            weights[self.rows(name)] = within / len(self.patients)
        return weights


def prepare_patient(folder: Path, size: int, drop_ends: bool) -> dict:
    """One patient's prepared arrays, from the cache where they are whole and true.

    Returns:
        image (S', 3, size, size) float16, target (S', 1, size, size) uint8, box, slices.
    """
    files = list_slices(folder)
    masks = [mask_of(path) for path in files.values()]
    facts = cache.fingerprint(sorted([*files.values(), *filter(Path.is_file, masks)]))
    name = cache.key(recipe=RECIPE, size=size, drop_ends=drop_ends, files=facts)

    def make():
        patient = read_patient(folder)
        box = geometry.find_box(patient.image, size, drop_ends, where=patient.name)
        return {"image": geometry.prepare_image(patient.image, box),
                "target": geometry.prepare_target(patient.target, box),
                **{f"box_{field}": np.asarray(value) for field, value in box.items()}}

    arrays = cache.cached(f"slices/{folder.name}-{name}", make)
    box = {field.removeprefix("box_"): value.tolist() for field, value in arrays.items()
           if field.startswith("box_")}
    kept = list(files)[box["start"][0] : box["stop"][0]]
    return {"image": arrays["image"], "target": arrays["target"], "box": box, "slices": kept}
