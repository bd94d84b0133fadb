"""Files for TensorBoard: scalars and pictures by step.

Its own writer would put this machine's name into the file's name, and run folders are handed on.
"""

import time
from pathlib import Path

import numpy as np


class EventFile:
    """A new file of events, in the format that TensorBoard reads.

    Args:
        folder: made where it does not exist.
        purged: of events after this step, in older files, TensorBoard shows nothing.
    Raises:
        OSError: the disk is full, or the folder cannot be made.
    """

    def __init__(self, folder: Path, purged: int):
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns() // 1000:017d}"        # read in this order
        self.writer = RecordWriter(open(folder / name, "xb"))
        self._add(0, file_version="brain.Event:2")
        self._add(purged + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, step: float, scalars: dict[str, float],
              pictures: dict[str, np.ndarray]) -> None:
        """Write what a step has: tag to number, and tag to picture, (H, W, 3) uint8."""
        import torch
        from torch.utils.tensorboard import summary

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

    def close(self) -> None:
        """Close the file."""
        self.writer.close()
