"""What the tests of all checkers share: asking one without keeping what it says, and its slips."""

import sys
from functools import partial

import pytest

from course_lib import check
from course_lib.check.core import OPEN, Verdict


def ask(name: str, answer) -> Verdict:
    """Give a checker's verdict, which is not kept in course.json."""
    return getattr(check, name).__wrapped__(answer)


def parts_of(name: str) -> dict:
    """Give right answer, probes and slips of a checker; slips as functions."""
    parts = {}

    def keep(answer, right, probes, slips, *_, **options):
        made = {sentence: partial(right, **slip) if isinstance(slip, dict) else slip
                for sentence, slip in slips.items()}
        parts.update(right=right, probes=probes, slips=made)
        return Verdict(None, OPEN)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[getattr(check, name).__module__], "check_function", keep)
        ask(name, ...)
    return parts


def names_a_slip(name: str, text: str) -> bool:
    return any(sentence in text for sentence in parts_of(name)["slips"])


def listed(cases: dict) -> list:
    """List the cases of all checkers: name first, one after the other."""
    return [(name, *(case if isinstance(case, tuple) else (case,)))
            for name, several in cases.items() for case in several]
