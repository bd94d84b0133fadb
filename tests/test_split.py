import math
import re
from pathlib import Path

import numpy as np
import pytest

from course_lib.data import folds, reference_split, split_patients
from course_lib.data.split import REFERENCE_VALIDATION
from course_lib.errors import CourseError

NAMES = [f"P{number:02d}" for number in range(40)]


@pytest.mark.parametrize(("validation", "test", "sizes"), [
    (0.1, 0.2, (28, 4, 8)),          # of 40: 4 and 8
    (3, 5, (32, 3, 5)),
    (0.1, 5, (31, 4, 5)),
    (0.001, 0.001, (38, 1, 1)),      # a fraction gives at least one patient
    (0.26, 0, (30, 10, 0)),          # 10.4 is rounded to 10
    (0, 0, (40, 0, 0)),
    (20, 19, (1, 20, 19)),
])
def test_parts_have_the_asked_size_and_every_patient_is_in_one(validation, test, sizes):
    split = split_patients(NAMES, validation=validation, test=test)
    parts = (split.training, split.validation, split.test)
    assert tuple(len(part) for part in parts) == sizes
    assert sorted(sum(parts, [])) == NAMES


def test_the_order_of_the_names_does_not_matter():
    split = split_patients(NAMES, validation=0.2, test=0.2)
    assert split_patients(NAMES[::-1], validation=0.2, test=0.2) == split
    assert split_patients(iter(NAMES), validation=0.2, test=0.2) == split


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    splits = [split_patients(NAMES, validation=4, test=8, seed=seed) for seed in (1, 1, 2)]
    assert splits[0] == splits[1]
    assert splits[0].validation != splits[2].validation
    assert splits[0].test != splits[2].test


def test_it_does_not_touch_the_global_random_state():
    import random
    random.seed(0)
    expected = random.random()
    random.seed(0)
    split_patients(NAMES, validation=4, test=8)
    assert random.random() == expected


def test_patients_are_drawn_and_not_taken_in_order():
    split = split_patients(NAMES, validation=4, test=8)
    assert split.validation not in (NAMES[:4], NAMES[-4:])
    assert split.test not in (NAMES[4:12], NAMES[:8], NAMES[-8:])


@pytest.mark.parametrize(("validation", "test"), [(20, 20), (0.5, 0.5), (41, 0)])
def test_what_leaves_no_training_patient_is_refused(validation, test):
    words = f"validation={validation}, test={test} of 40 patients leave none to train on"
    with pytest.raises(CourseError, match=re.escape(words)):
        split_patients(NAMES, validation=validation, test=test)


@pytest.mark.parametrize("name", ["validation", "test"])
@pytest.mark.parametrize("part", ["0.2", "3", math.nan, math.inf, -math.inf, -1, -0.2, 2.5, True,
                                  None, [0.2], np.float32("nan"), np.int64(-1)])
def test_a_part_that_is_no_number_of_patients_is_refused_by_its_name(name, part):
    with pytest.raises(CourseError, match=re.escape(f"split_patients: {name}={part!r}. Give {name} "
                                                    "as ")):
        split_patients(NAMES, **({"validation": 3, "test": 3} | {name: part}))


def test_numbers_of_numpy_count_as_numbers():
    expected = split_patients(NAMES, validation=0.25, test=3, seed=1)
    assert split_patients(NAMES, validation=np.float32(0.25), test=np.int64(3),
                          seed=np.uint8(1)) == expected
    assert split_patients(np.array(NAMES), validation=0.25, test=3, seed=1) == expected
    assert folds(NAMES, k=np.int16(4), seed=np.int64(1)) == folds(NAMES, k=4, seed=1)


@pytest.mark.parametrize("seed", [-1, 1.5, "x", None, True, np.float64(1.0)])
@pytest.mark.parametrize("draw", [
    lambda seed: split_patients(NAMES, validation=3, test=3, seed=seed),
    lambda seed: folds(NAMES, seed=seed)])
def test_a_seed_that_is_no_whole_number_is_refused(draw, seed):
    with pytest.raises(CourseError, match=re.escape(f": seed={seed!r}. Give seed as a whole")):
        draw(seed)


@pytest.mark.parametrize("patients", ["TCGA_CS_4941", "abc", 5, None, [Path("a"), Path("b")],
                                      ["a", 1]])
@pytest.mark.parametrize("draw", [
    lambda patients: split_patients(patients, validation=1, test=0), folds, reference_split])
def test_what_is_no_list_of_names_is_refused(draw, patients):
    with pytest.raises(CourseError, match="patients=.* Give a list of patients' names"):
        draw(patients)


def test_a_name_that_stands_twice_is_refused():
    with pytest.raises(CourseError, match="2 patient names stand twice"):
        split_patients([*NAMES, "P01", "P07"], validation=4, test=4)


def test_no_patients_are_refused():
    with pytest.raises(CourseError, match="of 0 patients leave none to train on"):
        split_patients([], validation=1, test=1)


def test_the_reference_split_takes_those_of_the_ten_that_are_present():
    present = [*REFERENCE_VALIDATION[::3], *NAMES]        # 0, 3, 6, 9
    split = reference_split(reversed(present))
    assert split.validation == list(REFERENCE_VALIDATION[::3])
    assert split.training == NAMES
    assert split.test == []


def test_the_reference_split_says_that_it_is_optimistic():
    assert "optimistic" in reference_split([*REFERENCE_VALIDATION, "other"]).note
    assert "optimistic" not in split_patients(NAMES, validation=4, test=4).note


def test_the_ten_of_the_reference_are_ten_and_sorted():
    assert len(set(REFERENCE_VALIDATION)) == 10
    assert list(REFERENCE_VALIDATION) == sorted(REFERENCE_VALIDATION)


def test_the_reference_split_without_any_of_the_ten_is_refused():
    with pytest.raises(CourseError, match="none of the reference's ten .* Use split_patients"):
        reference_split(NAMES)


def test_the_real_data_hold_the_ten(real_folder):
    names = [path.name for path in real_folder.iterdir() if path.is_dir()]
    split = reference_split(names)
    assert set(split.validation) == set(REFERENCE_VALIDATION) & set(names)
    assert not set(split.training) & set(REFERENCE_VALIDATION)


def test_folds_test_each_patient_once_and_train_on_the_others():
    names = [f"p{number:02d}" for number in range(23)]
    found = folds(names, k=5, seed=1)
    assert sorted(name for fold in found for name in fold.test) == names
    assert sorted(len(fold.test) for fold in found) == [4, 4, 5, 5, 5]
    for fold in found:
        assert sorted(fold.training + fold.test) == names
        assert fold.validation == []
        assert fold.reported == fold.test


def test_folds_depend_on_the_seed_and_not_on_the_order_of_the_names():
    names = [f"p{number:02d}" for number in range(23)]
    assert folds(names) == folds(names[::-1])
    assert folds(names, seed=1) != folds(names, seed=2)


@pytest.mark.parametrize("k", [0, 1, 2.5, "5", math.nan, True, None])
def test_a_number_of_folds_that_is_none_is_refused(k):
    with pytest.raises(CourseError, match=f"folds: k={k!r}. Give k as a whole number from 2 on"):
        folds(["a", "b", "c"], k=k)


def test_more_folds_than_patients_are_refused():
    with pytest.raises(CourseError, match="k=4 folds of 3 patients. Take a k from 2 to 3"):
        folds(["a", "b", "c"], k=4)
    with pytest.raises(CourseError, match="Give at least two patients"):
        folds(["a"], k=2)


def test_a_name_that_stands_twice_is_refused_in_folds():
    with pytest.raises(CourseError, match="folds: 1 patient names stand twice"):
        folds(["a", "b", "b"], k=2)
