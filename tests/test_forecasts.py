"""Forecasts: folded until there is one, late where it came after, slips asked about, summed up."""

import json
import warnings

import numpy as np
import pytest
import torch

from course_lib import check, settings
from course_lib.check import guesses, overview, record
from course_lib.check.lessons import LESSONS, Lesson
from course_lib.errors import CourseError

LESSON = Lesson(number="77", stem="77_share", title="Share", goal="guess", minutes={}, data="",
                expected="", files=(), patients=0, exercises={"guess": "A guess"},
                forecasts={"77-share": {"first": "share", "second": "DSC"},
                           "77-count": {"epochs": "epochs"}})


@pytest.fixture(autouse=True)
def lesson_77(monkeypatch):
    monkeypatch.setattr(guesses, "LESSONS", [LESSON])


def show_share(first=0.75, second=0.25):
    return check.outcome("77-share", {"first": first, "second": second})


def entry(name: str = "77-share") -> dict:
    return record.read()["forecasts"][name]


def write_record(forecasts: dict) -> None:
    path = settings.runs_folder() / record.NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"format": 1, "exercises": {}, "forecasts": forecasts}))


# --- folded until there is a forecast ---

def test_run_all_of_an_unsolved_notebook_gives_nothing_away():
    for _ in range(2):
        check.forecast("77-share", {"first": None, "second": None}, reason="")
        shown = show_share()
        text, page = repr(shown), shown._repr_html_()
        head, _, hidden = page.partition("</summary>")
        assert head == "<details><summary>your forecast first"
        assert "0.750" in hidden and page.endswith("</details>")
        assert "0.75" not in text and "0.25" not in text
        assert 'check.forecast("77-share", "skip")' in text


def test_a_forecast_opens_the_outcome():
    show_share()
    line = check.forecast("77-share", {"first": 0.5, "second": None}, reason="a guess")
    assert line == repr(line) == (
        "1 of 2 forecast; the outcome opens when its cell is run again")
    shown = show_share()
    assert repr(shown).splitlines() == [
        "first: forecast 0.500, outcome 0.750, off by +0.250",
        "second: forecast none, outcome 0.250", "your reason: a guess"]
    page = shown._repr_html_()
    assert "<details>" not in page and ">off by</th>" in page and "+0.250" in page
    assert check.forecast("77-share", {"first": 0.5, "second": None}) == "1 of 2 forecast"


@pytest.mark.parametrize("skip", ["skip", " Skip ", {"first": "skip", "second": None}])
def test_a_skip_opens_the_outcome_and_is_shown(skip):
    assert "skipped" in check.forecast("77-share", skip)
    assert repr(show_share()).splitlines()[0] == "first: forecast skipped, outcome 0.750"


def test_a_skip_does_not_erase_a_forecast():
    check.forecast("77-share", {"first": 0.5, "second": 0.5})
    assert check.forecast("77-share", "skip") == "your forecast from before stays"
    assert "forecast 0.500" in repr(show_share()) and "skipped" not in repr(show_share())


def test_a_reason_in_words_is_a_forecast():
    check.forecast("77-share", {"first": None, "second": None}, reason="Mostly empty.")
    assert not show_share().folded


@pytest.mark.parametrize("nothing", [None, ..., "", "  "])
def test_an_empty_forecast_is_allowed_and_keeps_nothing(nothing):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "the outcome stays folded" in check.forecast("77-empty", {"a": nothing}, nothing)
    assert record.read()["forecasts"] == {}


def test_an_empty_forecast_does_not_erase_a_given_one():
    check.forecast("77-twice", {"a": 0.5}, reason="so")
    assert check.forecast("77-twice", {"a": None}) == "your forecast from before stays"
    assert repr(check.outcome("77-twice", {"a": 0.5})).startswith("a: forecast 0.500")


# --- late ---

def test_before_the_outcome_was_seen_a_forecast_may_be_changed():
    check.forecast("77-share", {"first": 0.1, "second": None}, "a")
    check.forecast("77-share", {"first": 0.2, "second": None}, "b")
    assert "first: forecast 0.200, outcome" in repr(show_share())
    assert entry()["reason"] == "b" and "late" not in entry()


def test_a_forecast_from_last_time_is_not_late_when_the_notebook_runs_again():
    for _ in range(2):
        line = check.forecast("77-share", {"first": 0.5, "second": (0.2, 0.3)}, reason="a guess")
        assert line == "2 of 2 forecast"
        assert "late" not in repr(show_share()) and "late" not in entry()


def test_the_first_forecast_stays_and_one_after_the_outcome_is_kept_as_late():
    check.forecast("77-share", {"first": 0.5, "second": None}, "honest")
    show_share()
    for _ in range(2):
        line = check.forecast("77-share", {"first": 0.75, "second": 0.25}, "I knew it")
        assert line == ("late: the outcome was shown before, and this is kept as late; "
                        "your first forecast stays")
        assert repr(show_share()).splitlines() == [
            "first: forecast 0.500 (late: 0.750), outcome 0.750, off by +0.250",
            "second: forecast none (late: 0.250), outcome 0.250", "your reason: honest"]
    assert entry()["values"] == {"first": 0.5, "second": None}
    assert entry()["late"] == {"first": 0.75, "second": 0.25}


def test_after_a_skip_that_was_used_a_forecast_is_late():
    check.forecast("77-share", "skip")
    show_share()
    assert check.forecast("77-share", {"first": 0.75, "second": 0.25}) == (
        "late: the outcome was shown before, and this is kept as late")
    assert repr(show_share()).startswith("first: forecast skipped (late: 0.750), outcome 0.750")


def test_a_skip_that_was_not_used_yet_is_taken_back_by_a_forecast():
    show_share()                                                          # folded
    check.forecast("77-share", "skip")
    check.forecast("77-share", {"first": 0.75, "second": 0.25})
    assert repr(show_share()).startswith("first: forecast 0.750, outcome 0.750")


def test_outcomes_of_an_earlier_version_were_shown_in_the_open():
    write_record({"77-share": {"values": {}, "reason": "", "outcome": {"first": 1, "second": 1}},
                  "77-count": {"values": {"epochs": 2}, "reason": "", "time": "2026-01-01",
                               "outcome": {"epochs": 1}},
                  "77-new": {"values": {"a": 2}, "reason": ""}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check.forecast("77-share", {"first": 1.0, "second": 1.0}).startswith("late")
        assert check.forecast("77-count", {"epochs": 2}) == "1 of 1 forecast, without a reason"
        assert check.forecast("77-count", {"epochs": 1}).endswith("your first forecast stays")
        assert check.forecast("77-new", {"a": 3}) == "1 of 1 forecast, without a reason"
    assert entry("77-new")["values"] == {"a": 3}


@pytest.mark.parametrize("part", ["outcome", "late", "values"])
def test_an_entry_of_which_a_part_is_no_dict_is_damaged(part):
    write_record({"77-share": {"values": {}, "reason": "", part: 3}})
    with pytest.warns(UserWarning, match="damaged"):
        assert record.read()["forecasts"] == {}


# --- slips ---

@pytest.mark.parametrize(("value", "asks"), [
    (30, "30 does not: did you mean 0.30?"), (12.5, "did you mean 0.125?"),
    ((60, 80), "60 to 80 does not: did you mean 0.60 to 0.80?"), ("60-80", "0.60 to 0.80"),
    (-0.1, "-0.1 does not."), (300, "300 does not."), (float("nan"), "nan does not."),
    (np.float32(30), "0.30")])
def test_per_cent_where_a_share_is_asked_for_is_noticed(value, asks):
    for what, unit in (("first", "share"), ("second", "DSC")):
        line = check.forecast("77-share", {what: value})
        assert line.startswith(f'✗ "{what}" is a {unit}, which lies between 0 and 1; ')
        assert asks in line and line.endswith("Nothing is kept until that is mended.")
    assert record.read()["forecasts"] == {} and show_share().folded


@pytest.mark.parametrize("value", [0, 1, 0.3, "30 %", "30%", (0.2, 0.3), "20-30 %", "much", True])
def test_what_can_be_a_share_is_kept(value):
    assert "1 of 1 forecast" in check.forecast("77-share", {"first": value})


def test_a_count_may_be_any_number():
    assert "1 of 1" in check.forecast("77-count", {"epochs": 30})


def test_a_slip_does_not_erase_what_was_forecast_before():
    check.forecast("77-share", {"first": 0.5, "second": 0.5})
    check.forecast("77-share", {"first": 50, "second": 0.5})
    assert entry()["values"]["first"] == 0.5


@pytest.mark.parametrize(("key", "asks"), [
    ("frist", 'did you mean "first"?'), ("seconds", 'did you mean "second"?'),
    ("First", 'did you mean "first"?'), ("DSC", "choose from 'first', 'second'.")])
def test_a_key_that_the_template_does_not_have_is_asked_about(key, asks):
    line = check.forecast("77-share", {key: 0.5, "second": 0.5})
    assert f'"{key}" is not asked for here: {asks}' in line and record.read()["forecasts"] == {}
    assert line._repr_html_().startswith("<p>✗ &quot;")


def test_an_experiment_of_ones_own_has_any_keys_and_numbers():
    assert "2 of 2" in check.forecast("mine", {"a": 30, "b": -1})
    assert repr(check.outcome("mine", {"a": 31.0})).splitlines()[:2] == [
        "a: forecast 30, outcome 31.000, off by +1.000", "b: forecast -1, outcome none"]


def test_an_outcome_of_other_things_than_the_lesson_asks_for_is_refused():
    with pytest.raises(CourseError, match="77-share: the outcome has 'first'. Give 'first', 'sec"):
        check.outcome("77-share", {"first": 0.5})


# --- ranges ---

@pytest.mark.parametrize("value", [(0.6, 0.8), [0.6, 0.8], (0.8, 0.6), "0.6-0.8", "0.6 – 0.8",
                                   "0.6 to 0.8", "60-80 %", "60 % - 80 %", "0.6…0.8",
                                   (np.float64(0.6), 0.8)])
def test_ranges_in_many_spellings(value):
    check.forecast("77-share", {"first": value, "second": value})
    assert repr(show_share(0.7, 0.85)).splitlines() == [
        "first: forecast 0.6 to 0.8, outcome 0.700, inside",
        "second: forecast 0.6 to 0.8, outcome 0.850, off by +0.050"]
    assert repr(show_share(0.5, 0.8)).splitlines() == [
        "first: forecast 0.6 to 0.8, outcome 0.500, off by -0.100",
        "second: forecast 0.6 to 0.8, outcome 0.800, inside"]


@pytest.mark.parametrize(("value", "plain"), [
    ("-2", -2.0), ("1e-3", 0.001), ("-1 to -0.5", "-1 to -0.5"), ("5 - 3", "3 to 5"),
    ("U-Net", "U-Net"), ("one to two", "one to two"), ((1, 2, 3), "(1, 2, 3)"),
    (("a", 2), "('a', 2)"), ("0.3 or so", "0.3 or so"), (".5", 0.5)])
def test_numbers_ranges_and_words_are_told_apart(value, plain):
    assert guesses.to_plain(value) == plain


# --- whatever is written stops nothing ---

class Silent:
    def __repr__(self):
        raise ValueError


def test_an_outcome_that_was_not_measured_this_time_is_the_last_one():
    check.forecast("77-count", {"epochs": 2})
    check.outcome("77-count", {"epochs": 1})
    shown = check.outcome("77-count", {"epochs": None})
    assert repr(shown) == "epochs: forecast 2, outcome 1, off by -1"


@pytest.mark.parametrize("value", [np.float32(0.5), np.array(0.5), torch.tensor(0.5)])
def test_numbers_of_numpy_and_torch_are_numbers(value):
    check.forecast("77-kinds", {"a": value}, reason=...)
    assert repr(check.outcome("77-kinds", {"a": value})) == (
        "a: forecast 0.500, outcome 0.500, off by +0.000")
    check.forecast("77-set", {"a": {1, 2}}, reason=3)
    assert "forecast {1, 2}" in repr(check.outcome("77-set", {"a": 1.0}))


@pytest.mark.parametrize("value", [10**5000, Silent(), check.forecast, float("inf"), "\ud800",
                                   [[]], (Silent(), 1), "9" * 5000],
                         ids=["large", "silent", "function", "infinite", "surrogate", "list",
                              "pair", "digits"])
def test_whatever_is_forecast_stops_nothing(value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check.forecast("77-any", {"a": value, 3: value}, reason="\ud800")
        shown = check.outcome("77-any", {"a": 0.5, 3: float("inf")})
        check.forecast("77-share", {"first": value})
    assert "outcome 0.500" in repr(shown) and "<table>" in shown._repr_html_()


def test_words_are_shown_as_they_are_and_what_is_no_number_has_no_difference():
    check.forecast("77-words", {"which": "U-Net <b>"}, reason="<i>")
    shown = check.outcome("77-words", {"which": "FCN"})
    assert "&lt;b&gt;" in shown._repr_html_() and "<i>" not in shown._repr_html_()
    check.forecast("77-none", {"a": 1})
    assert repr(check.outcome("77-none", {"a": float("nan")})) == "a: forecast 1, outcome nan"


@pytest.mark.parametrize("values", [[1], None, "text", 3])
def test_what_is_no_dict_of_values_is_a_sentence(values):
    for ask in (check.forecast, check.outcome):
        with pytest.raises(CourseError, match="check: values=.*Give a dict, such as"):
            ask("x", values)


def test_numbers_beyond_all_numbers_and_half_characters_can_be_shown():
    check.forecast("far", {"a": 10**400, "b": "\ud800"}, reason="\udcff")
    shown = check.outcome("far", {"a": 1, "b": "x"})
    assert "a: forecast" in repr(shown) and shown._repr_html_().encode()


# --- the end of a lesson ---

def test_the_summary_lists_forecasts_beside_outcomes_and_gives_no_folded_one_away():
    check.forecast("77-share", {"first": 0.5, "second": (0.2, 0.3)})
    show_share()
    check.outcome("77-count", {"epochs": 1234})
    summary = overview.Summary([LESSON])
    assert repr(summary).splitlines() == [
        "0 of 1 exercises solved", "○ 77  A guess  (not attempted yet)",
        "1 of 2 forecasts given",
        "77-share, first: forecast 0.500, outcome 0.750, off by +0.250",
        "77-share, second: forecast 0.2 to 0.3, outcome 0.250, inside",
        "77-count, epochs: forecast none, outcome folded"]
    page = summary._repr_html_()
    assert "1234" not in page and ">A guess</td>" in page and ">inside</td>" in page


def test_the_summary_shows_no_outcome_that_its_cell_has_not_shown():
    show_share()                                                        # folded
    check.forecast("77-share", {"first": 0.5, "second": 0.5})
    assert "77-share, first: forecast 0.500, outcome folded" in repr(overview.Summary([LESSON]))


def test_a_late_forecast_is_said_in_the_summary():
    check.forecast("77-count", "skip")
    check.outcome("77-count", {"epochs": 1})
    check.forecast("77-count", {"epochs": 1})
    assert repr(overview.Summary([LESSON])).splitlines()[2:] == [
        "0 of 2 forecasts given, 1 late", "77-count, epochs: forecast skipped (late: 1), outcome 1"]


def test_every_forecast_of_the_course_bears_the_number_of_its_lesson_and_a_known_unit():
    for lesson in LESSONS:
        for name, units in lesson.forecasts.items():
            assert name.startswith(f"{lesson.number}-") and units
            assert set(units.values()) <= {"DSC", "share", "pixels", "epochs"}
