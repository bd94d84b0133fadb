"""What a student did, kept as one JSON file beside the runs: exercises and forecasts.

Nothing is sent anywhere. A teacher collects `course.json` from the students' run folders.
"""

import functools
import json
import time
import warnings
from collections.abc import Callable

from course_lib import settings
from course_lib.check.core import MARKS, OPEN
from course_lib.data.cache import write_atomically

NAME = "course.json"


def read() -> dict:
    """What is kept: "exercises", name to its last verdict; "forecasts", name to values."""
    path = settings.runs_folder() / NAME
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if not (isinstance(kept, dict) and kept.keys() >= {"exercises", "forecasts"}):
            raise ValueError("it is no record of exercises and forecasts")
        return kept
    except (FileNotFoundError, NotADirectoryError):
        return {"exercises": {}, "forecasts": {}}
    except (OSError, ValueError) as error:
        warnings.warn(f"{path} cannot be read ({error}). Nothing new is kept; delete the file to "
                      "begin again", stacklevel=3)
        return {"exercises": {}, "forecasts": {}, "unreadable": True}


def write(kept: dict) -> None:
    """Keep the record; where that cannot be, a warning says so, and the notebook goes on."""
    if "unreadable" in kept:
        return
    path = settings.runs_folder() / NAME
    text = json.dumps(kept, indent=1, ensure_ascii=False).encode()
    try:
        write_atomically(path, lambda file: file.write(text))
    except OSError as error:
        warnings.warn(f"this is not kept: {path} cannot be written ({error.strerror or error}). "
                      "Set COURSE_RUNS to a folder that can", stacklevel=3)


def now() -> str:
    """Date and time as text."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def exercise(lesson: str) -> Callable:
    """Decorate a checker: what it says is kept under the lesson and the checker's name."""
    def decorate(checker: Callable) -> Callable:
        @functools.wraps(checker)
        def checked(answer):
            verdict = checker(answer)
            kept = read()
            before = kept["exercises"].get(f"{lesson} {checker.__name__}", {})
            if verdict.solved is not None:
                kept["exercises"][f"{lesson} {checker.__name__}"] = {
                    "solved": verdict.solved or before.get("solved", False),
                    "tries": before.get("tries", 0) + 1, "said": verdict.text, "last": now()}
                write(kept)
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
