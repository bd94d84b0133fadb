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


def _busiest(found) -> int:
    """The row of the slice with most tumour; with most prediction, where no tumour is marked."""
    marked = found.target is not None and found.target.any()
    return int((found.target if marked else found.mask).sum(axis=(1, 2)).argmax())


def _score(score: Callable, prediction: np.ndarray, target: np.ndarray | None) -> float:
    """NaN without a target: there is nothing to measure."""
    return float("nan") if target is None else float(score(prediction, target))


def _said(before: str, value: float) -> str:
    return "" if np.isnan(value) else f"{before}patient DSC {value:.3f}"


def slice_viewer(predictions: Mapping, *, score: Callable, channel: int = 1) -> SliceViewer:
    """Leaf through patients and slices; move opacity and threshold and see the DSC follow.

    Args:
        predictions: name to an object with image (S, H, W, C), probabilities, mask and target
            (S, H, W), as predict.patients returns; target is None where nobody has marked it.
        score: (prediction, target) -> number, such as metrics.dsc; of the whole patient.
        channel: of the image, 1 is FLAIR.
    """
    import ipywidgets

    names = list(predictions)
    patient = ipywidgets.Dropdown(options=names, description="patient")
    position = ipywidgets.IntSlider(description="slice", min=1, max=2, value=1)
    opacity = ipywidgets.FloatSlider(description="opacity", min=0, max=1, step=0.05, value=1.0)
    threshold = ipywidgets.FloatSlider(description="threshold", min=0.02, max=0.98, step=0.02,
                                       value=0.5)
    picture = ipywidgets.Image(format="png", width=512)      # the height follows the slice's shape
    caption = ipywidgets.HTML()

    def draw(_=None):
        found = predictions[patient.value]
        mask = found.probabilities > threshold.value
        row = position.value - 1
        target = None if found.target is None else found.target[row]
        pixels = overlay(found.image[row, ..., channel], mask[row], target, opacity=opacity.value)
        said = _said(": ", _score(score, mask, found.target))
        alt = f"slice {position.value} of {len(mask)}, threshold {threshold.value:.2f}{said}"
        picture.value = from_array(pixels, alt).data
        lines = "Prediction dashed" if target is None else "Target solid, prediction dashed"
        caption.value = f"{alt}. {lines}; the patient's right is on the left."

    def change_patient(_=None):
        found = predictions[patient.value]
        position.max = len(found.image)
        position.value = 1 + _busiest(found)
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
    patients = list(predictions.values())
    rows = [_busiest(found) for found in patients]
    scores = [_score(score, found.mask, found.target) for found in patients]
    measured = [value for value in scores if not np.isnan(value)]
    mean = f"; mean patient DSC {np.mean(measured):.3f}" if measured else ""
    return contact_sheet(
        [found.image[row, ..., channel] for found, row in zip(patients, rows, strict=True)],
        [found.mask[row] for found, row in zip(patients, rows, strict=True)],
        [None if found.target is None else found.target[row]
         for found, row in zip(patients, rows, strict=True)],
        titles=[f"{name}\nslice {row + 1}{_said(', ', value)}"
                for name, row, value in zip(predictions, rows, scores, strict=True)],
        alt=f"The slice with most tumour of {len(patients)} patients, outlined{mean}.")
