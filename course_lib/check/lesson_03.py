"""The exercises of lesson 03, the brain MRI task."""

import numpy as np

from course_lib.check.core import Verdict, check_choice, check_function
from course_lib.check.record import exercise
from course_lib.metrics import dsc


def _pairs() -> dict[str, tuple]:
    """Make predictions and targets (S, H, W), half right, one empty, both empty."""
    random = np.random.default_rng(3)
    target = (random.random((5, 7, 6)) > 0.7).astype(np.uint8)
    target[[0, 4]] = 0
    prediction = np.where(random.random(target.shape) > 0.2, target, 1 - target).astype(np.uint8)
    prediction[4] = 0
    nothing = np.zeros_like(target)
    return {"five slices, two without tumour": (prediction, target),
            "an empty prediction": (nothing, target), "an empty target": (prediction, nothing),
            "both empty": (nothing, nothing), "a perfect match": (target, target)}


@exercise("03")
def dsc_of_patient(answer) -> Verdict:
    """Check the DSC of a whole patient."""
    def safe(top, bottom):
        return float(top) / float(bottom) if bottom else float("nan")

    def sizes(p, t):
        p, t = p.astype(bool), t.astype(bool)
        return (p & t).sum(), p.sum() + t.sum(), (p | t).sum()

    return check_function(
        answer, dsc, _pairs(),
        slips={
            "That is IoU: it divides by the union, where the DSC divides twice the overlap by the "
            "sum of both areas.": lambda p, t: safe(sizes(p, t)[0], sizes(p, t)[2]),
            "The factor 2 is missing: a perfect match must give 1.":
                lambda p, t: safe(sizes(p, t)[0], sizes(p, t)[1]),
            "That is the share of pixels that agree (accuracy): nearly all are background.":
                lambda p, t: float((p == t).mean()),
            "That is precision: the overlap divided by the prediction alone.":
                lambda p, t: safe(sizes(p, t)[0], p.sum()),
            "That is sensitivity: the overlap divided by the target alone.":
                lambda p, t: safe(sizes(p, t)[0], t.sum()),
            "That is a mean over slices, empty ones counting as 1: sum over the whole patient.":
                lambda p, t: float(np.mean([dsc(a, b, empty=1.0)
                                            for a, b in zip(p, t, strict=True)])),
            "Where both are empty there is nothing to measure: NaN, not 1.":
                lambda p, t: dsc(p, t, empty=1.0),
            "Where both are empty there is nothing to measure: NaN, not 0.":
                lambda p, t: dsc(p, t, empty=0.0),
        },
        remark="the same formula gives 0.65 or 0 for the same prediction, depending on whether it "
               "is taken per slice or per patient")


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
