"""The exercises of lesson 01, look at the data."""

from collections.abc import Callable

import numpy as np

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
        "You divided by the number of pixels; divide by the number of slices, len(targets).":
            lambda targets: _slice_dsc_of_nothing(targets, reduce=np.sum) / targets.size,
        "You divided by the number of rows; the number of slices is targets.shape[0].":
            lambda targets: _slice_dsc_of_nothing(targets, reduce=np.sum) / targets.shape[1],
        "The first slice is missing: range(…) begins at 0.":
            lambda targets: _slice_dsc_of_nothing(targets[1:], reduce=np.sum) / len(targets),
        "You took the median of the slices' scores; the mean is asked for.":
            {"reduce": np.median},
        "You added 1 above and below (smoothing), as a loss does; a slice with tumour scores 0.":
            lambda targets: float((1 / (targets.sum(axis=(1, 2)) + 1)).mean()),
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
        remark="an empty slice is a gift. Per patient the same prediction scores 0: a DSC means "
               "little until it says what it is taken over")


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
               outside=True, constant=lambda image: 0, made=None):
    """Compute z-scores; what may be done otherwise are arguments."""
    made = np.zeros(image.shape, np.float32) if made is None else made(image)
    instead, image = constant(image), image.astype(np.float64)
    seen = inside(image)
    varies = image.max(axis=axes, keepdims=True) > image.min(axis=axes, keepdims=True)
    middle = (np.mean(image, axis=axes, keepdims=True, where=seen) if centre is np.mean
              else centre(image, axis=axes, keepdims=True))
    spread = np.std(image, axis=axes, keepdims=True, where=seen, ddof=ddof) ** power
    scores = np.where(varies, (image - middle) / np.where(varies, spread, 1), instead)
    made[:] = np.where(seen | outside, scores, 0)
    return made


def _zero(image, axis, keepdims):
    return 0


def _by_channels(function, image):
    """Observe what becomes of the channels that vary, and of which kind the constant ones are."""
    made = function(image)
    constant = image.max((0, 1, 2)) == image.min((0, 1, 2))
    if made is ... or not constant.any():
        return made
    if not isinstance(made, np.ndarray) or made.shape != image.shape:
        return {"the channels that vary": made}
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
        "is below 0. Make the result with np.zeros(image.shape, np.float32).": {"made": np.copy},
        "Brackets are missing: (image - mean) / deviation; `/` is computed before `-`.":
            lambda image: image - image.mean(whole, dtype=float) / np.where(
                image.max(whole) > image.min(whole), image.std(whole, dtype=float), 1),
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


def _judge_rows(value, index, test_patients) -> str:
    """Rule for rows: each once, on one side, with all others of its patient."""
    if not (isinstance(value, list | tuple) and len(value) == 2):
        return "Two lists are asked for: training rows, test rows."
    if not all(isinstance(rows, list | tuple) for rows in value):
        return "Each of the two is a list of row numbers."
    rows = [*value[0], *value[1]]
    if not all(isinstance(row, int | np.integer) for row in rows):
        return "Row numbers are asked for: whole numbers, positions in `index`."
    if beyond := [row for row in rows if not 0 <= row < len(index)]:
        return f"There is no row {beyond[0]}: rows are counted from 0."
    if missing := sorted(set(range(len(index))) - set(rows)):
        return f"Row {missing[0]} is in neither list."
    training, test = ({index[row][0] for row in part} for part in value)
    if both := sorted(training & test):
        return f"Patient {both[0]!r} stands on both sides."
    return "Each row stands in one list, once, and rows ascend."


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
        answer, _split_rows, rule=_judge_rows, probes={
            "two patients": ([("A", 1), ("B", 1)], ["B"]),
            "three patients": ([("A", 1), ("B", 1), ("C", 1)], ["C", "A"]),
            "three patients, their slices mixed": (mixed, ["a"]),
            "names that contain each other":
                ([("p1", 1), ("p11", 1), ("p1", 2), ("p11", 2)], ["p1"]),
            "of two such names the longer": ([("p1", 1), ("p11", 1)], ["p11"]),
            "several test patients":
                ([(name, n) for name in "abcd" for n in (1, 2, 3)], ["c", "a"])},
        slips={
            "You cut the list at a row: that splits slices, and a patient may stand on both sides.":
                _cut_at_a_row,
            "Training and test are the wrong way round.": {"swapped": True},
            "You returned the pairs; row numbers are asked for.": {"item": lambda row, pair: pair},
            "You returned slice numbers; a row number is the position in `index`.":
                {"item": lambda row, pair: pair[1]},
            "You returned names; row numbers are asked for.": {"item": lambda row, pair: pair[0]},
            "You count from 1; rows are counted from 0.": {"item": lambda row, pair: row + 1},
            "np.where gives a tuple around the rows: take its [0], and .tolist().":
                {"form": lambda rows: (rows,)},
            "No row became a test row: compare the patient's name, the first of each pair, with "
            "the names: `patient in test_patients`.": {"is_test": lambda name, test: False},
            "Both lists hold the test rows; the training takes those that are `not in`.":
                lambda index, test: _split_rows(index, test)[1:] * 2,
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
            f"{nested}, in the branch for the training rows, too.":
                lambda index, test: ([row for row, (patient, _) in enumerate(index)
                                      if any(patient != name for name in test)],
                                     _split_rows(index, test)[1]),
            "The test rows are sorted by patient; rows are asked for in ascending order.": _grouped,
            "Those are the test rows alone; return the training rows, too, before them.":
                lambda index, test: _split_rows(index, test)[1],
            "Those are the training rows alone; return the test rows, too, after them.":
                lambda index, test: _split_rows(index, test)[0],
            "That is one list; return two, training and test.":
                lambda index, test: sum(_split_rows(index, test), []),
        },
        remark="one line decides whether a score is about new patients")
