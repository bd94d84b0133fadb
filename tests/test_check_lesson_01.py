"""The exercises of lesson 01: right answers, the usual wrong ones, and answers that cheat."""

import numpy as np
import pytest

from course_lib import check, metrics
from course_lib.check import lesson_01


def solved(verdict) -> bool:
    assert verdict.text
    return verdict.solved is True


# --- slice_dsc_of_nothing -------------------------------------------------------------------------

def share_by_loop(targets):
    return sum(1 for one in targets if one.sum() == 0) / len(targets)


@pytest.mark.parametrize("answer", [
    share_by_loop, lambda t: np.mean(t.reshape(len(t), -1).max(axis=1) == 0),
    lambda t: 1 - t.any(axis=(1, 2)).mean()])
def test_nothing_per_slice(answer):
    assert solved(check.slice_dsc_of_nothing(answer))


@pytest.mark.parametrize(("answer", "says"), [
    (lambda t: t.any(axis=(1, 2)).mean(), "slices *with* tumour"),
    (lambda t: 1 - t.mean(), "the accuracy"),
    (lambda t: 0.0, "an empty slice that is left empty counts as 1"),
    (lambda t: (t.sum(axis=(1, 2)) == 0).sum(), "divide by how many there are"),
    (lambda t: t.any(axis=(1, 2)) == 0, "expected a number"),
    (lambda t: float(np.mean([metrics.dsc(np.zeros_like(s), s) for s in t])), "`empty=1.0`"),
    (lambda t: (~t).any(axis=(1, 2)).mean(), "flips bits"),
    (lambda t: 0.75, "seven slices, three empty"),                      # fits the first probe only
    (lambda t: 1.0, "expected 0.75"),
    (lambda t: float("nan"), "NaN")])
def test_nothing_per_slice_wrong(answer, says):
    verdict = check.slice_dsc_of_nothing(answer)
    assert verdict.solved is False and says in verdict.text


# --- normalise ------------------------------------------------------------------------------------

def by_channel(image):
    made = np.zeros(image.shape, np.float32)
    for c in range(image.shape[-1]):
        values = image[..., c].astype(np.float64)
        if np.ptp(values) > 0:
            made[..., c] = (values - values.mean()) / values.std()
    return made


def test_normalising():
    assert solved(check.normalise(by_channel))


def z(image, axes):
    image = image.astype(np.float32)
    return (image - image.mean(axes, keepdims=True)) / image.std(axes, keepdims=True)


def rounded_constant(image):
    image = image.astype(np.float32)
    mean, deviation = image.mean(axis=(0, 1, 2)), image.std(axis=(0, 1, 2))
    return (image - mean) / np.where(deviation > 0, deviation, 1)


def cushioned(image, cushion):
    image = image.astype(np.float32)
    return (image - image.mean((0, 1, 2))) / cushion(image.std((0, 1, 2)))


PROBE = next(iter(lesson_01._volumes().values()))[0]


def in_place(image):
    image -= image.mean(axis=(0, 1, 2), keepdims=True).astype(image.dtype)
    return image


@pytest.mark.parametrize(("answer", "says"), [
    (lambda i: z(i, None), "averaged over the channels, too"),
    (lambda i: z(i, (1, 2)), "each slice on its own"),
    (lambda i: z(i, (1, 2, 3)), "all channels of a slice"),
    (lambda i: z(i, (0, 1, 2)), "0 / 0 is NaN"),
    (lambda i: i.astype(np.float32) / np.maximum(i.std((0, 1, 2)), 1e-9).astype(np.float32),
     "did not subtract the mean"),
    (lambda i: by_channel(i) / np.maximum(i.std((0, 1, 2)), 1e-9).astype(np.float32),
     "the standard deviation is its root"),
    (lambda i: ((i - i.min((0, 1, 2))) / np.maximum(np.ptp(i, axis=(0, 1, 2)), 1e-9)
                ).astype(np.float32), "min-max scaling"),
    (rounded_constant, "rounded to something tiny"),
    (lambda i: cushioned(i, lambda deviation: deviation + 1e-8), "adding something tiny"),
    (lambda i: cushioned(i, lambda deviation: np.maximum(deviation, 1e-6)), "smallest deviation"),
    (lambda i: by_channel(i) * np.float32((i[0].size - 1) / i[0].size), "differ"),
    (lambda i: (lambda n: (by_channel(i) * ((n - 1) / n) ** 0.5).astype(np.float32))(
        i[..., 0].size), "over n - 1"),
    (lambda i: np.ones(i.shape, np.float32), "differ"),
    (lambda i: by_channel(PROBE) if i.shape == PROBE.shape else np.zeros(i.shape, np.float32),
     "uint8 with a constant channel"),
    (lambda i: by_channel(i).astype(np.float64), "expected float32, you returned float64"),
    (lambda i: by_channel(i)[..., 0], "expected shape"),
    (in_place, "changed its input in place"),
    (lambda i: np.zeros(i.shape, np.float32), "100% of the values differ"),
    (lambda i: i, "differ")])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_normalising_wrong(answer, says):
    verdict = check.normalise(answer)
    assert verdict.solved is False and says in verdict.text


# --- split_rows -----------------------------------------------------------------------------------

def by_numpy(index, test_patients):
    inside = np.isin([patient for patient, _ in index], list(test_patients))
    return np.flatnonzero(~inside).tolist(), np.flatnonzero(inside).tolist()


def test_splitting():
    assert solved(check.split_rows(by_numpy))


@pytest.mark.parametrize(("answer", "says"), [
    (lambda i, t: by_numpy(i, t)[::-1], "wrong way round"),
    (lambda i, t: (list(range(len(i))), by_numpy(i, t)[1]), "still in the training rows"),
    (lambda i, t: tuple([i[r] for r in rows] for rows in by_numpy(i, t)), "row numbers are asked"),
    (lambda i, t: (lambda n: (list(range(len(i) - n)), list(range(len(i) - n, len(i)))))(
        len(by_numpy(i, t)[1])), "You cut the list at a row"),
    (lambda i, t: ([r for r, (p, _) in enumerate(i) if not any(name in p for name in t)],
                   [r for r, (p, _) in enumerate(i) if any(name in p for name in t)]),
     "'p1' is also in 'p11'"),
    (lambda i, t: by_numpy(i, t)[0], "expected a tuple of 2 values"),
    (lambda i, t: tuple([i[r][1] for r in rows] for rows in by_numpy(i, t)), "slice numbers"),
    (lambda i, t: ([r for r, (p, _) in enumerate(i) if p not in " ".join(t)],
                   [r for r, (p, _) in enumerate(i) if p in " ".join(t)]), "the longer"),
    (lambda i, t: by_numpy(i, t[:1]), "first test patient only"),
    (lambda i, t: ([0, 2, 3], [1, 4]), "names that contain each other"),
    (lambda i, t: ([], []), "expected a list of 3 values")])
def test_splitting_wrong(answer, says):
    verdict = check.split_rows(answer)
    assert verdict.solved is False and says in verdict.text


# --- find_the_leak --------------------------------------------------------------------------------

def test_the_leak():
    assert solved(check.find_the_leak("d"))
    assert len({check.find_the_leak(letter).text for letter in "abc"}) == 3
    assert not any(check.find_the_leak(letter).solved for letter in "abcx")
