"""Pictures, charts, GIFs and widgets: arrays and tables in, something to look at out."""

from course_lib.show.charts import curves, dots, dsc_chart, histograms
from course_lib.show.drawing import draw_network, topology
from course_lib.show.events import EventFile
from course_lib.show.gifs import gif
from course_lib.show.pictures import (
    TUTORIAL,
    Picture,
    find_window,
    grey,
    most_marked,
    outline_most_marked,
    overlay,
)
from course_lib.show.sheets import comparison_sheet, contact_sheet, main_slice, patient_sheet
from course_lib.show.tracing import trace_network
from course_lib.show.widgets import slice_viewer

__all__ = ["TUTORIAL", "EventFile", "Picture", "comparison_sheet", "contact_sheet", "curves",
           "dots", "draw_network", "dsc_chart", "find_window", "gif", "grey", "histograms",
           "main_slice", "most_marked", "outline_most_marked", "overlay", "patient_sheet",
           "slice_viewer", "topology", "trace_network"]
