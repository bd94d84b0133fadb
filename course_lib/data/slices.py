"""Slices of many patients, prepared by the recipe, kept in memory and on disk."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from course_lib.data import cache, geometry, tif
from course_lib.errors import CourseError, DataError

RECIPE = 3    # raise it when the preparation changes: older cached arrays are then left alone


class SliceDataset:
    """Slices of many patients, prepared by the recipe and resident in memory.

    Prepared arrays are cached, so that the second time takes a moment. Raw files are only read.

    Args:
        folder: with one folder per patient.
        size: side of the prepared slices, in pixels.
        patients: names to take, in this order; None takes all.
        on_error: "raise" refuses where a patient is bad, and names the first; "skip" leaves bad
            ones out with a warning and keeps their errors in `.skipped`.
        drop_ends: leave out each patient's first and last slice, as the reference does.

    Attributes:
        images: (N, 3, size, size) float16, z-scored per patient and channel.
        targets: (N, 1, size, size) uint8 of 0 and 1.
        index: N pairs (patient, slice number in the file name).
        patients: their names.
        boxes: patient to the dict that leads back to the raw grid (see data/geometry.py).
        digests: patient to a checksum of the raw images.
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
        folders = {path.name: path for path in tif.find_patients(folder)}
        names = list(folders) if patients is None else list(patients)
        if not names:
            raise DataError(what="an empty list of patients", where="SliceDataset",
                            cure="give at least one; a split without test part has .reported")
        if len(set(names)) < len(names):
            raise CourseError(what=f"{len(names) - len(set(names))} patients stand twice",
                              where="SliceDataset", cure="give each patient once")
        missing = [name for name in names if name not in folders]
        if missing:
            raise DataError(what=f"{len(missing)} of {len(names)} patients are not there, "
                                 f"the first is {missing[0]}", where=str(folder),
                            cure="take names from data.find_patients")
        self.folder = next(iter(folders.values())).parent
        self.geometry = {"size": size, "drop_ends": drop_ends}
        # Largest first: threads end together, and memory peaks while little is kept.
        order = sorted(names, key=lambda name: len(os.listdir(folders[name])), reverse=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            outcomes = dict(zip(order, pool.map(
                lambda name: _outcome(folders[name], size, drop_ends), order), strict=True))
        parts = {name: outcomes.pop(name) for name in names}
        self.skipped = _pick_errors(parts)
        if self.skipped and on_error == "raise":
            first = next(iter(self.skipped.values()))
            raise first if len(self.skipped) == 1 else DataError(
                what=f"{len(self.skipped)} of {len(names)} patients cannot be used "
                     f"(data.verify({str(self.folder)!r}) lists all); the first: {first.what}",
                where=first.where, cure=first.cure)
        for error in self.skipped.values():
            warnings.warn(f"patient left out: {error}", stacklevel=2)
        if len(self.skipped) == len(parts):
            raise DataError(what="no patient could be read", where=str(folder),
                            cure="see the warnings above, or use on_error='raise'")
        self._join({name: part for name, part in parts.items() if name not in self.skipped})

    def _join(self, parts: dict[str, dict]) -> None:
        """Bring the patients' arrays together; each part is let go as soon as it is copied."""
        self.patients = list(parts)
        self.boxes = {name: part["box"] for name, part in parts.items()}
        self.digests = {name: part["digest"] for name, part in parts.items()}
        self.index = [(name, number) for name, part in parts.items() for number in part["slices"]]
        size = self.geometry["size"]
        # numpy asks Linux for large pages, torch does not: half a second for half a gigabyte.
        self.images, self.targets = (
            torch.from_numpy(np.empty((len(self.index), channels, size, size), dtype=kind))
            for channels, kind in ((3, np.float16), (1, np.uint8)))
        for name, part in parts.items():
            self.images[self.rows(name)] = torch.from_numpy(part.pop("image"))
            self.targets[self.rows(name)] = torch.from_numpy(part.pop("target"))

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
        part.patients = list(patients)
        part.boxes = {name: self.boxes[name] for name in patients}
        part.digests = {name: self.digests[name] for name in patients}
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


def _outcome(folder: Path, size: int, drop_ends: bool) -> dict | DataError:
    """What prepare_patient returns, or why it cannot."""
    try:
        return prepare_patient(folder, size, drop_ends)
    except DataError as error:
        return error
    except OSError as error:
        return DataError(what=f"cannot be read ({error})", patient=folder.name,
                         cure="restore the file, or leave the patient out")


def _pick_errors(parts: dict) -> dict[str, DataError]:
    """The patients that failed, and those whose images another patient has already."""
    errors, first = {}, {}
    for name, part in parts.items():
        if isinstance(part, DataError):
            errors[name] = part
        elif part["digest"] in first:
            errors[name] = tif.same_images(name, first[part["digest"]])
        else:
            first[part["digest"]] = name
    return errors


def prepare_patient(folder: Path, size: int, drop_ends: bool) -> dict:
    """One patient's prepared arrays, from the cache where they are whole and true.

    Returns:
        image (S', 3, size, size) float16, target (S', 1, size, size) uint8, box, slices, digest.
    """
    files = tif.list_slices(folder)
    for gap in tif.check_names(folder, files, with_target=False):
        warnings.warn(str(gap), stacklevel=2)
    present = sorted(path for path in folder.iterdir() if tif.NAME.match(path.name))
    name = cache.key(recipe=RECIPE, size=size, drop_ends=drop_ends,
                     files=cache.fingerprint(present))

    def make():
        patient = tif.read_patient(folder)
        box = geometry.find_box(patient.image, size, drop_ends, where=patient.name)
        return {"image": geometry.prepare_image(patient.image, box),
                "target": geometry.prepare_target(patient.target, box),
                "digest": np.asarray(tif.digest(patient.image)),
                **{f"box_{field}": np.asarray(value) for field, value in box.items()}}

    arrays = cache.cached(f"slices/{folder.name}-{name}", make)
    box = {field.removeprefix("box_"): value.tolist() for field, value in arrays.items()
           if field.startswith("box_")}
    kept = list(files)[box["start"][0] : box["stop"][0]]
    return {"image": arrays["image"], "target": arrays["target"], "box": box, "slices": kept,
            "digest": str(arrays["digest"])}
