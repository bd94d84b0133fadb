"""Files for TensorBoard: scalars and pictures by step.

Its own writer would put this machine's name into the file's name, and run folders are handed on.
"""

import time
from contextlib import suppress
from pathlib import Path

import numpy as np


class EventFile:
    """Events in the format that TensorBoard reads; the file is made with the first of them.

    Args:
        folder: made where it does not exist.
        purged: of events after this step, in older files, TensorBoard shows nothing.
    Raises:
        OSError: when something is written, and the disk is full or the folder cannot be made.
    """

    def __init__(self, folder: Path, purged: int):
        self.folder, self.purged, self.writer = folder, purged, None

    def _open(self) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns() // 1000:017d}"        # read in this order
        self.writer = RecordWriter(open(self.folder / name, "xb"))
        self._add(0, file_version="brain.Event:2")
        self._add(self.purged + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, step: float, scalars: dict[str, float],
              pictures: dict[str, np.ndarray]) -> None:
        """Write what a step has: tag to number, and tag to picture, (H, W, 3) uint8."""
        import torch
        from torch.utils.tensorboard import summary

        if self.writer is None:
            self._open()
        for tag, value in scalars.items():
            self._add(step, summary=summary.scalar(tag, value))
        for tag, picture in pictures.items():
            self._add(step, summary=summary.image(tag, torch.from_numpy(picture),
                                                  dataformats="HWC"))
        self.writer.flush()

    def _add(self, step: float, **content) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        event = Event(wall_time=time.time(), step=int(step), **content)
        self.writer.write(event.SerializeToString())

    def __enter__(self) -> "EventFile":
        return self

    def __exit__(self, *_) -> None:
        with suppress(OSError):              # what was to be written is written already
            if self.writer:
                self.writer.close()
