"""All that is wrong with a data set, in one table, before anything rests on it."""

import html
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from course_lib.data import geometry, tif
from course_lib.errors import DataError
from course_lib.tables import Table

SHOWN = 3           # shared images that a finding names


class Findings(Table):
    """Rows of patient, file, problem, cure, fatal; shows as a table.

    A patient with a fatal finding cannot be used: data sets refuse it, or leave it out. Other
    findings are worth a look.

    Attributes:
        patients: how many were looked at.
    """

    def __init__(self, problems: list[DataError], patients: int):
        super().__init__({"patient": problem.patient,
                          "file": problem.file or ("" if problem.patient else problem.where),
                          "problem": problem.what, "cure": problem.cure, "fatal": problem.fatal}
                         for problem in problems)
        self.patients = patients

    def __repr__(self) -> str:
        lines = [f"{'fatal' if row['fatal'] else 'look'}: {row['patient']} {row['file']}: "
                 f"{row['problem']}. Cure: {row['cure']}." for row in self]
        return "\n".join([*lines, self._summary()])

    def _summary(self) -> str:
        fatal = {row["patient"] for row in self if row["fatal"] and row["patient"]}
        return (f"patients looked at: {self.patients}; findings: {len(self)}; "
                f"patients that cannot be used: {len(fatal)}")

    def _repr_html_(self) -> str:
        return (super()._repr_html_() if self else "") + f"<p>{html.escape(self._summary())}</p>"


def verify(folder: str | Path, labels: dict[str, int] | None = None) -> Findings:
    """Read every file of a data set of tif slices, by the checks that the loaders use.

    Nothing is raised for what the data are like: a missing folder is a finding, too.

    Args:
        folder: with one folder per patient.
        labels: as in read_patient.
    """
    try:
        folders = tif.find_patients(folder)
    except DataError as error:
        return Findings([error], patients=0)
    problems, digests = _look_beside(folders), {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = pool.map(lambda path: _examine(path, labels), folders)
        for path, (own, contents) in zip(folders, outcomes, strict=True):
            problems += own
            if contents:
                digests[path.name] = contents
    return Findings(problems + shared_images(digests), patients=len(folders))


def _look_beside(folders: list[Path]) -> list[DataError]:
    """List folders without images, and slices without a folder, beside the patients' folders."""
    home = folders[0].parent
    empty = [path for path in sorted(home.glob("*/"))
             if path not in folders and not tif.HIDDEN.search(path.name)
             and path.name not in ("kaggle_3m", "lgg-mri-segmentation")]       # a second copy
    problems = [DataError(what="a folder without images named …_<slice number>.tif",
                          cure="restore its images, or move it away", patient=path.name,
                          fatal=False) for path in empty]
    if loose := tif.loose_slices(home):
        problems.append(DataError(what=f"{len(loose)} slices lie beside the patients' folders",
                                  where=loose[0].name, cure="make one folder per patient, and move "
                                  "each patient's files there", fatal=False))
    return problems


def _examine(folder: Path, labels: dict[str, int] | None) -> tuple[list[DataError], dict | None]:
    """List a patient's problems, and give the checksums of a patient that could be read."""
    patient, problems = tif.examine(folder, labels=labels)
    if patient is None:
        return problems, None
    try:                                             # what a data set with its defaults refuses
        geometry.find_box(patient.image, size=1, drop_ends=True, patient=patient.name)
    except DataError as error:
        problems.append(error)
    contents = tif.digests(patient)
    return problems + _repeated(patient.name, contents["image"]), contents


def _repeated(name: str, images: dict[str, str]) -> list[DataError]:
    """List slices of one patient that are the same picture under two numbers."""
    first: dict[str, str] = {}
    return [DataError(what=f"is the same picture as {first[digest]}", patient=name, file=file,
                      cure="look whether a slice was saved twice", fatal=False)
            for file, digest in images.items()
            if not digest.startswith("all ") and first.setdefault(digest, file) != file]


def _contents(entry: dict | str) -> dict[str, str]:
    """Map file to checksum, without slices of one value; an entry may be one checksum of all."""
    entry = {"": entry} if isinstance(entry, str) else entry
    return {file: digest for file, digest in entry.items() if not digest.startswith("all ")}


def shared_images(digests: dict[str, dict]) -> list[DataError]:
    """List patients whose images are an earlier patient's, all or some of them.

    Args:
        digests: patient to {"image": {file: checksum}} or {"image": checksum}, as data sets have.
    """
    owners: dict[str, tuple[str, str]] = {}              # checksum to patient and file
    problems = []
    for name, parts in digests.items():
        shared: dict[str, dict[str, str]] = {}           # other patient to {file: checksum}
        for file, digest in _contents(parts["image"]).items():
            other, _ = owners.setdefault(digest, (name, file))
            if other != name:
                shared.setdefault(other, {})[file] = digest
        problems += [_explain_shared(name, other, files, digests, owners)
                     for other, files in shared.items()]
    return problems


def _explain_shared(name: str, other: str, files: dict[str, str], digests: dict[str, dict],
                    owners: dict[str, tuple[str, str]]) -> DataError:
    """Say which images two patients share; all, where the smaller of the two has no other."""
    fewest = min(len(set(_contents(digests[patient]["image"]).values()))
                 for patient in (name, other))
    whole = len(set(files.values())) == fewest
    pairs = [f"{file} is {other}'s {owners[digest][1]}" for file, digest in files.items()]
    more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
    return DataError(what=f"has the same images as {other}" if whole else
                          f"shares images with {other}: {', '.join(pairs[:SHOWN])}{more}",
                     cure="keep one of the two: on both sides of a split they would leak",
                     patient=name, file="" if whole else next(iter(files)))
