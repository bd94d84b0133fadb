"""Prepared arrays on disk: written whole or not at all, rebuilt when what they rest on changes."""

import hashlib
import json
import math
import os
import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from course_lib import settings

ALIGNMENT = 64        # bytes; where the first array begins
NUMBER = 9            # bytes of a number in a cache file: eight hexadecimal digits and a line's end


def can_write(folder: Path) -> bool:
    """Whether files can be made in a folder; it is made where it does not exist."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def write_atomically(path: Path, write: Callable, durable: bool = True) -> None:
    """Call `write(file)` on a temporary file beside `path`, then put it in its place.

    The bytes are on the disk before the name is (fsync, then rename), so that a reader finds the
    old file or the new one whole, whenever the power goes. What is checked on reading, and can be
    made again, need not be `durable`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.chmod(temporary, 0o644)          # mkstemp's 0600 would keep a shared folder from others
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            if durable:
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


def _pack(arrays: dict[str, np.ndarray]) -> list[bytes | np.ndarray]:
    """What a cache file holds: checksum of what follows, header's length, header, arrays."""
    header = json.dumps({name: (array.dtype.str, array.shape) for name, array in arrays.items()})
    header = header.encode() + b" " * (-(len(header) + 2 * NUMBER) % ALIGNMENT)
    parts = [b"%08x\n" % len(header), header, *map(np.ascontiguousarray, arrays.values())]
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return [b"%08x\n" % checksum, *parts]


def _map(path: Path) -> np.ndarray | None:
    """The bytes of a cache file, read when they are used; None where there is no such file."""
    try:
        return np.memmap(path, dtype=np.uint8, mode="c")         # changes stay in memory
    except (OSError, ValueError):                                # ValueError: it is empty
        return None


def _is_whole(content: np.ndarray) -> bool:
    """Whether each byte is as it was written."""
    return bytes(content[:NUMBER]) == b"%08x\n" % zlib.crc32(content[NUMBER:])


def _unpack(content: np.ndarray) -> dict[str, np.ndarray]:
    at = 2 * NUMBER + int(bytes(content[NUMBER : 2 * NUMBER]), 16)
    arrays = {}
    for name, (kind, shape) in json.loads(bytes(content[2 * NUMBER : at])).items():
        size = math.prod(shape) * np.dtype(kind).itemsize
        arrays[name] = content[at : at + size].view(kind).reshape(shape)
        at += size
    return arrays


def cached(name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays kept under `name`; made, and kept, where there is no whole copy.

    Several processes may ask at once: each makes what it does not find, all find the same.

    Args:
        name: file name within the cache folder, with a `key` in it.
        make: computes the arrays, none of objects.
    Returns:
        Arrays that lie in the file: they take memory when they are used.
    """
    path = settings.cache_folder() / f"{name}.arrays"
    content = _map(path)
    if content is not None and _is_whole(content):
        return _unpack(content)
    content = None                             # let go of it: Windows replaces no file in use
    arrays = make()
    try:
        write_atomically(path, lambda file: file.writelines(_pack(arrays)), durable=False)
    except OSError as error:
        content = _map(path)                   # another process may have been faster
        if content is None or not _is_whole(content):
            warnings.warn(f"prepared data are not kept: {error.strerror or error}. Set "
                          "COURSE_CACHE to a folder that can be written to.", stacklevel=2)
        return arrays
    content = _map(path)
    return arrays if content is None else _unpack(content)
