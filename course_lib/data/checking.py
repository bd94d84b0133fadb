"""All that is wrong with a data set, in one table, before anything rests on it."""

import html
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from course_lib.data import tif
from course_lib.errors import DataError

COLUMNS = ("patient", "file", "problem", "cure", "fatal")


class Findings(list):
    """Rows (dicts of patient, file, problem, cure, fatal); shows as a table.

    A patient with a fatal finding cannot be used: data sets refuse it, or leave it out. Other
    findings are worth a look.

    Attributes:
        patients: how many were looked at.
    """

    def __init__(self, problems: list[DataError], patients: int):
        super().__init__()
        for problem in problems:
            patient, _, file = problem.where.partition("/")
            self.append({"patient": patient, "file": file, "problem": problem.what,
                         "cure": problem.cure, "fatal": problem.fatal})
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
        head = "".join(f"<th>{name}</th>" for name in COLUMNS)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(str(row[name]))}</td>"
                                        for name in COLUMNS) + "</tr>" for row in self)
        rows = f"<table><tr>{head}</tr>{body}</table>" if self else ""
        return f"{rows}<p>{self._summary()}</p>"


def verify(folder: str | Path) -> Findings:
    """Read every file of a data set of tif slices, by the checks that the loaders use.

    Nothing is raised for what the data are like: a missing folder is a finding, too.

    Args:
        folder: with one folder per patient.
    """
    try:
        folders = tif.find_patients(folder)
    except DataError as error:
        return Findings([DataError(error.what, f"/{folder}", error.cure)], patients=0)
    beside = (path for path in folders[0].parent.glob("*/") if path not in folders)
    problems = [DataError(what="a folder without images named …_<slice number>.tif",
                          patient=path.name, cure="restore its images, or move it away", fatal=False)
                for path in sorted(beside)
                if path.name not in ("kaggle_3m", "lgg-mri-segmentation")     # a second copy of all
                and not path.name.startswith((".", "__"))]
    first: dict[str, str] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, (found, digest) in zip(folders, pool.map(_examine, folders), strict=True):
            problems += found
            if digest and first.setdefault(digest, path.name) != path.name:
                problems.append(tif.same_images(path.name, first[digest]))
    return Findings(problems, patients=len(folders))


def _examine(folder: Path) -> tuple[list[DataError], str | None]:
    """A patient's problems, and the checksum of the images that could be read."""
    patient, problems = tif.examine(folder)
    return problems, tif.digest(patient.image) if patient else None
