"""What a student did, kept as one JSON file beside the runs: exercises and forecasts.

Nothing is sent anywhere. A teacher collects `course.json` from the students' run folders. A file
that is damaged never stops a checker: it is put aside, and its sound entries are kept.
"""

import functools
import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from course_lib import settings
from course_lib.errors import CourseError
from course_lib.files import write_atomically

NAME = "course.json"
FORMAT = 1                             # raise it where what is kept changes
LARGEST = 10_000_000                   # bytes; a whole course takes a few thousand
NEWER, DAMAGED = "was written by a newer version of the course", "is damaged"
CHECKERS: dict[str, Callable] = {}     # by name: `exercise` registers


def _is_plain(value) -> bool:
    """Tell whether a value is a word, a number, true, false or null."""
    return value is None or isinstance(value, str | int | float)


def _is_flat(entry) -> bool:
    """Tell whether an entry is a dict of plain values, or of dicts of these."""
    return isinstance(entry, dict) and all(
        _is_plain(value) or isinstance(value, dict) and all(map(_is_plain, value.values()))
        for value in entry.values())


def _is_exercise(entry) -> bool:
    return (_is_flat(entry) and type(entry.get("solved")) is bool
            and type(entry.get("tries")) is int and 0 <= entry["tries"] < LARGEST)


def _is_forecast(entry) -> bool:
    return (_is_flat(entry) and "values" in entry and isinstance(entry.get("reason"), str)
            and all(isinstance(entry.get(part, {}), dict)
                    for part in ("values", "outcome", "late")))


PARTS = {"exercises": _is_exercise, "forecasts": _is_forecast}


def _pick_sound(kept) -> dict:
    """Pick the entries that are as this file writes them, whatever the rest is."""
    parts = {part: kept.get(part) if isinstance(kept, dict) else None for part in PARTS}
    return {part: {name: entry for name, entry in entries.items() if PARTS[part](entry)}
            if isinstance(entries, dict) else {} for part, entries in parts.items()}


def read_file(path: Path) -> tuple[dict, str]:
    """Read one course.json, and leave it as it is.

    Returns:
        Its sound entries by part; and NEWER, DAMAGED or "" for what is wrong with the file.
    Raises:
        OSError: it is not there, or cannot be read.
    """
    try:
        kept = json.loads(_read_text(path))
    except (ValueError, RecursionError):
        kept = None
    sound, newest = _pick_sound(kept), FORMAT
    if isinstance(kept, dict):
        newest = kept.get("format", FORMAT)
    if type(newest) is int and newest > FORMAT:
        return sound, NEWER
    whole = kept in (sound, {"format": FORMAT, **sound}) and type(newest) is int   # True == 1
    return sound, "" if whole else DAMAGED


class Copy:
    """One of the places where the record is kept: beside the runs, and in their backup.

    Attributes:
        variable: sets the folder.
        path: of the file; None where the folder cannot be used.
        kept: sound entries by part; None where there is no file.
        is_open: whether the file may be written.
        problem: what is wrong with it, in a sentence; "" for nothing.
    """

    def __init__(self, variable: str, choose_folder: Callable[[], Path | None]):
        self.variable, self.kept, self.problem = variable, None, ""
        try:
            folder = choose_folder()
            self.path = folder and folder / NAME
        except CourseError as error:
            self.path, self.problem = None, f"this is not kept: {error}"
        self.is_open = self.path is not None

    def load(self) -> None:
        """Read the file; put it aside where it is damaged."""
        try:
            kept, flaw = read_file(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._close(f"cannot be read ({error.strerror or error})")
            return
        if flaw == NEWER:
            self._close(f"{NEWER}, and is left as it is. Update course_lib")
            return
        self.kept = kept
        if flaw:
            self._put_aside()

    def _put_aside(self) -> None:
        """Rename a damaged file, so that nothing in it is lost and a new one can be written."""
        number = 1
        while (aside := self.path.with_name(f"course-damaged-{number}.json")).exists():
            number += 1
        try:
            self.path.rename(aside)
        except OSError:
            self._close("is damaged and cannot be put aside")
        else:
            self.problem = (f"{_shown(self.path)} was damaged; it was put aside as {aside.name}, "
                            "and what could be read of it is kept")

    def _close(self, what: str) -> None:
        self.is_open, self.problem = False, f"{_shown(self.path)} {what}: nothing new is kept there"

    def write(self, text: bytes) -> None:
        """Write the file; say where that cannot be done."""
        try:
            if self.variable == "COURSE_KEEP":
                self.path.parent.mkdir(exist_ok=True)      # not its parents: see train/backup.py
            write_atomically(self.path, lambda file: file.write(text))
        except OSError as error:
            self.problem = (f"this is not kept: {_shown(self.path)} cannot be written "
                            f"({error.strerror or error}). Set {self.variable} to a folder that "
                            "can")


def _read_text(path: Path) -> str:
    """Read a file of reasonable size; a pipe would be waited for without end."""
    if path.exists() and not path.is_file():
        raise OSError("it is no file: move it away")
    if path.stat().st_size > LARGEST:
        raise ValueError("too large")
    return path.read_bytes().decode("utf-8-sig")


def _shown(path: Path) -> str:
    """Write a path without user and machine; its name alone where the working folder is gone."""
    try:
        return settings.show_path(path)
    except (CourseError, OSError):
        return path.name


def _load_copies() -> tuple[dict, list[Copy]]:
    """Read all copies; give the entries of all, those beside the runs first, and the copies."""
    copies = [Copy("COURSE_RUNS", settings.runs_folder),
              Copy("COURSE_KEEP", settings.backup_folder)]
    kept = {part: {} for part in PARTS}
    for copy in copies:
        if copy.is_open:
            copy.load()
        for part, entries in (copy.kept or {}).items():
            kept[part] = entries | kept[part]
    return kept, copies


def _warn(copies: list[Copy]) -> None:
    """Say in one warning all that is wrong."""
    problems = [copy.problem for copy in copies if copy.problem]
    if problems:
        warnings.warn("; ".join(problems), stacklevel=4)


def read() -> dict:
    """Read what is kept: "exercises", name to its last verdict; "forecasts", name to values."""
    kept, copies = _load_copies()
    _warn(copies)
    return kept


@contextmanager
def _alone() -> Iterator[None]:
    """Let one notebook at a time change the record; after a second's wait, go on all the same."""
    import filelock

    lock = None
    with suppress(OSError, NotImplementedError, CourseError):     # no place, or a file system
        folder = settings.runs_folder()                           # without locks
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / f".{NAME}.lock", timeout=1)
        lock.acquire()
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def change(part: str, name: str, make: Callable[[dict], dict]) -> dict:
    """Replace one entry; where that cannot be kept a warning says so, and the notebook goes on.

    Args:
        part: "exercises" or "forecasts".
        make: from the entry as it was, {} where there is none, to the new one.
    Returns:
        The new entry.
    """
    with _alone():
        kept, copies = _load_copies()
        entry = kept[part][name] = make(kept[part].get(name, {}))
        text = json.dumps({"format": FORMAT, **kept}, indent=1, ensure_ascii=False)
        for copy in copies:
            if copy.is_open:
                copy.write(text.encode(errors="replace"))         # half a surrogate pair is no text
    _warn(copies)
    return entry


def now() -> str:
    """Give date and time as text."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def exercise(number: str) -> Callable:
    """Decorate a checker: register it, and keep what it says under lesson and name."""
    def decorate(checker: Callable) -> Callable:
        @functools.wraps(checker)
        def checked(answer, *given):
            verdict = checker(answer, *given)
            if verdict.solved is not None:
                change("exercises", f"{number} {checker.__name__}", lambda before: {
                    "solved": verdict.solved or before.get("solved", False),
                    "tries": before.get("tries", 0) + 1, "verdict": verdict.text, "last": now()})
            return verdict

        checked.lesson = number
        CHECKERS[checker.__name__] = checked
        return checked

    return decorate
