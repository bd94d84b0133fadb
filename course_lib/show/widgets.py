"""Things to move by hand. Built on core ipywidgets (7 and 8) and PNG bytes.

No pyplot: with ipykernel 7 callbacks run on another thread, and pyplot figures come out corrupt
(jupyterlab issue 19719).
"""

from collections.abc import Callable, Mapping

import numpy as np

from course_lib.show.pictures import Picture, contact_sheet, from_array, overlay


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

    Args:
        predictions: name to an object with image (S, H, W, C), probabilities (S, H, W), target
            (S, H, W), as predict.patients returns.
        score: (prediction, target) -> number, such as metrics.dsc; of the whole patient.
        channel: of the image, 1 is FLAIR.
    """
    import ipywidgets

    names = list(predictions)
    patient = ipywidgets.Dropdown(options=names, description="patient")
    position = ipywidgets.IntSlider(description="slice", min=1, max=2, value=1)
    opacity = ipywidgets.FloatSlider(description="opacity", min=0, max=1, step=0.05, value=1.0)
    threshold = ipywidgets.FloatSlider(description="threshold", min=0.02, max=0.98, step=0.02, value=0.5)
    picture = ipywidgets.Image(format="png", width=512, height=512)
    caption = ipywidgets.HTML()

    def draw(_=None):
        found = predictions[patient.value]
        mask = found.probabilities > threshold.value
        row = position.value - 1
        pixels = overlay(found.image[row, ..., channel], mask[row], found.target[row],
                         opacity=opacity.value)
        alt = (f"slice {position.value} of {len(mask)}, threshold {threshold.value:.2f}: patient DSC "
               f"{score(mask, found.target):.3f}, all components kept")
        picture.value = from_array(pixels, alt).data
        caption.value = alt + ". Target solid, prediction dashed; the patient's right is on the left."

    def change_patient(_=None):
        found = predictions[patient.value]
        position.max = len(found.image)
        position.value = 1 + int(found.target.sum(axis=(1, 2)).argmax())
        draw()

    change_patient()
    patient.observe(change_patient, names="value")
    for control in (position, opacity, threshold):
        control.observe(draw, names="value")
    box = ipywidgets.VBox([ipywidgets.HBox([patient, position]),
                           ipywidgets.HBox([opacity, threshold]), picture, caption])
    return SliceViewer(box, _still(predictions, score, channel))


def _still(predictions: Mapping, score: Callable, channel: int) -> Picture:
    """For each patient the slice with most tumour."""
    rows = {name: int(found.target.sum(axis=(1, 2)).argmax()) for name, found in predictions.items()}
    scores = {name: score(found.mask, found.target) for name, found in predictions.items()}
    mean = float(np.nanmean(list(scores.values())))
    return contact_sheet(
        [found.image[rows[name], ..., channel] for name, found in predictions.items()],
        [found.mask[rows[name]] for name, found in predictions.items()],
        [found.target[rows[name]] for name, found in predictions.items()],
        titles=[f"{name}\nslice {rows[name] + 1}, patient DSC {scores[name]:.3f}" for name in predictions],
        alt=f"The slice with most tumour of {len(rows)} patients, outlined; mean patient DSC {mean:.3f}.")
