"""The exercises of lesson 01: right answers, the usual wrong ones, and answers that cheat."""

import numpy as np
import pytest
import torch
from answers import ask, listed, names_a_slip, parts_of

from course_lib import check, metrics

CODING = ("slice_dsc_of_nothing", "normalise", "split_rows")


# --- slice_dsc_of_nothing -------------------------------------------------------------------------

def share_by_loop(targets):
    empty = 0
    for one in targets:
        if one.sum() == 0:
            empty += 1
    return empty / len(targets)


def share_by_metrics(targets):
    return np.mean([metrics.dsc(np.zeros_like(one), one, empty=1.0) for one in targets])


def share_by_torch(targets):
    return (torch.from_numpy(targets).flatten(1).sum(dim=1) == 0).float().mean()


# --- normalise ------------------------------------------------------------------------------------

def by_channel(image):
    made = np.zeros(image.shape, np.float32)
    for c in range(image.shape[-1]):
        values = image[..., c].astype(np.float64)
        if np.ptp(values) > 0:
            made[..., c] = (values - values.mean()) / values.std()
    return made


def by_torch(image):
    values = torch.from_numpy(image.astype(np.float64))
    flat = values.flatten(0, 2)
    deviation = flat.std(dim=0, unbiased=False)
    made = (values - flat.mean(dim=0)) / torch.where(deviation > 1e-9, deviation, 1)
    return made.float().numpy()


def by_reshaping(image):
    flat = image.reshape(-1, image.shape[-1]).astype(np.float64)
    deviation = flat.std(axis=0)
    deviation[np.ptp(flat, axis=0) == 0] = 1
    return ((flat - flat.mean(axis=0)) / deviation).reshape(image.shape).astype(np.float32)


def by_list(image):
    channels = []
    for c in range(image.shape[3]):
        values = image[..., c].astype(float)
        low, high = values.min(), values.max()
        channels.append(np.zeros_like(values) if low == high
                        else (values - np.average(values)) / np.sqrt(np.var(values)))
    return np.stack(channels, axis=-1).astype("float32")


def with_a_cushion(image):
    wide = image.astype(np.float64)
    return ((wide - wide.mean((0, 1, 2))) / (wide.std((0, 1, 2)) + 1e-12)).astype(np.float32)


def z(image, axes):
    image = image.astype(np.float32)
    return (image - image.mean(axes, keepdims=True)) / image.std(axes, keepdims=True)


def safe_z(image, axes):
    deviation = image.std(axes, keepdims=True)
    scores = (image.astype(float) - image.mean(axes, keepdims=True)) / np.where(
        image.max(axes, keepdims=True) > image.min(axes, keepdims=True), deviation, 1)
    constant = image.max(axes, keepdims=True) == image.min(axes, keepdims=True)
    return np.where(constant, 0, scores).astype(np.float32)


def in_the_head(image):
    made = np.zeros(image.shape, np.float32)
    head = image.max(axis=-1) > 0.1 * image.max()
    for c in range(image.shape[-1]):
        values = image[..., c].astype(np.float64)
        if values.max() > values.min():
            made[..., c] = (values - values[head].mean()) / values[head].std()
    return made


def where_positive(image):
    made = np.zeros(image.shape, np.float32)
    for c in range(image.shape[-1]):
        values = image[..., c].astype(np.float64)
        if np.ptp(values):
            chosen = values[values > 0]
            made[..., c] = (values - chosen.mean()) / chosen.std()
    return made


def into_a_copy(image):
    made = image.copy()
    for c in range(image.shape[-1]):
        values = image[..., c].astype(np.float64)
        made[..., c] = (values - values.mean()) / values.std() if np.ptp(values) else 0
    return made


def cushioned(image, cushion):
    image = image.astype(np.float32)
    return (image - image.mean((0, 1, 2))) / cushion(image.std((0, 1, 2)))


def in_place(image):
    image -= image.mean(axis=(0, 1, 2), keepdims=True).astype(image.dtype)
    return image


def in_place_of_a_copy(image):
    made = image.copy()
    made -= made.mean(axis=(0, 1, 2))
    return made.astype(np.float32)


def for_the_first_probes(image):
    return by_channel(image) if image.dtype == np.float32 else image.astype(np.float32)


# --- split_rows -----------------------------------------------------------------------------------

def by_numpy(index, test_patients):
    inside = np.isin([patient for patient, _ in index], list(test_patients))
    return np.flatnonzero(~inside).tolist(), np.flatnonzero(inside).tolist()


def by_loop(index, test_patients):
    training, test = [], []
    for row in range(len(index)):
        if index[row][0] in test_patients:
            test.append(row)
        else:
            training.append(row)
    return training, test


def by_set_difference(index, test_patients):
    test = [row for row, pair in enumerate(index) if pair[0] in set(test_patients)]
    return [sorted(set(range(len(index))) - set(test)), test]


def by_filter(index, test_patients):
    rows = range(len(index))
    return (list(filter(lambda row: index[row][0] not in test_patients, rows)),
            list(filter(lambda row: index[row][0] in test_patients, rows)))


def by_group(index, test_patients):
    rows = {}
    for row, (patient, _) in enumerate(index):
        rows.setdefault(patient, []).append(row)
    return (sorted(sum((r for p, r in rows.items() if p not in test_patients), [])),
            sorted(sum((r for p, r in rows.items() if p in test_patients), [])))


def rows_of(index, test_patients, is_test):
    return ([row for row, (patient, _) in enumerate(index) if not is_test(patient)],
            [row for row, (patient, _) in enumerate(index) if is_test(patient)])


def nested_loops(index, test_patients):
    training, test = [], []
    for row, (patient, _) in enumerate(index):
        for name in test_patients:
            if patient == name:
                test.append(row)
            else:
                training.append(row)
    return training, test


def nested_loops_without_doubles(index, test_patients):
    training, test = [], []
    for row, (patient, _) in enumerate(index):
        for name in test_patients:
            if patient == name:
                test.append(row)
            elif row not in training:
                training.append(row)
    return training, test


def nested_loops_turned(index, test_patients):
    training, test = [], []
    for name in test_patients:
        for row, (patient, _) in enumerate(index):
            if patient == name:
                test.append(row)
            else:
                training.append(row)
    return training, test


def cut_at_a_row(index, test_patients):
    count = len(by_loop(index, test_patients)[0])
    return list(range(count)), list(range(count, len(index)))


def grouped(index, test_patients):
    test = []
    for name in test_patients:
        test += [row for row, (patient, _) in enumerate(index) if patient == name]
    return by_loop(index, test_patients)[0], test


RIGHT = {
    "slice_dsc_of_nothing": [
        share_by_loop, share_by_metrics, share_by_torch,
        lambda t: np.mean(t.reshape(len(t), -1).max(axis=1) == 0),
        lambda t: 1 - t.any(axis=(1, 2)).mean(), lambda t: float(np.mean([not s.any() for s in t])),
        lambda t: np.count_nonzero(t.sum((1, 2)) == 0) / t.shape[0]],
    "normalise": [by_channel, by_torch, by_reshaping, by_list, with_a_cushion,
                  lambda i: safe_z(i, (0, 1, 2))],
    "split_rows": [by_numpy, by_loop, by_set_difference, by_filter, by_group]}

WRONG = {
    "slice_dsc_of_nothing": [
        (lambda t: t.any(axis=(1, 2)).mean(), "slices *with* tumour"),
        (lambda t: 1 - t.mean(), "the accuracy"),
        (lambda t: np.mean([1 - s.mean() for s in t]), "the accuracy"),
        (lambda t: 0.0, "an empty slice that is left empty counts as 1"),
        (lambda t: 1.0, "That is 1 throughout"),
        (lambda t: (t.sum(axis=(1, 2)) == 0).sum(), "divide by how many there are"),
        (lambda t: t.any(axis=(1, 2)) == 0, "one score for each slice"),
        (lambda t: [float(s.sum() == 0) for s in t], "one score for each slice"),
        (lambda t: float(np.mean([metrics.dsc(np.zeros_like(s), s) for s in t])), "`empty=1.0`"),
        (lambda t: np.nanmean([metrics.dsc(np.zeros_like(s), s) for s in t]), "np.nanmean leaves"),
        (lambda t: metrics.dsc(np.zeros_like(t), t), "the DSC of a whole patient has none"),
        (lambda t: metrics.dsc(np.zeros_like(t), t, empty=1.0), "not the patient as a whole"),
        (lambda t: (1 / (1 + t.sum(axis=(1, 2)))).mean(), "(smoothing)"),
        (lambda t: sum(not s.any() for s in t[1:]) / len(t), "The first slice is missing"),
        (lambda t: np.median(t.sum(axis=(1, 2)) == 0), "You took the median"),
        (lambda t: np.sum(t.sum(axis=(1, 2)) == 0) / t.size, "divided by the number of pixels"),
        (lambda t: np.sum(t.sum(axis=(1, 2)) == 0) / t.shape[1], "divided by the number of rows"),
        (lambda t: (~t).any(axis=(1, 2)).mean(), "flips bits"),
        (lambda t: 100 * (t.sum(axis=(1, 2)) == 0).mean(), "per cent; a share lies in 0 … 1"),
        (lambda t: (t.sum(axis=(0, 1)) == 0).mean(), "You looked along axis (0, 1)"),
        (lambda t: 1 - t.any(axis=0).mean(), "You looked along axis 0"),
        (lambda t: (t.sum(axis=2) == 0).mean(), "You looked along axis 2"),
        (lambda t: sum(s.sum() == 0 for s in t) // len(t), "not `//`"),
        (lambda t: round(share_by_loop(t), 2), "You rounded"),
        (lambda t: (t == 0).any(axis=(1, 2)).mean(), "*all* pixels"),
        (lambda t: 1 - t.all(axis=(1, 2)).mean(), "*all* pixels"),
        (lambda t: 100 * t.any(axis=(1, 2)).mean(), "Two things at once. That is the share of"),
        (lambda t: round(float((t.sum(axis=0) == 0).mean()), 2), "Two things at once."),
        (lambda t: t.sum() == 0, "expected a number, you returned False"),
        (lambda t: -share_by_loop(t), "A share lies in 0 … 1."),
        (lambda t: 0.75, "expected 0.6666667, you returned 0.75"),
        (lambda t: float("nan"), "expected 0.6666667, you returned NaN"),
        (lambda t: "0.67", "expected a number, you returned '0.67'"),
        (lambda t: None, "is there a `return`?"),
        (lambda t: np.mean(t.size - t.any()), "A share lies in 0 … 1."),
        (lambda t: t.float().mean(), "what comes in is a numpy array, which has no .float"),
        (lambda t: np.mean([1.0 for s in t if not s]), "`if`, `and`, `or`, `not` take one truth")],
    "normalise": [
        (lambda i: z(i, None), "averaged over the channels, too"),
        (lambda i: z(i, (1, 2)), "each slice on its own"),
        (lambda i: z(i, (1, 2, 3)), "all channels of a slice"),
        (lambda i: safe_z(i, 3), "over the channels of each pixel"),
        (lambda i: safe_z(i, 0), "You averaged over axis 0;"),
        (lambda i: safe_z(i, (0, 1)), "You averaged over axis (0, 1)"),
        (lambda i: z(i, (0, 1, 2)), "divide by 1"),
        (in_the_head, "inside the head only"),
        (where_positive, "where the image is above 0"),
        (lambda i: in_the_head(i) * (i.max(-1, keepdims=True) > 0.1 * i.max()),
         "inside the head only, and left the rest at 0"),
        (lambda i: i - i.mean((0, 1, 2), dtype=float) / np.where(
            np.ptp(i, (0, 1, 2)) > 0, i.std((0, 1, 2), dtype=float), 1), "Brackets are missing"),
        (into_a_copy, "which holds no decimals. You wrote into a copy of the image"),
        (lambda i: into_a_copy(i).astype(np.float32), "You wrote into a copy of the image"),
        (in_place_of_a_copy, "in place (-=, /=) would write decimals into whole numbers (uint8)"),
        (lambda i: np.where(np.ptp(i, (0, 1, 2)) > 0, i / i.std((0, 1, 2), dtype=float), 0
                            ).astype(np.float32), "subtract the mean"),
        (lambda i: (i - i.mean((0, 1, 2), dtype=float)).astype(np.float32),
         "did not divide by the deviation"),
        (lambda i: by_channel(i) / np.maximum(i.std((0, 1, 2)), 1e-9).astype(np.float32),
         "the standard deviation is its root"),
        (lambda i: ((i - i.min((0, 1, 2))) / np.maximum(np.ptp(i, axis=(0, 1, 2)), 1e-9)
                    ).astype(np.float32), "min-max scaling"),
        (lambda i: (i / i.max((0, 1, 2))).astype(np.float32), "divided by the maximum"),
        (lambda i: (i / 255).astype(np.float32), "divided by 255"),
        (lambda i: cushioned(i, lambda d: np.where(d > 0, d, 1)), "may be rounded"),
        (lambda i: cushioned(i, lambda d: d + 1e-8), "nor a tiny number added"),
        (lambda i: cushioned(i, lambda d: d + 1e-6), "nor a tiny number added"),
        (lambda i: cushioned(i, lambda d: np.maximum(d, 1e-6)), "may be rounded"),
        (lambda i: np.where(i.max((0, 1, 2)) > i.min((0, 1, 2)), by_channel(i), i
                            ).astype(np.float32), "becomes all zeros"),
        (lambda i: np.where(i.max((0, 1, 2)) > i.min((0, 1, 2)), by_channel(i), 1
                            ).astype(np.float32), "becomes all zeros"),
        (lambda i: np.where(i.max((0, 1, 2)) > i.min((0, 1, 2)), by_channel(i), -3
                            ).astype(np.float32), "expected 'all zeros', yours has 'num"),
        (lambda i: (lambda n: (by_channel(i) * ((n - 1) / n) ** 0.5).astype(np.float32))(
            i[..., 0].size), "over n - 1"),
        (lambda i: (lambda n: (safe_z(i, (1, 2)) * ((n - 1) / n) ** 0.5).astype(np.float32))(
            i[0, ..., 0].size), "Two things at once. You normalised each slice"),
        (lambda i: by_channel(i) * np.float32((i[0].size - 1) / i[0].size), "expected [[[[-1.34"),
        (lambda i: np.ones(i.shape, np.float32), "you returned [[[[1], [1]]], [[[1], [1]]]]"),
        (for_the_first_probes, "uint8 with a constant channel"),
        (lambda i: by_channel(i).astype(np.float64), "expected float32, you returned float64: "
                                                     "`.astype(np.float32)` makes it so"),
        (lambda i: by_channel(i)[..., 0], "expected shape (2, 1, 2, 1), you returned (2, 1, 2)"),
        (lambda i: by_channel(i).tolist(), "expected a ndarray, you returned [[[[-1.34"),
        (lambda i: torch.from_numpy(by_channel(i)), "expected a ndarray, you returned"),
        (lambda i: by_channel(i) if i.shape[-1] < 3 else by_channel(i)[0],
         "the channels that vary: expected shape (4, 6, 6, 2), yours has (6, 6, 3)"),
        (in_place, "changed its input in place"),
        (lambda i: i, "you returned [[[[1], [3]]], [[[5], [7]]]]"),
        (lambda i: (i - i.mean((1, 2))) / i.std((1, 2)), "cannot be taken value by value"),
        (lambda i: i.mean(axis=(1, 2, 4)), "there is no axis 4: the array has 4, counted from 0")],
    "split_rows": [
        (lambda i, t: by_numpy(i, t)[::-1], "wrong way round"),
        (lambda i, t: (list(range(len(i))), by_numpy(i, t)[1]), "still in the training rows"),
        (lambda i, t: tuple([i[r] for r in rows] for rows in by_numpy(i, t)),
         "row numbers are asked"),
        (cut_at_a_row, "You cut the list at a row"),
        (lambda i, t: rows_of(i, t, lambda p: any(name in p for name in t)),
         "'p1' is also in 'p11'"),
        (lambda i, t: rows_of(i, t, lambda p: any(p.startswith(name) for name in t)),
         "'p1' is also in 'p11'"),
        (lambda i, t: rows_of(i, t, lambda p: p in " ".join(t)), "'p1' is in 'p11'"),
        (lambda i, t: by_numpy(i, t)[0], "Those are the training rows alone"),
        (lambda i, t: by_numpy(i, t)[1], "Those are the test rows alone"),
        (lambda i, t: tuple([i[r][1] for r in rows] for rows in by_numpy(i, t)), "slice numbers"),
        (lambda i, t: tuple([i[r][0] for r in rows] for rows in by_numpy(i, t)), "names; row num"),
        (lambda i, t: by_numpy(i, t[:1]), "first test patient only"),
        (lambda i, t: rows_of(i, t, lambda p: p == t[-1]), "last test patient only"),
        (nested_loops, "once for each test patient"),
        (nested_loops_turned, "once for each test patient"),
        (lambda i, t: tuple([r + 1 for r in rows] for rows in by_loop(i, t)), "You count from 1"),
        (lambda i, t: tuple(map(set, by_loop(i, t))), "a set has no order: return a list"),
        (lambda i, t: ([p not in t for p, _ in i], [p in t for p, _ in i]),
         "numbers are asked for, you returned booleans. Those are booleans, one for each row; a "
         "list of row numbers is asked for"),
        (lambda i, t: tuple(map(np.array, by_loop(i, t))),
         "a list is asked for, you returned a ndarray: `.tolist()`"),
        (grouped, "ascending order"),
        (lambda i, t: sum(by_loop(i, t), []), "That is one list"),
        (lambda i, t: tuple([r + 1 for r in rows] for rows in by_loop(i, t)[::-1]),
         "Two things at once. Training and test are the wrong way round. You count from 1"),
        (lambda i, t: dict(zip(("training", "test"), by_loop(i, t), strict=True)),
         "expected a tuple of 2 values, you returned {'training'"),
        (lambda i, t: ([0, 2, 3], [1, 4]), "expected ([0], [1]), you returned ([0, 2, 3], [1, 4])"),
        (lambda i, t: ([], []), "you returned ([], []). Row 0 is in neither list."),
        (lambda i, t: rows_of(i, t, lambda p: p == t), "No row became a test row"),
        (lambda i, t: (by_loop(i, t)[1], by_loop(i, t)[1]), "Both lists hold the test rows"),
        (lambda i, t: tuple((np.array(rows),) for rows in by_loop(i, t)), "np.where gives a tuple"),
        (nested_loops_without_doubles, "in the branch for the training rows, too"),
        (lambda i, t: tuple((r for r in rows) for rows in by_loop(i, t)), "list(…) makes one"),
        (lambda i, t: tuple(map(len, by_loop(i, t))), "Each of the two is a list of row numbers."),
        (lambda i, t: (["A"], ["B"]), "Row numbers are asked for: whole numbers, positions"),
        (lambda i, t: (by_loop(i, t)[0] + [99], by_loop(i, t)[1]), "There is no row 99"),
        (lambda i, t: (by_loop(i, t)[0] + by_loop(i, t)[1][:1], by_loop(i, t)[1]),
         "Patient 'B' stands on both sides."),
        (lambda i, t: (by_loop(i, t)[0][::-1], by_loop(i, t)[1]), "and rows ascend."),
        (lambda i, t: by_loop(i, t)[0] or 1, "Those are the training rows alone"),
        (lambda i, t: (*by_loop(i, t), []), "Two lists are asked for"),
        (lambda i: i, "lambda was called with 2 values and takes 1"),
        (lambda i, t: rows_of(i, t, lambda p: p in testpatients), "testpatients is not"),   # noqa: F821
        (lambda i, t: print(i), "is there a `return`?")]}

# Wrong in a way that no slip describes: what was expected is said, and nothing is guessed.
UNKNOWN = {
    "slice_dsc_of_nothing": [lambda t: 0.5, lambda t: share_by_loop(t) ** 2,
                             lambda t: share_by_loop(t[1:]), lambda t: t.std(),
                             lambda t: 0.75 * share_by_loop(t) + 0.1,
                             lambda t: share_by_loop(t) if len(t) != 5 else 0.3],
    "normalise": [lambda i: by_channel(i) + np.float32(0.5), lambda i: by_channel(i) * 2,
                  lambda i: by_channel(i)[::-1].copy(), lambda i: np.tanh(by_channel(i)),
                  lambda i: np.zeros(i.shape, np.float32),
                  lambda i: by_channel(i) if i.dtype == np.float32 else
                  np.zeros(i.shape, np.float32)],
    "split_rows": [lambda i, t: ([0], [0]), lambda i, t: (by_loop(i, t)[0][1:], by_loop(i, t)[1]),
                   lambda i, t: tuple(rows[::-1] for rows in by_loop(i, t)),
                   lambda i, t: tuple([r + 2 for r in rows] for rows in by_loop(i, t)),
                   lambda i, t: rows_of(i, t, lambda p: p > min(t))]}


@pytest.mark.parametrize(("name", "answer"), listed(RIGHT))
def test_right_answers_pass_however_they_are_written(name, answer):
    verdict = ask(name, answer)
    assert verdict.solved and verdict.text, verdict


@pytest.mark.parametrize(("name", "answer", "says"), listed(WRONG))
def test_wrong_answers_are_refused_with_their_cause(name, answer, says):
    verdict = ask(name, answer)
    assert verdict.solved is False and says in verdict.text, verdict


@pytest.mark.parametrize(("name", "answer"), listed(UNKNOWN))
def test_what_no_slip_explains_gets_no_diagnosis(name, answer):
    verdict = ask(name, answer)
    assert verdict.solved is False and "expected" in verdict.text, verdict
    assert "you returned" in verdict.text or "yours has" in verdict.text
    assert "Two things" not in verdict.text
    assert not names_a_slip(name, verdict.text)


@pytest.mark.parametrize("name", CODING)
def test_each_slip_is_named_for_what_it_does(name):
    for sentence, slip in parts_of(name)["slips"].items():
        verdict = ask(name, slip)
        assert verdict.solved is False and sentence in verdict.text, verdict


def test_there_are_answers_enough():
    assert all(len(RIGHT[name]) >= 5 and len(WRONG[name]) >= 12 for name in CODING)


def test_the_call_and_what_it_should_give_are_printed():
    def split_rows(index, test_patients):
        return by_loop(index, test_patients)[::-1]

    def normalise(image):
        return image.astype(np.float32)

    assert check.split_rows(split_rows).text == (
        "split_rows([('A', 1), ('B', 1)], ['B']): expected ([0], [1]), you returned ([1], [0]). "
        "Training and test are the wrong way round.")
    assert check.normalise(normalise).text == (
        "normalise([[[[1], [3]]], [[[5], [7]]]]): expected [[[[-1.342], [-0.4472]]], [[[0.4472], "
        "[1.342]]]], you returned [[[[1], [3]]], [[[5], [7]]]].")


# --- which_sequence -------------------------------------------------------------------------------

TRUTH = {"A": "T1", "B": "FLAIR", "C": "T1 after contrast agent", "D": "FLAIR", "E": "T1",
         "F": "copy of FLAIR"}


@pytest.mark.parametrize("change", [{}, {"F": "FLAIR"}, {"D": "copy of FLAIR"}, {"A": " t1 "},
                                    {"A": "T1 before contrast agent"}, {"C": "T1c"}, {"C": "T1+Gd"},
                                    {"C": "t1 post contrast"}, {"A": "T1 (native)"}])
def test_sequences_are_known_by_several_names(change):
    assert check.which_sequence(TRUTH | change, TRUTH).solved


def test_letters_may_be_small():
    assert check.which_sequence({f"{k.lower()})": v for k, v in TRUTH.items()}, TRUTH).solved


@pytest.mark.parametrize(("change", "says"), [
    ({"A": "FLAIR"}, "5 of 6 are right. A is not “FLAIR”: in T1 white matter is brighter"),
    ({"B": "T1"}, "B is not “T1”: in T1 white matter is brighter"),
    ({"A": "T1c", "C": "T1"}, "4 of 6 are right. A is not “T1 after contrast agent”: the two are"),
    ({"C": "T1"}, "what the contrast agent lights up"),
    ({"C": "FLAIR"}, "C is not “FLAIR”"),
    ({"F": "T1 after contrast agent"}, "The third channel is not always what its place says"),
    ({"A": "T2"}, "'T2' is none of the words: FLAIR, T1, T1 after contrast agent"),
    ({"A": None}, "still open: A"), ({"B": "", "A": ...}, "still open: A, B"),
    ({"A": 3}, "3 is none of the words")])
def test_sequences_taken_for_another(change, says):
    verdict = check.which_sequence(TRUTH | change, TRUTH)
    assert verdict.solved is False and says in verdict.text, verdict


@pytest.mark.parametrize(("answer", "solved"), [
    (..., None), (None, None), ("", None), (dict.fromkeys(TRUTH), None),
    (dict.fromkeys(TRUTH, ...), None), ("T1", False), (["T1"] * 6, False), ({"AB": "T1"}, False),
    ({}, False), ({1: "T1"}, False)])
def test_what_is_no_dict_of_words(answer, solved):
    verdict = check.which_sequence(answer, TRUTH)
    assert verdict.solved is solved
    assert solved is None or "write one word for each letter" in verdict.text or not answer


# --- name_the_leaks -------------------------------------------------------------------------------

LEAKS = {"a": "slices", "b": "normalisation", "c": "chosen on test", "d": "none"}


@pytest.mark.parametrize("change", [{}, {"b": "Normalization"}, {"c": "best setting chosen"},
                                    {"d": "no leak"}, {"a": "split by slice"}])
def test_the_leaks(change):
    assert check.name_the_leaks(LEAKS | change).solved


@pytest.mark.parametrize(("change", "says"), [
    ({"a": "none"}, "3 of 4 are right. a is not “none”: what was drawn at random"),
    ({"b": "none"}, "over whom were mean"), ({"c": "none", "d": "chosen on test"}, "2 of 4 are"),
    ({"d": "normalisation"}, "who chose there"), ({"a": "leak"}, "is none of the words: slices"),
    ({"d": None}, "still open: d"), ({"b": "slices", "a": "normalisation"}, "2 of 4")])
def test_the_leaks_wrong(change, says):
    verdict = check.name_the_leaks(LEAKS | change)
    assert verdict.solved is False and says in verdict.text, verdict
