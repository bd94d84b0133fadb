"""Checkpoints that survive a power cut, and runs that go on where they stopped."""

import math
import random
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from course_lib import settings
from course_lib.errors import CourseError
from course_lib.files import explain_disk, write_atomically
from course_lib.predict import stored
from course_lib.train.backup import Backup
from course_lib.train.folder import write_config, write_history


def write(path: Path, content: bytes) -> None:
    """Write a sealed checkpoint whole or not at all.

    Raises:
        CourseError: it cannot be written; an earlier checkpoint is still there.
    """
    with explain_disk(path, f"the checkpoint of {len(content):,} bytes"):
        write_atomically(path, lambda file: file.write(content))


# numpy's global generator is legacy (NPY002), but losses and augmentations of readers draw from it.
def seed(number: int) -> None:
    """Seed every global random generator."""
    torch.manual_seed(number)
    np.random.seed(number)                                       # noqa: NPY002
    random.seed(number)


def random_state() -> dict:
    """Read the state of every global random generator, as tensors, numbers and strings."""
    kind, keys, *position = np.random.get_state()                # noqa: NPY002
    state = {"torch": torch.get_rng_state(), "python": random.getstate(),
             "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), *position]}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict) -> None:
    """Put every global random generator back to a state that `random_state` read."""
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
    """Pick the first row with the highest prepared DSC; NaN (nothing to measure) ranks lowest."""
    return max(history, key=lambda row: -1 if math.isnan(row["prepared_dsc"])
               else row["prepared_dsc"])


@dataclass
class State:
    """All that changes in a training, and the files in the run folder that keep it.

    Attributes:
        folder, run: the run folder, and the run's id.
        backup: keeps a second copy of the run, where one is wanted.
    """

    folder: Path
    run: str
    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    generator: torch.Generator
    history: list[dict]
    backup: Backup | None = None

    def pack(self) -> bytes:
        """Put all that it takes to go on from here into the bytes of a last.pt."""
        return stored.pack({
            "run": self.run, "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict(),
            "generator": self.generator.get_state(), "random": random_state(),
            "history": list(self.history), "device": self.generator.device.type})

    def begin(self, config: dict, beginning: bytes | None) -> None:
        """Make the run folder, once a first step has worked.

        Args:
            config: for config.json.
            beginning: what `pack` gave before that step; None where the run goes on.
        """
        if not settings.rank():
            write_config(self.folder, config)
            if beginning is not None:
                self.save(beginning)

    def save(self, packed: bytes) -> None:
        """Write last.pt first: the other files never show an epoch that a resumed run lacks."""
        if settings.rank():                              # of several processes the first one writes
            return
        write(self.folder / "last.pt", packed)
        if self.history and best(self.history) is self.history[-1]:
            self._save_best()
        write_history(self.folder, self.history)
        if self.backup:
            self.backup.store(len(self.history))

    def keep(self, row: dict) -> None:
        """Add an epoch's row to the history, and save.

        Raises:
            CourseError: a weight is not a number; what is saved stays as it was.
        """
        if not self.is_finite():                         # before the checkpoint: it stays as it was
            raise CourseError(what=f"weights are not numbers after step {row['step']}, with "
                                   f"learning rate {row['learning_rate']:.3g}",
                              where="train.fit",
                              cure="take a learning rate ten times smaller, in a new run; the "
                                   "epochs before this one are kept")
        self.history.append(row)
        self.save(self.pack())

    def is_finite(self) -> bool:
        """Tell whether weights, buffers and the optimizer's averages are all numbers."""
        averages = [value for state in self.optimizer.state.values() for value in state.values()]
        return stored.all_finite([*self.model.state_dict().values(), *averages])

    def restore(self) -> None:
        """Go back to last.pt, and bring the other files there if a kill came in between.

        Raises:
            CourseError: last.pt is damaged, or another run's.
        """
        state = stored.load_weights(self.model, self.folder / "last.pt", self.run)
        try:
            self.optimizer.load_state_dict(state["optimizer"])
            if state["scaler"]:                          # empty where it was not needed
                self.scaler.load_state_dict(state["scaler"])
            set_random_state(state["random"])
            self.history[:] = state["history"]
            self._restore_generator(state["generator"], state["device"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CourseError(what="last.pt does not hold what it takes to go on",
                              where=str(self.folder / "last.pt"),
                              cure=stored.LOST["last.pt"]) from error
        if not settings.rank():
            self._repair_best()
            write_history(self.folder, self.history)

    def _restore_generator(self, state: torch.Tensor, device: str) -> None:
        """Set the generator; a state fits one kind of device only: elsewhere other draws follow."""
        if device == self.generator.device.type:
            self.generator.set_state(state)
        else:
            self.generator.manual_seed(self.generator.initial_seed() + len(self.history))

    def _save_best(self) -> None:
        write(self.folder / "best.pt", stored.pack(
            {"run": self.run, "model": self.model.state_dict(), **self.history[-1]}))

    def _repair_best(self) -> None:
        """Make best.pt again where it is not as it should be, or say that it is lost."""
        if not self.history:
            return
        try:
            if stored.unpack(self.folder / "best.pt", self.run)["epoch"] == self.best_epoch:
                return
            reason = "best.pt is not of the best epoch"
        except CourseError as error:
            reason = error.what
        except KeyError:
            reason = "best.pt has no epoch"
        if best(self.history) is self.history[-1]:
            self._save_best()
        else:
            warnings.warn(f"{self.folder}: {reason}. The best epoch, {self.best_epoch:.0f}, is "
                          "lost: last.pt holds only the last one", stacklevel=4)

    @property
    def best_epoch(self) -> float:
        """The epoch that best.pt should be from."""
        return best(self.history)["epoch"]
