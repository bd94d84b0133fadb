"""The exercises' checkers, and forecasts beside outcomes."""

from course_lib.check.forecast import forecast, outcome
from course_lib.check.lesson_02 import (
    crop_and_join,
    instance_block,
    judge_the_claim,
    parameters_by_hand,
    training_memory,
    valid_side,
)

__all__ = ["crop_and_join", "forecast", "instance_block", "judge_the_claim", "outcome",
           "parameters_by_hand", "training_memory", "valid_side"]
