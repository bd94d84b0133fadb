"""Slices of many patients, prepared alike, kept in memory and on disk."""

import json
import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from course_lib.data import cache, checking, geometry, tif
from course_lib.data.masks import check_labels
from course_lib.errors import CourseError, DataError, whole_number

STEPS_VERSION = 4     # raise it when the preparation changes: older cached arrays are left alone


class SliceDataset:
    """Slices of many patients, prepared alike and kept in main memory.

    Prepared arrays are cached, so that the second time takes a moment. Raw files are only read.

    Args:
        folder: with one folder per patient.
        size: side of the prepared slices, in pixels.
        patients: names to take, in this order; None takes all.
        on_error: "raise" refuses where a patient is bad, and names the first; "skip" leaves bad
            ones out with a warning and keeps their errors in `.skipped`.
        drop_ends: leave out each patient's first and last slice, as the reference does.
        labels: name to value in the masks, 1 … K; None is {"tumour": 1}, in masks of two values.

    Attributes:
        images: (N, 3, size, size) float16, z-scored per patient and channel.
        targets: (N, 1, size, size) uint8 label map.
        index: N pairs (patient, slice number in the file name).
        patients: their names.
        labels: name to value.
        preparation: the settings a run stores to prepare new patients in the same way.
        digests: patient to {"image": …, "target": …}, each file name to checksum of its content.
        boxes: patient to the dict that leads back to the raw grid (see data/geometry.py).
        folder: with one folder per patient.
        skipped: patient to DataError.

    Raises:
        CourseError: an argument cannot work.
        DataError: see read_patient; or no patient is left.
    """

    def __init__(self, folder: str | Path, size: int = 256, patients: list[str] | None = None,
                 on_error: str = "raise", drop_ends: bool = True,
                 labels: dict[str, int] | None = None):
        if on_error not in ("raise", "skip"):
            raise CourseError(what=f"on_error={on_error!r}", where="SliceDataset",
                              cure="use 'raise' or 'skip'")
        self.labels = check_labels(labels)
        self.preparation = {"kind": "slices", "size": whole_number(size, "size", "SliceDataset"),
                            "drop_ends": bool(drop_ends)}
        folders = _choose(folder, patients)
        self.folder = next(iter(folders.values())).parent
        parts = self._prepare_all(folders)
        self.skipped = _pick_errors(parts)
        if self.skipped and on_error == "raise":
            raise _as_one(self.skipped, len(parts), self.folder)
        for error in self.skipped.values():
            warnings.warn(f"patient left out: {error}", stacklevel=2)
        if len(self.skipped) == len(parts):
            raise DataError(what="no patient could be read", where=str(folder),
                            cure="see the warnings above, or use on_error='raise'")
        self._join({name: part for name, part in parts.items() if name not in self.skipped})

    def _prepare_all(self, folders: dict[str, Path]) -> dict[str, dict | DataError]:
        """Prepare patients side by side: name to what prepare_patient returns, or to its error."""
        # Largest first: threads end together, and memory peaks while little is kept.
        order = sorted(folders, key=lambda name: _count_files(folders[name]), reverse=True)

        def outcome(name: str) -> dict | DataError:
            try:
                return prepare_patient(folders[name], self.preparation, self.labels)
            except DataError as error:
                return error

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            parts = dict(zip(order, pool.map(outcome, order), strict=True))
        return {name: parts.pop(name) for name in folders}

    def _join(self, parts: dict[str, dict]) -> None:
        """Bring the patients' arrays together; each part is let go as soon as it is copied."""
        self.patients, self._copies, self._weights = list(parts), {}, None
        self.boxes = {name: part["box"] for name, part in parts.items()}
        self.digests = {name: part["digests"] for name, part in parts.items()}
        self.index = [(name, number) for name, part in parts.items() for number in part["slices"]]
        size = self.preparation["size"]
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
        """Slice out where a patient lies in images, targets and index."""
        rows = [row for row, (name, _) in enumerate(self.index) if name == patient]
        if not rows:
            raise CourseError(what=f"there is no patient {patient!r}", where="SliceDataset",
                              cure=f"take one of its .patients, such as {self.patients[0]!r}")
        return slice(rows[0], rows[-1] + 1)

    def prepared(self, patient: str) -> geometry.Prepared:
        """Give one patient's prepared slices, without copying them."""
        rows = self.rows(patient)
        return geometry.Prepared(self.images[rows], self.targets[rows], self.boxes[patient])

    def read(self, patient: str) -> tif.Patient:
        """Read one patient's raw files again: image and target on the original grid."""
        return tif.read_patient(self.folder / patient, labels=self.labels)

    def subset(self, patients: list[str]) -> "SliceDataset":
        """Make the same data set with fewer patients, in the order given. Copies their arrays."""
        _refuse_odd_names(patients)
        part = object.__new__(SliceDataset)
        rows = [row for name in patients for row in range(*self.rows(name).indices(len(self)))]
        part.folder, part.preparation, part.labels = self.folder, self.preparation, self.labels
        part.patients, part.skipped, part._copies = list(patients), {}, {}
        part._weights = None
        part.boxes = {name: self.boxes[name] for name in patients}
        part.digests = {name: self.digests[name] for name in patients}
        part.index = [self.index[row] for row in rows]
        part.images, part.targets = self.images[rows], self.targets[rows]
        return part

    def sampling_weights(self) -> torch.Tensor:
        """Compute the probability of each slice to be drawn for training: (N,) float64, sum 1.

        A patient is drawn evenly, then one of its n slices with probability
        (s + 0.1·S/n) / (1.1·S), s the slice's labelled area and S the patient's. Slices of a
        patient without any label are drawn evenly.
        Source: brain-segmentation-pytorch, `dataset.py`.
        """
        areas = (self.targets > 0).sum(dim=(1, 2, 3), dtype=torch.float64)
        weights = torch.empty_like(areas)
        for name in self.patients:
            area = areas[self.rows(name)]
            total, count = area.sum(), len(area)
            within = (area + 0.1 * total / count) / (1.1 * total) if total else 1 / count
            weights[self.rows(name)] = within / len(self.patients)
        return weights

    def batches(self, batch_size: int, steps: int, generator: torch.Generator, *,
                compute) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Draw batches by the sampling weights, on the generator's device.

        Args:
            batch_size: slices per batch.
            steps: how many batches.
            generator: draws; its device is where the batches go.
            compute: a resolved Compute: where it is `resident`, the data lie on the device.
        Yields:
            image (B, 3, size, size) float16, target (B, 1, size, size) uint8.
        """
        device = generator.device
        images, targets = self._copy_to(device if compute.resident else torch.device("cpu"))
        if self._weights is None:                        # counting pixels takes as long as a step
            self._weights = self.sampling_weights().float()
        drawn = torch.multinomial(self._weights.to(device), steps * batch_size, replacement=True,
                                  generator=generator)
        for rows in drawn.to(images.device).split(batch_size):
            yield images[rows].to(device), targets[rows].to(device)

    def _copy_to(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Give images and targets on a device; a copy on a GPU is kept for the next epoch."""
        if device.type == "cpu":
            return self.images, self.targets
        if device not in self._copies:
            self._copies[device] = self.images.to(device), self.targets.to(device)
        return self._copies[device]


def _choose(folder: str | Path, patients: list[str] | None) -> dict[str, Path]:
    """Find the folders of the patients asked for, in their order."""
    folders = {path.name: path for path in tif.find_patients(folder)}
    names = list(folders) if patients is None else _refuse_odd_names(patients)
    missing = [name for name in names if name not in folders]
    if missing:
        raise DataError(what=f"{len(missing)} of {len(names)} patients are not there, the first "
                             f"is {missing[0]}", where=str(folder),
                        cure="take names from data.find_patients")
    return {name: folders[name] for name in names}


def _refuse_odd_names(patients: list[str]) -> list[str]:
    """Refuse what is no list of names, an empty one, and names that stand twice."""
    if isinstance(patients, str) or not isinstance(patients, Iterable):
        raise CourseError(what=f"patients={patients!r:.80}", where="SliceDataset",
                          cure="give a list of patients' names")
    names = list(patients)
    if not names:
        raise DataError(what="an empty list of patients", where="SliceDataset",
                        cure="give at least one; a split without test part has .reported")
    if len(set(names)) < len(names):
        raise CourseError(what=f"{len(names) - len(set(names))} patients stand twice",
                          where="SliceDataset", cure="give each patient once")
    return names


def _count_files(folder: Path) -> int:
    """Count a folder's files; 0 where it cannot be read: the error follows."""
    try:
        return len(os.listdir(folder))
    except OSError:
        return 0


def _pick_errors(parts: dict) -> dict[str, DataError]:
    """Pick the patients that failed, and those whose images another patient has already."""
    errors = {name: part for name, part in parts.items() if isinstance(part, DataError)}
    digests = {name: part["digests"] for name, part in parts.items() if name not in errors}
    for problem in checking.shared_images(digests):
        errors.setdefault(problem.patient, problem)
    return errors


def _as_one(errors: dict[str, DataError], count: int, folder: Path) -> DataError:
    """Give the only error, or the first one with the number of the others."""
    first = next(iter(errors.values()))
    if len(errors) == 1:
        return first
    return DataError(what=f"{len(errors)} of {count} patients cannot be used "
                          f"(data.verify({str(folder)!r}) lists all); the first: {first.what}",
                     cure=first.cure, patient=first.patient, file=first.file)


def prepare_patient(folder: Path, preparation: dict, labels: dict[str, int]) -> dict:
    """Prepare one patient, from the cache where it holds what the files hold now.

    Returns:
        image (S', 3, size, size) float16, target (S', 1, size, size) uint8, box, slices, digests.
    """
    files = tif.list_slices(folder)
    for gap in tif.check_names(folder, files, with_target=False):
        warnings.warn(str(gap), stacklevel=2)
    present = sorted(path for path in folder.iterdir() if tif.NAME.match(path.name))
    name = cache.key(steps=STEPS_VERSION, preparation=preparation, labels=labels,
                     files=cache.file_stamps(present))

    def make() -> dict[str, np.ndarray]:
        patient = tif.read_patient(folder, labels=labels)
        ready = geometry.prepare(patient, preparation)
        facts = json.dumps({"box": ready.box, "digests": tif.digests(patient)}).encode()
        return {"image": ready.image.numpy(), "target": ready.target.numpy(),
                "facts": np.frombuffer(facts, np.uint8)}

    arrays = cache.cached(f"slices/{folder.name[:40]}-{name}", make)
    facts = json.loads(bytes(arrays["facts"]))
    start, stop = (facts["box"][end][0] for end in ("start", "stop"))
    return {"image": arrays["image"], "target": arrays["target"],
            "slices": list(files)[start:stop], **facts}
