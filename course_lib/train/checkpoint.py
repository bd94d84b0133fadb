"""Checkpoints that survive a power cut, and runs that go on where they stopped."""

import random
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from course_lib import settings
from course_lib.errors import CourseError
from course_lib.predict import stored
from course_lib.train.backup import Backup
from course_lib.train.folder import write, write_history


# numpy's global generator is legacy (NPY002), but losses and augmentations of readers draw from it.
def seed(number: int) -> None:
    """Seed every global random generator."""
    torch.manual_seed(number)
    np.random.seed(number)                                       # noqa: NPY002
    random.seed(number)


def _accelerators() -> dict:
    """Map names to the modules of torch that keep a random generator of their own here."""
    return {name: module for name, module, there in (
        ("cuda", torch.cuda, torch.cuda.is_available()),
        ("mps", torch.mps, torch.backends.mps.is_available())) if there}


def random_state() -> dict:
    """Read the state of every global random generator, as tensors, numbers and strings."""
    kind, keys, *position = np.random.get_state()                # noqa: NPY002
    return {"torch": torch.get_rng_state(), "python": random.getstate(),
            "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), *position],
            **{name: module.get_rng_state() for name, module in _accelerators().items()}}


def set_random_state(state: dict) -> None:
    """Put every global random generator back to a state that `random_state` read."""
    torch.set_rng_state(state["torch"])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, *position = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *position))       # noqa: NPY002
    for name, module in _accelerators().items():
        if name in state:
            module.set_rng_state(state[name])


def kept(history: list[dict], which: str) -> dict:
    """Pick best.pt's row: the last, or the first with the highest prepared DSC (NaN is lowest)."""
    return history[-1] if which == "last" else max(
        history, key=lambda row: np.nan_to_num(row["prepared_dsc"], nan=-1))


def diverged(what: str, rate: float, where: str = "train.fit") -> CourseError:
    """Say that numbers ceased to be numbers, and that a smaller learning rate is the cure."""
    return CourseError(what=f"{what}, with learning rate {rate:.3g}", where=where,
                       cure="take a learning rate ten times smaller, in a new run; the epochs "
                            "before this one are kept")


@dataclass
class State:
    """All that changes in a training, and the files in its folder that keep it; `run` is its id."""

    folder: Path
    run: str
    which: str
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
        """Make the run folder after a first step; `beginning`: the state before it, if new."""
        if not settings.rank():
            write(self.folder / "config.json", stored.config_text(config).encode())
            if beginning is not None:
                self.save(beginning)

    def save(self, packed: bytes) -> None:
        """Write last.pt first: the other files never show an epoch that a resumed run lacks."""
        if settings.rank():                              # of several processes the first one writes
            return
        write(self.folder / "last.pt", packed)
        if self.history and kept(self.history, self.which) is self.history[-1]:
            self._save_best()
        write_history(self.folder, self.history)
        if self.backup:
            self.backup.store(len(self.history))

    def keep(self, row: dict) -> None:
        """Add an epoch's row and save; where a weight is no number, what is saved stays."""
        averages = [value for state in self.optimizer.state.values() for value in state.values()]
        if not stored.all_finite([*self.model.state_dict().values(), *averages]):
            raise diverged(f"weights are not numbers after step {row['step']}",
                           row["learning_rate"])
        self.history.append(row)
        self.save(self.pack())

    def restore(self) -> None:
        """Go back to last.pt, and bring the other files there if a kill came in between."""
        state = stored.load_weights(self.model, self.folder / "last.pt", self.run)
        try:
            self.optimizer.load_state_dict(state["optimizer"])
            if state["scaler"]:                          # empty where it was not needed
                self.scaler.load_state_dict(state["scaler"])
            set_random_state(state["random"])
            self.history[:] = [dict(row, prepared_dsc=row["prepared_dsc"]) for row
                               in state["history"]]
            if state["device"] == self.generator.device.type:
                self.generator.set_state(state["generator"])
            else:                        # a state fits one kind of device: other draws follow
                self.generator.manual_seed(self.generator.initial_seed() + len(self.history))
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise stored.unusable(self.folder / "last.pt",
                                  "does not hold what it takes to go on") from error
        if not settings.rank():
            self._repair_best()
            write_history(self.folder, self.history)

    def _save_best(self) -> None:
        write(self.folder / "best.pt", stored.pack(
            {"run": self.run, "model": self.model.state_dict(), **self.history[-1]}))

    def _repair_best(self) -> None:
        """Make best.pt again where it is not as it should be, or say that it is lost."""
        epoch = kept(self.history, self.which)["epoch"] if self.history else 0
        try:
            if not epoch or stored.unpack(self.folder / "best.pt", self.run).get("epoch") == epoch:
                return
            reason = f"best.pt is not of the {self.which} epoch"
        except CourseError as error:
            reason = error.what
        if epoch == self.history[-1]["epoch"]:
            self._save_best()
        else:
            warnings.warn(f"{settings.show_path(self.folder)}: {reason}. The best epoch, "
                          f"{epoch:.0f}, is lost: last.pt holds only the last one", stacklevel=4)
