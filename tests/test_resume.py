"""An interrupted run ends as an unbroken one, to the bit."""

import functools
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_log import events
from torch import nn
from writing import write_config

from course_lib import augment, losses, train
from course_lib.compute import Compute
from course_lib.data import SliceDataset
from course_lib.errors import CourseError
from course_lib.predict import stored
from course_lib.train import checkpoint

# A shell may start us with SIGINT ignored (nohup, a job in the background): stop buttons must work.
signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent
EXACT = {"batch_size": 2, "learning_rate": 0.01}
PLAIN = Compute("contiguous", "float32")
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
    return augment.Affine()(image, target, generator)


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


def fit(folder, parts, *, model=dropout_net, weights=0, change=noisy, epochs=3, compute=PLAIN,
        **config):
    """A run whose network, where it is a new run, begins with the weights of that seed."""
    config = train.TrainConfig(epochs=epochs, **(EXACT | config))
    return train.fit(model(weights), *parts, loss=losses.BCEDice(), augment=change, config=config,
                     folder=folder, compute=compute)


def alike(one, other):
    """Equal to the bit, through dicts and lists; NaN equals NaN; seconds and ids may differ."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one
                                                  if name not in ("seconds", "run"))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return repr(one) == repr(other)


def next_batches(folder, parts, resident, count=100):
    """What the run would draw next, augmented; all generators are then where last.pt has them."""
    model, run = dropout_net(seed=9), stored.read_config(folder)["id"]
    state = checkpoint.State(folder, run, "best", model, torch.optim.Adam(model.parameters()),
                             torch.amp.GradScaler("cpu", enabled=False), torch.Generator(), [])
    state.restore()
    epochs = (parts[0].batches(EXACT["batch_size"], 5, state.generator,
                               compute=Compute(resident=resident)) for _ in itertools.count())
    drawn = itertools.islice(itertools.chain.from_iterable(epochs), count)
    return [noisy(image, target, state.generator) for image, target in drawn]


def assert_same_run(one, other):
    """Weights, optimizer, generators, history (but for seconds), TensorBoard's scalars."""
    for name in ("last.pt", "best.pt"):
        stored = [torch.load(folder / name, weights_only=True) for folder in (one, other)]
        assert stored[0].keys() == stored[1].keys()
        for field in stored[0]:
            same = field in ("seconds", "run") or alike(stored[0][field], stored[1][field])
            assert same, (name, field)
    assert alike(train.read_history(one), train.read_history(other))
    scalars = [events(folder)[0] for folder in (one, other)]
    assert alike(*scalars) and len(scalars[0]["dsc/prepared"]) == len(train.read_history(one))
    assert not list(one.glob(".*")) and not list(other.glob(".*"))


def test_alike_tells_a_difference_in_the_last_bit():
    first = {"a": [torch.ones(3)], "seconds": 1}
    assert alike(first, {"a": [torch.ones(3)], "seconds": 2})
    assert not alike(first, {"a": [torch.ones(3) * (1 + 1e-7)], "seconds": 1})


# --- going on after Ctrl-C ---

@pytest.mark.parametrize("config", [{}, {
    "compute": Compute("channels_last", "float32"), "optimizer": "adamw", "schedule": "cosine",
    "weight_decay": 0.01, "clip_norm": 0.1, "validate_every": 2, "steps_per_epoch": 6,
    "keep": "last"}])
def test_a_run_stopped_in_mid_epoch_ends_as_an_unbroken_one(tmp_path, tif_folder, config):
    parts = split(tif_folder)
    unbroken = fit(tmp_path / "unbroken", parts, **config)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "broken", parts, change=interrupting(noisy, at=8), **config)
    assert [row["epoch"] for row in train.read_history(tmp_path / "broken")] == [1]
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "broken", parts, weights=1, change=interrupting(noisy, at=10), **config)
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

def change_config(folder, **parts):
    """Write config.json again, with other values in some of its parts."""
    config = stored.read_config(folder)
    write_config(folder, config | {name: config[name] | values for name, values in parts.items()})


def change_last(folder, **values):
    run = stored.read_config(folder)["id"]
    state = stored.unpack(folder / "last.pt", run) | values
    (folder / "last.pt").write_bytes(stored.pack(state))


def as_if_on_a_gpu(folder, **parts):
    """What a run that was begun on a GPU looks like from here."""
    change_config(folder, compute={"device": "cuda", "precision": "bfloat16"}, **parts)
    change_last(folder, device="cuda", generator=torch.zeros(16, dtype=torch.uint8))


def test_a_run_begun_on_another_kind_of_device_goes_on_here_and_says_so(tmp_path, tif_folder):
    parts, seen = split(tif_folder), []

    def watched(image, target, generator):
        seen.append(image)
        return image, target

    folder = fit(tmp_path / "run", parts, change=watched, epochs=1).folder
    as_if_on_a_gpu(folder, training={"epochs": 2})
    with pytest.warns(match="goes on in another way .device cuda → cpu, .*bits may differ"):
        run = fit(folder, parts, change=watched, epochs=2, weights=1)
    assert [row["epoch"] for row in run.history] == [1, 2]
    assert stored.read_config(folder)["compute"]["device"] == "cpu"
    assert not torch.equal(torch.cat(seen[:5]), torch.cat(seen[5:]))    # not epoch 1 once more


def test_a_finished_run_of_another_kind_of_device_is_only_shown(tmp_path, tif_folder):
    parts = split(tif_folder)
    folder = fit(tmp_path / "run", parts, epochs=1).folder
    as_if_on_a_gpu(folder)
    run = fit(folder, parts, epochs=1, weights=1)
    assert run.config["compute"]["device"] == "cuda" and len(run.history) == 1
    assert stored.read_config(folder)["compute"]["device"] == "cuda"


@pytest.mark.parametrize("compute", [Compute("channels_last", "float32"),
                                     Compute("contiguous", "float32", resident=False)])
def test_layout_and_residence_may_change_when_a_run_goes_on(tmp_path, tif_folder, compute):
    parts = split(tif_folder)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run", parts, change=interrupting(noisy, at=8))
    with pytest.warns(match="(layout contiguous → channels_last|resident True → False).*bits may"):
        run = fit(tmp_path / "run", parts, compute=compute)
    assert len(run.history) == 3
    assert stored.read_config(run.folder)["compute"]["layout"] == compute.layout


def test_a_run_goes_on_as_it_was_begun_where_nothing_else_is_asked_for(tmp_path, tif_folder,
                                                                       recwarn):
    parts = split(tif_folder)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run", parts, change=interrupting(noisy, at=8))
    fit(tmp_path / "run", parts, compute=Compute())
    assert not [warning for warning in recwarn if "bits" in str(warning.message)]
    assert stored.read_config(tmp_path / "run")["compute"]["layout"] == "contiguous"


# --- going on after kill -9 ---

def assert_kills_change_nothing(tif_folder, tmp_path, chains, resident=True):
    """For each chain of moments a run that is killed at each, then ended: equal to an unbroken."""
    command = [sys.executable, HERE / "killing.py", tif_folder, tmp_path, json.dumps(chains),
               str(resident)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500,
                          env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    unbroken, parts = tmp_path / "unbroken", split(tif_folder)
    assert len(train.read_history(unbroken)) == 4
    assert stored.read_config(unbroken)["compute"]["resident"] is resident
    expected = next_batches(unbroken, parts, resident)
    assert len(expected) == 100 and not alike(expected[0], expected[1])
    for number in range(len(chains)):
        assert_same_run(tmp_path / f"broken-{number}", unbroken)
        assert alike(next_batches(tmp_path / f"broken-{number}", parts, resident), expected)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
# How often each moment comes, at least, in a run of four epochs that nothing interrupts.
MOMENTS = {"step": 20, "validation": 4, "half": 6, "save": 10, "saved": 10}


@needs_fork
def test_a_run_killed_at_every_kind_of_moment_ends_as_an_unbroken_one(tmp_path, tif_folder):
    assert_kills_change_nothing(tif_folder, tmp_path, [[
        ("save", 1),           # in config.json, after the first step
        ("half", 1),           # in last.pt of epoch 0
        ("save", 2),           # in last.pt of epoch 0
        ("step", 3),           # in epoch 1
        ("validation", 1),     # of epoch 1
        ("half", 1),           # in last.pt of epoch 1
        ("save", 1),           # in last.pt of epoch 1
        ("saved", 1),          # last.pt of epoch 1 is there, best.pt is not
        ("saved", 1),          # best.pt is there, history.csv is not
        ("validation", 1),     # of epoch 2
        ("step", 7),           # in epoch 3
        ("saved", 1)]])        # last.pt of epoch 3 is there


@needs_fork
@pytest.mark.slow
@pytest.mark.parametrize("resident", [True, False])
def test_twenty_runs_killed_at_random_moments_end_as_an_unbroken_one(tmp_path, tif_folder,
                                                                     resident):
    """Each in mid-epoch, in validation or in a save; then twice by the clock, wherever it is."""
    dice = random.Random(resident)
    chains = []
    for _ in range(20):
        kind = dice.choice(list(MOMENTS))
        chains.append([[kind, dice.randint(1, MOMENTS[kind])],
                       *(["seconds", dice.uniform(0.02, 0.4)] for _ in range(2))])
    assert_kills_change_nothing(tif_folder, tmp_path, chains, resident)


@needs_fork
@pytest.mark.slow
def test_a_run_killed_at_each_save_step_and_validation_ends_as_an_unbroken_one(
        tmp_path, tif_folder):
    assert_kills_change_nothing(tif_folder, tmp_path, [[(kind, at)]
                                                for kind, count in MOMENTS.items()
                                                for at in range(1, count + 1)])


# --- going on after a full disk ---

@pytest.mark.slow
def test_a_disk_that_fills_up_while_training_stops_it_and_it_goes_on_later(tmp_path, tif_folder):
    """A real disk: a small one in memory, in a name space of its own."""
    unbroken = fit(tmp_path / "unbroken", split(tif_folder))
    (tmp_path / "disk").mkdir()
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"]).returncode:
        pytest.skip("no small disk can be mounted here")
    done = subprocess.run(["unshare", "-rm", sys.executable, HERE / "filling_up.py", tif_folder,
                           tmp_path / "disk", unbroken.folder], capture_output=True, text=True,
                          timeout=120)
    if done.returncode == 77:
        pytest.skip("no small disk can be mounted here")
    assert done.returncode == 0, done.stderr
    assert re.search(r"SAID .*disk/run/last\.pt: last\.pt \([\d,]{6,} bytes\) cannot be "
                     r"written, \d+,\d+ bytes are free .*No space left", done.stdout), done.stdout
    assert "EPOCHS 1 PARTS 0" in done.stdout and "SAME" in done.stdout
