"""Forecasts: what a student expects before an experiment, shown beside what came out.

An outcome stays folded until there is a forecast, or a "skip", in words: so "Run all" gives nothing
away. What is written after the outcome was shown in the open is kept as late, and replaces nothing.
(Whoever unfolds an outcome by hand has seen it, too; a notebook does not tell us.)
"""

import html
import math
from dataclasses import dataclass

from course_lib.check import record
from course_lib.check.core import is_open
from course_lib.check.guesses import SKIP, asked, ends_of, find_slips, to_plain
from course_lib.errors import CourseError
from course_lib.tables import Table

NOTHING = {"values": {}, "reason": ""}      # an entry of the record without a forecast
FOLDED, INSIDE = "your forecast first", "inside"


@dataclass(frozen=True)
class Outcome:
    """Forecast and outcome in one table; folded where there is no forecast.

    Attributes:
        name: of the experiment.
        entry: what is kept of it: "values" and "reason" of the forecast, "outcome", and where it is
            so "late" (values written afterwards), "skipped", "seen".
    """

    name: str
    entry: dict

    @property
    def folded(self) -> bool:
        """Whether the student has neither forecast nor skipped."""
        return not (in_time(self.entry) or self.entry.get("late") or self.entry.get("skipped"))

    @property
    def rows(self) -> list[tuple[str, float | str | None, float | str | None]]:
        """What is asked for, forecast or None, outcome or None."""
        guesses, values = self.entry["values"], self.entry.get("outcome", {})
        return [(what, guesses.get(what), values.get(what)) for what in values | guesses]

    def texts(self) -> list[tuple[str, str, str, str]]:
        """What is asked for, forecast, outcome and difference, as they are shown."""
        late = self.entry.get("late", {})
        none = "skipped" if self.entry.get("skipped") else "none"
        return [(what, (none if guess is None else _text(guess))
                 + (f" (late: {_text(late[what])})" if late.get(what) is not None else ""),
                 _text(value), _difference(guess, value)) for what, guess, value in self.rows]

    def __repr__(self) -> str:
        if self.folded:
            return (f"{FOLDED}: write it and run this cell again. "
                    f'(check.forecast("{self.name}", "{SKIP}") opens the outcome without one.)')
        reason = self.entry["reason"]
        lines = [line_of(*row) for row in self.texts()]
        return "\n".join([*lines, *([f"your reason: {reason}"] if reason else [])])

    def _repr_html_(self) -> str:
        table = Table(dict(zip(("", "forecast", "outcome", "off by"), row, strict=True))
                      for row in self.texts())._repr_html_()
        if self.folded:
            return f"<details><summary>{FOLDED}</summary>{table}</details>"
        reason = html.escape(self.entry["reason"])
        return table + (f"<p>Your reason: {reason}</p>" if reason else "")


def line_of(what: str, guess: str, value: str, off: str) -> str:
    """Write one row of `Outcome.texts` as a line of text."""
    end = off and (f", {off}" if off == INSIDE else f", off by {off}")
    return f"{what}: forecast {guess}, outcome {value}{end}"


class Sentence(str):
    """A sentence that a notebook shows without quotation marks, in lines of the page's width."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self)}</p>"


def _text(value) -> str:
    if value is None:
        return "none"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _difference(guess, value) -> str:
    """Write by how much the outcome is above or below the forecast, or outside its range; "" where
    one of them is no number."""
    ends, values = ends_of(guess), ends_of(value)
    if ends is None or values is None:
        return ""
    (low, high), (came, _) = ends, values
    if low < high and low <= came <= high:
        return INSIDE
    difference = came - (high if came > high else low)
    written = f"{difference:+g}" if isinstance(value, int) else f"{difference:+.3f}"
    return "" if math.isnan(difference) else written


def in_time(entry: dict) -> bool:
    """Tell whether an entry of the record holds a guess or a reason from before the outcome."""
    return bool(entry["reason"]) or any(guess is not None for guess in entry["values"].values())


def was_seen(entry: dict) -> bool:
    """Tell whether an outcome was shown in the open; earlier versions folded none."""
    return bool(entry.get("seen", "outcome" in entry))


def _clean(text) -> str:
    """Write something as text that a file can hold: without half characters."""
    return str(text).encode(errors="replace").decode()


def _check_values(values) -> dict:
    """Turn what was forecast, or came out, into a dict of plain values."""
    if not isinstance(values, dict):
        raise CourseError(what=f"values={values!r:.80}", where="check",
                          cure=f'give a dict, such as {{"mean DSC": 0.8}}, or "{SKIP}"')
    return {_clean(what): to_plain(value) for what, value in values.items()}


def _is_skip(value) -> bool:
    return isinstance(value, str) and value.strip().lower() == SKIP


def forecast(name: str, values: dict | str, reason: str = "") -> str:
    """Keep a forecast before the experiment.

    Args:
        name: of the experiment; `outcome` asks for it.
        values: what is forecast, to a number, a range such as (0.6, 0.8), a word, or None where
            there is none; or "skip", to see the outcome without a forecast.
        reason: one sentence.
    Returns:
        A line that says what was kept, or asks about a slip.
    """
    skips = _is_skip(values) or isinstance(values, dict) and any(map(_is_skip, values.values()))
    guesses = _check_values({} if _is_skip(values) else values)
    guesses = {what: None if _is_skip(guess) else guess for what, guess in guesses.items()}
    if slips := find_slips(name, guesses):
        return Sentence(f"✗ {slips} Nothing is kept until that is mended.")
    entry = {"values": guesses, "reason": "" if is_open(reason) else _clean(reason)}
    if not in_time(entry):
        return Sentence(_keep_none(str(name), skips))
    kept = record.change("forecasts", str(name), lambda before: _keep(before, entry))
    return Sentence(_say_what_is_kept(kept, guesses))


def _keep_none(name: str, skips: bool) -> str:
    """Keep that a forecast was skipped, where it was; an earlier one stays."""
    before = record.read()["forecasts"].get(name, NOTHING)
    if in_time(before) or before.get("late"):
        return "your forecast from before stays"
    if skips:
        record.change("forecasts", name, lambda before: {**NOTHING, **before, "skipped": True})
        return "skipped: the outcome is shown without a forecast"
    return ("no forecast yet, so the outcome stays folded: write a guess, or "
            f'"{SKIP}", in place of None')


def _keep(before: dict, entry: dict) -> dict:
    """Add a forecast to what is kept: as late where the outcome was seen and it is another one."""
    if not was_seen(before):
        return {**before, **entry, "time": record.now()}
    late = {} if entry["values"] == before["values"] else {"late": entry["values"]}
    return before | late


def _say_what_is_kept(kept: dict, guesses: dict) -> str:
    if guesses != kept["values"]:
        return ("late: the outcome was shown before, and this is kept as late"
                + ("; your first forecast stays" if in_time(kept) else ""))
    given = sum(guess is not None for guess in guesses.values())
    folded = "outcome" in kept and not was_seen(kept)
    return (f"{given} of {len(guesses)} forecast{'' if kept['reason'] else ', without a reason'}"
            + ("; the outcome opens when its cell is run again" if folded else ""))


def outcome(name: str, values: dict[str, float]) -> Outcome:
    """Show what came out beside what was forecast under this name; folded where nothing was.

    Args:
        values: the same keys as in the forecast, to what came out; None where it was not measured
            this time: what came out before then stays.
    Raises:
        CourseError: the lessons ask for something else under this name.
    """
    values, units = _check_values(values), asked(name)
    if units and set(units) != set(values):
        raise CourseError(what=f"the outcome has {', '.join(map(repr, values))}", where=str(name),
                          cure=f"give {', '.join(map(repr, units))}, as the forecast asks for")

    def add(before: dict) -> dict:
        old = before.get("outcome", {})
        new = {what: old.get(what) if value is None else value for what, value in values.items()}
        kept = {**NOTHING, **before, "outcome": new}
        return kept | {"seen": was_seen(before) or not Outcome(name, kept).folded}

    return Outcome(str(name), record.change("forecasts", str(name), add))
