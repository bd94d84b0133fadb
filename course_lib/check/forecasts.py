"""Forecasts: what a student expects before an experiment, shown beside what came out."""

import html
import math
from dataclasses import dataclass

from course_lib.check import record
from course_lib.check.core import is_open
from course_lib.errors import CourseError
from course_lib.tables import Table


@dataclass(frozen=True)
class Outcome:
    """Forecast and outcome in one table.

    Attributes:
        rows: (what, forecast or None, outcome).
        reason: in the student's words, or "".
    """

    rows: list[tuple[str, float | str | None, float | str | None]]
    reason: str

    def __repr__(self) -> str:
        lines = []
        for what, guess, value in self.rows:
            off = _difference(guess, value)
            lines.append(f"{what}: forecast {_text(guess)}, outcome {_text(value)}"
                         + (f", off by {off}" if off else ""))
        return "\n".join([*lines, *([f"your reason: {self.reason}"] if self.reason else [])])

    def _repr_html_(self) -> str:
        table = Table({"": what, "forecast": _text(guess), "outcome": _text(value),
                       "off by": _difference(guess, value)} for what, guess, value in self.rows)
        reason = f"<p>Your reason: {html.escape(self.reason)}</p>" if self.reason else ""
        return table._repr_html_() + reason


class Sentence(str):
    """A sentence that a notebook shows without quotation marks."""

    def __repr__(self) -> str:
        return str(self)


def _simple(value) -> float | str | None:
    """Turn a value into what JSON has: a number, a word, or None where there is none."""
    if is_open(value):
        return None
    if isinstance(value, str):
        return value.encode(errors="replace").decode()            # half a surrogate pair is none
    if isinstance(value, bool) or type(value) is int and abs(value) < 2**63:
        return value
    try:
        return float(value)                      # of numpy or torch
    except Exception:                            # whatever else a student may write
        pass
    try:
        return _simple(str(value))
    except Exception:
        return f"a {type(value).__name__}"


def _text(value) -> str:
    if value is None:
        return "none"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _difference(guess, value) -> str:
    """Write by how much the outcome is above the forecast; "" where one of them is no number."""
    try:
        difference = float(value) - float(guess)
    except (TypeError, ValueError, OverflowError):       # a word, none, or beyond all numbers
        return ""
    return "" if math.isnan(difference) else f"{difference:+.3f}"


def _check_values(values) -> dict:
    """Turn what was forecast, or came out, into a dict of plain values."""
    if not isinstance(values, dict):
        raise CourseError(what=f"values={values!r:.80}", where="check",
                          cure='give a dict, such as {"mean DSC": 0.8}')
    return {_simple(str(what)): _simple(value) for what, value in values.items()}


def forecast(name: str, values: dict, reason: str = "") -> str:
    """Keep a forecast before the experiment.

    Args:
        name: of the experiment; `outcome` asks for it.
        values: what is forecast, to a number, a word, or None where there is none.
        reason: one sentence.
    Returns:
        A line that says what was kept.
    """
    values = _check_values(values)
    reason = "" if is_open(reason) else _simple(str(reason))
    given = sum(value is not None for value in values.values())
    if not given and not reason:                 # an earlier forecast stays
        return Sentence("no forecast: that is allowed, but a guess, even a wrong one, is "
                        "remembered better")
    record.change("forecasts", str(name), lambda _: {"values": values, "reason": reason,
                                                "time": record.now()})
    return Sentence(f"{given} of {len(values)} forecast{'' if reason else ', without a reason'}")


def outcome(name: str, values: dict[str, float]) -> Outcome:
    """Show what came out beside what was forecast under this name.

    Args:
        values: the same keys as in the forecast; others are shown without one.
    """
    values = _check_values(values)
    kept = record.change("forecasts", str(name), lambda before: {
        "values": {}, "reason": "", **before, "outcome": values})
    return Outcome([(what, kept["values"].get(what), value) for what, value in values.items()],
                   kept["reason"])
