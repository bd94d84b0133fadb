"""What can be watched while a training runs: a progress bar, and TensorBoard."""

import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from course_lib import settings, show
from course_lib.files import explain_disk

TAGS = {"training_loss": "loss/training", "validation_loss": "loss/validation",
        "prepared_dsc": "dsc/prepared", "learning_rate": "learning_rate"}


def progress_bar(total: int, done: int) -> tqdm:
    """Open a bar of plain text, which every front end and every saved page can show."""
    return tqdm(total=total, initial=done, file=sys.stdout, unit="step", ncols=100,
                mininterval=1.0, disable=settings.rank() > 0)


def advance(bar: tqdm, step: int, loss: float, history: list[dict]) -> None:
    """Bring the bar to a step, with the running loss and the last and best DSC."""
    scores = [row["prepared_dsc"] for row in history]
    note = f", DSC {scores[-1]:.3f} (best {np.fmax.reduce(scores):.3f})" if scores else ""
    bar.set_postfix_str(f"loss {loss:.3f}{note}", refresh=False)
    bar.update(step - bar.n)


def draw(ready, mask: np.ndarray) -> np.ndarray:
    """Outline the slice with most label of one prepared patient: (H, W, 3) uint8.

    Args:
        ready: Prepared, of 2D slices; FLAIR, or the only channel, is shown.
        mask: (N, H, W) label map.
    """
    target = ready.target[:, 0].numpy()
    row = show.most_marked(target)
    channel = min(1, ready.image.shape[1] - 1)
    return show.overlay(np.asarray(ready.image[row, channel].float()), mask[row] > 0,
                        target[row] > 0)


class TensorBoard:
    """Scalars and pictures for TensorBoard, in <run folder>/tensorboard.

    Its own writer would put this machine's name into the file's name, and run folders are handed
    on. The file is made with the first epoch.

    Args:
        folder: of the run.
        step: of the last whole epoch; later events, left by an interrupted try, are purged.
    """

    def __init__(self, folder: Path, step: int):
        self.folder, self.step, self.writer = folder / "tensorboard", step, None

    def epoch(self, row: dict, pictures: dict[str, np.ndarray]) -> None:
        """Write one epoch: losses, DSC, learning rate, and outlined slices (H, W, 3) by name.

        Raises:
            CourseError: its file cannot be written.
        """
        from torch.utils.tensorboard import summary

        if settings.rank():
            return
        with explain_disk(self.folder, "TensorBoard's file"):
            self._open()
            for column, tag in TAGS.items():
                self._write(row["step"], summary=summary.scalar(tag, row[column]))
            for name, picture in pictures.items():
                self._write(row["step"], summary=summary.image(
                    f"overlay/{name}", torch.from_numpy(picture), dataformats="HWC"))
            self.writer.flush()

    def _open(self) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        if self.writer is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{time.time_ns() // 1000:017d}"    # read in this order
            self.writer = RecordWriter(open(self.folder / name, "xb"))
            self._write(0, file_version="brain.Event:2")
            self._write(self.step + 1, session_log=SessionLog(status=SessionLog.START))

    def _write(self, step: float, **content) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        event = Event(wall_time=time.time(), step=int(step), **content)
        self.writer.write(event.SerializeToString())

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(self, *_) -> None:
        with suppress(OSError):              # what an epoch had to say is written already
            if self.writer:
                self.writer.close()
