"""How answers are checked, kept and summed up, whatever the exercise."""

import json
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch

from course_lib import check, settings
from course_lib.check import core, record

PROBES = {"ten numbers": (np.arange(10.0),), "four numbers": (np.array([1.0, -2, 3, 0]),)}


def double(values):
    return values * 2


def verdict(answer, **changes):
    return core.check_function(answer, double, PROBES, {"You added two.": lambda v: v + 2}, "well!",
                               **changes)


def test_a_right_answer_gets_its_remark():
    assert repr(verdict(lambda v: v + v)) == "✓ well!"


@pytest.mark.parametrize("answer", [..., None, "", "  ", lambda v: ..., lambda v: (..., ...)])
def test_a_stub_is_not_attempted(answer):
    assert repr(verdict(answer)) == "○ not attempted yet"


def loop_forever(values):
    while True:
        pass


def catch_everything(values):
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            if not catch_everything.caught:
                catch_everything.caught = True
                continue
            raise


catch_everything.caught = False


def change_in_place(values):
    values *= 2
    return values


class Silent:
    def __repr__(self):
        raise ValueError


def interrupt(values):
    raise KeyboardInterrupt


@pytest.mark.parametrize(("answer", "says"), [
    (lambda v: v + 2, "You added two."),
    (lambda v: None, "it returned None: is there a `return`?"),
    (lambda v: v[:3], "expected shape (10,), you returned (3,)"),
    (lambda v: (v * 2).astype(np.float32), "expected float64, you returned float32"),
    (lambda v: v * np.nan, "there is NaN in what you returned"),
    (lambda v: [1, 2], "expected a ndarray, you returned [1, 2]"),
    (lambda v: torch.zeros(10).to_sparse(), "expected a ndarray"),
    (lambda v: Silent(), "expected a ndarray, you returned a Silent"),
    (lambda v: 1 / 0, "ten numbers: it raised ZeroDivisionError"),
    (lambda v: sys.exit(), "it raised SystemExit"),
    (lambda: 3, "it raised TypeError"),
    (3, "it raised TypeError"),
    (interrupt, "interrupted"),
    (change_in_place, "changed its input in place"),
    (lambda v: np.zeros_like(v), "expected 2, you returned 0"),
    (lambda v: v + 2 if len(v) == 10 else v, "You added two."),     # not by chance
    (lambda v: v * 2 if len(v) == 10 else v, "four numbers: 75% of the values differ")])
def test_a_wrong_answer_gets_its_diagnosis(answer, says):
    found = verdict(answer)
    assert found.solved is False and says in found.text


@pytest.mark.parametrize("answer", [loop_forever, catch_everything])
def test_an_answer_that_does_not_end_is_stopped(answer, monkeypatch):
    monkeypatch.setattr(core, "SECONDS", 0.2)
    found = verdict(answer)
    assert found.solved is False and "did not end within 0.2 s" in found.text


def test_a_slip_is_not_named_for_a_single_number_that_agrees_by_chance():
    found = core.check_function(lambda v: 0.0, lambda v: float(v.sum()), PROBES,
                                {"Zero!": lambda v: 0.0 if len(v) == 10 else 1.0}, "well!")
    assert found.solved is False and "Zero!" not in found.text


def test_an_answer_does_not_move_the_generator_of_the_notebook():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    verdict(lambda v: (torch.rand(3), v * 2)[1])
    assert torch.rand(1) == expected


@pytest.mark.parametrize(("found", "expected", "says"), [
    (torch.zeros(2, device="meta"), torch.zeros(2), "expected a tensor on cpu, yours is on meta"),
    (2.0, 2.00001, None),
    (2.0, 2.1, "expected 2.1, you returned 2"),
    (float("nan"), 1.0, "you returned NaN"),
    (float("nan"), float("nan"), None),
    ("a", 1.0, "expected a number, you returned 'a'"),
    (True, False, "expected False, you returned True"),
    ("2", 2.0, "expected a number, you returned '2'"),
    (np.array([1, 2]), 2.0, "expected a number"),
    (10**400, 2.0, "expected a number"),
    (np.int64(2), 2, None),
    (torch.tensor(2), 2, None),
    (31_036_482, 31_036_481, None),
    ((1, 2), (1, 2), None),
    ([1, 2], (1, 2), None),
    ((1, 3), (1, 2), "expected 2, you returned 3"),
    (1, (1, 2), "expected a tuple of 2 values, you returned 1"),
    (torch.ones(2, requires_grad=True), torch.ones(2), None)])
def test_differences_in_words(found, expected, says):
    told = core.difference(found, expected)
    assert (told is None) if says is None else says in told


def test_choices():
    def choose(answer):
        return core.check_choice(answer, "b", {"a": "too small"}, "well!")

    assert repr(choose(...)) == "○ not attempted yet"
    assert repr(choose(" B ")) == "✓ well!"
    assert repr(choose("a")) == "✗ a: too small"
    assert repr(choose("x")) == "✗ choose one of a, b, you chose 'x'"
    assert choose(3).solved is False


@record.exercise("77")
def guess(answer):
    """A guess."""
    return core.check_choice(answer, "b", {}, "well!")


@record.exercise("77")
def other(answer):
    """Another guess."""
    return core.check_choice(answer, "c", {}, "well!")


def test_what_was_solved_is_kept_and_summed_up():
    assert repr(record.Summary([guess, other])).splitlines()[0] == "0 of 2 solved"
    guess(...)
    assert record.read()["exercises"] == {}
    guess("a")
    other("a")
    guess("b")
    assert repr(record.Summary([guess, other])).splitlines() == [
        "1 of 2 solved", "✓ 77  A guess.  (2 tries)", "✗ 77  Another guess.  (1 try)"]
    guess("a")                                                    # what was solved stays solved
    assert record.Summary([guess, other]).solved == 1
    kept = json.loads((settings.runs_folder() / "course.json").read_text("utf-8"))
    assert kept["exercises"]["77 guess"]["tries"] == 3


def test_every_exercise_of_the_course_is_exported_and_summed_up():
    every = [checker for checkers in check.EXERCISES.values() for checker in checkers]
    assert all(getattr(check, checker.__name__) is checker for checker in every)
    assert len(check.summary().rows) == len(every) > 0
    assert len(check.summary("01").rows) == len(check.EXERCISES["01"])
    for lesson, checkers in check.EXERCISES.items():
        assert {checker.lesson for checker in checkers} == {lesson}


def test_a_run_root_that_cannot_be_written_to_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path / "file" / "runs"))
    with pytest.warns(UserWarning, match="Set COURSE_RUNS to a folder that can"):
        assert guess("b").solved
    with pytest.warns(UserWarning):
        check.forecast("x", {"a": 1})


def test_a_damaged_record_is_told_and_left_alone():
    settings.runs_folder().mkdir(parents=True)
    path = settings.runs_folder() / "course.json"
    for text in ("{half", "[]", "{}", '{"exercises": [], "forecasts": {}}',
                 '{"exercises": {"77 guess": 1}, "forecasts": {}}'):
        path.write_text(text)
        with pytest.warns(UserWarning, match="delete the file to begin again"):
            assert guess("b").solved
        assert path.read_text() == text


def test_a_forecast_is_shown_beside_the_outcome():
    said = check.forecast("77-try", {"first": 0.5, "second": None}, reason="a guess")
    assert said == repr(said) == "1 of 2 forecast"
    shown = check.outcome("77-try", {"first": 0.75, "second": 0.25, "third": 1.0})
    assert repr(shown).splitlines() == [
        "first: forecast 0.500, outcome 0.750, off by +0.250",
        "second: forecast none, outcome 0.250", "third: forecast none, outcome 1.000",
        "your reason: a guess"]
    assert "<th>off by</th>" in shown._repr_html_() and "+0.250" in shown._repr_html_()


def test_what_is_kept_is_kept_where_trainings_are_kept_too(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_KEEP", str(tmp_path / "drive"))
    (tmp_path / "drive").mkdir()
    guess("b")
    (settings.runs_folder() / "course.json").unlink()                # the machine is gone
    assert record.Summary([guess]).solved == 1
    monkeypatch.setenv("COURSE_KEEP", str(tmp_path / "drive" / "course.json" / "no folder"))
    with pytest.warns(UserWarning, match="Set COURSE_KEEP"):
        guess("b")


def test_a_drive_that_is_not_mounted_is_not_made_into_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_KEEP", str(tmp_path / "drive" / "MyDrive" / "course-runs"))
    with pytest.warns(UserWarning, match="Set COURSE_KEEP"):
        assert guess("b").solved
    assert not (tmp_path / "drive").exists() and record.Summary([guess]).solved == 1


def test_two_notebooks_at_once_lose_nothing():
    def work(number):
        for turn in range(5):
            check.forecast(f"{number}-{turn}", {"a": turn})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(record.read()["forecasts"]) == 15


def test_a_lock_that_was_left_behind_does_not_stop_the_course():
    settings.runs_folder().mkdir(parents=True)
    (settings.runs_folder() / "course.lock").touch()
    assert guess("b").solved and record.Summary([guess]).solved == 1
    assert not (settings.runs_folder() / "course.lock").exists()


def test_an_empty_forecast_does_not_erase_a_given_one():
    check.forecast("77-twice", {"a": 0.5}, reason="so")
    check.forecast("77-twice", {"a": None})
    assert repr(check.outcome("77-twice", {"a": 0.5})).startswith("a: forecast 0.500")


@pytest.mark.parametrize("value", [np.float32(0.5), np.array(0.5), torch.tensor(0.5)])
def test_numbers_of_numpy_and_torch_are_numbers(value):
    check.forecast("77-kinds", {"a": value}, reason=...)
    assert repr(check.outcome("77-kinds", {"a": value})) == (
        "a: forecast 0.500, outcome 0.500, off by +0.000")
    check.forecast("77-set", {"a": {1, 2}}, reason=3)
    assert "forecast {1, 2}" in repr(check.outcome("77-set", {"a": 1.0}))


def test_a_forecast_in_words_and_an_outcome_without_forecast():
    check.forecast("77-words", {"which": "U-Net <b>"}, reason="<i>")
    shown = check.outcome("77-words", {"which": "FCN"})
    assert "&lt;b&gt;" in shown._repr_html_() and "<i>" not in shown._repr_html_()
    assert repr(check.outcome("77-none", {"a": float("nan")})) == "a: forecast none, outcome nan"


@pytest.mark.parametrize("nothing", [None, ..., ""])
def test_an_empty_forecast_is_allowed_and_said_so(nothing):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "that is allowed" in check.forecast("77-empty", {"a": nothing})
    assert repr(check.outcome("77-empty", {"a": 0.5})) == "a: forecast none, outcome 0.500"


def test_what_cannot_be_compared_is_a_wrong_answer():
    found = core.check_function(lambda v: torch.eye(2).to_sparse(), lambda v: torch.eye(2), PROBES,
                                {}, "well!")
    assert found.solved is False and "cannot be compared" in found.text


def test_large_whole_numbers_are_told_apart():
    assert "expected 31,036,481, you returned 31,036,482" in core.difference(
        31_036_482, 31_036_481, tolerance=0)
