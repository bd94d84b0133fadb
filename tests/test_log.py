"""What can be watched of a training: TensorBoard, the bar."""

import math
import socket

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from course_lib import show
from course_lib.errors import CourseError
from course_lib.train import log


def row(epoch, dsc=0.5):
    return {"epoch": epoch, "step": 5 * epoch, "training_loss": 1 / epoch,
            "validation_loss": 2 / epoch, "prepared_dsc": dsc, "learning_rate": 1e-4}


PICTURE = np.full((16, 16, 3), 128, np.uint8)


def events(folder):
    """Scalars, {tag: [(step, value)]}, and pictures, {tag: [step]}, as TensorBoard reads them."""
    read = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    read.Reload()
    scalars = {tag: [(event.step, event.value) for event in read.Scalars(tag)]
               for tag in read.Tags()["scalars"]}
    return scalars, {tag: [event.step for event in read.Images(tag)]
                     for tag in read.Tags()["images"]}


def test_scalars_of_every_epoch_are_in_tensorboard(tmp_path):
    with show.EventFile(tmp_path / "tensorboard", purged=0) as board:
        for epoch in (1, 2):
            log.write_epoch(board, row(epoch), {})
    scalars, pictures = events(tmp_path)
    assert scalars == {"loss/training": [(5, 1.0), (10, 0.5)],
                       "loss/validation": [(5, 2.0), (10, 1.0)],
                       "dsc/prepared": [(5, 0.5), (10, 0.5)],
                       "learning_rate": [(5, pytest.approx(1e-4)), (10, pytest.approx(1e-4))]}
    assert pictures == {}


def test_going_on_keeps_the_last_whole_epoch_and_takes_back_what_came_after(tmp_path):
    with show.EventFile(tmp_path / "tensorboard", purged=0) as board:
        for epoch in (1, 2, 3):                     # killed before last.pt of epoch 3 was there
            log.write_epoch(board, row(epoch, dsc=0.25), {"a": PICTURE})
    with show.EventFile(tmp_path / "tensorboard", purged=10) as board:
        for epoch in (3, 4):
            log.write_epoch(board, row(epoch, dsc=0.75), {"a": PICTURE})
    scalars, pictures = events(tmp_path)
    assert scalars["dsc/prepared"] == [(5, 0.25), (10, 0.25), (15, 0.75), (20, 0.75)]
    assert pictures["overlay/a"] == [5, 10, 15, 20]


def test_nothing_is_written_before_the_first_epoch_and_no_machine_is_named(tmp_path):
    with show.EventFile(tmp_path / "tensorboard", purged=0) as board:
        assert not list(tmp_path.iterdir())
        log.write_epoch(board, row(1), {})
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert socket.gethostname() not in file.name
    assert socket.gethostname().encode() not in file.read_bytes()


def test_a_disk_that_is_full_for_tensorboard_is_explained(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    with show.EventFile(tmp_path / "tensorboard", purged=0) as board:
        log.write_epoch(board, row(1), {})
        monkeypatch.setattr(board.writer, "flush", full)
        with pytest.raises(CourseError, match=r"tensorboard: TensorBoard's file cannot be "
                                              r"written, [\d,]+ bytes are free .*No space"):
            log.write_epoch(board, row(2), {})
        monkeypatch.setattr(board.writer, "close", full)     # leaving must not hide it
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tensorboard").touch()                   # where a folder should come
    with pytest.raises(CourseError, match="TensorBoard's file cannot be written"):
        log.write_epoch(show.EventFile(tmp_path / "run" / "tensorboard", 0), row(1), {})


def test_the_bar_says_step_loss_and_the_last_and_the_best_dsc(capsys):
    with log.progress_bar(total=20, done=5) as bar:
        log.advance(bar, 10, 0.12345, [])
        assert bar.n == 10 and bar.postfix == "loss 0.123"
        log.advance(bar, 15, 0.1, [{"prepared_dsc": 0.75}, {"prepared_dsc": 0.5}])
        assert bar.n == 15 and bar.postfix == "loss 0.100, DSC 0.500 (best 0.750)"
        bar.refresh()
    printed = capsys.readouterr()
    assert "15/20" in printed.out and not printed.err


def test_the_bar_survives_epochs_with_nothing_to_measure():
    with log.progress_bar(total=20, done=0) as bar:
        log.advance(bar, 10, 0.1, [{"prepared_dsc": math.nan}])
        assert bar.postfix == "loss 0.100, DSC nan (best nan)"
        log.advance(bar, 15, 0.1, [{"prepared_dsc": 0.5}, {"prepared_dsc": math.nan}])
        assert bar.postfix == "loss 0.100, DSC nan (best 0.500)"
