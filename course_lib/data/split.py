"""Splits by patient: slices of one patient never lie on both sides."""

import random
from collections.abc import Iterable
from typing import NamedTuple

from course_lib.errors import CourseError

# What `random.seed(42); random.sample(sorted(all 110 patients), 10)` gives, the validation part of
# github.com/mateuszbuda/brain-segmentation-pytorch (`dataset.py`).
REFERENCE_VALIDATION = (
    "TCGA_CS_4944_20010208", "TCGA_CS_6667_20011105", "TCGA_CS_6668_20011025",
    "TCGA_DU_5851_19950428", "TCGA_DU_6404_19850629", "TCGA_DU_6408_19860521",
    "TCGA_DU_7014_19860618", "TCGA_HT_7616_19940813", "TCGA_HT_7692_19960724",
    "TCGA_HT_7879_19981009",
)


class Split(NamedTuple):
    """Patient names. Train on the first part, choose on the second, report on the third."""

    training: list[str]
    validation: list[str]
    test: list[str]

    @property
    def reported(self) -> list[str]:
        """The test patients, or, where a split has none, the validation patients."""
        return self.test or self.validation

    @property
    def note(self) -> str:
        """What scores of the reported patients are worth."""
        return ("the test patients choose nothing" if self.test else
                "optimistic: the patients that choose the checkpoint are reported")


def _unique(patients: Iterable[str], where: str) -> list[str]:
    names = sorted(patients)
    if len(set(names)) < len(names):
        raise CourseError(what=f"{len(names) - len(set(names))} patient names stand twice",
                          where=where, cure="give each patient once")
    return names


def split_patients(patients: Iterable[str], *, validation: float, test: float,
                   seed: int = 42) -> Split:
    """Draw validation and test patients at random.

    Args:
        patients: names; order does not matter.
        validation, test: a fraction in (0, 1), rounded to whole patients but at least one, or a
            whole number of patients.
        seed: of the draw.
    Raises:
        CourseError: a name stands twice, or no training patient would be left.
    """
    names = _unique(patients, "split_patients")
    counts = [max(1, round(part * len(names))) if 0 < part < 1 else part
              for part in (validation, test)]
    if any(count != int(count) or count < 0 for count in counts) or sum(counts) >= len(names):
        raise CourseError(
            what=f"validation={validation}, test={test} of {len(names)} patients leave none to "
                 "train on", where="split_patients",
            cure="take fractions in (0, 1) or whole numbers that leave at least one patient")
    shuffled = random.Random(seed).sample(names, len(names))
    first, second = int(counts[0]), int(sum(counts))
    return Split(training=sorted(shuffled[second:]), validation=sorted(shuffled[:first]),
                 test=sorted(shuffled[first:second]))


def folds(patients: Iterable[str], k: int = 5, seed: int = 42) -> list[Split]:
    """Cross-validation: k splits in which each patient is tested once.

    The validation parts are empty. Where something is to be chosen, such as an epoch, take
    patients for it out of the training part: `split_patients(fold.training, validation=…, test=0)`.

    Args:
        patients: names; order does not matter.
        k: how many, at least 2 and at most as many as patients. Test parts differ by at most one.
        seed: of the draw.
    Raises:
        CourseError: a name stands twice, or k does not fit.
    """
    names = _unique(patients, "folds")
    if k != int(k) or not 2 <= k <= len(names):
        raise CourseError(what=f"k={k} folds of {len(names)} patients", where="folds",
                          cure=f"take a whole number from 2 to {len(names)}")
    shuffled = random.Random(seed).sample(names, len(names))
    parts = [set(shuffled[first::int(k)]) for first in range(int(k))]
    return [Split(training=[name for name in names if name not in part], validation=[],
                  test=sorted(part)) for part in parts]


def reference_split(patients: Iterable[str]) -> Split:
    """The reference's ten validation patients, as far as they are present; the others train.

    Optimistic: the ten choose the best checkpoint and are the ones reported, so there is no test
    part. Use it to compare with published numbers, not to say how good a network is.

    Raises:
        CourseError: none of the ten is present.
    """
    names = sorted(patients)
    validation = [name for name in REFERENCE_VALIDATION if name in set(names)]
    if not validation:
        raise CourseError(what="none of the reference's ten validation patients is here",
                          where="reference_split",
                          cure="use split_patients; the ten belong to the Kaggle LGG set")
    return Split(training=[name for name in names if name not in validation], validation=validation,
                 test=[])
