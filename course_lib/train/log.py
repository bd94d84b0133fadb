"""What can be seen of a training: history.csv, TensorBoard, a progress bar."""

import csv
import errno
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from course_lib import show
from course_lib.data import SliceDataset
from course_lib.errors import CourseError
from course_lib.predict import write_table

REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)      # not for lack of room


@contextmanager
def explain_disk(path: Path, what: str) -> Iterator[None]:
    """Turn the disk's error into a sentence with the path and the bytes that are free."""
    try:
        yield
    except OSError as error:
        free = shutil.disk_usage(next(filter(Path.exists, path.parents))).free
        if error.errno in REFUSED:
            raise CourseError(what=f"{what} cannot be written ({error})", where=str(path),
                              cure="set COURSE_RUNS to a folder that can be written to") from error
        raise CourseError(what=f"{what} cannot be written, {free:,} bytes are free ({error})",
                          where=str(path),
                          cure="make room there, then run the same cell again: it goes on from the "
                               "last whole checkpoint") from error


def read_history(folder: str | Path) -> list[dict[str, float]]:
    """The rows of a run's history.csv: one per epoch, all numbers; none before the first ended."""
    path = Path(folder) / "history.csv"
    if not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def write_history(folder: Path, history: list[dict]) -> None:
    """Write history.csv, whole."""
    path = folder / "history.csv"
    with explain_disk(path, "the history"):
        if history:
            write_table(path, history)


def progress_bar(total: int, done: int) -> tqdm:
    """A bar of plain text, which every front end and every saved page can show."""
    return tqdm(total=total, initial=done, file=sys.stdout, unit="step", ncols=100, mininterval=1.0)


def advance(bar: tqdm, step: int, loss: float, history: list[dict]) -> None:
    """Bring the bar to a step, with the running loss and the last and best DSC."""
    scores = [row["prepared_dsc"] for row in history]
    note = f", DSC {scores[-1]:.3f} (best {np.fmax.reduce(scores):.3f})" if scores else ""
    bar.set_postfix_str(f"loss {loss:.3f}{note}", refresh=False)
    bar.update(step - bar.n)


class TensorBoard:
    """Scalars and pictures for TensorBoard, in <run folder>/tensorboard.

    Args:
        folder: of the run.
        step: of the last whole epoch; later events, left by an interrupted try, are purged.
    Raises:
        CourseError: its file cannot be written.
    """

    def __init__(self, folder: Path, step: int):
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder / "tensorboard"
        with self._explain_disk():
            self.writer = SummaryWriter(str(self.folder), purge_step=step + 1)

    def _explain_disk(self):
        return explain_disk(self.folder, "TensorBoard's file")

    def scalars(self, row: dict) -> None:
        """Losses, DSC and learning rate of one epoch."""
        for name, tag in (("training_loss", "loss/training"),
                          ("validation_loss", "loss/validation"),
                          ("prepared_dsc", "dsc/prepared"),
                          ("learning_rate", "learning_rate")):
            self.writer.add_scalar(tag, row[name], row["step"])

    def epoch(self, row: dict, dataset: SliceDataset, logits: torch.Tensor, pictures: bool) -> None:
        """What `scalars` adds, and perhaps pictures.

        Pictures show FLAIR with outlines, for up to four validation patients the slice with most
        tumour.
        """
        with self._explain_disk():
            self.scalars(row)
            for name in dataset.patients[:4] if pictures else []:
                rows = dataset.rows(name)
                at = rows.start + int(dataset.targets[rows].sum(dim=(1, 2, 3)).argmax())
                picture = show.overlay(np.asarray(dataset.images[at, 1].float()),
                                       (logits[at, 0] > 0).numpy(), dataset.targets[at, 0].numpy())
                self.writer.add_image(f"overlay/{name}", picture, row["step"], dataformats="HWC")
            self.writer.flush()

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(self, *_) -> None:
        with suppress(OSError):              # what an epoch had to say is written already
            self.writer.close()
