"""The exercises of lesson 03: right answers, the usual wrong ones, and answers that cheat."""

import numpy as np
import pytest

from course_lib import check, metrics


def by_sets(prediction, target):
    one, other = (set(np.flatnonzero(mask)) for mask in (prediction, target))
    return 2 * len(one & other) / (len(one) + len(other)) if one or other else np.nan


@pytest.mark.parametrize("answer", [by_sets, metrics.dsc])
def test_the_score(answer):
    assert check.dsc_of_patient(answer).solved is True


def ratio(top, bottom):
    return top / bottom if bottom else float("nan")


@pytest.mark.parametrize(("answer", "says"), [
    (lambda p, t: ratio((p & t).sum(), (p | t).sum()), "That is IoU"),
    (lambda p, t: ratio((p & t).sum(), p.sum() + t.sum()), "factor 2 is missing"),
    (lambda p, t: (p == t).mean(), "accuracy"),
    (lambda p, t: ratio((p & t).sum(), p.sum()), "precision"),
    (lambda p, t: ratio((p & t).sum(), t.sum()), "sensitivity"),
    (lambda p, t: np.mean([metrics.dsc(a, b, empty=1.0) for a, b in zip(p, t, strict=True)]),
     "mean over slices"),
    (lambda p, t: metrics.dsc(p, t, empty=1.0), "NaN, not 1"),
    (lambda p, t: metrics.dsc(p, t, empty=0.0), "NaN, not 0"),
    (lambda p, t: 2 * int((p & t).sum()) / (int(p.sum()) + int(t.sum())), "ZeroDivisionError"),
    (lambda p, t: float("nan"), "you returned NaN"),
    (lambda p, t: 0.0, "you returned 0"),
    (lambda p, t: 1.0, "you returned 1")])
def test_the_score_wrong(answer, says):
    verdict = check.dsc_of_patient(answer)
    assert verdict.solved is False and says in verdict.text


def test_whose_score():
    assert check.whose_score("b").solved
    assert not any(check.whose_score(letter).solved for letter in "acdx")
    assert len({check.whose_score(letter).text for letter in "acd"}) == 3
