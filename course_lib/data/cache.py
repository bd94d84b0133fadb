"""Prepared arrays on disk: written whole or not at all, rebuilt when what they rest on changes."""

import hashlib
import json
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from course_lib import settings


def can_write(folder: Path) -> bool:
    """Whether files can be made in a folder; it is made where it does not exist."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def write_atomically(path: Path, write: Callable) -> None:
    """Call `write(file)` on a temporary file beside `path`, then put it in its place.

    The bytes are on the disk before the name is (fsync, then rename), so that a reader finds the
    old file or the new one whole, whenever the power goes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.chmod(temporary, 0o644)          # mkstemp's 0600 would keep a shared folder from others
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def key(**facts) -> str:
    """A short name for everything that a prepared array depends on: settings, file names, times."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:20]


def fingerprint(files: list[Path]) -> list[list]:
    """Name, size and time of each file: what tells that one of them has changed."""
    return [[file.name, status.st_size, status.st_mtime_ns]
            for file in files for status in [file.stat()]]


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays in `path`; None where there is no whole file (zip checks each array's CRC)."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile):
        return None


def cached(name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays kept under `name`; made, and kept, where there is no whole copy.

    Args:
        name: file name within the cache folder, with a `key` in it.
        make: computes the arrays.
    """
    path = settings.cache_folder() / f"{name}.npz"
    arrays = _read(path)
    if arrays is None:
        arrays = make()
        try:
            write_atomically(path, lambda file: np.savez(file, **arrays))
        except OSError as error:
            warnings.warn(f"prepared data are not kept: {error}. Set COURSE_CACHE to a folder "
                          "that can be written to.", stacklevel=2)
    return arrays
