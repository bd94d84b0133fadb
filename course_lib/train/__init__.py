"""Training: one loop, its checkpoints, and what can be seen of it."""

from course_lib.predict.stored import read_history
from course_lib.train.config import TrainConfig
from course_lib.train.loop import Run, fit, training_step

__all__ = ["Run", "TrainConfig", "fit", "read_history", "training_step"]
