"""How a student's answer is checked: run it on probes, compare, name the usual slip.

A checker holds the right answer and the usual wrong ones as functions. What the student's function
returns for all probes is compared with each: where it is what a slip gives, for every probe, the
slip is named. So a diagnosis is never guessed from one number, and a constant cannot pass.
"""

import copy
import dis
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from textwrap import fill
from types import FunctionType

import numpy as np
import torch

from course_lib.check.comparing import agree, call, difference, single, written
from course_lib.check.raised import in_words

SECONDS = 10           # an answer may take, for all its probes
MARKS = {True: "✓", False: "✗", None: "○"}
OPEN = "not attempted yet"


@dataclass(frozen=True)
class Verdict:
    """What a checker says of an answer.

    Attributes:
        solved: True, False, or None where it was not attempted.
        text: a remark, a diagnosis, or that nothing was attempted.
        right: a function that solves the exercise; None where a word is asked for.
    """

    solved: bool | None
    text: str
    right: Callable | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        return fill(f"{MARKS[self.solved]} {self.text}", 88, subsequent_indent="  ",
                    break_long_words=False, break_on_hyphens=False)


def is_open(answer) -> bool:
    """Tell whether an answer is what the stub holds: nothing, an empty text, `...`, a dict of
    these, or a class (or an object of it) in which no method does anything yet."""
    if answer is None or answer is ... or (isinstance(answer, str) and not answer.strip()):
        return True
    if isinstance(answer, dict):
        return bool(answer) and all(map(is_open, answer.values()))
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
def _quietly() -> Iterator[None]:
    """Let a function run without showing its warnings, or moving the notebook's generator."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        yield


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


def _return(function: Callable, *arguments):
    """Observe a function by what it returns."""
    return function(*arguments)


def share(value, *_) -> str:
    """Rule for scores: a share lies in 0 … 1."""
    value = single(value)
    outside = isinstance(value, int | float) and (value < 0 or value > 1)
    return "A share lies in 0 … 1." if outside else ""


def check_function(answer: Callable, right: Callable, probes: dict[str, tuple],
                   slips: dict[str, Callable | dict], remark: str, tolerance: float = 1e-4, *,
                   observe: Callable = _return, rule: Callable | None = None) -> Verdict:
    """Check a function by what it does.

    Args:
        answer: the student's function.
        right: a right answer; what is usually done otherwise are keyword arguments of it.
        probes: what a probe is, in words, to its arguments (tensors, arrays, numbers, lists).
        slips: what a usual wrong answer does, as a sentence, to a function that does it, or to
            keyword arguments of `right`; of the latter, two are tried together as well.
        remark: worth reading for those who solved it.
        tolerance: relative and absolute.
        observe: (function, *arguments) -> what is compared; by default what the function returns.
        rule: (what was observed, *arguments) -> what it may never be, in a sentence, or "".
    """
    if is_open(answer):
        return Verdict(None, OPEN, right)
    if not callable(answer):
        return Verdict(False, f"hand in the function itself, not a value: this is "
                              f"{written(answer)}", right)
    seen, verdict = _call(answer, probes, observe)
    if verdict is not None:
        return replace(verdict, right=right)
    expect = partial(_expect, observe, probes)
    try:
        problems = [difference(value, wanted, tolerance)
                    for value, wanted in zip(seen, expect(right), strict=True)]
    except Exception as error:                    # a sparse tensor, or something stranger
        return Verdict(False, f"what you returned cannot be compared ({type(error).__name__})",
                       right)
    if not any(problems):
        return Verdict(True, remark, right)
    first = next(number for number, problem in enumerate(problems) if problem)
    words, arguments = list(probes.items())[first]
    hint = (_name_slips(seen, right, slips, expect, tolerance)
            or (rule(seen[first], *arguments) if rule else ""))
    end = "" if problems[first].endswith("?") else "."
    return Verdict(False, f"{call(answer, arguments) or words}: {problems[first]}{end} "
                          f"{hint}".rstrip(), right)


def _call(answer: Callable, probes: dict[str, tuple],
          observe: Callable) -> tuple[list, Verdict | None]:
    """Observe a student's function with all probes: what was seen, and a verdict if it fails."""
    seen, where = [], ""
    try:
        with _time_limit(SECONDS), _quietly():
            for words, arguments in probes.items():
                given, where = copy.deepcopy(arguments), call(answer, arguments) or words
                seen.append(observe(answer, *given))
                if seen[-1] is ... or _all_open(seen[-1]):
                    return seen, Verdict(None, OPEN)
                if not all(map(_is_unchanged, given, arguments)):
                    return seen, Verdict(False, f"{where}: your function changed its input in "
                                                "place; work on a copy, for the caller still "
                                                "needs it")
    except TimeoutError:
        return seen, Verdict(False, f"{where}: it did not end within {SECONDS} s: is there a loop "
                                    "that never stops?")
    except KeyboardInterrupt:
        return seen, Verdict(False, f"{where}: interrupted: is there a loop that never stops?")
    except (Exception, SystemExit) as error:      # a student's function can raise anything
        return seen, Verdict(False, f"{where}: {in_words(error, answer)}")
    return seen, None


def _is_unchanged(given, argument) -> bool:
    """Tell whether an input was left as it was; what holds no values is not looked at."""
    held = isinstance(argument, torch.Tensor | np.ndarray | list)
    return not held or agree(given, argument, 0)


def _expect(observe: Callable, probes: dict[str, tuple], function: Callable) -> Iterator:
    """Observe a function of ours with one probe after the other."""
    for arguments in probes.values():
        with _quietly():
            seen = observe(function, *copy.deepcopy(arguments))
        yield seen


def _name_slips(seen: list, right: Callable, slips: dict, expect: Callable,
                tolerance: float) -> str:
    """Name the slip, or the two slips, that give for every probe what was seen; "" for none."""
    def explains(slip: Callable) -> bool:
        try:
            return all(agree(value, given, tolerance)
                       for value, given in zip(seen, expect(slip), strict=True))
        except Exception:                         # a slip may fail where the answer does not
            return False

    switches = {sentence: slip for sentence, slip in slips.items() if isinstance(slip, dict)}
    for sentence, slip in slips.items():
        if explains(partial(right, **slip) if sentence in switches else slip):
            return sentence
    if all(agree(value, seen[0]) for value in seen):
        return ""                                 # a constant, which many a pair would give
    for (one, first), (other, second) in combinations(switches.items(), 2):
        if not first.keys() & second.keys() and explains(partial(right, **first, **second)):
            return f"Two things at once. {one} {other}"
    return ""
