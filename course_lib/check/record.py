"""What a student did, kept as one JSON file beside the runs: exercises and forecasts.

Nothing is sent anywhere. A teacher collects `course.json` from the students' run folders.
"""

import functools
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from course_lib import settings
from course_lib.check.core import MARKS, OPEN
from course_lib.data.cache import write_atomically

NAME = "course.json"
PARTS = ("exercises", "forecasts")


def _homes() -> list[Path]:
    """Where the record lies: beside the runs and, where runs are kept as well, there."""
    return [folder / NAME for folder in (settings.runs_folder(), settings.keep_folder()) if folder]


def read() -> dict:
    """What is kept: "exercises", name to its last verdict; "forecasts", name to values."""
    for path in _homes():
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            parts = [kept[part] for part in PARTS]
            if not all(isinstance(entry, dict) for part in parts for entry in part.values()):
                raise ValueError("an entry is no dict")
            return kept
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            warnings.warn(f"{path} is no record of exercises and forecasts "
                          f"({type(error).__name__}: {error}). Nothing new is kept; delete the "
                          "file to begin again", stacklevel=3)
            return {**{part: {} for part in PARTS}, "unreadable": True}
    return {part: {} for part in PARTS}


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One notebook at a time changes the record; who waits a second goes on all the same."""
    lock = path.with_suffix(".lock")
    for _ in range(20):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            time.sleep(0.05)
        except OSError:                          # a folder that cannot be written to
            break
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink(missing_ok=True)


def change(part: str, name: str, make: Callable[[dict], dict]) -> dict:
    """Replace one entry; where that cannot be kept a warning says so, and the notebook goes on.

    Args:
        part: "exercises" or "forecasts".
        make: from the entry as it was, {} where there is none, to the new one.
    Returns:
        The new entry.
    """
    with _alone(_homes()[0]):
        kept = read()
        entry = kept[part][name] = make(kept[part].get(name, {}))
        text = json.dumps(kept, indent=1, ensure_ascii=False).encode()
        for variable, path in zip(("COURSE_RUNS", "COURSE_KEEP"),
                                  _homes() if "unreadable" not in kept else (), strict=False):
            try:
                if variable == "COURSE_KEEP":
                    path.parent.mkdir(exist_ok=True)     # not its parents: see train/keep.py
                write_atomically(path, lambda file: file.write(text))
            except OSError as error:
                why = error.strerror or error
                warnings.warn(f"this is not kept: {path} cannot be written ({why}). Set {variable} "
                              "to a folder that can", stacklevel=4)
    return entry


def now() -> str:
    """Date and time as text."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def exercise(lesson: str) -> Callable:
    """Decorate a checker: what it says is kept under the lesson and the checker's name."""
    def decorate(checker: Callable) -> Callable:
        @functools.wraps(checker)
        def checked(answer):
            verdict = checker(answer)
            if verdict.solved is not None:
                change("exercises", f"{lesson} {checker.__name__}", lambda before: {
                    "solved": verdict.solved or before.get("solved", False),
                    "tries": before.get("tries", 0) + 1, "said": verdict.text, "last": now()})
            return verdict

        checked.lesson = lesson
        return checked

    return decorate


class Summary:
    """How many exercises are solved, and which; one line each.

    Args:
        checkers: of the exercises, in their order.
    """

    def __init__(self, checkers: list[Callable]):
        kept = read()["exercises"]
        self.rows = [(checker.lesson, checker.__doc__.splitlines()[0],
                      kept.get(f"{checker.lesson} {checker.__name__}", {})) for checker in checkers]
        self.solved = sum(row.get("solved", False) for *_, row in self.rows)

    def __repr__(self) -> str:
        lines = [f"{self.solved} of {len(self.rows)} solved"]
        for lesson, title, row in self.rows:
            tries = row.get("tries", 0)
            lines.append(f"{MARKS[row.get('solved')]} {lesson}  {title}  " + (
                f"({tries} {'try' if tries == 1 else 'tries'})" if row else f"({OPEN})"))
        return "\n".join(lines)
