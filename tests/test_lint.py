"""Lessons that break a rule are refused in words, before a notebook is written."""

from dataclasses import replace

import nbformat
import pytest

import lint
from course_lib.check.lessons import LESSONS

ROW = replace(LESSONS[0], number="77", stem="77_title", exercises={"double": "Double it"},
              forecasts={"77-one": {"share": "share"}})
FORECAST = 'check.forecast("77-one", {"share": None}, reason="")'
OUTCOME = 'check.outcome("77-one", {"share": part / whole})'


def code(*sources: str) -> lint.Cells:
    return [nbformat.v4.new_code_cell(source) for source in sources]


def exercise(head: str) -> lint.Cells:
    return [nbformat.v4.new_markdown_cell(head, metadata={"tags": ["exercise"]}),
            nbformat.v4.new_code_cell("check.double(2)", metadata={"tags": ["solution"]})]


# --- exercises ---

HEAD = "### Exercise 1 · Double it\n\nDifficulty 2/5 · 10 minutes{}\n\nWrite `double`."


@pytest.mark.parametrize("end", ["", " · no code"])
def test_an_exercise_has_a_heading_and_its_minutes(end):
    lint.check_exercises(exercise(HEAD.format(end)), ROW)
    assert lint.minutes_to_work(exercise(HEAD.format(end)), "77_title") == (0, 10)


@pytest.mark.parametrize("head", [
    "**Exercise 1 · Double it** · difficulty 2/5 · 10 minutes\n\nWrite.",
    HEAD.replace("###", "##").format(""), HEAD.replace("1 ·", "2 ·").format(""),
    HEAD.replace("\n\nDiff", "\nDiff").format(""), HEAD.replace("2/5", "6/5").format(""),
    HEAD.replace("10", "ten").format(""), HEAD.format(" or so")])
def test_an_exercise_with_another_head_is_refused(head):
    with pytest.raises(ValueError, match="77_title: an exercise begins with '### Exercise 1 · T"):
        lint.check_exercises(exercise(head), ROW)


def test_an_exercise_that_the_table_does_not_have_is_refused():
    for row in (replace(ROW, exercises={}), replace(ROW, exercises={"half": "Double it"}),
                replace(ROW, exercises={"double": "Double"})):
        with pytest.raises(ValueError, match="the exercises .'Double it'. are not those of the"):
            lint.check_exercises(exercise(HEAD.format("")), row)


# --- forecasts ---

GOOD = {
    "outcome below": [FORECAST, "part, whole = 1, 2", OUTCOME],
    "displayed within an if": [FORECAST, f"if True:\n    display({OUTCOME})"],
    "printed": [FORECAST, f"print({OUTCOME})"],
    "other numbers printed": ["print(other)", FORECAST, f"print(other)\n{OUTCOME}"],
    "the number printed below": [FORECAST, OUTCOME, "print(part / whole)"],
    "how many there are": [FORECAST, f"print(len(part))\n{OUTCOME}"],
    "a module": ["import numpy as np", FORECAST, "print(np.pi)\n"
                 'check.outcome("77-one", {"share": np.mean(part)})'],
    "a comprehension's own name": [FORECAST, "print(p)\n"
                                   'check.outcome("77-one", {"share": sum(p for p in parts)})'],
    "a function's name": [FORECAST, 'print(mean)\ncheck.outcome("77-one", {"share": mean(part)})'],
    "magics": [FORECAST, "%load_ext tensorboard", OUTCOME]}


@pytest.mark.parametrize("cells", GOOD.values(), ids=GOOD)
def test_a_lesson_whose_forecasts_are_forecasts_is_accepted(cells):
    lint.check_forecasts(code(*cells), ROW)


BAD = {
    "no outcome": ([FORECAST], "without outcome, or without forecast: 77-one"),
    "no forecast": ([OUTCOME], "the forecasts {} are not those of the table"),
    "another name": ([FORECAST.replace("-one", "-two"), OUTCOME], "are not those of the table"),
    "another key": ([FORECAST.replace("share", "part"), OUTCOME], "are not those of the table"),
    "an outcome of nothing": ([FORECAST, OUTCOME, OUTCOME.replace("one", "two")],
                              "without outcome, or without forecast: 77-two"),
    "twice": ([FORECAST, FORECAST, OUTCOME], "there are two check.forecast of 77-one"),
    "two outcomes": ([FORECAST, OUTCOME, OUTCOME], "there are two check.outcome of 77-one"),
    "outcome above": ([OUTCOME, FORECAST], "outcome of 77-one is not in a cell below its forecast"),
    "in one cell": ([f"display({FORECAST})\n{OUTCOME}"], "is not in a cell below its forecast"),
    "outcome not shown": ([FORECAST, f"{OUTCOME}\nprint(1)"],
                          "what check.outcome gives for 77-one is not shown: let the cell end"),
    "outcome kept": ([FORECAST, f"kept = {OUTCOME}"], "what check.outcome gives for 77-one is not"),
    "outcome shown at times": ([FORECAST, f"if part:\n    {OUTCOME}"], "is not shown"),
    "forecast not shown": ([f"{FORECAST}\npart = 1", OUTCOME], "what check.forecast gives for"),
    "a name that is computed": ([FORECAST.replace('"77-one"', "name"), OUTCOME],
                                "check.forecast takes a name, written out, and values"),
    "filled in": ([FORECAST.replace("None", "0.5"), OUTCOME], "template has None for each thing"),
    "computed template": ([FORECAST.replace('{"share": None}', "dict(share=None)"), OUTCOME],
                          "template has None for each thing"),
    "printed above the forecast": (["print(part)", FORECAST, OUTCOME], "part: shown above the"),
    "printed in between": ([FORECAST, 'print(f"{part / whole:.1%}")', OUTCOME],
                           "part, whole: shown above the outcome of 77-one or beside it"),
    "printed beside it": ([FORECAST, f"print(whole)\n{OUTCOME}"], "whole: shown above"),
    "printed by name": ([FORECAST, "print(1, end=str(part))", OUTCOME], "part: shown above"),
    "the end of a cell": ([FORECAST, "whole", OUTCOME], "whole: shown above"),
    "in a loop": ([FORECAST, "for p in [1]:\n    print(part[p])", OUTCOME], "part: shown above"),
    "displayed": ([FORECAST, "display(part)", OUTCOME], "part: shown above")}


@pytest.mark.parametrize(("cells", "says"), BAD.values(), ids=BAD)
def test_a_lesson_that_gives_an_outcome_away_or_forgets_it_is_refused(cells, says):
    with pytest.raises(ValueError, match="77_title: ") as refused:
        lint.check_forecasts(code(*cells), ROW)
    assert says in str(refused.value)


# --- sizes ---

def test_code_wider_than_a_page_is_refused_with_its_lines():
    cells = code("a = 1\n" + "x" * 88, "b = '" + "y" * 84 + "'")
    with pytest.raises(ValueError, match="77_title: lines of code are wider than 88 columns:\n"
                                         "90: b = 'yyy"):
        lint.check_columns(cells, "77_title")
    lint.check_columns([*cells[:1], nbformat.v4.new_markdown_cell("z" * 200)], "77_title")


def test_what_is_beyond_the_limits_is_listed():
    short = [nbformat.v4.new_markdown_cell("word " * 100), *code("a = 1", "\n\n".join("abcdefghi"))]
    assert list(lint.beyond_limits(short, ROW)) == ["100 words, expected 1,500 to 3,000",
                                                    "2 code cells, expected 25 to 40"]
    folded = nbformat.v4.new_markdown_cell("<details>" + "word " * 2000)
    fit = [nbformat.v4.new_markdown_cell("word " * 3000), folded, *code(*["a\n" * 15] * 40)]
    assert list(lint.beyond_limits(fit, ROW)) == []
    assert list(lint.beyond_limits([*fit[:-1], *code("first = 1\n" * 16)], ROW)) == [
        "a cell of 16 lines, expected 15 at most: first = 1"]


def test_only_the_first_lesson_may_be_short_and_it_may_not_be_long():
    first = replace(ROW, number="00")
    text = nbformat.v4.new_markdown_cell
    assert list(lint.beyond_limits([text("word " * 100), *code("a = 1")], first)) == []
    assert list(lint.beyond_limits([text("word " * 3001), *code(*["a = 1"] * 41)], first)) == [
        "3,001 words, expected 0 to 3,000", "41 code cells, expected 0 to 40"]
