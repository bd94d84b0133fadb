"""Slices in grey with outlines. Every picture says in words what it shows."""

import base64
import html
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ImageColor
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


def new_figure(width: float, height: float):
    """Make a matplotlib Figure, in inches, without pyplot: widgets and threads are safe."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def from_figure(figure, alt: str, dpi: int = 110) -> Picture:
    """Turn a matplotlib Figure into a Picture."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, bbox_inches="tight")
    return Picture(file.getvalue(), alt)


def most_marked(mask: np.ndarray) -> int:
    """Find the slice with most label in (S, H, W): its index; 0 where nothing is marked."""
    return int((np.asarray(mask) > 0).sum(axis=(1, 2)).argmax())


def find_window(volume) -> tuple[float, float]:
    """Find the intensities to show as black and as white in all slices of one patient and channel.

    Were each slice stretched to its own range, noise would be white, and a tissue's grey would
    change from slice to slice. Black is the 0.5th percentile: air. White is 2.2 times the median
    inside the head, counted from black: brain is then near middle grey, however much fat is bright.

    Args:
        volume: array or tensor of any shape and range; the head is what is more than a tenth of
            the way up from black to the brightest.
    """
    values = np.ravel(np.asarray(volume, dtype=np.float32))
    values = values[:: 1 + len(values) // 200_000]               # enough to know percentiles
    black, brightest = np.percentile(values, (0.5, 99.9))        # not the maximum: a hot pixel
    head = values[values > black + 0.1 * (brightest - black)]
    middle = np.median(head) if len(head) else black
    return float(black), float(min(black + 2.2 * (middle - black), values.max()))


def tell_windows(windows: list[tuple[float, float]]) -> str:
    """Put the windows of some pictures in words: grey window 0 to 180."""
    different = [" to ".join(f"{float(f'{value:.3g}'):g}" for value in pair)
                 for pair in dict.fromkeys(windows)]
    if len(different) > 4:
        return f"{len(different)} grey windows"
    return f"grey window{'s' * (len(different) > 1)} {', '.join(different)}"


def outline_most_marked(image, mask, target) -> np.ndarray:
    """Outline the slice with most label of one prepared patient: (H', W', 3) uint8; see `overlay`.

    Args:
        image: (N, C, H, W) array or tensor; of several channels the second is shown, FLAIR.
        mask: (N, H, W) label map.
        target: (N, 1, H, W) label map.
    """
    target = np.asarray(target)[:, 0]
    row, channel = most_marked(target), min(1, image.shape[1] - 1)
    volume = np.asarray(image[:, channel], dtype=np.float32)
    return overlay(volume[row], mask[row] > 0, target[row] > 0, window=find_window(volume))


def grey(image: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Turn (H, W) of any range into uint8; the window's intensities become black and white."""
    low, high = window
    scaled = (np.asarray(image, dtype=np.float32) - low) / max(float(high - low), 1e-6)
    return (scaled.clip(0, 1) * 255).round().astype(np.uint8)


def _dashes(line: np.ndarray, mask: np.ndarray, length: int) -> np.ndarray:
    """Dash an outline; a part of the mask that would all but fall between two comes whole."""
    rows, columns = np.indices(line.shape)
    drawn = line & ((rows + columns) // length % 2 == 0)
    parts, count = ndimage.label(mask)
    share = ndimage.mean(drawn, parts * line, index=np.arange(count + 1))
    return drawn | (line & (share < 1 / 3)[parts])


def overlay(image: np.ndarray, prediction: np.ndarray | None = None,
            target: np.ndarray | None = None, *, window: tuple[float, float], zoom: int = 2,
            opacity: float = 1.0, colours: tuple[str, str] = (TARGET, PREDICTION)) -> np.ndarray:
    """Draw outlines on a grey slice: target solid, prediction dashed.

    Args:
        image: (H, W), any range.
        prediction, target: (H, W) masks of 0 and 1; None draws none.
        window: intensities shown as black and as white; find_window chooses for a patient.
        zoom: pixels per pixel, so that lines are fine.
        opacity: of the lines, in [0, 1].
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
