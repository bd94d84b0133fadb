"""Checkpoints are whole or absent; random generators; settings that a run must keep."""

import errno
import os
import random

import numpy as np
import pytest
import torch
from test_resume import alike, dropout_net
from writing import write_config

from course_lib.errors import CourseError
from course_lib.predict import stored as run_files
from course_lib.train import checkpoint
from course_lib.train import folder as run_folder

# --- a checkpoint ---

def test_a_checkpoint_comes_back_with_nothing_but_tensors_numbers_and_strings(tmp_path):
    state = {"run": "a", "model": {"weight": torch.randn(2, 3)},
             "random": checkpoint.random_state(),
             "history": [{"epoch": 1, "prepared_dsc": float("nan")}]}
    checkpoint.write(tmp_path / "last.pt", run_files.pack(state))
    assert alike(torch.load(tmp_path / "last.pt", weights_only=True), state)
    assert alike(run_files.unpack(tmp_path / "last.pt", "a"), state)


@pytest.mark.parametrize("broken", ["os.fsync", "os.replace"])
def test_a_failed_save_leaves_the_earlier_checkpoint_and_names_path_and_bytes(
        tmp_path, monkeypatch, broken):
    checkpoint.write(tmp_path / "last.pt", run_files.pack({"epoch": 1}))
    size = (tmp_path / "last.pt").stat().st_size

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(broken, full)
    with pytest.raises(CourseError, match=rf"last\.pt: last\.pt \({size:,} bytes\) cannot be "
                                          r"written, [\d,]+ bytes are free .*No space left on "
                                          r"device.*Make room.*goes on from the last whole"):
        checkpoint.write(tmp_path / "last.pt", run_files.pack({"epoch": 2}))
    assert torch.load(tmp_path / "last.pt", weights_only=True) == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_a_file_that_may_not_grow_so_large_is_explained(tmp_path):
    """The system's own refusal, in the middle of writing."""
    resource = pytest.importorskip("resource")
    checkpoint.write(tmp_path / "last.pt", run_files.pack({"epoch": 1}))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))    # Python ignores SIGXFSZ
    try:
        with pytest.raises(CourseError, match=r"last\.pt: last\.pt \(40\d,\d+ bytes\) cannot "
                                              r"be written, [\d,]+ bytes are free .*too large"):
            checkpoint.write(tmp_path / "last.pt",
                             run_files.pack({"weights": torch.zeros(100_000)}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.load(tmp_path / "last.pt", weights_only=True) == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_parts_that_a_killed_save_left_are_cleared_away_and_no_others(tmp_path):
    ours, others = ".last.pt-ab12_xyz.part", [".last.pt-mine", ".other-ab12_xyz.part", "last.pt"]
    for name in (ours, *others):
        (tmp_path / name).write_bytes(b"part")
    run_folder.clear_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(others)


# --- random generators ---

def draws():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()    # noqa: NPY002


def test_random_state_brings_torch_numpy_and_python_back():
    checkpoint.seed(1)
    np.random.randn()                            # noqa: NPY002  numpy keeps the second of a pair
    state = checkpoint.random_state()
    first, pair = draws(), np.random.randn()                                      # noqa: NPY002
    checkpoint.seed(2)
    assert draws() != first
    checkpoint.set_random_state(state)
    assert (draws(), np.random.randn()) == (first, pair)                          # noqa: NPY002


def test_seed_sets_all_three_generators():
    checkpoint.seed(5)
    first = draws()
    checkpoint.seed(5)
    assert all(one == other for one, other in zip(draws(), first, strict=True))
    checkpoint.seed(6)
    assert all(one != other for one, other in zip(draws(), first, strict=True))


# --- settings of a run ---

def begun(folder, **config):
    """A run folder with a config; last.pt stands for all that follows."""
    folder.mkdir(parents=True, exist_ok=True)
    empty = {"data": {"digests": {}}, "model": None, "loss": None, "augment": None}
    write_config(folder, {"layout": run_files.LAYOUT, "id": "a", **empty, **config})
    (folder / "last.pt").touch()
    return folder


def stored_config(folder, **wanted):
    return run_folder.stored_config(folder, {"data": {"digests": {}}, "model": None, "loss": None,
                                             "augment": None, **wanted})


def test_a_new_or_empty_folder_has_no_settings_and_hidden_files_do_not_count(tmp_path):
    assert stored_config(tmp_path / "new", a=1) is None
    (tmp_path / ".DS_Store").touch()
    (tmp_path / ".config.json-k1ll3d").touch()
    assert stored_config(tmp_path, a=1) is None
    (begun(tmp_path / "run") / "last.pt").unlink()       # killed before its first checkpoint
    assert stored_config(tmp_path / "run", a=1) is None


def test_a_folder_with_other_files_is_refused_with_another_name(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "thesis.docx").touch()
    with pytest.raises(CourseError, match="holds files, but is not a run.*'run-2'"):
        stored_config(folder)


def test_equal_settings_are_taken_and_what_was_found_out_comes_along(tmp_path):
    folder = begun(tmp_path / "run", training={"rate": 0.1}, compute={"layout": "contiguous"})
    assert stored_config(folder, training={"rate": 0.1})["compute"] == {"layout": "contiguous"}


def test_a_tuple_is_the_same_setting_as_the_list_it_became_in_the_file(tmp_path):
    folder = begun(tmp_path / "run", model={"strides": [[1, 1], [2, 2]]})
    assert stored_config(folder, model={"strides": ((1, 1), (2, 2))})


@pytest.mark.parametrize("before, now, words", [
    ({"rate": 0.1}, {"rate": 0.2}, r"training\.rate was 0\.1, is 0\.2"),
    ({}, {"rate": 0.2}, r"training\.rate was not set, is 0\.2"),
    ({"rate": 0.1}, {}, r"training\.rate was 0\.1, is not set"),
    ({"who": ["a", "b"]}, {"who": ["b", "c"]}, r"training\.who lost \['a'\], gained \['c'\]"),
    ({"who": ["a", "b"]}, {"who": ["b", "a"]}, r"was \['a', 'b'\], is \['b', 'a'\]"),
    ({"who": [[1], [2]]}, {"who": [[1], [3]]}, r"lost \[\[2\]\], gained \[\[3\]\]"),
    ({"a": 1, "b": 1}, {"a": 2, "b": 2}, r"training\.a was 1, is 2; training\.b was 1, is 2"),
])
def test_every_changed_setting_is_named_with_old_and_new(tmp_path, before, now, words):
    folder = begun(tmp_path / "run", training=before)
    (tmp_path / "run-2").mkdir()
    with pytest.raises(CourseError, match=f"other settings: .*{words}.*'run-3'"):
        stored_config(folder, training=now)


def test_many_changes_are_counted_and_the_first_named(tmp_path):
    folder = begun(tmp_path / "run", training={str(number): 1 for number in range(9)})
    with pytest.raises(CourseError, match=r"training\.0 was 1, is 2; .*training\.4.*and 4 more"):
        stored_config(folder, training={str(number): 2 for number in range(9)})


def test_a_config_json_of_something_else_is_not_written_over(tmp_path):
    (tmp_path / "config.json").write_text('{"editor": "vim"}')
    with pytest.raises(CourseError, match=r"config\.json is not as it was written"):
        stored_config(tmp_path)


def test_the_best_epoch_is_the_first_with_the_highest_dsc_and_nan_ranks_last():
    rows = [{"epoch": epoch, "prepared_dsc": score}
            for epoch, score in enumerate([float("nan"), 0.0, 0.5, 0.5, float("nan")])]
    assert checkpoint.kept(rows, "best")["epoch"] == 2
    assert checkpoint.kept(rows[:2], "best")["epoch"] == 1
    assert checkpoint.kept(rows[:1], "best")["epoch"] == 0
    assert checkpoint.kept(rows, "last")["epoch"] == 4


def test_weights_are_filled_in_and_all_else_returned(tmp_path):
    trained, other = dropout_net(0), dropout_net(1)
    packed = run_files.pack({"run": "a", "model": trained.state_dict(), "epoch": 3})
    checkpoint.write(tmp_path / "best.pt", packed)
    assert run_files.load_weights(other, tmp_path / "best.pt", "a")["epoch"] == 3
    assert alike(other.state_dict(), trained.state_dict())
