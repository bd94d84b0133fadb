"""Predictions as pictures and masks in a folder, and as one zip."""

import json
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from course_lib import show
from course_lib.errors import CourseError
from course_lib.files import explain_disk, write_atomically
from course_lib.predict.predictor import Prediction

WRITTEN = ".written.json"      # in predictions/: what an export wrote there, and may replace


def export(predictions: dict[str, Prediction], folder: str | Path) -> Path:
    """Write predictions/<patient>/, an outlined picture and a mask per slice, and one zip of all.

    Everything new is written before anything old goes; only what an earlier export wrote goes.

    Args:
        predictions: of 2D slices, with one label.
        folder: of the run.
    Returns:
        The zip, predictions.zip in the folder.
    Raises:
        CourseError: a file that no export wrote is in the way, or the disk refuses.
    """
    home = Path(folder) / "predictions"
    earlier = _read_written(home)
    pictures = {name: content for each in predictions.items() for name, content in _draw(*each)}
    strangers = [name for name in pictures if name not in earlier and (home / name).exists()]
    if strangers:
        raise CourseError(what=f"{strangers[0]} is there already, and no export wrote it",
                          where=str(home), cure="move it away, or export to another folder")
    with explain_disk(home, "predictions"):
        _note(home, {*earlier, *pictures})         # first: what a kill leaves may be replaced, too
        for name, pixels in pictures.items():
            write_atomically(home / name, lambda file, image=pixels: Image.fromarray(image).save(
                file, format="png", compress_level=1), durable=False)
        for name in earlier - pictures.keys():
            (home / name).unlink(missing_ok=True)
            if not any((home / name).parent.iterdir()):
                (home / name).parent.rmdir()
        _note(home, set(pictures))
        return _zip(home, sorted(pictures))


def _draw(name: str, prediction: Prediction):
    """Yield file name and pixels of each slice's picture and mask."""
    flair = prediction.image[..., 1]
    window = show.find_window(flair)
    for position, number in enumerate(prediction.slices):
        target = None if prediction.target is None else prediction.target[position]
        mask = prediction.mask[position]
        outlined = show.overlay(flair[position], mask, target, window=window)
        yield f"{name}/{name}_{number}_outlined.png", outlined
        yield f"{name}/{name}_{number}_mask.png", (mask > 0).astype(np.uint8) * 255


def _read_written(home: Path) -> set[str]:
    """Read what earlier exports wrote; nothing where that is not known."""
    try:
        names = json.loads((home / WRITTEN).read_text(encoding="utf-8"))
        return {name for name in names if isinstance(name, str) and name.count("/") == 1
                and ".." not in name and name.endswith(".png")}
    except (OSError, ValueError, TypeError):
        return set()


def _note(home: Path, names: set[str]) -> None:
    text = json.dumps(sorted(names), indent=0).encode()
    write_atomically(home / WRITTEN, lambda file: file.write(text))


def _zip(home: Path, names: list[str]) -> Path:
    """Zip the written files beside their folder, whole or not at all."""
    def write(file) -> None:
        with zipfile.ZipFile(file, "w") as archive:      # PNGs are compressed already
            for name in names:
                archive.write(home / name, name)

    path = home.with_suffix(".zip")
    write_atomically(path, write, durable=False)
    return path
