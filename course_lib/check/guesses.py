"""How a student's guess is read: a number, per cent, a range or a word; and slips to ask about."""

import difflib
import re

from course_lib.check.core import is_open
from course_lib.check.lessons import LESSONS

SKIP = "skip"
SHARES = ("DSC", "share")                          # units that lie between 0 and 1
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
WRITTEN = re.compile(rf"({NUMBER})\s*%?(?:\s*(?:-|–|…|to)\s*({NUMBER}))?\s*%?")


def asked(name: str) -> dict[str, str]:
    """Give what the lessons ask for under this name, each with its unit; {} where they do not."""
    return next((lesson.forecasts[name] for lesson in LESSONS if name in lesson.forecasts), {})


def to_plain(value) -> float | str | bool | None:
    """Turn a value into what JSON has: a number, a word, or None where there is none.

    A range, (0.6, 0.8) or "0.6-0.8", becomes "0.6 to 0.8"; "30 %" becomes 0.3.
    """
    if is_open(value):
        return None
    if isinstance(value, str):
        return _to_number_or_range(value.encode(errors="replace").decode())   # no half characters
    if isinstance(value, bool) or type(value) is int and abs(value) < 2**63:
        return value
    if isinstance(value, tuple | list) and len(value) == 2:
        ends = [to_plain(end) for end in value]
        if all(type(end) in (int, float) for end in ends):
            return _range(*ends)
    try:
        return float(value)                      # of numpy or torch
    except Exception:                            # whatever else a student may write
        pass
    try:
        return to_plain(str(value))
    except Exception:
        return f"a {type(value).__name__}"


def _to_number_or_range(text: str) -> float | str:
    match = WRITTEN.fullmatch(text.strip())
    if match is None:
        return text
    scale = 0.01 if "%" in text else 1
    ends = [float(end) * scale for end in match.groups() if end]
    return ends[0] if len(ends) == 1 else _range(*ends)


def _range(low: float, high: float) -> str:
    return f"{min(low, high):.6g} to {max(low, high):.6g}"


def ends_of(value) -> tuple[float, float] | None:
    """Give the lower and the upper end of a plain value: a number is both, a word has none."""
    try:
        ends = [float(end) for end in (value.split(" to ") if isinstance(value, str) else [value])]
    except (TypeError, ValueError, OverflowError):         # a word, none, or beyond all numbers
        return None
    return ends[0], ends[-1]


def find_slips(name: str, values: dict) -> str:
    """Say what a forecast has that cannot be meant, as questions; "" for nothing.

    Only what the lessons ask for is known: its keys, and that a share and a DSC lie in 0 … 1.
    """
    units = asked(name)
    questions = [_wrong_key(what, list(units)) if what not in units
                 else _wrong_value(what, value, units[what])
                 for what, value in values.items()] if units else []
    return " ".join(filter(None, questions))


def _wrong_key(what: str, there: list[str]) -> str:
    near = difflib.get_close_matches(what, there, n=1)
    return f'"{what}" is not asked for here: ' + (
        f'did you mean "{near[0]}"?' if near else f"choose from {', '.join(map(repr, there))}.")


def _wrong_value(what: str, value, unit: str) -> str:
    ends = ends_of(value)
    if unit not in SHARES or ends is None or 0 <= ends[0] <= ends[1] <= 1:
        return ""
    said = f'"{what}" is a {unit}, which lies between 0 and 1; {value} does not'
    if not 0 <= ends[0] <= ends[1] <= 100:
        return f"{said}."
    cents = [max(f"{end / 100:.2f}", f"{end / 100:g}", key=len) for end in ends]
    return f"{said}: did you mean {' to '.join(dict.fromkeys(cents))}?"
