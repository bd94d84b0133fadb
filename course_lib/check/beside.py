"""Forecasts: what a student expects before an experiment, shown beside what came out."""

import html
import math
from dataclasses import dataclass

from course_lib.check import record
from course_lib.check.core import is_open


@dataclass(frozen=True)
class Beside:
    """Forecast and outcome in one table.

    Attributes:
        rows: (what, forecast or None, outcome).
        reason: in the student's words, or "".
    """

    rows: list[tuple[str, float | str | None, float]]
    reason: str

    def __repr__(self) -> str:
        lines = [f"{what}: forecast {_text(guess)}, outcome {_text(value)}{_off(guess, value)}"
                 for what, guess, value in self.rows]
        return "\n".join([*lines, *([f"your reason: {self.reason}"] if self.reason else [])])

    def _repr_html_(self) -> str:
        body = "".join(f"<tr><td>{html.escape(what)}</td><td>{html.escape(_text(guess))}</td>"
                       f"<td>{_text(value)}</td><td>{_off(guess, value).strip(', ')}</td></tr>"
                       for what, guess, value in self.rows)
        reason = f"<p>Your reason: {html.escape(self.reason)}</p>" if self.reason else ""
        return (f"<table><tr><th></th><th>forecast</th><th>outcome</th><th>off by</th></tr>{body}"
                f"</table>{reason}")


class Said(str):
    """A sentence that a notebook shows without quotation marks."""

    def __repr__(self) -> str:
        return str(self)


def _simple(value) -> float | str | None:
    """A value as JSON has it: a number, a word, or None where nothing was said."""
    if is_open(value) or isinstance(value, bool | int | float | str):
        return None if is_open(value) else value
    try:
        return float(value)                      # of numpy or torch
    except Exception:                            # whatever else a student may write
        return str(value)


def _text(value) -> str:
    if value is None:
        return "none"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _off(guess, value) -> str:
    if isinstance(guess, int | float) and isinstance(value, int | float):
        return "" if math.isnan(value) else f", off by {value - guess:+.3f}"
    return ""


def forecast(name: str, values: dict, reason: str = "") -> str:
    """Keep a forecast before the experiment.

    Args:
        name: of the experiment; `outcome` asks for it.
        values: what is forecast, to a number, a word, or None where there is none.
        reason: one sentence.
    Returns:
        A line that says what was kept.
    """
    values = {what: _simple(value) for what, value in values.items()}
    reason = "" if is_open(reason) else str(reason)
    given = sum(value is not None for value in values.values())
    if not given and not reason:                 # what was said before stays
        return Said("no forecast: that is allowed, but a guess, even a wrong one, is remembered "
                    "better")
    record.change("forecasts", name, lambda _: {"values": values, "reason": reason,
                                                "time": record.now()})
    return Said(f"{given} of {len(values)} forecast{'' if reason else ', without a reason'}")


def outcome(name: str, values: dict[str, float]) -> Beside:
    """What came out, beside what was forecast under this name.

    Args:
        values: the same keys as in the forecast; others are shown without one.
    """
    values = {what: _simple(value) for what, value in values.items()}
    said = record.change("forecasts", name,
                         lambda before: {"values": {}, "reason": "", **before, "outcome": values})
    return Beside([(what, said["values"].get(what), value) for what, value in values.items()],
                  said["reason"])
