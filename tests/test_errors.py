"""Errors as sentences, and the checks of arguments that raise them."""

import copy
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch

from course_lib.errors import CourseError, DataError, number_within, one_of, whole_number


def test_an_error_is_a_sentence_of_where_what_and_cure():
    error = CourseError(what="size=47", where="UNet", cure="use a multiple of 16")
    assert str(error) == "UNet: size=47. Use a multiple of 16."
    assert (error.what, error.where, error.cure) == ("size=47", "UNet", "use a multiple of 16")


def test_a_full_stop_in_the_cure_is_not_doubled():
    assert str(CourseError("it is wrong", "here", "Mend it.")) == "here: it is wrong. Mend it."


@pytest.mark.parametrize("cure", ["data.fetch('lgg-phantom') makes one", "models.UNet(3, 1) fits",
                                  "COURSE_RUNS=… names another", "--force goes on", "epochs=3",
                                  "`make lab`", "size=(2, 3)", "numpy.save"])
def test_a_cure_that_begins_with_code_keeps_its_case(cure):
    assert str(CourseError("a", "b", cure)) == f"b: a. {cure}."


@pytest.mark.parametrize("cure, sentence", [
    ("restart", "Restart."), ("restart.", "Restart."), ("wait, or stop it", "Wait, or stop it."),
    ("re-save it", "Re-save it."), ("run `pip install imagecodecs`",
                                    "Run `pip install imagecodecs`.")])
def test_a_cure_that_begins_with_a_word_becomes_a_sentence(cure, sentence):
    assert str(CourseError("a", "b", cure)) == f"b: a. {sentence}"


def test_a_sentence_does_not_name_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    error = CourseError("it is damaged", "/home/ada/runs/03/last.pt", "take '/home/ada/runs/03-2'")
    assert str(error) == "~/runs/03/last.pt: it is damaged. Take '~/runs/03-2'."
    assert "/home/adamant/x" in str(CourseError("a", "/home/adamant/x", "b"))
    for home in ("/", ""):
        monkeypatch.setenv("HOME", home)
        assert str(CourseError("a", "/data/x", "b")) == "/data/x: a. B."


def test_a_data_error_is_a_course_error_and_a_value_error():
    with pytest.raises(ValueError, match="a.tif: broken"):
        raise DataError(what="broken", where="a.tif", cure="mend it")
    assert issubclass(DataError, CourseError)
    assert not issubclass(CourseError, ValueError)


def test_where_follows_from_patient_and_file():
    error = DataError("broken", cure="mend it", patient="P_1", file="P_1_2.tif")
    assert str(error) == "P_1/P_1_2.tif: broken. Mend it." and error.fatal
    assert (error.patient, error.file) == ("P_1", "P_1_2.tif")
    assert DataError("broken", patient="P_1").where == "P_1"
    assert DataError("broken", "elsewhere", patient="P_1").where == "elsewhere"


def test_what_is_not_known_leaves_no_empty_marks():
    assert str(DataError("broken")) == "broken."
    assert str(DataError("broken", patient="P_1")) == "P_1: broken."


@pytest.mark.parametrize("copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy,
                                    copy.deepcopy])
def test_an_error_survives_the_way_between_two_processes(copied):
    back = copied(CourseError(what="a", where="b", cure="c"))
    assert type(back) is CourseError and str(back) == "b: a. C." and back.cure == "c"
    error = DataError("a", cure="c", patient="P", file="f.tif", fatal=False)
    back = copied(error)
    assert type(back) is DataError and str(back) == str(error) and vars(back) == vars(error)
    assert (back.patient, back.file, back.fatal) == ("P", "f.tif", False)


@pytest.mark.parametrize("number", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
def test_whole_numbers_of_any_library_become_pythons(number):
    assert type(whole_number(number, "size", "here")) is int
    assert whole_number(number, "size", "here", least=3) == 3


@pytest.mark.parametrize("value", [0, -1, 2.5, 3.0, "3", b"3", None, True, np.bool_(True), [3],
                                   torch.tensor(True), torch.tensor([3]), np.array([3, 4]),
                                   math.nan, np.float32(3), 1j])
def test_what_is_no_whole_number_from_one_on_is_refused_by_name(value):
    with pytest.raises(CourseError, match=r"here: size=.* Give size as a whole number from 1 on"):
        whole_number(value, "size", "here")


@pytest.mark.parametrize("number", [0.5, np.float32(0.5), np.float64(0.5), torch.tensor(0.5),
                                    Fraction(1, 2)])
def test_numbers_of_any_library_become_floats(number):
    assert type(number_within(number, "rate", "here", 0)) is float
    assert number_within(number, "rate", "here", 0.5, 0.5) == 0.5


@pytest.mark.parametrize("value", [-0.1, 1.1, "0.5", b"0.5", None, True, np.bool_(True), math.nan,
                                   np.float32(np.nan), math.inf, 10**400, [0.5], 1j,
                                   torch.tensor([0.5]), torch.tensor([0.5, 0.5]), np.ones(2)])
def test_what_is_no_number_within_the_ends_is_refused_by_name(value):
    with pytest.raises(CourseError, match="here: rate=.* Give rate as a number from 0 to 1"):
        number_within(value, "rate", "here", 0, 1)


@pytest.mark.parametrize("value", [math.inf, 10**400, -1])
def test_without_an_upper_end_a_number_is_finite_all_the_same(value):
    with pytest.raises(CourseError, match="Give rate as a number from 0 on"):
        number_within(value, "rate", "here", 0)


def test_a_choice_comes_back_as_it_stands_among_the_choices():
    assert one_of(np.str_("batch"), "norm", "here", ("batch", None)) == "batch"
    assert one_of(None, "norm", "here", ("batch", None)) is None
    assert type(one_of(np.int64(3), "dim", "here", (2, 3))) is int


@pytest.mark.parametrize("value", [4, 2.0, True, "2", [2], (2,), {}, np.array([2, 3]), None])
def test_what_is_none_of_the_choices_is_refused_with_those(value):
    with pytest.raises(CourseError, match="here: dim=.* Use one of 2, 3"):
        one_of(value, "dim", "here", (2, 3))
