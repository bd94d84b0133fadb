"""Slices with outlines, alone and in sheets. Every picture says in words what it shows."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor
from scipy import ndimage

from course_lib.errors import CourseError

# Okabe and Ito's colours, told apart by nearly everybody; doubled by line style throughout.
TARGET, PREDICTION = "#56B4E9", "#E69F00"    # solid, dashed
TUTORIAL = ("#00FF00", "#FF0000")            # green truth, red prediction: not for the colour-blind
MIME = {"png": "image/png", "gif": "image/gif"}


@dataclass(frozen=True)
class Picture:
    """Bytes of a PNG or GIF with its description; notebooks show it.

    Attributes:
        data: the file's bytes.
        alt: what is to be seen, for those who cannot see it and for search.
        kind: "png" or "gif".
    """

    data: bytes
    alt: str
    kind: str = "png"

    def __post_init__(self):
        if not self.alt.strip():
            raise CourseError(what="a picture without a description", where="show",
                              cure="say in alt what is to be seen")

    def __repr__(self) -> str:
        return f"[{self.alt}]"

    def _repr_html_(self) -> str:
        source = f"data:{MIME[self.kind]};base64,{base64.b64encode(self.data).decode()}"
        alt = html.escape(self.alt, quote=True)
        return f'<img src="{source}" alt="{alt}" style="max-width:100%">'

    def save(self, path: str | Path) -> Path:
        """Write the file; folders are made as needed."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.data)
        return path


def from_figure(figure, alt: str) -> Picture:
    """Turn a matplotlib Figure into a Picture."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110, bbox_inches="tight")
    return Picture(file.getvalue(), alt)


def from_array(pixels: np.ndarray, alt: str) -> Picture:
    """Turn (H, W) or (H, W, 3) uint8 into a Picture."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png")
    return Picture(file.getvalue(), alt)


def most_marked(mask: np.ndarray) -> int:
    """Find the slice with most label in (S, H, W): its index; 0 where nothing is marked."""
    return int((np.asarray(mask) > 0).sum(axis=(1, 2)).argmax())


def outline_most_marked(image, mask, target) -> np.ndarray:
    """Outline the slice with most label of one prepared patient: (H', W', 3) uint8; see `overlay`.

    Args:
        image: (N, C, H, W) array or tensor; of several channels the second is shown, FLAIR.
        mask: (N, H, W) label map.
        target: (N, 1, H, W) label map.
    """
    target = np.asarray(target)[:, 0]
    row = most_marked(target)
    slice_of = image[row, min(1, image.shape[1] - 1)]
    return overlay(np.asarray(slice_of, dtype=np.float32), mask[row] > 0, target[row] > 0)


def grey(image: np.ndarray, window: tuple[float, float] | None = None) -> np.ndarray:
    """Turn a slice of any range into uint8 grey values.

    Args:
        image: (H, W).
        window: intensities shown as black and as white; None takes the minimum and the 99.5th
            percentile of the slice.
    """
    image = np.asarray(image, dtype=np.float32)
    low, high = window or (image.min(), np.percentile(image, 99.5))
    scaled = (image - low) / max(float(high - low), 1e-6)
    return (scaled.clip(0, 1) * 255).round().astype(np.uint8)


def _dashes(line: np.ndarray, mask: np.ndarray, length: int) -> np.ndarray:
    """Dash an outline; a part of the mask that would all but fall between two comes whole."""
    rows, columns = np.indices(line.shape)
    drawn = line & ((rows + columns) // length % 2 == 0)
    parts, count = ndimage.label(mask)
    share = ndimage.mean(drawn, parts * line, index=np.arange(count + 1))
    return drawn | (line & (share < 1 / 3)[parts])


def overlay(image: np.ndarray, prediction: np.ndarray | None = None,
            target: np.ndarray | None = None, *, zoom: int = 2, opacity: float = 1.0,
            window: tuple[float, float] | None = None,
            colours: tuple[str, str] = (TARGET, PREDICTION)) -> np.ndarray:
    """Draw outlines on a grey slice: target solid, prediction dashed.

    Args:
        image: (H, W), any range.
        prediction, target: (H, W) masks of 0 and 1; None draws none.
        zoom: pixels per pixel, so that lines are fine.
        opacity: of the lines, in [0, 1].
        window: see `grey`.
        colours: of target and prediction; `TUTORIAL` is the usual green and red, which one reader
            in twenty cannot tell apart.
    Returns:
        (zoom·H, zoom·W, 3) uint8.
    """
    picture = np.repeat(grey(image, window)[..., None], 3, axis=-1)
    picture = picture.repeat(zoom, axis=0).repeat(zoom, axis=1)
    thickness = max(1, zoom // 2, round(len(picture) / 200))     # seen in a sheet of four, too
    for mask, colour, dashed in ((target, colours[0], False), (prediction, colours[1], True)):
        if mask is not None and np.any(mask):
            mask = np.asarray(mask, dtype=bool).repeat(zoom, axis=0).repeat(zoom, axis=1)
            line = mask & ~ndimage.binary_erosion(mask, iterations=thickness)
            if dashed:
                line = _dashes(line, mask, 4 * thickness + 2)
            mixed = (1 - opacity) * picture[line] + opacity * np.array(ImageColor.getrgb(colour))
            picture[line] = mixed.round()
    return picture


def contact_sheet(images: list[np.ndarray], predictions: list | None = None,
                  targets: list | None = None, *, titles: list[str], alt: str, columns: int = 4,
                  window: tuple[float, float] | None = None,
                  colours: tuple[str, str] = (TARGET, PREDICTION)) -> Picture:
    """Lay many slices on one sheet, each with its outlines and title, and a legend.

    Args:
        images: (H, W) each.
        predictions, targets: a mask or None for each image; None for none at all.
        titles: one for each image.
        alt: what the sheet shows.
        window: see `grey`; the same for all.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(2.6 * columns, 3.1 * rows + 0.3), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.06)                   # inches, between rows
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    nothing = [None] * len(images)
    predictions = nothing if predictions is None else predictions
    targets = nothing if targets is None else targets
    for position, axis in enumerate(axes):
        axis.axis("off")
        if position < len(images):
            zoom = max(2, 512 // len(images[position]))          # lines of one width in all sheets
            axis.imshow(overlay(images[position], predictions[position], targets[position],
                                zoom=zoom, window=window, colours=colours))
            axis.set_title(titles[position], fontsize=9)
    legend = [Line2D([], [], color=colour, linestyle=style, label=label)
              for colour, style, label, masks in ((colours[0], "-", "target", targets),
                                                  (colours[1], "--", "prediction", predictions))
              if any(mask is not None for mask in masks)]
    if legend:
        figure.legend(handles=legend, loc="outside lower center", ncols=2, frameon=False)
    return from_figure(figure, alt)


def patient_sheet(patients: Sequence, titles: Sequence[str], *, alt: str, columns: int = 4,
                  channel: int = 1) -> Picture:
    """Show one slice of each patient: the one with most label, outlined.

    Args:
        patients: each with image (S, H, W, C), mask and target (S, H, W) or None, as
            predict.Prediction has.
        titles: one for each patient.
        alt: what the sheet shows.
        channel: of the image; 1 is FLAIR.
    """
    rows = [main_slice(patient) for patient in patients]
    pairs = list(zip(patients, rows, strict=True))
    return contact_sheet([patient.image[row, ..., channel] for patient, row in pairs],
                         [patient.mask[row] for patient, row in pairs],
                         [None if patient.target is None else patient.target[row]
                          for patient, row in pairs],
                         titles=titles, columns=columns, alt=alt)


def main_slice(patient) -> int:
    """Find the slice with most target; with most prediction, where no target is marked."""
    marked = patient.target is not None and np.any(patient.target)
    return most_marked(patient.target if marked else patient.mask)
