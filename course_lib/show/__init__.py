"""Pictures, charts, GIFs and widgets: arrays and tables in, something to look at out."""

from course_lib.show.charts import curves, dots, dsc_chart, histograms
from course_lib.show.events import EventFile
from course_lib.show.gifs import gif
from course_lib.show.pictures import (
    TUTORIAL,
    Picture,
    contact_sheet,
    grey,
    most_marked,
    outline_most_marked,
    overlay,
    patient_sheet,
)
from course_lib.show.widgets import slice_viewer

__all__ = ["TUTORIAL", "EventFile", "Picture", "contact_sheet", "curves", "dots", "dsc_chart",
           "gif", "grey", "histograms", "most_marked", "outline_most_marked", "overlay",
           "patient_sheet", "slice_viewer"]
