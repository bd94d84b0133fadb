"""A patient as a moving picture: slice after slice, with outlines, slice number and legend."""

import io

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont
from scipy import ndimage

from course_lib.show import pictures
from course_lib.show.pictures import PREDICTION, TARGET, Picture

BYTES = 1_000_000          # at most
LINE, WIDTH = 20, 200      # pixels: height and width of a line of text below the slice


def gif(volume: np.ndarray, prediction: np.ndarray | None = None,
        target: np.ndarray | None = None, *, alt: str, around: int | None = 3,
        milliseconds: int = 200, colours: tuple[str, str] = (TARGET, PREDICTION)) -> Picture:
    """Show a patient slice after slice, target outlined solid, prediction dashed; at most 1 MB.

    Args:
        volume: (S, H, W), one channel; all its slices are shown in one grey window.
        prediction, target: (S, H, W) masks.
        alt: what to see; which slices are shown, and in which window, is added to it.
        around: how many slices to show before and after each with target or prediction; None, and
            where nothing is marked, shows all.
        milliseconds: per slice.
        colours: of target and prediction.
    """
    window, count = pictures.find_window(volume), len(volume)
    predicted, wanted = (np.zeros(np.shape(volume), bool) if mask is None else np.asarray(mask) > 0
                         for mask in (prediction, target))
    rows = _choose_slices((predicted | wanted).any(axis=(1, 2)), around)
    slices = [Image.fromarray(pictures.overlay(volume[row], predicted[row], wanted[row],
                                               window=window, colours=colours)) for row in rows]
    legend = [(colour, name) for colour, name, mask in zip(
        colours, ("target", "prediction"), (target, prediction), strict=True) if mask is not None]
    labels = [f"slice {row + 1} of {count}" for row in rows]
    shown = f"{len(rows)} of {count} slices, from {rows[0] + 1} to {rows[-1] + 1}"
    alt += f" Shown: {shown}; {pictures.tell_windows([window])}."
    return Picture(_fit(slices, labels, legend, _palette(colours), milliseconds), alt, "gif")


def _choose_slices(marked: np.ndarray, around: int | None) -> list[int]:
    """Choose the slices that are marked, and some around each; all, where none is."""
    if around is None or not marked.any():
        return list(range(len(marked)))
    near = ndimage.maximum_filter1d(marked, 2 * around + 1, mode="constant")
    return np.flatnonzero(near).tolist()


def _fit(slices: list[Image.Image], labels: list[str], legend: list[tuple[str, str]],
         palette: Image.Image, milliseconds: int) -> bytes:
    """Make a GIF of at most 1 MB: the slices shrink until it fits, the words below do not."""
    shrink = 1.0
    while True:
        frames = [_frame(each, shrink, label, legend).quantize(palette=palette,
                                                               dither=Image.Dither.NONE)
                  for each, label in zip(slices, labels, strict=True)]
        file = io.BytesIO()
        frames[0].save(file, format="gif", save_all=True, append_images=frames[1:],
                       duration=milliseconds, loop=0)
        if file.tell() <= BYTES or shrink * slices[0].width < 64:
            return file.getvalue()
        shrink *= 0.95 * (BYTES / file.tell()) ** 0.5


def _frame(picture: Image.Image, shrink: float, label: str,
           legend: list[tuple[str, str]]) -> Image.Image:
    """Set a slice above its number and the legend: the first line solid, the second dashed."""
    if shrink < 1:
        size = [max(1, round(shrink * side)) for side in picture.size]
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    width, height = max(picture.width, WIDTH), picture.height
    frame = Image.new("RGB", (width, height + LINE * (1 + bool(legend))))
    frame.paste(picture, ((width - picture.width) // 2, 0))
    draw, font = ImageDraw.Draw(frame), ImageFont.load_default(size=14)
    draw.text((6, height + LINE // 2), label, font=font, fill="white", anchor="lm")
    left, middle = 6, height + LINE + LINE // 2
    for colour, name in legend:
        dash, gap = (24, 0) if name == "target" else (6, 3)
        for start in range(left, left + 24, dash + gap):
            draw.line((start, middle, start + dash - 1, middle), fill=colour, width=3)
        draw.text((left + 30, middle), name, font=font, fill="white", anchor="lm")
        left += 90
    return frame


def _palette(colours: tuple[str, str]) -> Image.Image:
    """Choose 32 colours for all frames: of the lines, black for air and its noise, 29 greys."""
    greys = [[0] * 3, *([round(level)] * 3 for level in np.linspace(30, 255, 29))]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.ravel([*greys, *map(ImageColor.getrgb, colours)]).tolist())
    return palette
