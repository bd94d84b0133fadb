"""Splits by patient: slices of one patient never lie on both sides."""

import random
from collections.abc import Iterable
from typing import NamedTuple

from course_lib.errors import CourseError, number_within, whole_number

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
        """List the test patients, or, where a split has none, the validation patients."""
        return self.test or self.validation

    @property
    def note(self) -> str:
        """Say what scores of the reported patients are worth."""
        return ("the test patients choose nothing" if self.test else
                "optimistic: the patients that choose the checkpoint are reported")


def _unique(patients: Iterable[str], where: str) -> list[str]:
    """Sort the names, each of which may stand there once."""
    several = isinstance(patients, Iterable) and not isinstance(patients, str)
    names = list(patients) if several else []
    if not several or not all(isinstance(name, str) for name in names):
        raise CourseError(what=f"patients={patients!r:.80}", where=where,
                          cure="give a list of patients' names, such as a data set's .patients")
    if len(set(names)) < len(names):
        raise CourseError(what=f"{len(names) - len(set(names))} patient names stand twice",
                          where=where, cure="give each patient once")
    return sorted(names)


def _number_of(part: float, name: str, patients: int) -> int:
    """Turn a fraction in (0, 1), or a whole number, into a number of patients."""
    number = number_within(part, name, "split_patients", least=0)
    if 0 < number < 1:
        return max(1, round(number * patients))
    if number != int(number):
        raise CourseError(what=f"{name}={part!r}", where="split_patients",
                          cure=f"give {name} as a fraction in (0, 1) or a whole number of patients")
    return int(number)


def split_patients(patients: Iterable[str], *, validation: float, test: float,
                   seed: int = 42) -> Split:
    """Draw validation and test patients at random.

    Args:
        patients: names; order does not matter.
        validation, test: a fraction in (0, 1), rounded to whole patients but at least one, or a
            whole number of patients.
        seed: of the draw, at least 0.
    Raises:
        CourseError: a name stands twice, an argument is no such number, or no training patient
            would be left.
    """
    names = _unique(patients, "split_patients")
    counts = [_number_of(part, name, len(names))
              for name, part in (("validation", validation), ("test", test))]
    if sum(counts) >= len(names):
        raise CourseError(
            what=f"validation={validation}, test={test} of {len(names)} patients leave none to "
                 "train on", where="split_patients",
            cure="take fractions in (0, 1) or whole numbers that leave at least one patient")
    seed = whole_number(seed, "seed", "split_patients", least=0)
    shuffled = random.Random(seed).sample(names, len(names))
    first, second = counts[0], sum(counts)
    return Split(training=sorted(shuffled[second:]), validation=sorted(shuffled[:first]),
                 test=sorted(shuffled[first:second]))


def folds(patients: Iterable[str], k: int = 5, seed: int = 42) -> list[Split]:
    """Make k splits, for cross-validation, in which each patient is tested once.

    The validation parts are empty. Where something is to be chosen, such as an epoch, take
    patients for it out of the training part: `split_patients(fold.training, validation=…, test=0)`.

    Args:
        patients: names; order does not matter.
        k: how many, at least 2 and at most as many as patients. Test parts differ by at most one.
        seed: of the draw, at least 0.
    Raises:
        CourseError: a name stands twice, or k or the seed is no such number.
    """
    names = _unique(patients, "folds")
    k = whole_number(k, "k", "folds", least=2)
    if k > len(names):
        raise CourseError(what=f"k={k} folds of {len(names)} patients", where="folds",
                          cure=f"take a k from 2 to {len(names)}" if len(names) > 1 else
                               "give at least two patients")
    seed = whole_number(seed, "seed", "folds", least=0)
    shuffled = random.Random(seed).sample(names, len(names))
    parts = [set(shuffled[first::k]) for first in range(k)]
    return [Split(training=[name for name in names if name not in part], validation=[],
                  test=sorted(part)) for part in parts]


def reference_split(patients: Iterable[str]) -> Split:
    """Validate on the reference's ten patients, as far as they are present; the others train.

    Optimistic: the ten choose the best checkpoint and are the ones reported, so there is no test
    part. Use it to compare with published numbers, not to say how good a network is.

    Raises:
        CourseError: none of the ten is present, or a name stands twice.
    """
    names = _unique(patients, "reference_split")
    validation = [name for name in REFERENCE_VALIDATION if name in set(names)]
    if not validation:
        raise CourseError(what="none of the reference's ten validation patients is here",
                          where="reference_split",
                          cure="use split_patients; the ten belong to the Kaggle LGG set")
    return Split(training=[name for name in names if name not in validation], validation=validation,
                 test=[])
