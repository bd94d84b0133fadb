"""A patient as a moving picture: slice after slice, with outlines."""

import io

import numpy as np
from PIL import Image, ImageColor

from course_lib.show.pictures import PREDICTION, TARGET, Picture, overlay

BYTES = 1_000_000     # at most


def _palette(colours: tuple[str, str]) -> Image.Image:
    """Choose 32 colours for all frames: 30 greys and those of the lines, whatever their pixels."""
    greys = [[round(level)] * 3 for level in np.linspace(0, 255, 30)]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.ravel([*greys, *map(ImageColor.getrgb, colours)]).tolist())
    return palette


def gif(volume: np.ndarray, prediction: np.ndarray | None = None,
        target: np.ndarray | None = None, *, alt: str, milliseconds: int = 200,
        colours: tuple[str, str] = (TARGET, PREDICTION)) -> Picture:
    """Show all slices of a patient, target outlined solid, prediction dashed; at most 1 MB.

    Args:
        volume: (S, H, W); one window for all slices.
        prediction, target: (S, H, W) masks.
        alt: what to see.
        milliseconds: per slice.
        colours: of target and prediction.
    """
    window = (float(np.min(volume)), float(np.percentile(volume, 99.7)))
    frames = [Image.fromarray(overlay(
        image, None if prediction is None else prediction[position],
        None if target is None else target[position], window=window, colours=colours))
        for position, image in enumerate(volume)]
    palette = _palette(colours)
    while True:
        file = io.BytesIO()
        first, *others = [frame.quantize(palette=palette, dither=Image.Dither.NONE)
                          for frame in frames]
        first.save(file, format="gif", save_all=True, append_images=others, duration=milliseconds,
                   loop=0)
        if file.tell() <= BYTES or frames[0].width < 64:
            return Picture(file.getvalue(), alt, "gif")
        shrink = 0.95 * (BYTES / file.tell()) ** 0.5
        size = tuple(round(side * shrink) for side in frames[0].size)
        frames = [frame.resize(size, Image.Resampling.LANCZOS) for frame in frames]
