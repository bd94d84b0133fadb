"""Is this machine ready for the course? `course doctor`, or `doctor.run()` in a notebook."""

from course_lib.doctor.examination import MINUTES, run, seconds_per_step
from course_lib.doctor.report import Line, Report

__all__ = ["MINUTES", "Line", "Report", "run", "seconds_per_step"]
