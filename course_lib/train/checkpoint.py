"""Checkpoints that survive a power cut, and runs that go on where they stopped."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from course_lib.data.cache import write_atomically
from course_lib.errors import CourseError


def save(path: Path, state: dict) -> None:
    """Write a checkpoint whole or not at all.

    Raises:
        CourseError: it cannot be written; an earlier checkpoint is still there.
    """
    try:
        write_atomically(path, lambda file: torch.save(state, file))
    except (OSError, RuntimeError) as error:      # torch reports a full disk as RuntimeError
        raise CourseError(what=f"the checkpoint cannot be written ({error})", where=str(path),
                          cure="make room there, then run the same cell again: it goes on from the "
                               "last whole checkpoint") from error


def load(path: Path) -> dict:
    """A checkpoint, on the CPU. Only tensors, numbers, strings and their containers are loaded."""
    return torch.load(path, map_location="cpu", weights_only=True)


def random_state() -> dict:
    """The state of every global random generator, as tensors, numbers and strings."""
    kind, keys, *position = np.random.get_state()
    state = {"torch": torch.get_rng_state(), "python": random.getstate(),
             "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), *position]}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict) -> None:
    """Put every global random generator back to where `random_state` found it."""
    torch.set_rng_state(state["torch"])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, *position = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *position))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


def _differences(before: dict, now: dict, name: str = "") -> Iterator[str]:
    """Settings that changed, as `training.learning_rate was 0.001, is 0.01`."""
    for field in sorted(before.keys() | now.keys()):
        old, new = before.get(field, "not set"), now.get(field, "not set")
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{name}{field}.")
        elif old != new:
            if isinstance(old, list) and isinstance(new, list):
                yield (f"{name}{field} lost {sorted(set(old) - set(new))}, "
                       f"gained {sorted(set(new) - set(old))}")
            else:
                yield f"{name}{field} was {old}, is {new}"


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
        if folder.exists() and any(folder.iterdir()):
            raise CourseError(what="the folder holds files, but is not a run", where=str(folder),
                              cure=f"use another folder, such as {_fresh_name(folder)!r}")
        return None
    config = json.loads(path.read_text(encoding="utf-8"))
    changed = list(_differences({field: config.get(field) for field in wanted}, wanted))
    if changed:
        raise CourseError(what=f"this run was begun with other settings: {'; '.join(changed)}",
                          where=str(folder),
                          cure=f"put them back to go on, or begin a new run, such as "
                               f"{_fresh_name(folder)!r}")
    return config
