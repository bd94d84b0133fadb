"""Prepared arrays on disk: written whole or not at all, rebuilt when what they rest on changes."""

import hashlib
import json
import math
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from course_lib import settings
from course_lib.errors import DataError
from course_lib.files import write_atomically

ALIGNMENT = 64        # bytes; where the first array begins
NUMBER = 9            # bytes of a number in a cache file: eight hexadecimal digits and a line's end


def key(**facts) -> str:
    """Shorten to a name everything that a prepared array depends on: settings and file content."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:20]


def file_stamps(files: list[Path]) -> list[list[str]]:
    """List each file's name and a checksum of its bytes.

    Name, size and time are not enough: a mask edited with its time kept, or two files swapped, have
    the same.

    Raises:
        DataError: a file cannot be read, or is none (to open a pipe would wait for ever).
    """
    return [[file.name, _stamp(file)] for file in files]


def _stamp(file: Path) -> str:
    try:
        if not file.is_file():
            raise OSError("it is no regular file")
        with open(file, "rb", buffering=0) as content:
            return hashlib.file_digest(content, "blake2b").hexdigest()[:32]
    except OSError as error:
        raise DataError(what=f"cannot be read ({error.strerror or error})",
                        cure="restore the file, or leave the patient out",
                        patient=file.parent.name, file=file.name) from error


def _pack(arrays: dict[str, np.ndarray]) -> list[bytes | np.ndarray]:
    """List what a cache file holds: checksum of what follows, header's length, header, arrays."""
    header = json.dumps({name: (array.dtype.str, array.shape) for name, array in arrays.items()})
    header = header.encode() + b" " * (-(len(header) + 2 * NUMBER) % ALIGNMENT)
    parts = [b"%08x\n" % len(header), header, *map(np.ascontiguousarray, arrays.values())]
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return [b"%08x\n" % checksum, *parts]


def _map(path: Path) -> np.ndarray | None:
    """Map a cache file's bytes, read when they are used; None where there is no such file."""
    try:
        return np.memmap(path, dtype=np.uint8, mode="c")         # changes stay in memory
    except (OSError, ValueError):                                # ValueError: it is empty
        return None


def _is_whole(content: np.ndarray) -> bool:
    """Tell whether each byte is as it was written."""
    return bytes(content[:NUMBER]) == b"%08x\n" % zlib.crc32(content[NUMBER:])


def _unpack(content: np.ndarray) -> dict[str, np.ndarray]:
    start = 2 * NUMBER + int(bytes(content[NUMBER : 2 * NUMBER]), 16)
    arrays = {}
    for name, (kind, shape) in json.loads(bytes(content[2 * NUMBER : start])).items():
        size = math.prod(shape) * np.dtype(kind).itemsize
        arrays[name] = content[start : start + size].view(kind).reshape(shape)
        start += size
    return arrays


def cached(name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays kept under `name`; make and keep them where there is no whole copy.

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
