"""The exercises of lesson 01, look at the data."""

import numpy as np

from course_lib.check.core import Verdict, check_choice, check_function
from course_lib.check.record import exercise


def _masks() -> dict[str, tuple]:
    """Make volumes of masks (S, H, W), from hand-made to random."""
    random = np.random.default_rng(0)
    one = np.zeros((4, 6, 6), np.uint8)
    one[1, 2:4, 2:4] = 1
    big = (random.random((7, 5, 8)) > 0.5).astype(np.uint8)
    big[[0, 3, 6]] = 0
    return {"four slices, one with tumour": (one,),
            "seven slices, three empty": (big,),
            "no tumour at all": (np.zeros((3, 4, 4), np.uint8),),
            "tumour everywhere": (np.ones((5, 4, 4), np.uint8),)}


@exercise("01")
def slice_dsc_of_nothing(answer) -> Verdict:
    """Check the mean DSC per slice of an empty prediction, empty slices counting as 1."""
    def empty_share(targets):
        return float((~targets.astype(bool).any(axis=(1, 2))).mean())

    return check_function(
        answer, empty_share, _masks(),
        slips={
            "That is the share of slices *with* tumour; the empty ones are those that score 1.":
                lambda targets: 1 - empty_share(targets),
            "That is the share of pixels without tumour, the accuracy. Here each slice counts 1.":
                lambda targets: float((targets == 0).mean()),
            "That is 0 throughout: an empty slice that is left empty counts as 1 here.":
                lambda targets: 0.0,
            "metrics.dsc gives NaN where both masks are empty; here that counts 1: `empty=1.0`.":
                lambda targets: float("nan") if empty_share(targets) else 0.0,
            "`~` on integers flips bits, it is no *not*: make it bool first.":
                lambda targets: float((~targets).any(axis=(1, 2)).mean()),
            "That counts slices; divide by how many there are.":
                lambda targets: float((~targets.astype(bool).any(axis=(1, 2))).sum()),
        },
        remark="so on the real set nothing at all scores 0.65 per slice, and 0 per patient: a DSC "
               "means little until it says what it is taken over")


def _volumes() -> dict[str, tuple]:
    random = np.random.default_rng(1)
    two = random.normal((10, 50), (2, 20), size=(3, 8, 8, 2)) * np.arange(1, 4)[:, None, None, None]
    missing = random.integers(0, 255, (4, 6, 6, 3), dtype=np.uint8)
    missing[..., 2] = 7
    return {"two channels of different scale": (two.astype(np.float32),),
            "uint8 with a constant channel": (missing,),
            "a constant channel of 0.1": (np.full((4, 8, 8, 2), 0.1, np.float32),)}


def _divided(image, divisor):
    """Compute z-scores as they are often written, in float32: by what is made of the deviation."""
    image = image.astype(np.float32)
    with np.errstate(all="ignore"):
        return (image - image.mean((0, 1, 2))) / divisor(image.std((0, 1, 2)))


def _z(image, axes, shift=True):
    image = image.astype(np.float64)
    varies = image.max(axis=axes, keepdims=True) > image.min(axis=axes, keepdims=True)
    mean = image.mean(axis=axes, keepdims=True) if shift else 0
    deviation = image.std(axis=axes, keepdims=True)
    return np.where(varies, (image - mean) / np.where(varies, deviation, 1),
                    0).astype(np.float32)


@exercise("01")
def normalise(answer) -> Verdict:
    """Check z-scores per volume and channel, a constant channel all zeros."""
    whole = (0, 1, 2)

    return check_function(
        answer, lambda image: _z(image, whole), _volumes(), tolerance=1e-3,
        slips={
            "You averaged over the channels, too: each sequence has a scale of its own.":
                lambda image: _z(image, None),
            "You normalised each slice on its own: a slice of mostly air is stretched like any "
            "other. Average over the slices, too.": lambda image: _z(image, (1, 2)),
            "You averaged over rows and columns of all channels of a slice.":
                lambda image: _z(image, (1, 2, 3)),
            "A constant channel: its deviation was rounded to something tiny, not 0. Compare its "
            "maximum and minimum.": lambda image: _divided(image, lambda d: np.where(d > 0, d, 1)),
            "A constant channel: adding something tiny to the deviation is not enough, for mean "
            "and deviation are rounded. Compare its maximum and minimum.":
                lambda image: _divided(image, lambda d: d + 1e-8),
            "A constant channel: a smallest deviation is not enough, for the mean is rounded, too. "
            "Compare its maximum and minimum.":
                lambda image: _divided(image, lambda d: np.maximum(d, 1e-6)),
            "A constant channel has standard deviation 0, and 0 / 0 is NaN: divide by 1 there.":
                lambda image: _divided(image, lambda d: d),
            "You divided by the deviation over n - 1, torch's default; here it is over n, numpy's.":
                lambda image: (_z(image, whole)
                               * ((n := image[..., 0].size) - 1) ** 0.5 / n ** 0.5
                               ).astype(np.float32),
            "You divided, but did not subtract the mean.":
                lambda image: _z(image, whole, shift=False),
            "You divided by the variance; the standard deviation is its root.":
                lambda image: (_z(image, whole) / np.where(
                    image.std(whole) > 0, image.std(whole), 1)).astype(np.float32),
            "That is min-max scaling, to 0 … 1: one bright voxel decides on all others.":
                lambda image: ((image - image.min(whole)) / np.maximum(
                    np.ptp(image.astype(np.float32), axis=whole), 1e-9)).astype(np.float32),
        },
        remark="the same numbers mean the same tissue from slice to slice now. Cropping to the "
               "head first, as the library does, keeps the share of air out of the mean")


@exercise("01")
def split_rows(answer) -> Verdict:
    """Check the rows of training and test patients."""
    def right(index, test_patients):
        test = [row for row, (patient, _) in enumerate(index) if patient in test_patients]
        return [row for row in range(len(index)) if row not in test], test

    def by_slice(index, test_patients):
        count = sum(patient in test_patients for patient, _ in index)
        return list(range(len(index) - count)), list(range(len(index) - count, len(index)))

    def swapped(index, test_patients):
        return right(index, test_patients)[::-1]

    def pairs(index, test_patients):
        return tuple([index[row] for row in rows] for rows in right(index, test_patients))

    def everything(index, test_patients):
        return list(range(len(index))), right(index, test_patients)[1]

    mixed = [("b", 4), ("a", 1), ("b", 5), ("c", 1), ("a", 2)]
    return check_function(
        answer, right,
        {"three patients, their slices mixed": (mixed, ["a"]),
         "names that contain each other": ([("p1", 1), ("p11", 1), ("p1", 2), ("p11", 2)], ["p1"]),
         "of two such names the longer": ([("p1", 1), ("p11", 1)], ["p11"]),
         "several test patients": ([(name, n) for name in "abcd" for n in (1, 2, 3)], ["a", "c"])},
        slips={
            "You cut the list at a row: that splits slices, and a patient may stand on both sides.":
                by_slice,
            "Training and test are the wrong way round.": swapped,
            "You returned the pairs; row numbers are asked for.": pairs,
            "You returned slice numbers; a row number is the position in `index`.":
                lambda index, test: tuple([index[row][1] for row in rows]
                                          for rows in right(index, test)),
            "You looked at the first test patient only.":
                lambda index, test: right(index, test[:1]),
            "The test patients are still in the training rows.": everything,
            "You looked whether one name is *part of* the other: 'p1' is also in 'p11'.":
                lambda index, test: (
                    [r for r, (p, _) in enumerate(index) if not any(t in p for t in test)],
                    [r for r, (p, _) in enumerate(index) if any(t in p for t in test)]),
        },
        remark="one line decides whether a score is about new patients")


@exercise("01")
def find_the_leak(answer) -> Verdict:
    """Check which of four reports can be believed for new patients."""
    return check_choice(answer, right="d", wrong={
        "a": "neighbouring slices of one patient lie on both sides: the network may remember them",
        "b": "mean and standard deviation were taken over all patients, so the test patients had a "
             "say in the training. The smallest leak of the three, but one",
        "c": "the best of 40 on the test patients: they chose the setting, and the best of many "
             "tries is partly luck"},
        remark="nothing about the test patients was known before the one score was taken. It is "
               "also the lowest: honest numbers often are")
