"""The exercises' checkers, one file a lesson, and what a student forecasts and solves."""

from course_lib.check.beside import forecast, outcome
from course_lib.check.lesson_01 import find_the_leak, normalise, slice_dsc_of_nothing, split_rows
from course_lib.check.lesson_02 import (
    crop_and_join,
    instance_block,
    judge_the_claim,
    parameters_by_hand,
    training_memory,
    valid_side,
)
from course_lib.check.lesson_03 import dsc_of_patient, whose_score
from course_lib.check.record import Summary

EXERCISES = {"01": [slice_dsc_of_nothing, normalise, split_rows, find_the_leak],
             "02": [instance_block, parameters_by_hand, valid_side, crop_and_join, training_memory,
                    judge_the_claim],
             "03": [dsc_of_patient, whose_score]}

__all__ = ["crop_and_join", "dsc_of_patient", "find_the_leak", "forecast", "instance_block",
           "judge_the_claim", "normalise", "outcome", "parameters_by_hand",
           "slice_dsc_of_nothing", "split_rows", "summary", "training_memory",
           "valid_side", "whose_score"]


def summary(lesson: str | None = None) -> Summary:
    """Which exercises of a lesson are solved; None for the whole course's."""
    return Summary([checker for number, checkers in EXERCISES.items()
                    for checker in checkers if lesson in (None, number)])
