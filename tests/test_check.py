"""How answers are checked, kept and summed up, whatever the exercise."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from course_lib import check, settings
from course_lib.check import choosing, comparing, core, overview, record
from course_lib.check.lessons import LESSONS, Lesson
from course_lib.errors import CourseError

PROBES = {"ten numbers": (np.arange(10.0),), "four numbers": (np.array([1.0, -2, 3, 0]),),
          "a hundred numbers": (np.arange(100.0),)}


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
    (3, "hand in the function itself, not a value: this is 3"),
    (interrupt, "interrupted"),
    (change_in_place, "changed its input in place"),
    (lambda v: np.zeros_like(v), "ten numbers: expected [0, 2, 4, 6, 8, 10, 12, 14, 16, 18], you "
                                 "returned [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]."),
    (lambda v: v * 2 if len(v) == 10 else v, "four numbers: expected [2, -4, 6, 0], you returned"),
    (lambda v: v * 2 if len(v) < 99 else v, "99% of the values differ; at (1,) expected 2, you")])
def test_a_wrong_answer_gets_its_diagnosis(answer, says):
    given = verdict(answer)
    assert given.solved is False and says in given.text


@pytest.mark.parametrize("answer", [loop_forever, catch_everything])
def test_an_answer_that_does_not_end_is_stopped(answer, monkeypatch):
    monkeypatch.setattr(core, "SECONDS", 0.2)
    given = verdict(answer)
    assert given.solved is False and "did not end within 0.2 s" in given.text


@pytest.mark.parametrize("answer", [
    lambda v: v + 2 if len(v) == 10 else v, lambda v: v + 2 if len(v) != 4 else v * 2])
def test_a_slip_is_not_named_where_it_explains_some_probes_only(answer):
    given = verdict(answer)
    assert given.solved is False and "You added two." not in given.text


def test_a_slip_that_fails_on_a_probe_is_not_named():
    given = core.check_function(lambda v: v, double, PROBES, {"Bad.": lambda v: v[50:] / 0}, "")
    assert given.solved is False and "Bad." not in given.text


def shift(value, *, up=0, times=2, negative=False):
    return (value * times + up) * (-1 if negative else 1)


SHIFTS = {"One too many.": {"up": 1}, "Three times.": {"times": 3}, "Minus.": {"negative": True},
          "Four times.": {"times": 4}, "Nothing.": lambda value: 0}


@pytest.mark.parametrize(("answer", "says"), [
    (lambda v: v * 2 + 1, "expected 10, you returned 11. One too many."),
    (lambda v: -3 * v, "expected 10, you returned -15. Two things at once. Three times. Minus."),
    (lambda v: -2 * v - 1, "Two things at once. One too many. Minus."),
    (lambda v: v * 5, "expected 10, you returned 25."),
    (lambda v: -3 * v if v > 2 else 6, "expected 10, you returned -15."),
    (lambda v: 11, "expected 10, you returned 11."), (lambda v: 0, "you returned 0. Nothing.")])
def test_two_slips_are_tried_together_where_no_single_one_explains_all(answer, says):
    given = core.check_function(answer, shift, {"five": (5,), "two": (2,)}, SHIFTS, "well!")
    assert given.solved is False and given.text.endswith(says)


def test_a_constant_is_not_explained_by_two_slips():
    slips = {"Zero times.": {"times": 0}, "Ten more.": {"up": 10}}
    given = core.check_function(lambda v: 10, shift, {"five": (7,), "two": (2,)}, slips, "well!")
    assert given.text == "five: expected 14, you returned 10."


def test_what_can_be_read_at_a_glance_is_printed_as_a_call():
    def halve(value):
        return value / 2

    given = core.check_function(halve, shift, {"five": (5,), "two": (2,)}, SHIFTS, "well!")
    assert given.text == "halve(5): expected 10, you returned 2.5."
    given = core.check_function(change_in_place, double, PROBES, {}, "well!")
    assert given.text.startswith("change_in_place([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]): your function "
                                 "changed its input in place")
    assert comparing.call(halve, (np.zeros(13),)) == comparing.call(halve, (halve,)) == ""
    assert comparing.call(lambda v: v, (1,)) == comparing.call(3, (1,)) == ""
    assert comparing.call(halve, ("a" * 200,)) == ""
    assert comparing.call(halve, ([("A", 1)], (1,), np.array([[0.25, 1]]), True)) == (
        "halve([('A', 1)], (1,), [[0.25, 1]], True)")


def test_a_rule_is_named_where_no_slip_is():
    def check_share(answer):
        return core.check_function(answer, shift, {"half": (0.25,), "none": (0.0,)}, SHIFTS, "well",
                                   rule=core.share)

    assert check_share(lambda v: 1.5).text.endswith("you returned 1.5. A share lies in 0 … 1.")
    assert check_share(lambda v: 0.3).text.endswith("you returned 0.3.")
    assert check_share(lambda v: float("nan")).text.endswith("you returned NaN.")
    assert check_share(lambda v: 2 * v + 1).text.endswith("you returned 1.5. One too many.")


@pytest.mark.parametrize(("one", "other", "same"), [
    ([1, 2], np.array([1.0, 2.0]), True), (torch.tensor([1.0]), [1], True), (True, 1.0, True),
    (1, True, False), ([1], [True], False), ({1}, {1}, True), ({1}, [1], False), (None, None, True),
    (None, 1, False), ("a", "a", True), ("1", 1, False), (([0], [1, 2]), ([0], [1, 2]), True),
    (([0], [1]), ([0], [1, 2]), False), (np.zeros((2, 1)), np.zeros(2), False),
    (Silent(), 1, False), ([[1], [1, 2]], np.zeros(2), False), (torch.eye(2).to_sparse(), 1, False),
    (float("nan"), float("nan"), True), ({"a": 1}, {"a": 1.0}, True), ({"a": 1}, {"b": 1}, False)])
def test_results_agree_by_their_values(one, other, same):
    assert comparing.agree(one, other) is same


def test_a_slip_is_not_named_for_a_single_number_that_agrees_by_chance():
    given = core.check_function(lambda v: 0.0, lambda v: float(v.sum()), PROBES,
                                {"Zero!": lambda v: 0.0 if len(v) == 10 else 1.0}, "well!")
    assert given.solved is False and "Zero!" not in given.text


def test_warnings_of_an_answer_are_not_shown():
    def divide(values):
        return np.float64(0) / np.float64(0) + values * 2

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "there is NaN" in verdict(divide).text


def test_a_long_verdict_is_shown_in_several_lines():
    shown = repr(core.Verdict(False, "a word or two " * 20 + "`x-y`"))
    assert shown.startswith("✗ a word") and max(map(len, shown.splitlines())) <= 88
    assert all(line.startswith("  ") for line in shown.splitlines()[1:])
    assert len(repr(core.Verdict(True, "x" * 200)).splitlines()) < 3        # no word is broken


def test_an_answer_does_not_move_the_generator_of_the_notebook():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    verdict(lambda v: (torch.rand(3), v * 2)[1])
    assert torch.rand(1) == expected


@pytest.mark.parametrize(("answer", "expected", "says"), [
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
    ((1, 3), (1, 2), "expected (1, 2), you returned (1, 3)"),
    (1, (1, 2), "expected a tuple of 2 values, you returned 1"),
    ([1, 2], [1, 2, 3], "expected [1, 2, 3], you returned [1, 2]"),
    (list(range(99)), list(range(100)), "expected a list of 100 values, you returned 99"),
    ([0] + list(range(2, 101)), list(range(100)), "expected 1, you returned 2"),
    ({1, 2}, [1, 2], "a set has no order: return a list"),
    (([1], {2}), ([1], [2]), "a set has no order: return a list"),
    (np.array([1, 2]), [1, 2], "a list is asked for, you returned a ndarray: `.tolist()`"),
    ([True, False], [0, 1], "numbers are asked for, you returned booleans"),
    (np.array([True]).tolist(), [0], "numbers are asked for, you returned booleans"),
    (True, 1.0, "expected a number, you returned True"),
    (np.True_, True, None),
    (np.array([2.0]), 2.0, "expected a number, you returned [2]"),
    (np.zeros(2, np.uint8), np.zeros(2, np.float32), "uint8, which holds no decimals"),
    (np.zeros(2), np.zeros(2, np.float32), "float64: `.astype(np.float32)` makes it so"),
    (torch.zeros(2).double(), torch.zeros(2), "torch.float64: `.float()` makes it so"),
    (torch.zeros(2).bfloat16(), torch.zeros(2), "you returned torch.bfloat16"),
    (np.zeros(2, np.float32), np.zeros(2, np.uint8), "expected uint8, you returned float32"),
    (np.array([1, 2]), np.array([1, 3]), "expected [1, 3], you returned [1, 2]"),
    ({"sum": 3, "of": 1}, {"sum": 3, "of": 2}, "of: expected 2, yours has 1"),
    (torch.ones(2, requires_grad=True), torch.ones(2), None)])
def test_differences_in_words(answer, expected, says):
    words = comparing.difference(answer, expected)
    assert (words is None) if says is None else says in words


def test_choices():
    def choose(answer):
        return choosing.check_choice(answer, "b", {"a": "too small"}, "well!")

    assert repr(choose(...)) == "○ not attempted yet"
    assert repr(choose(" B ")) == "✓ well!"
    assert repr(choose("a")) == "✗ a: too small"
    assert repr(choose("x")) == "✗ choose one of a, b, you chose 'x'"
    assert all(choose(letter).solved for letter in ("b)", "(b)", "B.", '"b"', " b: ", "**b**"))
    assert repr(choose("(A)")) == "✗ a: too small"
    assert all("choose one of" in choose(many).text for many in ("ab", "a, b", "b or a", "", "?"
                                                                  ) if many)
    assert choose(3).solved is False


@record.exercise("77")
def guess(answer):
    """A guess."""
    return choosing.check_choice(answer, "b", {}, "well!")


@record.exercise("77")
def other(answer):
    """Another guess."""
    return choosing.check_choice(answer, "c", {}, "well!")


LESSON = Lesson(number="77", stem="77_guess", title="Guess", goal="guess", minutes={},
                data="", expected="", files=(), patients=0,
                exercises={"guess": "A guess", "other": "Another guess"},
                forecasts={"77-share": {"first": "share", "second": "DSC"}})


def summary() -> overview.Summary:
    return overview.Summary([LESSON])


@record.exercise("77")
def compare(answer, truth):
    """A guess that takes more than the answer."""
    return choosing.check_words(answer, truth, {"one": r"one|1", "two": r"two|2"},
                                lambda letter, said, right: f"{letter} {said} {right}", "well!")


def test_a_word_for_each_letter():
    truth = {"A": "one", "b": "two"}
    assert compare({"a)": "One", "(B)": 2}, truth).solved
    for answer, says in (({"A": "two", "b": "two"}, "1 of 2 are right. A is not “two”: A two one"),
                         ({"A": "six", "b": "two"}, "'six' is none of the words: one, two"),
                         ({"A": "one"}, "still open: b"), ({"A": "one", "b": ...}, "open: b"),
                         ("one", 'write one word for each letter, {"A": "…", "b": "…"}; you'),
                         ({}, "still open: A, b"), ({"first": "one"}, "write one word")):
        given = compare(answer, truth)
        assert given.solved is False and says in given.text, given
    assert all(compare(nothing, truth).solved is None
               for nothing in (..., None, "", {"A": ..., "b": None}))
    assert record.read()["exercises"]["77 compare"]["tries"] == 8


def right_double(value):
    return value * 2


@record.exercise("77")
def doubled(answer):
    """A function."""
    return core.check_function(answer, right_double, {"two": (2,), "three": (3,)}, {}, "well!")


@pytest.mark.parametrize("answer", [..., None, 3, lambda v: ..., lambda v: v, lambda v: 1 / 0])
def test_the_librarys_function_stands_in_until_the_students_is_right(answer, capsys):
    assert check.use("doubled", answer) is right_double
    assert capsys.readouterr().out == (
        "doubled: the library's stands in, for yours is not right yet\n")
    assert check.use("doubled", right_double) is right_double              # the cell, run again
    assert "stands in" in capsys.readouterr().out
    assert record.read()["exercises"] == {}


def test_the_students_function_is_used_once_it_is_right(capsys):
    def mine(value):
        return value + value

    assert check.use("doubled", mine) is mine
    assert capsys.readouterr().out == "doubled: your own\n"
    with pytest.raises(CourseError, match="check.use: name='nothing'. Use one of"):
        check.use("nothing", mine)


def test_what_was_solved_is_kept_and_summed_up():
    assert repr(summary()).splitlines()[0] == "0 of 2 exercises solved"
    guess(...)
    assert record.read()["exercises"] == {}
    guess("a")
    other("a")
    guess("b")
    assert repr(summary()).splitlines() == [
        "1 of 2 exercises solved", "✓ 77  A guess  (2 tries)", "✗ 77  Another guess  (1 try)",
        "0 of 1 forecasts given"]
    guess("a")                                                    # what was solved stays solved
    assert summary().solved == 1
    kept = json.loads((settings.runs_folder() / "course.json").read_text("utf-8"))
    assert kept["exercises"]["77 guess"]["tries"] == 3


def test_every_exercise_of_the_course_registers_itself_under_its_lesson():
    offered = set(dir(check))
    listed = {name: lesson.number for lesson in LESSONS for name in lesson.exercises}
    assert len(listed) == sum(len(lesson.exercises) for lesson in LESSONS) > 0   # no name twice
    registered = {name: checker.lesson for name, checker in record.CHECKERS.items()
                  if checker.lesson != LESSON.number}
    assert registered == listed and set(listed) < offered
    assert all(getattr(check, name) is record.CHECKERS[name] for name in listed)
    assert len(check.summary().rows) == len(listed)
    assert len(check.summary("01").rows) == len(LESSONS[1].exercises)


def test_a_checker_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(AttributeError, match="no check.nothing: choose from .*normalise"):
        check.nothing  # noqa: B018


def test_the_lessons_are_known_without_torch():
    code = ("import sys; from course_lib.check.lessons import LESSONS; "
            "print(len(LESSONS), 'torch' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(LESSONS)), "False"]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_a_lesson_says_how_many_patients_it_takes(lesson):
    check.enough_patients(lesson.number, range(lesson.patients))
    if lesson.patients:
        words = (f"has {lesson.patients - 1} patients, and lesson {lesson.number} takes "
                 f"{lesson.patients} or more")
        with pytest.raises(CourseError, match=words):
            check.enough_patients(lesson.number, range(lesson.patients - 1))


def test_patients_that_do_not_count_are_named():
    with pytest.raises(CourseError, match="has 0 patients with tumour, and lesson 03 takes 8 or"):
        check.enough_patients("03", [], "with tumour")


def test_a_run_root_that_cannot_be_used_is_one_warning(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for folder in ("file/runs", "file", "no disk/MyDrive/runs"):
        monkeypatch.setenv("COURSE_RUNS", str(tmp_path / folder))
        with pytest.warns(UserWarning, match="not kept: COURSE_RUNS: ") as warned:
            assert guess("b").solved
        assert len(warned) == 1
        with pytest.warns(UserWarning, match="not kept"):
            check.forecast("x", {"a": 1})
        with pytest.warns(UserWarning, match="not kept"):
            assert summary().solved == 0
    assert not (tmp_path / "no disk").exists()


def course_json(content: bytes = b"") -> Path:
    """Write the record as it lies beside the runs."""
    path = settings.runs_folder() / record.NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


SOLVED = '"77 guess": {"solved": true, "tries": 2}'
DAMAGED = {
    "cut": b'{"exercises": {"77 gu', "nothing": b"", "binary": bytes(range(256)),
    "a list": b"[]", "null": b"null", "a number": b"7", "no parts": b"{}",
    "UTF-16": f'{{"exercises": {{{SOLVED}}}, "forecasts": {{}}}}'.encode("utf-16"),
    "Latin-1": '{"exercises": {"ü": {}}, "forecasts": {}}'.encode("latin-1"),
    "a part is a list": b'{"exercises": [], "forecasts": {}}',
    "an entry is a number": b'{"exercises": {"77 guess": 1}, "forecasts": {}}',
    "solved is a word": b'{"exercises": {"77 guess": {"solved": "yes", "tries": 1}}, '
                        b'"forecasts": {}}',
    "tries is a word": b'{"exercises": {"77 guess": {"solved": true, "tries": "x"}}, '
                       b'"forecasts": {}}',
    "tries is NaN": b'{"exercises": {"77 guess": {"solved": true, "tries": NaN}}, "forecasts": {}}',
    "tries is true": b'{"exercises": {"77 guess": {"solved": true, "tries": true}}, '
                     b'"forecasts": {}}',
    "tries has 4,000 digits": b'{"exercises": {"77 guess": {"solved": true, "tries": %s}}, '
                              b'"forecasts": {}}' % (b"9" * 4000),
    "values is a list": b'{"exercises": {}, "forecasts": {"77": {"values": [1], "reason": ""}}}',
    "reason is null": b'{"exercises": {}, "forecasts": {"77": {"values": {}, "reason": null}}}',
    "nested": nested(100_000).encode(),
    "nested within": f'{{"exercises": {{"a": {nested(200)}}}, "forecasts": {{}}}}'.encode(),
    "a nested outcome": f'{{"exercises": {{}}, "forecasts": {{"77": {{"values": {{}}, "reason": "",'
                        f' "outcome": {nested(500)}}}}}}}'.encode(),
    "format is a word": b'{"format": "1", "exercises": {}, "forecasts": {}}',
    "format is NaN": b'{"format": NaN, "exercises": {}, "forecasts": {}}',
    "format is a list": b'{"format": [2], "exercises": {}, "forecasts": {}}',
    "format is true": b'{"format": true, "exercises": {}, "forecasts": {}}',
    "format is 0": b'{"format": 0, "exercises": {}, "forecasts": {}}',
    "something else": b'{"exercises": {}, "forecasts": {}, "cells": []}',
    "large": b" " * (record.LARGEST + 1)}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_record_is_put_aside_with_one_warning(content):
    path = course_json(content)
    with pytest.warns(UserWarning, match="damaged.*put aside as course-damaged-1.json") as warned:
        assert guess("b").solved
    assert len(warned) == 1
    assert (path.parent / "course-damaged-1.json").read_bytes() == content
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert summary().solved == 1 and other("c").solved and summary().solved == 2
        assert check.outcome("77", {"a": 1.0}).rows == [("a", None, 1.0)]
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="course-damaged-2.json"):
        check.summary()


def test_what_can_be_read_of_a_damaged_record_is_kept():
    course_json(f'{{"exercises": {{{SOLVED}, "77 other": 3}}, "forecasts": {{}}}}'.encode())
    with pytest.warns(UserWarning, match="what could be read of it is kept"):
        assert summary().solved == 1
    assert guess("a").solved is False
    assert record.read()["exercises"]["77 guess"]["tries"] == 1            # of a file put aside


@pytest.mark.parametrize("kept", ['{"exercises": {}, "forecasts": {"77": {"values": {"a": NaN}, '
                                  '"reason": "", "outcome": {"a": NaN}}}}',
                                  '\ufeff{"exercises": {}, "forecasts": {}}',
                                  '{"exercises": {"77 guess": {"solved": false, "tries": 1, "said":'
                                  ' "\\ud800"}}, "forecasts": {}}'])
def test_records_of_earlier_versions_and_of_other_editors_are_read(kept):
    course_json(kept.encode())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert guess("b").solved and summary().solved == 1


def test_a_newer_record_is_left_as_it_is():
    path = course_json(b'{"format": 2, "work": {"77": [1, 2]}}')
    for call in (lambda: guess("b"), check.summary, lambda: check.forecast("77", {"a": 1})):
        with pytest.warns(UserWarning, match="newer version of the course") as warned:
            call()
        assert len(warned) == 1
    assert path.read_bytes() == b'{"format": 2, "work": {"77": [1, 2]}}'
    assert [file.name for file in path.parent.glob("*.json")] == [record.NAME]


def make_a_folder(path):
    path.mkdir(parents=True)


def make_a_pipe(path):
    path.parent.mkdir(parents=True)
    os.mkfifo(path)


def make_a_link_to_a_device(path):
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
@pytest.mark.parametrize("make", [make_a_folder, make_a_pipe, make_a_link_to_a_device])
def test_what_is_no_file_is_left_alone_and_nothing_is_kept(make):
    make(settings.runs_folder() / record.NAME)
    with pytest.warns(UserWarning, match="cannot be read .*nothing new is kept there") as warned:
        assert guess("b").solved
    assert len(warned) == 1 and not (settings.runs_folder() / record.NAME).is_file()


def test_a_damaged_record_that_cannot_be_put_aside_is_left_alone(monkeypatch):
    path = course_json(b"{half")
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.warns(UserWarning, match="cannot be put aside: nothing new is kept") as warned:
        assert guess("b").solved
    assert len(warned) == 1 and path.read_bytes() == b"{half"


def test_a_record_that_cannot_be_read_is_left_alone(monkeypatch):
    path = course_json(b'{"exercises": {}, "forecasts": {}}')
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        with pytest.warns(UserWarning, match="cannot be read .Permission denied.") as warned:
            assert guess("b").solved
    assert len(warned) == 1 and path.read_bytes() == b'{"exercises": {}, "forecasts": {}}'


def refuse(*_):
    raise PermissionError(errno.EACCES, "Permission denied")


def test_what_is_kept_is_kept_where_trainings_are_kept_too(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_KEEP", str(tmp_path / "drive"))
    (tmp_path / "drive").mkdir()
    guess("b")
    (settings.runs_folder() / "course.json").unlink()                # the machine is gone
    assert summary().solved == 1
    monkeypatch.setenv("COURSE_KEEP", str(tmp_path / "drive" / "course.json" / "no folder"))
    with pytest.warns(UserWarning, match="Set COURSE_KEEP"):
        guess("b")


def test_a_drive_that_is_not_mounted_is_not_made_into_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_KEEP", str(tmp_path / "drive" / "MyDrive" / "course-runs"))
    with pytest.warns(UserWarning, match="Set COURSE_KEEP"):
        assert guess("b").solved
    assert not (tmp_path / "drive").exists() and summary().solved == 1


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


def test_a_lock_that_cannot_be_had_does_not_stop_the_course():
    import filelock

    lock = settings.runs_folder() / f".{record.NAME}.lock"
    lock.parent.mkdir(parents=True)
    with filelock.FileLock(lock):                                # another notebook hangs
        assert guess("b").solved and summary().solved == 1
    lock.unlink()
    lock.mkdir()
    assert other("c").solved and summary().solved == 2


def test_what_cannot_be_compared_is_a_wrong_answer():
    given = core.check_function(lambda v: torch.eye(2).to_sparse(), lambda v: torch.eye(2), PROBES,
                                {}, "well!")
    assert given.solved is False and "cannot be compared" in given.text


def test_large_whole_numbers_are_told_apart():
    assert "expected 31,036,481, you returned 31,036,482" in comparing.difference(
        31_036_482, 31_036_481, tolerance=0)


class OpenNet(torch.nn.Module):
    """A class as its stub has it."""

    def __init__(self, width):
        super().__init__()

    def forward(self, image):
        """(B, 1) in and out."""
        return ...


class BegunNet(OpenNet):
    def forward(self, image):
        return image[...]


class Nothing:
    pass


def test_a_class_is_open_until_one_of_its_methods_does_something():
    assert core.is_open(OpenNet) and core.is_open(OpenNet(3))
    for answer in (BegunNet, BegunNet(3), Nothing, Nothing(), torch.nn.Linear(1, 1), 0, print,
                   torch.zeros(1), np.zeros(1), double):
        assert not core.is_open(answer)
    assert verdict(OpenNet).solved is None


def test_a_summary_takes_the_lessons_number_as_it_is_written():
    assert repr(check.summary(1)) == repr(check.summary("01"))
    with pytest.raises(CourseError, match="check.summary: number='99'. Use one of '00', '01'"):
        check.summary("99")
