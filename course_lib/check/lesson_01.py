"""The exercises of lesson 01, look at the data."""

from collections.abc import Callable

import numpy as np

from course_lib.check.choosing import check_choice, check_words
from course_lib.check.core import Verdict, check_function, share
from course_lib.check.record import exercise


def _masks() -> dict[str, tuple]:
    """Make volumes of masks (S, H, W), from hand-made to random."""
    random = np.random.default_rng(0)
    one = np.zeros((4, 6, 6), np.uint8)
    one[1, 2:4, 2:4] = 1
    big = (random.random((7, 5, 8)) > 0.5).astype(np.uint8)
    big[[0, 3, 6]] = 0
    return {"three slices of two pixels": (np.array([[[0, 0]], [[1, 0]], [[0, 0]]], np.uint8),),
            "four slices, one with tumour": (one,),
            "seven slices, three empty": (big,),
            "no tumour at all": (np.zeros((3, 4, 4), np.uint8),),
            "tumour everywhere": (np.ones((5, 4, 4), np.uint8),)}


def _slice_dsc_of_nothing(targets, *, axes=(1, 2), empty=1.0, filled=0.0, reduce=np.mean,
                          finish=float):
    """Score an empty prediction per slice: by what an empty and a filled one count."""
    marked = targets.astype(bool).any(axis=axes)
    return finish(reduce(np.where(marked, filled, empty)))


@exercise("01")
def slice_dsc_of_nothing(answer) -> Verdict:
    """Check the mean DSC per slice of an empty prediction, empty slices counting as 1."""
    slips: dict[str, Callable | dict] = {
        "That is the share of slices *with* tumour; the empty ones are those that score 1.":
            {"empty": 0.0, "filled": 1.0},
        "That is the share of pixels without tumour, the accuracy. Here each slice counts 1.":
            lambda targets: float((targets == 0).mean()),
        "That is 0 throughout: an empty slice that is left empty counts as 1 here.":
            {"empty": 0.0},
        "That is 1 throughout: a slice with tumour, left empty, scores 0. (`~` on integers flips "
        "bits, it is no *not*: make the masks bool first.)": {"filled": 1.0},
        "metrics.dsc gives NaN where both masks are empty; here that counts 1: `empty=1.0`.":
            {"empty": float("nan")},
        "An empty slice counts 1 here: score slice by slice with metrics.dsc(…, empty=1.0), for "
        "np.nanmean leaves empty slices out, and the DSC of a whole patient has none.":
            {"empty": float("nan"), "reduce": np.nanmean},
        "That is 1 where nothing is marked at all, else 0: score each slice, not the patient as a "
        "whole, and divide by `/`, not `//`.": {"reduce": np.min},
        "That counts slices; divide by how many there are.": {"reduce": np.sum},
        "That is one score for each slice; the mean of them is asked for.": {
            "reduce": np.asarray, "finish": np.asarray},
        "That is per cent; a share lies in 0 … 1.": {"finish": lambda value: float(value) * 100},
        "You rounded; return the number as it is.": {
            "finish": lambda value: round(float(value), 2)},
        "A slice that is empty has 0 in *all* pixels; you asked for *any*.":
            lambda targets: float((targets == 0).any(axis=(1, 2)).mean()),
    }
    for axes in (0, 1, 2, (0, 1), (0, 2)):
        slips[f"You looked along axis {axes}; slices lie along axis 0, so one is empty where "
              "nothing is marked along axes (1, 2)."] = {"axes": axes}
    return check_function(
        answer, _slice_dsc_of_nothing, _masks(), slips, rule=share,
        remark="so on the real set nothing at all scores 0.65 per slice, and 0 per patient: a DSC "
               "means little until it says what it is taken over")


def _volumes() -> dict[str, tuple]:
    """Make volumes (S, H, W, C): one by hand, two scales, a head in air, and constant channels."""
    random = np.random.default_rng(1)
    two = random.normal((10, 50), (2, 20), size=(3, 8, 8, 2)) * np.arange(1, 4)[:, None, None, None]
    head = random.integers(60, 255, (4, 6, 6, 3), dtype=np.uint8)
    head[:, :2] = head[..., :2, :] = 0
    head[..., 2] = 7
    return {"two slices of two pixels": (np.array([[[[1.0], [3.0]]], [[[5.0], [7.0]]]],
                                                  np.float32),),
            "two channels of different scale": (two.astype(np.float32),),
            "uint8 with a constant channel": (head,),
            "a constant channel of 0.1": (np.full((4, 8, 8, 2), 0.1, np.float32),)}


def _anywhere(image):
    return np.ones(image.shape, bool)


def _in_head(image):
    """Mark the head as the lesson does: where any channel is above a tenth of the maximum."""
    return np.broadcast_to(image.max(axis=-1, keepdims=True) > 0.1 * image.max(), image.shape)


def _normalise(image, *, axes=(0, 1, 2), inside=_anywhere, centre=np.mean, power=1, ddof=0,
               outside=True, constant=lambda image: 0):
    """Compute z-scores; what may be done otherwise are arguments."""
    instead, image = constant(image), image.astype(np.float64)
    seen = inside(image)
    varies = image.max(axis=axes, keepdims=True) > image.min(axis=axes, keepdims=True)
    middle = (np.mean(image, axis=axes, keepdims=True, where=seen) if centre is np.mean
              else centre(image, axis=axes, keepdims=True))
    spread = np.std(image, axis=axes, keepdims=True, where=seen, ddof=ddof) ** power
    scores = np.where(varies, (image - middle) / np.where(varies, spread, 1), instead)
    return np.where(seen | outside, scores, 0).astype(np.float32)


def _zero(image, axis, keepdims):
    return 0


def _into_a_copy(image):
    made = image.copy()
    made[:] = _normalise(image)
    return made


def _by_channels(function, image):
    """Observe what becomes of the channels that vary, and of which kind the constant ones are."""
    made = function(image)
    constant = image.max((0, 1, 2)) == image.min((0, 1, 2))
    if not isinstance(made, np.ndarray) or made.shape != image.shape or not constant.any():
        return made
    values = made[..., constant]
    kind = ("NaN" if np.isnan(values).any() else
            "numbers other than 0" if values.any() else "all zeros")
    return {"the channels that vary": made[..., ~constant], "a constant channel": kind}


@exercise("01")
def normalise(answer) -> Verdict:
    """Check z-scores per volume and channel, a constant channel all zeros."""
    whole = (0, 1, 2)
    slips: dict[str, Callable | dict] = {
        "You averaged over the channels, too: each sequence has a scale of its own.":
            {"axes": None},
        "You normalised each slice on its own: a slice of mostly air is stretched like any other. "
        "Average over the slices, too.": {"axes": (1, 2)},
        "You averaged over rows and columns of all channels of a slice.": {"axes": (1, 2, 3)},
        "You averaged over the channels of each pixel; average over slices, rows and columns.":
            {"axes": 3},
        "You took mean and deviation inside the head only; here it is the whole volume.":
            {"inside": _in_head},
        "You took mean and deviation where the image is above 0; here it is the whole volume.":
            {"inside": lambda image: image > 0},
        "You took mean and deviation inside the head only, and left the rest at 0; here every "
        "voxel counts, and is shifted and scaled.": {"inside": _in_head, "outside": False},
        "A constant channel has standard deviation 0, and 0 / 0 is NaN: divide by 1 there.":
            {"constant": lambda image: np.nan},
        "A constant channel has standard deviation 0, or by rounding nearly so: where maximum and "
        "minimum are the same, divide by 1.":
            {"constant": lambda image: 1 if image.dtype.kind == "f" else np.nan},
        "A constant channel: its mean and deviation may be rounded, so that neither a test for 0 "
        "nor a tiny number added helps. Compare its maximum and minimum.":
            {"constant": lambda image: image.dtype.kind == "f"},
        "A constant channel becomes all zeros, whatever it holds.":
            {"constant": lambda image: 1},
        "You divided by the deviation over n - 1, torch's default; here it is over n, numpy's.":
            {"ddof": 1},
        "You divided, but did not subtract the mean.": {"centre": _zero},
        "You subtracted the median; a z-score takes the mean.": {"centre": np.median},
        "You subtracted the mean, but did not divide by the deviation.": {"power": 0},
        "You divided by the variance; the standard deviation is its root.": {"power": 2},
        "You wrote into a copy of the image: whole numbers (uint8) hold neither decimals nor what "
        "is below 0. Make the result with np.zeros(image.shape, np.float32).": _into_a_copy,
        "That is min-max scaling, to 0 … 1: one bright voxel decides on all others.":
            lambda image: (image - image.min(whole)) / np.maximum(
                np.ptp(image.astype(np.float32), axis=whole), 1e-9),
        "You divided by the maximum: one bright voxel decides on all others.":
            lambda image: image / image.max(whole),
        "You divided by 255; the mean becomes 0 and the deviation 1.": lambda image: image / 255,
    }
    for axes in (0, 1, 2, (0, 1), (0, 2), (0, 1, 3), (0, 2, 3)):
        slips[f"You averaged over axis {axes}; slices, rows and columns are axes (0, 1, 2)."] = {
            "axes": axes}
    return check_function(
        answer, _normalise, _volumes(), slips, tolerance=1e-3, observe=_by_channels,
        remark="the same numbers mean the same tissue from slice to slice now. Cropping to the "
               "head first, as the library does, keeps the share of air out of the mean")


def _split_rows(index, test_patients, *, is_test=lambda name, test: name in test,
                item=lambda row, pair: row, form=list, swapped=False):
    """Split rows by patient; what may be done otherwise are arguments."""
    parts = ([], [])
    for row, pair in enumerate(index):
        parts[is_test(pair[0], test_patients)].append(item(row, pair))
    return tuple(map(form, parts[::-1] if swapped else parts))


def _cut_at_a_row(index, test_patients):
    training, _ = _split_rows(index, test_patients)
    return list(range(len(training))), list(range(len(training), len(index)))


def _each_with_each(index, test_patients):
    """Append a row for each test patient it is compared with."""
    parts = ([], [])
    for row, (patient, _) in enumerate(index):
        for name in test_patients:
            parts[patient == name].append(row)
    return parts


def _patient_by_patient(index, test_patients):
    """Append all rows for one test patient, then for the next."""
    parts = ([], [])
    for name in test_patients:
        for row, (patient, _) in enumerate(index):
            parts[patient == name].append(row)
    return parts


def _grouped(index, test_patients):
    rows = [row for name in test_patients for row, (patient, _) in enumerate(index)
            if patient == name]
    return _split_rows(index, test_patients)[0], rows


@exercise("01")
def split_rows(answer) -> Verdict:
    """Check the rows of training and test patients."""
    mixed = [("b", 4), ("a", 1), ("b", 5), ("c", 1), ("a", 2)]
    nested = ("In the nested loops a row is appended once for each test patient: ask once, "
              "`patient in test_patients`")
    return check_function(
        answer, _split_rows,
        {"two patients": ([("A", 1), ("B", 1)], ["B"]),
         "three patients, their slices mixed": (mixed, ["a"]),
         "names that contain each other": ([("p1", 1), ("p11", 1), ("p1", 2), ("p11", 2)], ["p1"]),
         "of two such names the longer": ([("p1", 1), ("p11", 1)], ["p11"]),
         "several test patients": ([(name, n) for name in "abcd" for n in (1, 2, 3)], ["c", "a"])},
        slips={
            "You cut the list at a row: that splits slices, and a patient may stand on both sides.":
                _cut_at_a_row,
            "Training and test are the wrong way round.": {"swapped": True},
            "You returned the pairs; row numbers are asked for.": {"item": lambda row, pair: pair},
            "You returned slice numbers; a row number is the position in `index`.":
                {"item": lambda row, pair: pair[1]},
            "You returned names; row numbers are asked for.": {"item": lambda row, pair: pair[0]},
            "You count from 1; rows are counted from 0.": {"item": lambda row, pair: row + 1},
            "A set has no order; return a list.": {"form": set},
            "Those are booleans, one for each row; a list of row numbers is asked for: where are "
            "they True?": lambda index, test: tuple([(patient in test) is side
                                                     for patient, _ in index]
                                                    for side in (False, True)),
            "You looked at the first test patient only.":
                {"is_test": lambda name, test: name == test[0]},
            "You looked at the last test patient only.":
                {"is_test": lambda name, test: name == test[-1]},
            "The test patients are still in the training rows.":
                lambda index, test: (list(range(len(index))), _split_rows(index, test)[1]),
            "You looked whether one name is *part of* the other: 'p1' is also in 'p11'.":
                {"is_test": lambda name, test: any(part in name for part in test)},
            "You looked whether a patient's name is *part of* a test patient's: 'p1' is in 'p11'.":
                {"is_test": lambda name, test: any(name in whole for whole in test)},
            f"{nested}.": _each_with_each,
            f"{nested}, whatever the order of the loops.": _patient_by_patient,
            "The test rows are sorted by patient; rows are asked for in ascending order.": _grouped,
            "Those are the test rows alone; return the training rows, too, before them.":
                lambda index, test: _split_rows(index, test)[1],
            "Those are the training rows alone; return the test rows, too, after them.":
                lambda index, test: _split_rows(index, test)[0],
            "That is one list; return two, training and test.":
                lambda index, test: sum(_split_rows(index, test), []),
        },
        remark="one line decides whether a score is about new patients")


SEQUENCES = {"FLAIR": r"flair", "T1": r"before|without|native|\bpre|^\W*t1w?\W*$",
             "T1 after contrast agent": r"contrast|after|post|gd|gadolin|t1 ?\+|t1-?(c|ce|gd)\b"}


def _tell_apart(letter: str, said: str, shown: str) -> str:
    """Say by what two sequences are told apart."""
    if {said, shown} == {"T1", "T1 after contrast agent"}:
        return ("the two are alike but for what the contrast agent lights up: the great vein in "
                "the midline, at times the rim of a tumour. Lay the patient's pictures side by "
                "side")
    if said == "T1 after contrast agent":
        return ("grey matter is brighter than white there, and swollen tissue bright. The third "
                "channel is not always what its place says: compare it with the patient's others")
    return ("in T1 white matter is brighter than grey, in FLAIR grey than white; swollen tissue is "
            "bright in FLAIR and dull in T1")


@exercise("01")
def which_sequence(answer, truth: dict[str, str]) -> Verdict:
    """Check the sequence that each of several pictures shows.

    Args:
        answer: letter to "T1", "FLAIR" or "T1 after contrast agent"; a copy of FLAIR shows FLAIR.
        truth: the same, as the lesson drew them.
    """
    return check_words(answer, {letter: "FLAIR" if "FLAIR" in name else name
                                for letter, name in truth.items()}, SEQUENCES, _tell_apart,
                       remark="told by what is bright, not by the place in the file. A channel "
                              "that holds another one's copy is found no other way")


@exercise("01")
def name_the_leaks(answer) -> Verdict:
    """Check what leaks in each of four reports: letter to word."""
    clues = {"a": "what was drawn at random there, patients or something smaller?",
             "b": "over whom were mean and standard deviation taken?",
             "c": "how many scores on the test patients were seen before one was reported?",
             "d": "who chose there, and how often were the test patients scored?"}
    return check_words(
        answer, {"a": "slices", "b": "normalisation", "c": "chosen on test", "d": "none"},
        {"slices": r"slice", "normalisation": r"normali|z-?score",
         "chosen on test": r"chos|choos|choice|select|test", "none": r"none|^no\b|nothing"},
        lambda letter, said, leak: clues[letter],
        remark="in d nothing about the test patients was known before the one score was taken. It "
               "is also the lowest: honest numbers often are")


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
