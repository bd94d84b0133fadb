"""Things to move by hand. Built on core ipywidgets (7 and 8) and PNG bytes.

No pyplot: with ipykernel 7 callbacks run on another thread, and pyplot figures come out corrupt
(jupyterlab issue 19719).
"""

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from course_lib.show.pictures import Picture, find_window, overlay, tell_windows
from course_lib.show.sheets import main_slice, patient_sheet, score_labelled, tell_dsc


class SliceViewer:
    """A widget with a still picture for where no front end can show it.

    Attributes:
        widget: the ipywidgets box.
        picture: the contact sheet.
    """

    def __init__(self, widget, picture: Picture):
        self.widget, self.picture = widget, picture

    def _repr_mimebundle_(self, **_) -> dict:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return {"application/vnd.jupyter.widget-view+json": view,
                "text/html": self.picture._repr_html_(), "text/plain": repr(self.picture)}


def slice_viewer(predictions: Mapping, *, score: Callable, channel: int = 1) -> SliceViewer:
    """Leaf through patients and slices; move opacity and threshold and see the DSC follow.

    The threshold is of the probability that a pixel is labelled at all: 1 - that of the background,
    where there are several labels.

    Args:
        predictions: name to an object with image (S, H, W, C), probabilities (K, S, H, W), mask
            and target (S, H, W), as predict.predict_all returns; target is None where nobody has
            marked it.
        score: (prediction, target) -> number, such as metrics.dsc; of the whole patient.
        channel: of the image, 1 is FLAIR.
    """
    import ipywidgets

    windows = {name: find_window(each.image[..., channel]) for name, each in predictions.items()}
    patient = ipywidgets.Dropdown(options=list(predictions), description="patient")
    position = ipywidgets.IntSlider(description="slice", min=1, max=2, value=1)
    opacity = ipywidgets.FloatSlider(description="opacity", min=0, max=1, step=0.05, value=1.0)
    threshold = ipywidgets.FloatSlider(description="threshold", min=0.02, max=0.98, step=0.02,
                                       value=0.5)
    picture = ipywidgets.Image(format="png", width=512)      # the height follows the slice's shape
    caption = ipywidgets.HTML()

    def draw(_=None):
        chosen, window = predictions[patient.value], windows[patient.value]
        several = len(chosen.probabilities) > 1
        labelled = 1 - chosen.probabilities[0] if several else chosen.probabilities[0]
        mask, row = labelled > threshold.value, position.value - 1
        target = None if chosen.target is None else chosen.target[row]
        pixels = overlay(chosen.image[row, ..., channel], mask[row], target, window=window,
                         opacity=opacity.value)
        text = (f"slice {position.value} of {len(mask)}, threshold {threshold.value:.2f}"
                f"{tell_dsc(': patient ', score_labelled(score, mask, chosen.target))}")
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format="png")
        picture.value = file.getvalue()
        lines = "Prediction dashed" if target is None else "Target solid, prediction dashed"
        caption.value = f"{text}. {lines}; {tell_windows([window])}, the same in all slices."

    def change_patient(_=None):
        chosen = predictions[patient.value]
        position.max = len(chosen.image)
        position.value = 1 + main_slice(chosen)
        draw()

    change_patient()
    patient.observe(change_patient, names="value")
    for control in (position, opacity, threshold):
        control.observe(draw, names="value")
    box = ipywidgets.VBox([ipywidgets.HBox([patient, position]),
                           ipywidgets.HBox([opacity, threshold]), picture, caption])
    return SliceViewer(box, _still(predictions, score, channel))


def _still(predictions: Mapping, score: Callable, channel: int) -> Picture:
    """Show each patient's main slice, for where no front end draws the widget."""
    scores = [score_labelled(score, each.mask, each.target) for each in predictions.values()]
    measured = [value for value in scores if not np.isnan(value)]
    mean = f"; mean patient DSC {np.mean(measured):.3f}" if measured else ""
    alt = f"The slice with most tumour of {len(scores)} patients, outlined{mean}."
    titled = {f"{name}{tell_dsc(', patient ', value)}": each
              for (name, each), value in zip(predictions.items(), scores, strict=True)}
    return patient_sheet(titled, channel=channel, alt=alt)
