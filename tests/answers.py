"""What the tests of all checkers share: a checker's slips, and how its verdicts are judged."""

import sys
from functools import partial

import pytest

from course_lib.check.core import OPEN, Verdict


def parts_of(checker) -> dict:
    """Give right answer, probes and slips of a checker; slips as functions."""
    parts = {}

    def keep(answer, right, probes, slips, *_, **options):
        made = {sentence: partial(right, **slip) if isinstance(slip, dict) else slip
                for sentence, slip in slips.items()}
        parts.update(right=right, probes=probes, slips=made, options=options)
        return Verdict(None, OPEN)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[checker.__module__], "check_function", keep)
        checker.__wrapped__(...)
    return parts


def listed(cases: dict) -> list:
    """List the cases of all checkers: name first, one after the other."""
    return [(name, *(case if isinstance(case, tuple) else (case,)))
            for name, several in cases.items() for case in several]


def names_a_slip(checker, text: str) -> bool:
    return any(sentence in text for sentence in parts_of(checker)["slips"])
