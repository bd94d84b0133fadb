"""A class in one table: what each student handed in, scored on patients that nobody has seen.

The hidden patients are the twin of a text that only the teacher knows, the same for the whole
class: so nobody can train on them, and nobody draws easier ones. A hand-in is read and never
changed; what is wrong with one is a sentence in its row, and the others go on.
"""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from course_lib import data, predict
from course_lib.check import record
from course_lib.check.lessons import LESSONS
from course_lib.data import checking, tif, twin_names
from course_lib.errors import CourseError
from course_lib.predict.stored import read_config
from course_lib.tables import Table

MISSED = 0.1                      # DSC below which a tumour counts as not found
RUNS = "03"                       # how the run folder begins that counts where there are several
COLUMNS = ("student", "twin", "trained on", "dsc", "lowest", "missed", "solved", "forecasts",
           "run", "remarks")


class HiddenPatients:
    """Patients that no student has, as predict.evaluate takes them.

    Args:
        secret: text or number that becomes the twin's seed.
        count: how many.
    """

    def __init__(self, secret: str, count: int):
        folder = data.fetch("lgg-phantom", count, seed=twin_names.name_to_seed(secret))
        self.raw = {path.name: data.read_patient(path) for path in data.find_patients(folder)}
        self.patients, self.labels = list(self.raw), {"tumour": 1}
        self.digests = {f"hidden {name}": tif.digests(raw) for name, raw in self.raw.items()}

    def read(self, patient: str) -> data.Patient:
        """Give one patient as read: image and target."""
        return self.raw[patient]

    def refuse_seen(self, trained: dict[str, dict]) -> None:
        """Refuse a run that was trained on some of these patients, by the images' checksums.

        Args:
            trained: digests of the patients that it was trained and validated on.
        """
        shared = checking.shared_images({**trained, **self.digests})
        seen = {problem.patient for problem in shared} & set(self.digests)
        if seen:
            raise CourseError(what=f"Trained on {len(seen)} of the {len(self.patients)} hidden "
                                   "patients, and not scored", where="",
                              cure="ask how, and grade the class with another secret")


def grade(folder: str | Path, secret: str, patients: int) -> Table:
    """Score what a class handed in on hidden patients, and count what was solved.

    Args:
        folder: of the class. In it one folder per student, called by the name that the student's
            twin is made from; somewhere in that, one run folder of lesson 03 and course.json.
        secret: a text that no student knows; the hidden patients are the twin made from it.
        patients: how many these are.
    Returns:
        A row per student, "" for what is not known: student; twin ("own", "usual", "seed 7",
        "mixed" or "none"); trained on, in patients; dsc, the mean over hidden patients; lowest of
        them; missed, how many are below 0.1; exercises solved; forecasts given; run, the beginning
        of its id; remarks, in sentences.
    Raises:
        CourseError: there is no student's folder, or the hidden patients cannot be made.
    """
    students, hidden = _find_students(Path(folder)), HiddenPatients(secret, patients)
    table = Table()
    for student in tqdm(students, unit="student", disable=None):
        row = dict.fromkeys(COLUMNS, "") | {"student": student.name}
        table.append(row)
        for add in (_add_record, _add_run):
            try:
                add(row, student, hidden)
            except Exception as error:      # a file made to harm can raise nearly anything
                _remark(row, _as_sentence(error))
    _mark_copies(table)
    return table


def as_text(table: Table) -> str:
    """Write a class's table, and below it what is to be said of each student."""
    exercises = sum(len(lesson.exercises) for lesson in LESSONS)
    short = Table({name: row[name] for name in COLUMNS[:-1]} for row in table)
    remarks = [f"{row['student']}: {row['remarks']}" for row in table if row["remarks"]]
    return "\n".join([f"{short}", f"exercises in all: {exercises}", *remarks])


def _find_students(folder: Path) -> list[Path]:
    """List the students' folders, by name; refuse a folder that holds none."""
    if any((folder / name).is_file() for name in ("config.json", record.NAME)):
        raise CourseError(what=f"what one student handed in lies in {folder} itself",
                          where="course grade", cure="point to the folder of the class, which "
                                                     "holds one folder per student")
    students = sorted(path for path in folder.glob("*/") if not tif.HIDDEN.search(path.name))
    if not students:
        raise CourseError(what=f"there is no student's folder in {folder}", where="course grade",
                          cure="make one folder per student, with a run folder and course.json")
    return students


def _remark(row: dict, sentence: str) -> None:
    row["remarks"] = f"{row['remarks']} {sentence}".lstrip()


def _as_sentence(error: Exception) -> str:
    """Write what is wrong with a hand-in: an error's sentence, or its kind and words."""
    if isinstance(error, CourseError):
        return str(error)
    return f"It cannot be read or scored ({type(error).__name__}: {error})."[:300]


def _add_record(row: dict, student: Path, _: HiddenPatients) -> None:
    """Count exercises and forecasts in course.json."""
    files = sorted(student.rglob(record.NAME))
    if len(files) != 1:
        raise CourseError(what=f"{len(files) or 'No'} course.json, so exercises and forecasts are "
                               "not counted", where="", cure="hand in the one beside the runs")
    kept, flaw = record.read_file(files[0])
    if flaw and not any(kept.values()):
        raise CourseError(what=f"The file course.json {flaw}, and nothing of it could be read",
                          where="", cure="ask for it again")
    names = [f"{lesson.number} {name}" for lesson in LESSONS for name in lesson.exercises]
    row["solved"] = sum(kept["exercises"].get(name, {}).get("solved", False) for name in names)
    row["forecasts"] = sum(map(_is_given, kept["forecasts"].values()))
    if flaw:
        _remark(row, f"The file course.json {flaw}: what could be read of it is counted.")


def _is_given(forecast: dict) -> bool:
    """Tell whether there is a guess or a reason, not an outcome alone."""
    return bool(forecast["reason"]) or any(
        guess is not None for guess in forecast["values"].values())


def _add_run(row: dict, student: Path, hidden: HiddenPatients) -> None:
    """Score the run folder, and say whose twin it was trained on."""
    run = _find_run(student)
    config = read_config(run)
    trained = config["data"]
    row["run"], row["trained on"] = config["id"][:8], len(trained["training"])
    row["twin"] = _whose_twin([*trained["training"], *trained["validation"]], student.name)
    hidden.refuse_seen(trained["digests"])
    predictor = replace(predict.load(run), folder=None)          # so that nothing is written there
    dsc = np.array(predict.evaluate(predictor, hidden).column("dsc"))
    row |= {"dsc": round(float(np.nanmean(dsc)), 4), "lowest": round(float(np.nanmin(dsc)), 4),
            "missed": int((dsc < MISSED).sum())}


def _find_run(student: Path) -> Path:
    """Find the run folder that was handed in; of several, the one of lesson 03."""
    runs = sorted(path.parent for path in student.rglob("config.json"))
    chosen = [run for run in runs if run.name.startswith(RUNS)] if len(runs) > 1 else runs
    if len(chosen) != 1:
        names = ", ".join(run.name for run in chosen or runs)
        raise CourseError(what=f"{len(chosen or runs)} run folders ({names})" if runs else
                               "No run folder, which holds config.json and best.pt", where="",
                          cure="hand in one, such as runs/03-lgg-phantom-cpu")
    return chosen[0]


def _whose_twin(patients: list[str], student: str) -> str:
    """Say which twin the patients are of, by their names."""
    seeds = {twin_names.seed_of(name) for name in patients}
    if len(seeds) > 1:
        return "mixed"
    seed = seeds.pop()
    names = {None: "none", twin_names.USUAL: "usual", twin_names.name_to_seed(student): "own"}
    return names.get(seed, f"seed {seed}")


def _mark_copies(table: Table) -> None:
    """Say of each run that several handed in who else has it."""
    owners = defaultdict(list)
    for row in table:
        owners[row["run"]].append(row["student"])
    for row in table:
        others = [name for name in owners[row["run"]] if name != row["student"]]
        if row["run"] and others:
            _remark(row, f"The same run as {', '.join(others)}.")
