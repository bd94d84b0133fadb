"""How far a student is: exercises solved or not, and forecasts beside their outcomes."""

from collections.abc import Sequence

from course_lib.check import record
from course_lib.check.core import MARKS, OPEN
from course_lib.check.forecasts import Outcome, in_time, line_of, was_seen
from course_lib.check.lessons import LESSONS, Lesson
from course_lib.errors import one_of
from course_lib.tables import Table


class Summary:
    """Exercises by title, and all forecasts whose experiment was run, beside the outcomes.

    Args:
        lessons: whose exercises and forecasts are listed.
    """

    def __init__(self, lessons: Sequence[Lesson]):
        kept = record.read()
        self.rows = [(lesson.number, title, kept["exercises"].get(f"{lesson.number} {name}", {}))
                     for lesson in lessons for name, title in lesson.exercises.items()]
        self.solved = sum(entry.get("solved", False) for *_, entry in self.rows)
        names = [name for lesson in lessons for name in lesson.forecasts]
        self.outcomes = [Outcome(name, kept["forecasts"][name]) for name in names
                         if name in kept["forecasts"]]
        given = sum(in_time(outcome.entry) for outcome in self.outcomes)
        late = sum("late" in outcome.entry for outcome in self.outcomes)
        self.exercises_line = f"{self.solved} of {len(self.rows)} exercises solved"
        self.forecasts_line = f"{given} of {len(names)} forecasts given" + (
            f", {late} late" if late else "")

    def _exercises(self) -> list[tuple[str, str, str, str]]:
        """Mark, lesson, title and tries of each exercise."""
        return [(MARKS[entry.get("solved")], number, title, _tries(entry))
                for number, title, entry in self.rows]

    def _forecasts(self) -> list[tuple[str, str, str, str, str]]:
        """Name, what is asked for, forecast, outcome and difference; nothing of an outcome that
        was not shown in the open yet."""
        return [(outcome.name, what, guess, *(rest if _is_open(outcome) else ("folded", "")))
                for outcome in self.outcomes for what, guess, *rest in outcome.texts()]

    def __repr__(self) -> str:
        exercises = [f"{mark} {number}  {title}  ({tries})"
                     for mark, number, title, tries in self._exercises()]
        forecasts = [f"{name}, {line_of(*row)}" for name, *row in self._forecasts()]
        return "\n".join([self.exercises_line, *exercises, self.forecasts_line, *forecasts])

    def _repr_html_(self) -> str:
        exercises = _table(("", "lesson", "exercise", "tries"), self._exercises())
        forecasts = _table(("forecast", "of", "yours", "outcome", "off by"), self._forecasts())
        return (f"<p>{self.exercises_line}</p>{exercises}"
                f"<p>{self.forecasts_line}</p>{forecasts}")


def _is_open(outcome: Outcome) -> bool:
    return was_seen(outcome.entry) and not outcome.folded


def _tries(entry: dict) -> str:
    tries = entry.get("tries", 0)
    return f"{tries} {'try' if tries == 1 else 'tries'}" if entry else OPEN


def _table(names: tuple[str, ...], rows: list[tuple]) -> str:
    """Write rows as an HTML table; "" for none."""
    table = Table(dict(zip(names, row, strict=True)) for row in rows)
    return table._repr_html_() if table else ""


def summary(number: str | None = None) -> Summary:
    """Say which exercises of a lesson are solved, and what its forecasts were; None for the whole
    course's."""
    numbers = [lesson.number for lesson in LESSONS]
    if number is not None:
        number = one_of(str(number).zfill(2), "number", "check.summary", tuple(numbers))
    return Summary([lesson for lesson in LESSONS if number in (None, lesson.number)])
