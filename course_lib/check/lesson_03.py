"""The exercises of lesson 03, the brain MRI task."""

import numpy as np

from course_lib.check.choosing import check_choice
from course_lib.check.comparing import single
from course_lib.check.core import Verdict, check_function, share
from course_lib.check.record import exercise
from course_lib.metrics import dsc, iou

NAN = float("nan")


def _pairs() -> dict[str, tuple]:
    """Make predictions and targets (S, H, W): by hand, half right, one empty, both empty."""
    random = np.random.default_rng(3)
    target = (random.random((6, 24, 20)) > 0.7).astype(np.uint8)
    target[[0, 4]] = 0
    prediction = np.where(random.random(target.shape) > 0.2, target, 1 - target).astype(np.uint8)
    prediction[4] = 0
    nothing = np.zeros_like(target)
    return {"six pixels": (np.array([[[1, 1, 1], [1, 0, 0]]], np.uint8),
                           np.array([[[1, 0, 0], [0, 1, 1]]], np.uint8)),
            "six slices, two without tumour": (prediction, target),
            "an empty prediction": (nothing, target), "an empty target": (prediction, nothing),
            "both empty": (nothing, nothing), "a perfect match": (target, target)}


def _both(prediction, target):
    return (prediction & target).sum()


def _areas(prediction, target):
    return int(prediction.sum()) + int(target.sum())


def _union(prediction, target):
    return (prediction | target).sum()


def _score(prediction, target, *, factor=2, overlap=_both, size=_areas, smooth=0.0, none=NAN,
           either=None, no_target=None):
    """Divide the overlap by a size; `none`, `either`, `no_target` where these masks are empty."""
    prediction, target = prediction.astype(bool), target.astype(bool)
    if either is not None and not (prediction.any() and target.any()):
        return either
    if no_target is not None and not target.any():
        return no_target
    bottom = size(prediction, target) + smooth
    return (factor * overlap(prediction, target) + smooth) / bottom if bottom else none


def _dsc_of_patient(prediction, target, *, over=None, finish=float, **formula):
    """Score a patient, or, where `over` says how to average them, each slice."""
    if over is None:
        return finish(_score(prediction, target, **formula))
    return finish(over([_score(*pair, **formula) for pair in zip(prediction, target, strict=True)]))


def _small_counts(prediction, target):
    """Count the overlap in uint8, which begins again at 0 after 255."""
    return int(_both(prediction, target)) % 256


def _is_score(value, *_) -> str:
    """Rule for scores: a share, or NaN."""
    if value is None or isinstance(value, str):
        return 'A number is asked for; NaN is float("nan").'
    return share(value)


@exercise("03")
def dsc_of_patient(answer) -> Verdict:
    """Check the DSC of a whole patient."""
    return check_function(
        answer, _dsc_of_patient, _pairs(), rule=_is_score,
        slips={
            "That is IoU: it divides by the union, where the DSC divides twice the overlap by the "
            "sum of both areas.": {"factor": 1, "size": _union},
            "You divided twice the overlap by the union; it belongs over the sum of both areas.":
                {"size": _union},
            "The factor 2 is missing: a perfect match must give 1.": {"factor": 1},
            "That is the share of pixels that agree (accuracy): nearly all are background.":
                lambda p, t: float((p == t).mean()),
            "You counted where both are equal, background included; overlap is where both are 1.":
                {"overlap": lambda p, t: (p == t).sum()},
            "You counted where either is 1; overlap is where both are 1.": {"overlap": _union},
            "You multiplied the two areas; they are added.":
                {"size": lambda p, t: p.sum() * t.sum()},
            "Brackets are missing around the sum of both areas: `/` is computed before `+`.":
                lambda p, t: 2 * (p & t).sum() / p.sum() + t.sum(),
            "You divided by all pixels; only those inside the two masks count.":
                {"size": lambda p, t: p.size + t.size},
            "That is precision: the overlap divided by the prediction alone.":
                {"factor": 1, "size": lambda p, t: p.sum()},
            "That is sensitivity: the overlap divided by the target alone.":
                {"factor": 1, "size": lambda p, t: t.sum()},
            "That is a mean over slices, empty ones counting as 1: sum over the whole patient.":
                {"over": np.mean, "none": 1.0},
            "That is a mean over slices, empty ones counting as 0: sum over the whole patient.":
                {"over": np.mean, "none": 0.0},
            "That is a mean over slices, NaN where one is empty: sum over the whole patient.":
                {"over": np.mean},
            "That is a mean over slices, empty ones left out: sum over the whole patient.":
                {"over": np.nanmean},
            "That is a mean over the slices with tumour: sum over the whole patient.":
                {"over": np.nanmean, "no_target": NAN},
            "That is one score for each slice; sum over the whole patient.":
                {"over": np.asarray, "finish": np.asarray},
            "Only the first slice is counted; sum over all of them.":
                {"over": lambda scores: scores[0]},
            "Where both are empty there is nothing to measure: NaN, not 1.": {"none": 1.0},
            "Where both are empty there is nothing to measure: NaN, not 0.": {"none": 0.0},
            "NaN is for two empty masks; where only one is empty nothing overlaps: 0.":
                {"either": NAN},
            "NaN is for two empty masks; where only the target is empty, all that was found is "
            "wrong: 0.": {"no_target": NAN},
            "Where only the target is empty, all that was found is wrong: 0, not 1; NaN is for two "
            "empty masks.": {"no_target": 1.0},
            "You added 1 above and below (smoothing), as a loss does; a score is counted exactly.":
                {"smooth": 1.0},
            "That is per cent; a share lies in 0 … 1.": {"finish": lambda value: 100 * value},
            "That is 1 - DSC, a loss: a perfect match must give 1.":
                {"finish": lambda value: 1 - value},
            "You rounded; return the number as it is.": {"finish": lambda value: round(value, 2)},
            "You rounded to three decimals; return the number as it is.":
                {"finish": lambda value: round(value, 3)},
            "`//` cuts the decimals off: divide by `/`.": {"finish": lambda value: value // 1},
            "uint8 counts up to 255, then begins again at 0: sum into an int, or make the masks "
            "bool.": {"overlap": _small_counts},
            "uint8 counts up to 255, and twice the overlap is more: sum into an int, or make the "
            "masks bool.": {"overlap": lambda p, t: 2 * int(_both(p, t)) % 256 / 2},
        },
        remark="the same formula gives 0.65 or 0 for the same prediction, depending on whether it "
               "is taken per slice or per patient")


def _validation(seed: int) -> tuple:
    """Make three patients: probabilities and targets (S, H, W), and candidates."""
    random = np.random.default_rng(seed)
    probabilities, targets = [], []
    for size in (random.integers(1, 4), random.integers(4, 9), random.integers(9, 14)):
        slices = int(random.integers(2, 5))
        target = np.zeros((slices, 16, 16), np.uint8)
        target[0, 1:1 + size, 1:1 + size] = 1
        if random.random() > 0.5:
            target[1, 2:2 + size // 2, 2:2 + size // 2] = 1
        sure, noise = random.uniform(0.35, 0.9), random.uniform(0.1, 0.35)
        chance = np.where(target, sure, random.uniform(0.05, 0.3))
        probabilities.append(np.clip(random.normal(chance, noise), 0.001, 0.999))
        targets.append(target)
    return probabilities, targets, np.linspace(0.1, 0.9, 17).round(2)


def _validations() -> dict[str, tuple]:
    """Make sets of validation patients: by hand, with ties, and random ones."""
    by_hand = ([np.array([[[0.9, 0.4]]]), np.array([[[0.7, 0.2]]])],
               [np.array([[[1, 0]]], np.uint8), np.array([[[1, 0]]], np.uint8)])
    return {"two patients of two pixels": (*by_hand, [0.3, 0.5, 0.6, 0.8]),
            "the first four candidates alike": (*by_hand, [0.45, 0.5, 0.55, 0.6, 0.8]),
            **{f"three patients, drawn with seed {seed}": _validation(seed)
               for seed in range(8)}}


def _pooled(probabilities, targets):
    """Lay all patients' pixels into one."""
    return tuple([np.concatenate([part.ravel() for part in parts])]
                 for parts in (probabilities, targets))


def _sliced(probabilities, targets):
    """Take each slice for a patient."""
    return tuple([one for part in parts for one in part] for parts in (probabilities, targets))


def _last_best(scores):
    return len(scores) - 1 - int(np.argmax(scores[::-1]))


def _best_threshold(probabilities, targets, candidates, *, group=lambda *pair: pair, score=dsc,
                    over=np.mean, choose=np.argmax, above=np.greater,
                    give=lambda best, candidates, scores: float(candidates[best])):
    """Choose the best threshold; what may be done otherwise are arguments."""
    parts = list(zip(*group(probabilities, targets), strict=True))
    scores = [float(over([score(above(part, value), target) for part, target in parts]))
              for value in candidates]
    return give(int(choose(scores)), candidates, scores)


def _mean_of_bests(probabilities, targets, candidates):
    return float(np.mean([_best_threshold([part], [target], candidates)
                          for part, target in zip(probabilities, targets, strict=True)]))


def _is_candidate(value, probabilities, targets, candidates) -> str:
    """Rule: what is returned is one of the candidates."""
    value = single(value)
    unknown = isinstance(value, int | float) and not np.isclose(value, candidates).any()
    return "A threshold is one of the candidates." if unknown else ""


@exercise("03")
def best_threshold(answer) -> Verdict:
    """Check function(probabilities, targets, candidates) -> threshold of the best mean DSC."""
    return check_function(
        answer, _best_threshold, _validations(), rule=_is_candidate,
        slips={
            "You pooled the pixels of all patients, so that large tumours decide: score each "
            "patient, then average.": {"group": _pooled},
            "You averaged over slices, empty ones left out: score each patient as a whole.":
                {"group": _sliced, "over": np.nanmean},
            "You averaged over slices, and empty ones are NaN: score each patient as a whole.":
                {"group": _sliced},
            "You averaged over slices, empty ones counting as 1: score each patient as a whole.":
                {"group": _sliced, "score": lambda p, t: dsc(p, t, empty=1.0)},
            "You averaged over slices, empty ones counting as 0: score each patient as a whole.":
                {"group": _sliced, "score": lambda p, t: dsc(p, t, empty=0.0)},
            "Of equally good thresholds the first is asked for; yours is the last. Compare with "
            "`>`, not `>=`.": {"choose": _last_best},
            "You returned the DSC; the threshold that reaches it is asked for.":
                {"give": lambda best, candidates, scores: scores[best]},
            "You returned the position; the threshold at that position is asked for.":
                {"give": lambda best, candidates, scores: best},
            "You returned threshold and DSC; the threshold alone is asked for.":
                {"give": lambda best, candidates, scores: (float(candidates[best]), scores[best])},
            "You returned the scores of all candidates; the best threshold is asked for.":
                {"give": lambda best, candidates, scores: scores},
            "That is the worst threshold: the highest mean DSC is the best.":
                {"choose": np.argmin},
            "You took the median over patients; the mean is asked for.": {"over": np.median},
            "You took the best patient's DSC; the mean over patients is asked for.":
                {"over": np.max},
            "You took the worst patient's DSC; the mean over patients is asked for.":
                {"over": np.min},
            "You looked at the first patient only.": {"over": lambda scores: scores[0]},
            "You looked at the last patient only.": {"over": lambda scores: scores[-1]},
            "You averaged IoU; the mean DSC chooses here.": {"score": iou},
            "You counted the pixels that are right (accuracy); the mean DSC chooses here.":
                {"score": lambda p, t: (p == t).mean()},
            "You called tumour what lies *below* the threshold.": {"above": np.less},
            "You averaged the best thresholds of the patients; one threshold has to serve all.":
                _mean_of_bests,
            "That is 0.5 whatever the patients: try the candidates.": lambda *_: 0.5,
            "That is the first candidate whatever the patients.":
                {"choose": lambda scores: 0},
            "That is the last candidate whatever the patients.":
                {"choose": lambda scores: len(scores) - 1},
        },
        remark="chosen on validation patients, it may be used on the test patients, once. Chosen "
               "on them it would flatter, the more, the fewer they are")


@exercise("03")
def whose_score(answer) -> Verdict:
    """Check why one reports 0.91 and the other 0.82."""
    return check_choice(answer, right="b", wrong={
        "a": "both are U-Nets with 32 features at the top",
        "c": "both count pixels of a whole patient; per slice it would be higher still, for empty "
             "slices are easy",
        "d": "it would explain such a difference, but the tutorial scores each patient's volume as "
             "a whole; no slice counts for itself"},
        remark="reporting the best epoch on the patients that chose it flatters, and with ten "
               "patients the choice of patients decides more than the network")
