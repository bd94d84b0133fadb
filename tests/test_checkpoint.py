"""Checkpoints are whole or absent, and an interrupted run ends as an unbroken one, to the bit."""

import errno
import functools
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from course_lib import augment, losses, predict, train
from course_lib.data import SliceDataset
from course_lib.errors import CourseError
from course_lib.train import checkpoint

# A shell may start us with SIGINT ignored (nohup, a job in the background): stop buttons must work.
signal.signal(signal.SIGINT, signal.default_int_handler)

EXACT = {"batch_size": 2, "learning_rate": 0.01, "layout": "contiguous", "precision": "float32"}
pytestmark = pytest.mark.usefixtures("on_the_cpu")


def dropout_net(seed):
    """Draws from torch's global generator while it trains."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
                         nn.Dropout2d(0.5), nn.Conv2d(4, 1, 1))


def noisy(image, target, generator):
    """Draws from all generators there are."""
    gain, shift = 1 + 0.1 * np.random.rand(), 0.1 * random.random()           # noqa: NPY002
    image = gain * image.float() + shift + 0.1 * torch.randn(1)
    return augment.affine()(image, target, generator)


def interrupting(function, at):
    """The same augmentation, but Ctrl-C is pressed at a call."""
    calls = itertools.count(1)

    @functools.wraps(function)
    def pressed(image, target, generator):
        if next(calls) == at:
            signal.raise_signal(signal.SIGINT)
        return function(image, target, generator)

    return pressed


def split(folder):
    """11 training slices (5 steps of 2 an epoch) and 3 validation slices, of 32 px."""
    whole = SliceDataset(folder, size=32)
    return whole.subset(whole.patients[:3]), whole.subset(whole.patients[3:])


def fit(folder, parts, *, model=dropout_net, weights=0, change=noisy, epochs=3, **config):
    """A run whose network, where it is a new run, begins with the weights of that seed."""
    config = train.TrainConfig(epochs=epochs, **(EXACT | config))
    return train.fit(model(weights), *parts, loss=losses.BCEDice(), augment=change, config=config,
                     folder=folder)


def alike(one, other):
    """Equal to the bit, through dicts and lists; seconds may differ, and NaN equals NaN."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one
                                                  if name != "seconds")
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return repr(one) == repr(other)


def assert_same_run(one, other):
    for name in ("last.pt", "best.pt"):
        stored = [torch.load(folder / name, weights_only=True) for folder in (one, other)]
        assert stored[0].keys() == stored[1].keys()
        for field in stored[0]:
            assert field == "seconds" or alike(stored[0][field], stored[1][field]), (name, field)
    assert alike(train.read_history(one), train.read_history(other))
    assert not list(one.glob(".*.pt-*")) and not list(other.glob(".*.pt-*"))


def test_alike_tells_a_difference_in_the_last_bit():
    first = {"a": [torch.ones(3)], "seconds": 1}
    assert alike(first, {"a": [torch.ones(3)], "seconds": 2})
    assert not alike(first, {"a": [torch.ones(3) * (1 + 1e-7)], "seconds": 1})


# --- a checkpoint ---

def test_a_checkpoint_comes_back_with_nothing_but_tensors_numbers_and_strings(tmp_path):
    state = {"model": {"weight": torch.randn(2, 3)}, "random": checkpoint.random_state(),
             "history": [{"epoch": 1, "prepared_dsc": float("nan")}]}
    checkpoint.save(tmp_path / "last.pt", state)
    assert alike(torch.load(tmp_path / "last.pt", weights_only=True), state)


@pytest.mark.parametrize("broken", ["os.fsync", "os.replace", "torch.save"])
def test_a_failed_save_leaves_the_earlier_checkpoint_and_names_the_path(tmp_path, monkeypatch,
                                                                        broken):
    checkpoint.save(tmp_path / "last.pt", {"epoch": 1})

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(broken, full)
    with pytest.raises(CourseError, match=r"last\.pt: the checkpoint cannot be written .*"
                                          r"No space left on device.*Make room"):
        checkpoint.save(tmp_path / "last.pt", {"epoch": 2})
    assert torch.load(tmp_path / "last.pt", weights_only=True) == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_torchs_own_error_on_a_full_disk_is_explained_too(tmp_path, monkeypatch):
    def full(*_):
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CourseError, match="cannot be written .*PytorchStreamWriter"):
        checkpoint.save(tmp_path / "last.pt", {})


def test_a_disk_that_fills_up_while_training_stops_it_and_it_goes_on_later(
        tmp_path, tif_folder, monkeypatch):
    parts = split(tif_folder)
    unbroken = fit(tmp_path / "unbroken", parts)
    whole_save, calls = torch.save, itertools.count(1)

    def full_after_the_first_epoch(state, file):
        if next(calls) == 4:                     # last.pt of epoch 0 and 1, best.pt, then no more
            file.write(b"part")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        whole_save(state, file)

    monkeypatch.setattr(torch, "save", full_after_the_first_epoch)
    with pytest.raises(CourseError, match=r"broken/last\.pt: .*goes on from the last whole"):
        fit(tmp_path / "broken", parts)
    monkeypatch.setattr(torch, "save", whole_save)
    assert len(train.read_history(tmp_path / "broken")) == 1
    fit(tmp_path / "broken", parts, weights=1)
    assert_same_run(tmp_path / "broken", unbroken.folder)


def test_parts_that_a_killed_save_left_are_cleared_away(tmp_path):
    (tmp_path / ".last.pt-abc").write_bytes(b"part")
    (tmp_path / ".other-abc").write_bytes(b"not ours")
    checkpoint.save(tmp_path / "last.pt", {"epoch": 1})
    assert {path.name for path in tmp_path.iterdir()} == {"last.pt", ".other-abc"}


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

def stored(folder, **config):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_new_or_empty_folder_has_no_settings_and_hidden_files_do_not_count(tmp_path):
    assert checkpoint.stored_config(tmp_path / "new", {"a": 1}) is None
    (tmp_path / ".DS_Store").touch()
    (tmp_path / ".config.json-k1ll3d").touch()
    assert checkpoint.stored_config(tmp_path, {"a": 1}) is None


def test_a_folder_with_other_files_is_refused_with_another_name(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "thesis.docx").touch()
    with pytest.raises(CourseError, match="holds files, but is not a run.*'run-2'"):
        checkpoint.stored_config(folder, {})


def test_equal_settings_are_taken_and_what_was_found_out_comes_along(tmp_path):
    folder = stored(tmp_path / "run", training={"rate": 0.1}, layout="contiguous")
    found = checkpoint.stored_config(folder, {"training": {"rate": 0.1}})
    assert found["layout"] == "contiguous"


def test_a_tuple_is_the_same_setting_as_the_list_it_became_in_the_file(tmp_path):
    folder = stored(tmp_path / "run", model={"strides": [[1, 1], [2, 2]]})
    assert checkpoint.stored_config(folder, {"model": {"strides": ((1, 1), (2, 2))}})


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
    folder = stored(tmp_path / "run", training=before)
    (tmp_path / "run-2").mkdir()
    with pytest.raises(CourseError, match=f"other settings: .*{words}.*'run-3'"):
        checkpoint.stored_config(folder, {"training": now})


def test_the_best_epoch_is_the_first_with_the_highest_dsc_and_nan_ranks_last():
    rows = [{"epoch": epoch, "prepared_dsc": score}
            for epoch, score in enumerate([float("nan"), 0.0, 0.5, 0.5, float("nan")])]
    assert checkpoint.best(rows)["epoch"] == 2
    assert checkpoint.best(rows[:2])["epoch"] == 1
    assert checkpoint.best(rows[:1])["epoch"] == 0


# --- going on after Ctrl-C ---

@pytest.mark.parametrize("config", [{}, {"layout": "channels_last", "optimizer": "adamw",
                                         "schedule": "cosine", "weight_decay": 0.01}])
def test_a_run_stopped_in_mid_epoch_ends_as_an_unbroken_one(tmp_path, tif_folder, config):
    parts = split(tif_folder)
    unbroken = fit(tmp_path / "unbroken", parts, **config)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "broken", parts, change=interrupting(noisy, at=8), **config)
    assert [row["epoch"] for row in train.read_history(tmp_path / "broken")] == [1]
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "broken", parts, weights=1, change=interrupting(noisy, at=9), **config)
    assert [row["epoch"] for row in train.read_history(tmp_path / "broken")] == [1, 2]
    broken = fit(tmp_path / "broken", parts, weights=2, **config)
    assert_same_run(broken.folder, unbroken.folder)
    assert alike(broken.history, unbroken.history)


def test_a_run_stopped_in_its_first_epoch_keeps_the_weights_it_began_with(tmp_path, tif_folder):
    parts = split(tif_folder)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run", parts, change=interrupting(noisy, at=3), weights=0)
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert state["history"] == [] and alike(state["model"], dropout_net(seed=0).state_dict())
    assert not (tmp_path / "run" / "history.csv").exists()
    fit(tmp_path / "run", parts, weights=1)
    unbroken = fit(tmp_path / "unbroken", parts, weights=0)
    assert_same_run(tmp_path / "run", unbroken.folder)


def test_another_seed_or_another_beginning_gives_another_end(tmp_path, tif_folder):
    """What is compared above can differ at all."""
    parts = split(tif_folder)
    fit(tmp_path / "one", parts, epochs=1)
    fit(tmp_path / "two", parts, epochs=1, weights=1)
    fit(tmp_path / "three", parts, epochs=1, seed=43)
    weights = [torch.load(tmp_path / name / "last.pt", weights_only=True)["model"]
               for name in ("one", "two", "three")]
    assert not alike(weights[0], weights[1]) and not alike(weights[0], weights[2])


def test_files_that_a_kill_left_behind_last_pt_are_brought_level(tmp_path, tif_folder):
    parts = split(tif_folder)
    whole = fit(tmp_path / "whole", parts, epochs=2)
    first_is_best = whole.best["epoch"] == 1
    behind = shutil.copytree(whole.folder, tmp_path / "behind")
    rows = (behind / "history.csv").read_text().splitlines(keepends=True)
    (behind / "history.csv").write_text("".join(rows[:-1]))
    if not first_is_best:
        (behind / "best.pt").unlink()
    run = fit(behind, parts, epochs=2, weights=1)
    assert alike(run.history, whole.history)
    assert_same_run(behind, whole.folder)


def test_another_network_of_the_same_name_is_refused(tmp_path, tif_folder):
    parts = split(tif_folder)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run", parts, change=interrupting(noisy, at=3))
    with pytest.raises(CourseError, match=r"last\.pt: these are the weights of another network"):
        fit(tmp_path / "run", parts, model=lambda seed: nn.Sequential(nn.Conv2d(3, 1, 1)))


# --- going on elsewhere ---

def as_if_on_a_gpu(folder):
    """What a run that was begun on a GPU looks like from here."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"device": "cuda"}))
    state = torch.load(folder / "last.pt", weights_only=True)
    torch.save(state | {"device": "cuda", "generator": torch.zeros(16, dtype=torch.uint8)},
               folder / "last.pt")


def test_a_run_begun_on_another_kind_of_device_goes_on_here(tmp_path, tif_folder):
    parts, seen = split(tif_folder), []

    def watched(image, target, generator):
        seen.append(image)
        return image, target

    folder = fit(tmp_path / "run", parts, change=watched, epochs=1).folder
    config = json.loads((folder / "config.json").read_text())
    config["training"]["epochs"] = 2
    (folder / "config.json").write_text(json.dumps(config))
    as_if_on_a_gpu(folder)
    run = fit(folder, parts, change=watched, epochs=2, weights=1)
    assert [row["epoch"] for row in run.history] == [1, 2]
    assert json.loads((folder / "config.json").read_text())["device"] == "cpu"
    assert not torch.equal(torch.cat(seen[:5]), torch.cat(seen[5:]))    # not epoch 1 once more


def test_a_finished_run_of_another_kind_of_device_is_only_shown(tmp_path, tif_folder):
    parts = split(tif_folder)
    folder = fit(tmp_path / "run", parts, epochs=1).folder
    as_if_on_a_gpu(folder)
    run = fit(folder, parts, epochs=1, weights=1)
    assert run.config["device"] == "cuda" and len(run.history) == 1
    assert json.loads((folder / "config.json").read_text())["device"] == "cuda"


def test_weights_are_filled_in_and_all_else_returned(tmp_path):
    trained, other = dropout_net(0), dropout_net(1)
    checkpoint.save(tmp_path / "best.pt", {"model": trained.state_dict(), "epoch": 3})
    assert predict.load_weights(other, tmp_path / "best.pt")["epoch"] == 3
    assert alike(other.state_dict(), trained.state_dict())


# --- going on after kill -9 ---

SCRIPT = '''
"""Train, killed again and again, each time in a fork of this process (torch is loaded once)."""
import itertools, json, os, random, signal, sys, time
from pathlib import Path

import torch
import torch.utils.tensorboard

torch.set_num_threads(1)
torch.optim.Adam([torch.zeros(1)])          # loads the rest of torch, once for all forks
sys.path.insert(0, sys.argv[1])
import test_checkpoint as tests
from course_lib import predict, settings

settings.device = lambda: torch.device("cpu")
parts, home = tests.split(sys.argv[2]), Path(sys.argv[3])


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def dying(function, at, after=False):
    """The function, in whose call number `at` the process dies, before it or after."""
    calls = itertools.count(1)

    def call(*args, **kwargs):
        now = next(calls) == at
        if now and not after:
            die()
        result = function(*args, **kwargs)
        if now:
            die()
        return result

    return call


def train(folder, weights, point):
    """One process. Returns whether it was killed."""
    child = os.fork()
    if child:
        if point and point[0] == "seconds":
            time.sleep(point[1])
            os.kill(child, signal.SIGKILL)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    try:
        where, at = point or (None, 0)
        if where == "step":
            step = torch.optim.Adam.step
            torch.optim.Adam.step = dying(step, at)
        elif where == "validation":
            predict.prepared_dsc = dying(predict.prepared_dsc, at)
        elif where == "save":                       # the bytes are there, the name is not
            os.fsync = dying(os.fsync, at, after=True)
        elif where == "saved":                      # this file is there, the next is not
            os.replace = dying(os.replace, at, after=True)
        tests.fit(folder, parts, weights=weights, epochs=4)
        os._exit(0)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)


train(home / "unbroken", 0, None)
for number, points in enumerate(json.loads(sys.argv[4])):
    folder = home / f"broken-{number}"
    for attempt, point in enumerate([*points, None]):
        begun = (folder / "last.pt").exists()       # then it must not matter what a network holds
        killed = train(folder, 100 + attempt if begun else 0, point)
        assert not point or killed or point[0] == "seconds", f"{point} was never reached"
'''


def assert_kills_change_nothing(tif_folder, tmp_path, chains):
    """For each chain of moments a run that is killed at each, then ended: equal to an unbroken."""
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, tmp_path / "script.py", os.path.dirname(__file__), tif_folder,
               tmp_path, json.dumps(chains)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500,
                          env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert len(train.read_history(tmp_path / "unbroken")) == 4
    for number in range(len(chains)):
        assert_same_run(tmp_path / f"broken-{number}", tmp_path / "unbroken")


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@needs_fork
def test_a_run_killed_at_every_kind_of_moment_ends_as_an_unbroken_one(tmp_path, tif_folder):
    assert_kills_change_nothing(tif_folder, tmp_path, [[
        ("save", 1),           # in config.json
        ("save", 2),           # in last.pt of epoch 0
        ("step", 3),           # in epoch 1
        ("validation", 1),     # of epoch 1
        ("save", 1),           # in last.pt of epoch 1
        ("saved", 1),          # last.pt of epoch 1 is there, best.pt is not
        ("saved", 1),          # best.pt is there, history.csv is not
        ("validation", 1),     # of epoch 2
        ("step", 7),           # in epoch 3
        ("saved", 1)]])        # last.pt of epoch 3 is there


@needs_fork
@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_as_an_unbroken_one(tmp_path, tif_folder):
    moments = np.random.default_rng(0).uniform(0.02, 0.6, size=(3, 15)).tolist()
    assert_kills_change_nothing(tif_folder, tmp_path, [[("seconds", moment) for moment in chain]
                                                for chain in moments])


@needs_fork
@pytest.mark.slow
def test_a_run_killed_at_each_save_step_and_validation_ends_as_an_unbroken_one(
        tmp_path, tif_folder):
    times = {"save": 10, "saved": 10, "step": 20, "validation": 4}
    assert_kills_change_nothing(tif_folder, tmp_path, [[(kind, at)] for kind, count in times.items()
                                                for at in range(1, count + 1)])
