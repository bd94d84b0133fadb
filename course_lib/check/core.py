"""How a student's answer is checked: run it on probes, compare, name the usual slip.

A checker holds the right answer and the usual wrong ones as functions. What the student's function
returns for all probes is compared with each: where it is what a slip gives, the slip is named. So a
diagnosis is never guessed from one number, and a constant cannot pass.
"""

import copy
import dis
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType

import numpy as np
import torch

SECONDS = 10           # an answer may take, for all its probes
MARKS = {True: "✓", False: "✗", None: "○"}
OPEN = "not attempted yet"
MANY = 10              # values that do not agree by chance


@dataclass(frozen=True)
class Verdict:
    """What a checker says of an answer, in one line.

    Attributes:
        solved: True, False, or None where it was not attempted.
        text: a remark, a diagnosis, or that nothing was attempted.
    """

    solved: bool | None
    text: str

    def __repr__(self) -> str:
        return f"{MARKS[self.solved]} {self.text}"


def is_open(answer) -> bool:
    """Tell whether an answer is what the stub holds: nothing, an empty text, `...`, or a class (or
    an object of it) in which no method does anything yet."""
    if answer is None or answer is ... or (isinstance(answer, str) and not answer.strip()):
        return True
    methods = [thing for name, thing in vars(_class_of(answer)).items()
               if isinstance(thing, FunctionType) and name != "__init__"]
    return bool(methods) and all(map(_is_stub, methods))


def _class_of(answer) -> type:
    return answer if isinstance(answer, type) else type(answer)


def _is_stub(function: FunctionType) -> bool:
    """Tell whether a function's only statement is `return ...`."""
    code = [step for step in dis.get_instructions(function) if step.opname != "RESUME"]
    return (all(step.opname in ("LOAD_CONST", "RETURN_VALUE", "RETURN_CONST") for step in code)
            and code[0].argval is ...)


def _all_open(value) -> bool:
    """Tell whether a tuple or list holds nothing but `...`."""
    return isinstance(value, tuple | list) and bool(value) and all(item is ... for item in value)


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError after so many seconds, where the system can do that."""
    if (not hasattr(signal, "setitimer")
            or threading.current_thread() is not threading.main_thread()):
        yield
        return

    def stop(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)     # again each second: it may be caught
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def difference(answer, expected, tolerance: float = 1e-4) -> str | None:
    """Say what is wrong with a value; None where it is as expected.

    Tensors and arrays are compared in shape, kind of type, device and values; lists and tuples
    item by item; numbers within a relative and absolute tolerance.
    """
    if answer is None:
        return "it returned None: is there a `return`?"
    if isinstance(expected, torch.Tensor | np.ndarray):
        return _difference_of_arrays(answer, expected, tolerance)
    if isinstance(expected, list | tuple):
        if not isinstance(answer, list | tuple) or len(answer) != len(expected):
            return (f"expected a {type(expected).__name__} of {len(expected)} values, you returned "
                    f"{_short(answer)}")
        return next((problem for pair in zip(answer, expected, strict=True)
                     if (problem := difference(*pair, tolerance))), None)
    if isinstance(expected, bool | str):
        same = isinstance(answer, type(expected)) and answer == expected
        return None if same else f"expected {expected!r}, you returned {_short(answer)}"
    try:
        value = None if isinstance(answer, str | bytes) else float(answer)
    except Exception:              # whatever a strange object raises
        value = None
    if value is None:
        return f"expected a number, you returned {_short(answer)}"
    if np.isnan(value) and not np.isnan(expected):
        return f"expected {_number(expected)}, you returned NaN"
    same = np.isclose(value, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    return None if same else f"expected {_number(expected)}, you returned {_number(value)}"


def _number(value: float) -> str:
    whole = np.isfinite(value) and value == round(value)
    return f"{value:,.0f}" if whole and abs(value) < 1e15 else f"{value:.7g}"


def _difference_of_arrays(answer, expected, tolerance: float) -> str | None:
    kind = type(expected)
    if not isinstance(answer, kind):
        return f"expected a {kind.__name__}, you returned {_short(answer)}"
    if tuple(answer.shape) != tuple(expected.shape):
        return f"expected shape {tuple(expected.shape)}, you returned {tuple(answer.shape)}"
    if isinstance(answer, torch.Tensor) and answer.device != expected.device:
        return f"expected a tensor on {expected.device}, yours is on {answer.device}"
    if answer.dtype != expected.dtype:
        return f"expected {expected.dtype}, you returned {answer.dtype}"
    given, wanted = (_plain(value).astype(np.float64) for value in (answer, expected))
    if np.isnan(given).any() and not np.isnan(wanted).any():
        return "there is NaN in what you returned"
    close = np.isclose(given, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)
    if close.all():
        return None
    place = tuple(int(i) for i in np.argwhere(~close)[0])
    return (f"{(~close).mean():.0%} of the values differ; at {place} expected {wanted[place]:.7g}, "
            f"you returned {given[place]:.7g}")


def _short(value, length: int = 60) -> str:
    """Write a value in so many characters at most."""
    if isinstance(value, torch.Tensor | np.ndarray) and value.size:
        return f"a {type(value).__name__} of shape {tuple(value.shape)}"
    try:
        text = repr(value)
    except Exception:              # an answer's own __repr__
        text = f"a {type(value).__name__}"
    return text if len(text) <= length else f"{text[:length - 1]}…"


def _same(one, other) -> bool:
    """Tell whether inputs were left as they were."""
    return difference(one, other, 0) is None if one is not None else other is None


def check_function(answer: Callable, right: Callable, probes: dict[str, tuple],
                   slips: dict[str, Callable], remark: str, tolerance: float = 1e-4) -> Verdict:
    """Check a function by what it returns.

    Args:
        answer: the student's function.
        right: a right answer.
        probes: what a probe is, in words, to its arguments (tensors, arrays, numbers, lists).
        slips: what a usual wrong answer does, as a sentence, to a function that does it.
        remark: worth reading for those who solved it.
        tolerance: relative and absolute.
    """
    if is_open(answer):
        return Verdict(None, OPEN)
    returned, verdict = _call(answer, probes)
    if verdict is not None:
        return verdict
    try:
        problems = _compare(probes, returned, right, tolerance)
    except Exception as error:                    # a sparse tensor, or something stranger
        return Verdict(False, f"what you returned cannot be compared ({type(error).__name__})")
    if not any(problems):
        return Verdict(True, remark)
    first = next(number for number, problem in enumerate(problems) if problem)
    hint = next((sentence for sentence, slip in slips.items()
                 if _explains(_compare(probes, returned, slip, tolerance), first, returned)), "")
    end = "" if problems[first].endswith("?") else "."
    return Verdict(False, f"{list(probes)[first]}: {problems[first]}{end} {hint}".rstrip())


def _call(answer: Callable, probes: dict[str, tuple]) -> tuple[list, Verdict | None]:
    """Call a student's function with all probes: what it returns, and a verdict if it fails."""
    returned, words = [], ""
    try:
        with _time_limit(SECONDS), torch.random.fork_rng(devices=[]):
            for words, arguments in probes.items():
                given = copy.deepcopy(arguments)
                returned.append(answer(*given))
                if returned[-1] is ... or _all_open(returned[-1]):
                    return returned, Verdict(None, OPEN)
                if not all(map(_same, given, arguments)):
                    return returned, Verdict(False, f"{words}: your function changed its input in "
                                                    "place; work on a copy, for the caller still "
                                                    "needs it")
    except TimeoutError:
        return returned, Verdict(False, f"{words}: it did not end within {SECONDS} s: is there a "
                                        "loop that never stops?")
    except KeyboardInterrupt:
        return returned, Verdict(False, f"{words}: interrupted: is there a loop that never stops?")
    except (Exception, SystemExit) as error:      # a student's function can raise anything
        return returned, Verdict(False, f"{words}: it raised {type(error).__name__}: "
                                        f"{_short(str(error), 160)}")
    return returned, None


def _compare(probes: dict[str, tuple], returned: list, function: Callable,
             tolerance: float) -> list[str | None]:
    """Say for each probe how what was returned differs from what a function gives."""
    return [difference(value, function(*copy.deepcopy(arguments)), tolerance)
            for arguments, value in zip(probes.values(), returned, strict=True)]


def _explains(problems: list[str | None], first: int, returned: list) -> bool:
    """Tell whether a slip gives all that was returned; of many values, those of the first wrong
    probe."""
    return not any(problems) or (
        not problems[first] and np.size(_plain(returned[first])) >= MANY)


def _plain(value) -> np.ndarray:
    """Give numbers as an array; anything else counts as one value."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    return value if isinstance(value, np.ndarray) else np.zeros(())


def check_choice(answer: str, right: str, wrong: dict[str, str], remark: str) -> Verdict:
    """Check a choice among letters.

    Args:
        right: the letter that is right.
        wrong: the others, with what speaks against each.
        remark: worth reading for those who solved it.
    """
    if is_open(answer):
        return Verdict(None, OPEN)
    letter = str(answer).strip().lower()
    if letter == right:
        return Verdict(True, remark)
    choices = ", ".join(sorted([right, *wrong]))
    return Verdict(False, f"{letter}: {wrong[letter]}" if letter in wrong else
                   f"choose one of {choices}, you chose {_short(answer)}")
