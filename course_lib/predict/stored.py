"""What a run folder stores, read back: config.json and checkpoints. No damage goes unnoticed.

A checkpoint is what torch.save writes, followed by a line with the SHA-256 of it all (torch skips
the checksums of its own format); torch.load reads it as it is. config.json carries its checksum as
a field.
"""

import hashlib
import io
import json
import re
from contextlib import suppress
from pathlib import Path

import torch

from course_lib.errors import CourseError
from course_lib.tables import Table, read_csv

LAYOUT = 2                 # of run folders; 1 is course_lib 0.1's
COLUMNS = ["epoch", "step", "training_loss", "validation_loss", "prepared_dsc", "patients_scored",
           "learning_rate", "seconds"]
SEAL = b"course_lib sha256 "
SEAL_BYTES = len(SEAL) + 64 + 1
LOST = {"last.pt": "bring it back from a backup, or begin a new run in another folder",
        "best.pt": "delete it and call train.fit again with the same settings: it is made again "
                   "from last.pt where that holds the best epoch"}


def config_text(config: dict) -> str:
    """Write a run's config as JSON, to be read: innermost lists and dicts on one line each."""
    text = json.dumps({**config, "checksum": _checksum(config)}, indent=1)
    return re.sub(r"[\[{][^\[\]{}]*[\]}]", lambda part: re.sub(r"\n *", " ", part[0]), text) + "\n"


def _checksum(config: dict) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:32]


def read_config(folder: Path) -> dict:
    """Read a run's config.json.

    Raises:
        CourseError: it is missing, damaged, was edited, or is of another version of course_lib.
    """
    path = folder / "config.json"
    try:
        config = json.loads(_read(path).decode("utf-8"))
    except FileNotFoundError as error:
        raise CourseError(what="there is no config.json", where=str(folder),
                          cure="point to a folder that train.fit made") from error
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged_config(path, f"cannot be read ({type(error).__name__})") from error
    if not isinstance(config, dict):
        raise _damaged_config(path, f"holds a {type(config).__name__}")
    if config.get("layout") != LAYOUT and ("versions" in config or "layout" in config):
        raise CourseError(what=f"this run was made by course_lib {_version(config)}, whose run "
                               "folders are laid out in another way", where=str(path),
                          cure="use that version for it, or begin a new run in another folder")
    if config.pop("checksum", None) != _checksum(config):
        raise _damaged_config(path, "is not as it was written (its checksum does not fit)")
    return config


def _version(config: dict) -> str:
    versions = config.get("versions")
    version = versions.get("course-lib") if isinstance(versions, dict) else None
    return str(version or "of another version")


def _damaged_config(path: Path, what: str) -> CourseError:
    return CourseError(what=f"config.json {what}", where=str(path),
                       cure="bring it back from a backup, or begin a new run in another folder")


def read_history(folder: str | Path) -> Table:
    """Read a run's history.csv, a row per epoch, all numbers; a CourseError says it is damaged."""
    path = Path(folder) / "history.csv"
    if not path.is_file():
        return Table()
    with suppress(OSError, ValueError):
        table = read_csv(path)
        numbers = all(isinstance(value, float) for row in table for value in row.values())
        if numbers and table.names == COLUMNS:
            return table
    raise CourseError(what="history.csv is damaged, or was saved by another program",
                      where=str(path), cure="call train.fit again with the same settings: it is "
                                            "written again from last.pt")


def pack(state: dict) -> bytes:
    """Turn a checkpoint (tensors, numbers, strings, their containers) into sealed bytes."""
    content = io.BytesIO()
    torch.save(state, content)
    seal = hashlib.sha256(content.getbuffer()).hexdigest()
    content.write(SEAL + seal.encode() + b"\n")
    return content.getvalue()


def unpack(path: Path, run: str) -> dict:
    """Read a checkpoint, on the CPU. Only tensors, numbers, strings and their containers load.

    Args:
        path: of last.pt or best.pt.
        run: the run's id, from its config.json.
    Raises:
        CourseError: it is missing, damaged, another run's, or not a checkpoint.
    """
    try:
        content = _read(path)
    except OSError as error:
        raise unusable(path, f"cannot be read ({error.strerror or error})") from error
    whole, seal = content[:-SEAL_BYTES], content[-SEAL_BYTES:]
    if seal != SEAL + hashlib.sha256(whole).hexdigest().encode() + b"\n":
        raise unusable(path, f"is damaged, or was not written by train.fit (the checksum of its "
                             f"{len(content):,} bytes does not fit)")
    try:
        state = torch.load(io.BytesIO(whole), map_location="cpu", weights_only=True)
    except Exception as error:      # a file made to harm can make the reader raise nearly anything
        raise unusable(path, "holds something else than tensors and numbers, and was not loaded"
                       ) from error
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise unusable(path, "is no checkpoint of a run")
    if state.get("run") != run:
        raise unusable(path, "belongs to another run than config.json beside it")
    return state


def _read(path: Path) -> bytes:
    """Read a regular file; a pipe would be waited for without end."""
    if path.exists() and not path.is_file():
        raise OSError("it is no regular file")
    return path.read_bytes()


def find_folder(folder: str | Path, where: str) -> Path:
    """Turn a run folder's name into a path, ~ replaced; refuse what is none."""
    try:
        path = Path(folder).expanduser()
        path.resolve()                                   # fails for what cannot be a path
        return path
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        raise CourseError(what=f"folder={folder!r:.80}", where=where,
                          cure="give the path of a run folder, such as 'runs/first'") from error


def unusable(path: Path, what: str) -> CourseError:
    """Say what is wrong with a checkpoint; the cure follows from which one it is."""
    return CourseError(what=f"{path.name} {what}", where=str(path),
                       cure=LOST.get(path.name, LOST["last.pt"]))


def load_weights(model: torch.nn.Module, path: Path, run: str) -> dict:
    """Fill a network from a checkpoint, and return all that the file holds, on the CPU.

    Raises:
        CourseError: see unpack; or the weights are another network's, or not all numbers.
    """
    state = unpack(path, run)
    try:
        model.load_state_dict(state["model"])
    except (RuntimeError, TypeError, AttributeError) as error:
        raise CourseError(what="these are the weights of another network", where=str(path),
                          cure="pass the network that was trained, or begin a new run") from error
    if not all_finite(state["model"].values()):
        raise unusable(path, "holds weights that are not numbers (NaN or infinity)")
    return state


def all_finite(tensors) -> bool:
    """Tell whether all values of tensors are numbers; what is no tensor counts as finite."""
    checks = [value.isfinite().all() for value in tensors
              if isinstance(value, torch.Tensor) and value.is_floating_point()]
    return not checks or bool(torch.stack([check.cpu() for check in checks]).all())
