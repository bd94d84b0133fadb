"""The exercises' checkers, one file a lesson, and what a student forecasts and solves."""

from course_lib.check.beside import forecast, outcome
from course_lib.check.lesson_01 import find_the_leak, normalise, slice_dsc_of_nothing, split_rows
from course_lib.check.lesson_03 import dsc_of_patient, whose_score
from course_lib.check.record import Summary

EXERCISES = {"01": [slice_dsc_of_nothing, normalise, split_rows, find_the_leak],
             "03": [dsc_of_patient, whose_score]}

__all__ = ["dsc_of_patient", "find_the_leak", "forecast", "normalise", "outcome",
           "slice_dsc_of_nothing", "split_rows", "summary", "whose_score"]


def summary(lesson: str | None = None) -> Summary:
    """Which exercises of a lesson are solved; None for the whole course's."""
    return Summary([checker for number, checkers in EXERCISES.items()
                    for checker in checkers if lesson in (None, number)])
