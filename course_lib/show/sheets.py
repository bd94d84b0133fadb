"""Many slices on one sheet: of one patient, of several, of several networks."""

import textwrap
from collections.abc import Callable, Mapping

import numpy as np

from course_lib.show import pictures
from course_lib.show.pictures import PREDICTION, TARGET, Picture, find_window


def contact_sheet(images: list[np.ndarray], predictions: list | None = None,
                  targets: list | None = None, *, titles: list[str], alt: str, columns: int = 4,
                  window: tuple[float, float] | list[tuple[float, float] | None] | None = None,
                  colours: tuple[str, str] = (TARGET, PREDICTION)) -> Picture:
    """Lay many slices on one sheet, each with its outlines and title, above legend and windows.

    Args:
        images: (H, W) each.
        predictions, targets: a mask or None for each image; None for none at all.
        titles: one for each image.
        alt: what the sheet shows; the grey windows are added to it.
        window: intensities shown as black and as white, see `find_window`: one pair for all images
            or one for each, None there for a map of no patient: its own range. None finds one
            window for all in what is on the sheet.
    """
    from matplotlib.lines import Line2D

    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    nothing = [None] * len(images)
    predictions = nothing if predictions is None else predictions
    targets = nothing if targets is None else targets
    windows, titles = _one_each(window, images), [_wrap(title) for title in titles]
    lines = max(title.count("\n") + 1 for title in titles)
    tallest = 2 * max(len(image) / image.shape[1] for image in images)           # inches
    figure = pictures.new_figure(2 * columns, rows * (tallest + 0.15 * lines + 0.08) + 0.4)
    figure.get_layout_engine().set(h_pad=0.06)                   # inches, between rows
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for position, axis in enumerate(axes):
        axis.axis("off")
        if position < len(images):
            zoom = max(2, 512 // len(images[position]))          # lines of one width in all sheets
            axis.imshow(pictures.overlay(
                images[position], predictions[position], targets[position],
                window=windows[position], zoom=zoom, colours=colours))
            axis.set_title(titles[position], fontsize=9)
    legend = [Line2D([], [], color=colour, linestyle=style, label=label)
              for colour, style, label, masks in ((colours[0], "-", "target", targets),
                                                  (colours[1], "--", "prediction", predictions))
              if any(mask is not None for mask in masks)]
    told = pictures.tell_windows(windows)
    figure.legend(handles=legend, loc="outside lower center", ncols=2, frameon=False, fontsize=9,
                  title=told, title_fontsize=8)
    return pictures.from_figure(figure, f"{alt} {told.capitalize()}.", dpi=145)


def _one_each(window, images: list[np.ndarray]) -> list[tuple[float, float]]:
    """Give each image its window: its own, or the one that was given or found for all."""
    if window is None:
        window = find_window(np.concatenate([np.ravel(image) for image in images]))
    if window[0] is not None and np.ndim(window[0]) == 0:
        window = [window] * len(images)
    each = [(np.min(image), np.max(image)) if pair is None else pair
            for pair, image in zip(window, images, strict=True)]
    return [(float(low), float(high)) for low, high in each]


def _wrap(title: str) -> str:
    """Break lines that are wider than a picture; a patient's name stays whole."""
    return "\n".join(textwrap.fill(line, 28, break_long_words=False, break_on_hyphens=False)
                     for line in title.split("\n"))


def patient_sheet(patients: Mapping, *, alt: str, score: Callable | None = None, columns: int = 4,
                  channel: int = 1) -> Picture:
    """Show each patient's main_slice, outlined, in the patient's grey window.

    Args:
        patients: title to an object with image (S, H, W, C), mask and target (S, H, W) or None, as
            predict.predict_all returns.
        alt: what the sheet shows.
        score: (prediction, target) -> number, such as metrics.dsc; stands in the titles, of the
            slice that is shown and of the whole patient.
        channel: of the image; 1 is FLAIR.
    """
    images, masks, targets, titles, windows = [], [], [], [], []
    for title, patient in patients.items():
        row, volume = main_slice(patient), patient.image[..., channel]
        images.append(volume[row])
        windows.append(find_window(volume))
        masks.append(patient.mask[row])
        targets.append(None if patient.target is None else patient.target[row])
        of_slice = score_labelled(score, masks[-1], targets[-1])
        of_patient = score_labelled(score, patient.mask, patient.target)
        titles.append(f"{title}\nslice {row + 1}{tell_dsc(': ', of_slice)}"
                      f"{tell_dsc(chr(10) + 'patient: ', of_patient)}")
    return contact_sheet(images, masks, targets, titles=titles, alt=alt, columns=columns,
                         window=windows)


def comparison_sheet(networks: Mapping[str, Mapping], *, alt: str, score: Callable | None = None,
                     channel: int = 1) -> Picture:
    """Show what several networks predict: a row for each network, a column for each patient.

    Args:
        networks: name to what `patient_sheet` takes, the same patients in each.
        alt, score, channel: see `patient_sheet`.
    """
    titled = {f"{network}\n{name}": patient for network, patients in networks.items()
              for name, patient in patients.items()}
    return patient_sheet(titled, alt=alt, score=score, columns=len(titled) // len(networks),
                         channel=channel)


def score_labelled(score: Callable | None, mask: np.ndarray, target: np.ndarray | None) -> float:
    """Score what is labelled at all; NaN without a score or a target: nothing to measure."""
    return float("nan") if score is None or target is None else float(score(mask > 0, target > 0))


def tell_dsc(before: str, value: float) -> str:
    """Put a score in words; NaN is left out."""
    return "" if np.isnan(value) else f"{before}DSC {value:.3f}"


def main_slice(patient) -> int:
    """Find the slice with most target; with most prediction, where no target is marked."""
    marked = patient.target is not None and np.any(patient.target)
    return pictures.most_marked(patient.target if marked else patient.mask)
