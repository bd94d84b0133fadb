"""Checkpoints that survive a power cut, and runs that go on where they stopped."""

import io
import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from course_lib import predict
from course_lib.data.cache import write_atomically
from course_lib.errors import CourseError
from course_lib.train import watch
from course_lib.train.keep import Keeper


def save(path: Path, state: dict) -> None:
    """Write a checkpoint whole or not at all; parts that a killed process left are cleared away.

    Raises:
        CourseError: it cannot be written; an earlier checkpoint is still there.
    """
    whole = io.BytesIO()        # in memory first: its size is known, and what fails is the disk
    torch.save(state, whole)
    with watch.explain_disk(path, f"the checkpoint of {len(whole.getbuffer()):,} bytes"):
        for part in path.parent.glob(f".{path.name}-*"):
            part.unlink()
        write_atomically(path, lambda file: file.write(whole.getbuffer()))


# numpy's global generator is legacy (NPY002), but losses and augmentations of readers draw from it.
def seed(number: int) -> None:
    """Seed every global random generator."""
    torch.manual_seed(number)
    np.random.seed(number)                                       # noqa: NPY002
    random.seed(number)


def random_state() -> dict:
    """The state of every global random generator, as tensors, numbers and strings."""
    kind, keys, *position = np.random.get_state()                # noqa: NPY002
    state = {"torch": torch.get_rng_state(), "python": random.getstate(),
             "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), *position]}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict) -> None:
    """Put every global random generator back to where `random_state` found it."""
    torch.set_rng_state(state["torch"])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, *position = state["numpy"]
    keys = keys.numpy().astype(np.uint32)
    np.random.set_state((kind, keys, *position))                 # noqa: NPY002
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


def best(history: list[dict]) -> dict:
    """The first row with the highest prepared DSC; NaN (nothing to measure) ranks below all."""
    return max(history, key=lambda row: -1 if math.isnan(row["prepared_dsc"])
               else row["prepared_dsc"])


@dataclass
class State:
    """All that changes in a training, and the files in the run folder that keep it."""

    folder: Path
    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    generator: torch.Generator
    history: list[dict]
    keeper: Keeper | None = None

    def save(self) -> None:
        """Write last.pt first: the other files never show an epoch that a resumed run lacks."""
        save(self.folder / "last.pt", {
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(), "generator": self.generator.get_state(),
            "random": random_state(), "history": self.history,
            "device": self.generator.device.type})
        self._follow()
        if self.keeper:
            self.keeper.store(len(self.history))

    def keep(self, row: dict) -> None:
        """Add an epoch's row to the history, and save."""
        self.history.append(row)
        self.save()

    def restore(self) -> None:
        """Go back to last.pt, and bring the other files there if a kill came in between."""
        stored = predict.load_weights(self.model, self.folder / "last.pt")
        self.optimizer.load_state_dict(stored["optimizer"])
        if stored["scaler"]:                             # empty where it was not needed
            self.scaler.load_state_dict(stored["scaler"])
        set_random_state(stored["random"])
        self.history[:] = stored["history"]
        if stored["device"] == self.generator.device.type:
            self.generator.set_state(stored["generator"])
        else:           # a state fits one kind of device only: on another, other draws follow
            self.generator.manual_seed(self.generator.initial_seed() + len(self.history))
        if len(watch.read_history(self.folder)) != len(self.history):
            self._follow()

    def _follow(self) -> None:
        """Bring best.pt and history.csv, in this order, level with last.pt."""
        if self.history and best(self.history) is self.history[-1]:
            save(self.folder / "best.pt", {"model": self.model.state_dict(), **self.history[-1]})
        watch.write_history(self.folder, self.history)


def _change(old, new) -> str:
    """`was 0.001, is 0.01`; of lists, such as the patients, what is missing and what is new."""
    if isinstance(old, list) and isinstance(new, list):
        lost = [item for item in old if item not in new]
        gained = [item for item in new if item not in old]
        if lost or gained:                                       # else the order is another
            return f"lost {lost}, gained {gained}"
    return f"was {old}, is {new}"


def _differences(before: dict, now: dict, name: str = "") -> Iterator[str]:
    """Settings that changed, as `training.learning_rate was 0.001, is 0.01`."""
    for field in sorted(before.keys() | now.keys()):
        old, new = before.get(field, "not set"), now.get(field, "not set")
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{name}{field}.")
        elif old != new:
            yield f"{name}{field} {_change(old, new)}"


def _fresh_name(folder: Path) -> str:
    number = 2
    while (folder.parent / f"{folder.name}-{number}").exists():
        number += 1
    return f"{folder.name}-{number}"


def stored_config(folder: Path, wanted: dict) -> dict | None:
    """The config.json of a run to go on with; None where the folder is new.

    Raises:
        CourseError: the run was begun with other settings; each is named. Or the folder holds
            something else.
    """
    path = folder / "config.json"
    if not path.is_file():
        if any(not found.name.startswith(".") for found in folder.glob("*")):
            raise CourseError(what="the folder holds files, but is not a run", where=str(folder),
                              cure=f"use another folder, such as {_fresh_name(folder)!r}")
        return None
    config = json.loads(path.read_text(encoding="utf-8"))
    wanted = json.loads(json.dumps(wanted))              # a tuple becomes a list, as in the file
    changed = list(_differences({field: config.get(field) for field in wanted}, wanted))
    if changed:
        raise CourseError(what=f"this run was begun with other settings: {'; '.join(changed)}",
                          where=str(folder),
                          cure=f"put them back to go on, or begin a new run, such as "
                               f"{_fresh_name(folder)!r}")
    return config
