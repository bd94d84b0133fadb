import math

import numpy as np
import pytest

from course_lib.stats import bootstrap_interval

SCORES = np.random.default_rng(1).beta(8, 2, size=40)


def test_the_interval_holds_the_mean():
    low, high = bootstrap_interval(SCORES)
    assert low < SCORES.mean() < high
    assert type(low) is type(high) is float


def test_the_interval_is_about_two_standard_errors_either_side():
    low, high = bootstrap_interval(SCORES)
    error = SCORES.std(ddof=1) / math.sqrt(len(SCORES))
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_the_interval_shrinks_with_more_patients():
    width = {n: np.subtract(*bootstrap_interval(np.tile(SCORES[:10], n // 10))[::-1])
             for n in (10, 90)}
    assert width[90] == pytest.approx(width[10] / 3, rel=0.1)     # with the root of n


def test_the_interval_widens_with_confidence():
    low, high = bootstrap_interval(SCORES, confidence=0.99)
    inner_low, inner_high = bootstrap_interval(SCORES, confidence=0.8)
    assert low < inner_low < inner_high < high


def test_the_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(5)
    hits = 0
    for _ in range(100):                                         # the mean of beta(8, 2) is 0.8
        low, high = bootstrap_interval(random.beta(8, 2, size=25), confidence=0.8)
        hits += low < 0.8 < high
    assert 68 <= hits <= 92                                      # 80 expected, 3 standard errors


def test_nan_is_left_out():
    with_gaps = [math.nan, *SCORES[:20], math.nan]
    assert bootstrap_interval(with_gaps) == bootstrap_interval(SCORES[:20])


@pytest.mark.parametrize("values", [[], [0.7], [0.7, math.nan], [math.nan, math.nan]])
def test_fewer_than_two_values_have_no_interval(values):
    assert all(math.isnan(end) for end in bootstrap_interval(values))


def test_equal_values_are_their_own_interval():
    assert bootstrap_interval([0.7, 0.7, math.nan, 0.7]) == (0.7, 0.7)


def test_two_values_have_an_interval():
    assert bootstrap_interval([0.2, 0.8]) == pytest.approx((0.2, 0.8))


def test_the_seed_repeats():
    assert bootstrap_interval(SCORES, seed=3) == bootstrap_interval(SCORES, seed=3)
    assert bootstrap_interval(SCORES, seed=3) != bootstrap_interval(SCORES, seed=4)
