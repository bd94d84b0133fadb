"""Files written whole or not at all, errors of the disk as sentences, and locks."""

import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from course_lib.errors import CourseError

REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR,
           errno.ENAMETOOLONG, errno.ENOENT)                           # not for lack of room


def nearest_folder(path: Path) -> Path:
    """Find the folder that exists: the path itself, or the nearest above it."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if os.path.isdir(folder))


def is_missing_disk(folder: Path) -> bool:
    """Tell whether neither a folder nor its parent exists: its disk may not be mounted, and to make
    the folders above it would fill another disk."""
    folder = folder.absolute()
    return not folder.is_dir() and not folder.parent.is_dir()


def can_write(folder: Path) -> bool:
    """Tell whether files can be made in a folder; it is made where it does not exist."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def write_atomically(path: Path, write: Callable, durable: bool = True) -> None:
    """Call `write(file)` on a temporary file beside `path`, then put it in its place.

    The bytes are on the disk before the name is (fsync, then rename): a reader finds the old file
    or the new one whole. What is checked on reading, and can be made again, need not be `durable`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".part")
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


def clear_parts(path: Path) -> None:
    """Delete what killed processes left of a file: only for who alone may write it."""
    for part in path.parent.glob(f".{path.name}-????????.part"):
        part.unlink(missing_ok=True)


@contextmanager
def explain_disk(path: Path, what: str) -> Iterator[None]:
    """Turn the disk's error while writing `what` to `path` into a sentence with the free bytes."""
    try:
        yield
    except OSError as error:
        free = shutil.disk_usage(nearest_folder(path)).free
        cure = ("set COURSE_RUNS to a folder that can be written to" if error.errno in REFUSED else
                "make room there, then run the same cell again: it goes on from the last whole "
                "checkpoint")
        raise CourseError(what=f"{what} cannot be written, {free:,} bytes are free ({error})",
                          where=str(path), cure=cure) from error


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone; the system lets go of it when the process ends.

    The lock lies beside the folder, for it names this machine, and folders are handed on.

    Raises:
        CourseError: another process holds it; says which.
    """
    import filelock

    folder = folder.resolve()
    owner = folder.parent / f".{folder.name}.owner"
    held = filelock.FileLock(folder.parent / f".{folder.name}.lock", timeout=0)
    with explain_disk(owner, "the run folder's lock"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire()
        except filelock.Timeout as error:
            raise CourseError(what=f"process {_read_owner(owner)} is working on it",
                              where=str(folder), cure="wait until it ends, or stop it, or take "
                                                      "another folder") from error
        try:
            owner.write_text(f"{os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        except OSError:
            held.release()
            raise
    try:
        yield
    finally:
        owner.unlink(missing_ok=True)
        held.release()


def _read_owner(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace") or "unknown"
    except OSError:                                          # it is being written this moment
        return "unknown"
