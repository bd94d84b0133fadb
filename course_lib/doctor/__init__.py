"""Is this machine ready for the course? `course doctor`, or `doctor.run()` in a notebook."""

from course_lib.doctor.examination import run, seconds_per_step
from course_lib.doctor.report import Line, Report
from course_lib.doctor.start import begin

__all__ = ["Line", "Report", "begin", "run", "seconds_per_step"]
