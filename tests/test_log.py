"""What can be seen of a training: history.csv, TensorBoard, the bar."""

import errno
import itertools
import math
import os
from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from course_lib.errors import CourseError
from course_lib.train import read_history, watch


def row(epoch, dsc=0.5):
    return {"epoch": epoch, "step": 5 * epoch, "training_loss": 1 / epoch,
            "validation_loss": 2 / epoch, "prepared_dsc": dsc, "learning_rate": 1e-4}


@pytest.fixture
def dataset():
    """Five patients of two slices each, 8 px; the tumour is in the second slice."""
    targets = torch.zeros(10, 1, 8, 8, dtype=torch.uint8)
    targets[1::2, :, 2:6, 2:6] = 1
    patients = ["a", "b", "c", "d", "e"]
    return SimpleNamespace(patients=patients, targets=targets,
                           images=torch.rand(10, 3, 8, 8).half(),
                           rows=lambda name: slice(2 * patients.index(name),
                                                   2 * patients.index(name) + 2))


def events(folder):
    """Scalars, {tag: [(step, value)]}, and pictures, {tag: [step]}, as TensorBoard reads them."""
    read = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    read.Reload()
    scalars = {tag: [(event.step, event.value) for event in read.Scalars(tag)]
               for tag in read.Tags()["scalars"]}
    return scalars, {tag: [event.step for event in read.Images(tag)]
                     for tag in read.Tags()["images"]}


def seconds_from(start):
    """A clock for TensorBoard's files, whose names begin with the second and are read in order.

    Two tries of a real run are never begun within a second.
    """
    return SimpleNamespace(time=itertools.count(start).__next__)


def test_history_comes_back_as_numbers_to_the_last_digit(tmp_path):
    rows = [row(1, math.nan), row(3, 0.1 + 0.2)]
    watch.write_history(tmp_path, rows)
    back = read_history(str(tmp_path))
    assert list(back[0]) == list(rows[0]) and len(back) == 2
    assert math.isnan(back[0]["prepared_dsc"]) and back[1] == rows[1]


def test_a_run_without_a_whole_epoch_has_no_history_file(tmp_path):
    watch.write_history(tmp_path, [])
    assert not list(tmp_path.iterdir()) and watch.read_history(tmp_path) == []
    watch.write_history(tmp_path, [row(1), row(2)])
    assert len(watch.read_history(tmp_path)) == 2


def test_scalars_of_every_epoch_are_in_tensorboard(tmp_path, dataset):
    with watch.TensorBoard(tmp_path, step=0) as board:
        for epoch in (1, 2):
            board.epoch(row(epoch), dataset, torch.zeros(10, 1, 8, 8), pictures=False)
    scalars, pictures = events(tmp_path)
    assert scalars == {"loss/training": [(5, 1.0), (10, 0.5)],
                       "loss/validation": [(5, 2.0), (10, 1.0)],
                       "dsc/prepared": [(5, 0.5), (10, 0.5)],
                       "learning_rate": [(5, pytest.approx(1e-4)), (10, pytest.approx(1e-4))]}
    assert pictures == {}


def test_going_on_keeps_the_last_whole_epoch_and_takes_back_what_came_after(tmp_path, dataset,
                                                                            monkeypatch):
    monkeypatch.setattr(event_file_writer, "time", seconds_from(1_800_000_000))
    logits = torch.zeros(10, 1, 8, 8)
    with watch.TensorBoard(tmp_path, step=0) as board:
        for epoch in (1, 2, 3):                     # killed before last.pt of epoch 3 was there
            board.epoch(row(epoch, dsc=0.25), dataset, logits, pictures=True)
    with watch.TensorBoard(tmp_path, step=10) as board:
        for epoch in (3, 4):
            board.epoch(row(epoch, dsc=0.75), dataset, logits, pictures=True)
    scalars, pictures = events(tmp_path)
    assert scalars["dsc/prepared"] == [(5, 0.25), (10, 0.25), (15, 0.75), (20, 0.75)]
    assert pictures["overlay/a"] == [5, 10, 15, 20]


def test_a_disk_that_is_full_for_tensorboard_is_explained(tmp_path, dataset, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    with watch.TensorBoard(tmp_path, step=0) as board:
        with monkeypatch.context() as patch:
            patch.setattr(board.writer, "flush", full)
            with pytest.raises(CourseError, match=r"tensorboard: TensorBoard's file cannot be "
                                                  r"written, [\d,]+ bytes are free .*No space"):
                board.epoch(row(1), dataset, torch.zeros(10, 1, 8, 8), pictures=False)
        monkeypatch.setattr(board.writer, "close", full)         # then leaving must not hide it
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tensorboard").touch()                   # where a folder should come
    with pytest.raises(CourseError, match="TensorBoard's file cannot be written"):
        watch.TensorBoard(tmp_path / "run", step=0)


def test_a_history_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "history.csv").mkdir()
    with pytest.raises(CourseError, match=r"history\.csv: the history cannot be written, [\d,]+ "):
        watch.write_history(tmp_path, [row(1)])


def test_pictures_show_the_slice_with_most_tumour_of_four_patients(tmp_path, dataset, monkeypatch):
    shown = []

    def overlay(image, prediction, target):
        shown.append((image, prediction, target))
        return torch.zeros(16, 16, 3, dtype=torch.uint8).numpy()

    monkeypatch.setattr(watch.show, "overlay", overlay)
    logits = torch.full((10, 1, 8, 8), -1.0)
    logits[3, 0, 0, 0] = 1
    with watch.TensorBoard(tmp_path, step=0) as board:
        board.epoch(row(1), dataset, logits, pictures=True)
    assert sorted(events(tmp_path)[1]) == ["overlay/a", "overlay/b", "overlay/c", "overlay/d"]
    image, prediction, target = shown[1]                              # patient b: slices 2 and 3
    assert (image == dataset.images[3, 1].float().numpy()).all()
    assert prediction.sum() == 1 and prediction[0, 0] and target.sum() == 16


def test_the_bar_says_step_loss_and_the_last_and_the_best_dsc(capsys):
    with watch.progress_bar(total=20, done=5) as bar:
        watch.advance(bar, 10, 0.12345, [])
        assert bar.n == 10 and bar.postfix == "loss 0.123"
        watch.advance(bar, 15, 0.1, [{"prepared_dsc": 0.75}, {"prepared_dsc": 0.5}])
        assert bar.n == 15 and bar.postfix == "loss 0.100, DSC 0.500 (best 0.750)"
        bar.refresh()
    printed = capsys.readouterr()
    assert "15/20" in printed.out and not printed.err


def test_the_bar_survives_epochs_with_nothing_to_measure():
    with watch.progress_bar(total=20, done=0) as bar:
        watch.advance(bar, 10, 0.1, [{"prepared_dsc": math.nan}])
        assert bar.postfix == "loss 0.100, DSC nan (best nan)"
        watch.advance(bar, 15, 0.1, [{"prepared_dsc": 0.5}, {"prepared_dsc": math.nan}])
        assert bar.postfix == "loss 0.100, DSC nan (best 0.500)"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOTDIR])
def test_a_folder_that_may_not_be_written_to_is_not_taken_for_a_full_disk(tmp_path, number):
    with pytest.raises(CourseError, match="set COURSE_RUNS|Set COURSE_RUNS") as told:
        with watch.explain_disk(tmp_path / "run" / "config.json", "the settings"):
            raise OSError(number, os.strerror(number))
    assert "Make room" not in str(told.value) and os.strerror(number) in str(told.value)
