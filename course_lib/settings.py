"""Where things lie, and what to run on. The only file that reads environment variables.

COURSE_PROFILE   tiny, cpu or gpu: how much a notebook computes (else: what the device suggests)
COURSE_DATA      folder with data sets; may be read-only and shared (else: data/ of the checkout)
COURSE_CACHE     prepared arrays and generated twins (else: the user's cache folder)
COURSE_RUNS      where run folders go (else: runs/ of the checkout)
COURSE_KEEP      a folder where runs are backed up, such as on Google Drive (else: nowhere)

Outside of a checkout, the user's data folder and the working folder take its place. A variable that
names a file, or a disk that is not mounted, is refused when it is used. torchrun's are read, too.
"""

import getpass
import os
import socket
import stat
from pathlib import Path

import platformdirs

from course_lib.errors import CourseError, one_of
from course_lib.files import is_missing_disk

PROFILES = ("tiny", "cpu", "gpu")
KAGGLE = Path("/kaggle")          # on Kaggle's machines: input/ is read only, working/ is kept


def rank() -> int:
    """Number this process among those that torchrun started; 0 where it started none."""
    number = os.environ.get("RANK", "")
    return int(number) if number.isdecimal() else 0


def device():
    """Choose the device to compute on: cuda, else mps, else cpu; under torchrun the rank's own."""
    import torch

    if torch.cuda.is_available():
        local = os.environ.get("LOCAL_RANK", "")
        return torch.device("cuda", int(local)) if local.isdecimal() else torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def profile() -> str:
    """Choose the profile: COURSE_PROFILE where it is set, else gpu where there is one, else cpu."""
    name = os.environ.get("COURSE_PROFILE") or ("gpu" if device().type == "cuda" else "cpu")
    return one_of(name, "profile", "COURSE_PROFILE", PROFILES)


def working_folder() -> Path:
    """Find the working folder; a CourseError says that it has been deleted."""
    try:
        return Path.cwd()
    except OSError as error:
        raise CourseError(what=f"there is none ({error.strerror})", where="the working folder",
                          cure="change to a folder that exists, or restart the kernel") from error


def checkout() -> Path | None:
    """Find the course's checkout that the working folder lies in, by its pyproject.toml."""
    here = working_folder()
    for folder in (here, *here.parents):
        project = folder / "pyproject.toml"
        try:                                     # any project's: not ours to read, in any encoding
            if project.is_file() and b'name = "course-lib"' in project.read_bytes():
                return folder
        except OSError:
            continue
    return None


def _expanded(name: str) -> Path | None:
    """Read a path from an environment variable, ~ replaced; None where it is not set."""
    value = os.environ.get(name)
    try:
        return Path(value).expanduser() if value else None
    except RuntimeError as error:                # ~nobody
        raise CourseError(what=f"{value!r} cannot be used: there is no such user's home folder",
                          where=name, cure="set the variable to another folder") from error


def why_unusable(folder: Path) -> str:
    """Say why a folder that a variable names cannot be used, nor made; "" where it can."""
    try:
        return "" if stat.S_ISDIR(os.stat(folder).st_mode) else "it is a file"
    except FileNotFoundError:
        if os.path.lexists(folder):
            return "it is a link to nothing"
    except NotADirectoryError:
        return "a file stands where a folder above it should be"
    except OSError as error:
        return f"it cannot be looked at ({error.strerror})"
    return (f"neither it nor {show_path(folder.parent)} is there" if is_missing_disk(folder)
            else "")


def named_folder(name: str) -> Path | None:
    """Read a folder from an environment variable, None where it is not set; refuse what is none."""
    folder = _expanded(name)
    problem = why_unusable(folder) if folder else ""
    if problem:
        raise CourseError(what=f"{show_path(folder)} cannot be used: {problem}", where=name,
                          cure="mount that disk or make that folder, or set the variable to "
                               "another one")
    return folder


def data_folder() -> Path:
    """Choose where data sets lie; it need not exist and may be read-only."""
    named = named_folder("COURSE_DATA")
    if named:
        return named
    home = checkout()
    return home / "data" if home else platformdirs.user_data_path("course_lib")


def kaggle_working() -> Path | None:
    """Find Kaggle's folder for what a notebook writes; None elsewhere."""
    return KAGGLE / "working" if (KAGGLE / "working").is_dir() else None


def cache_folder() -> Path:
    """Choose where prepared arrays and generated twins lie; may be deleted at any time."""
    home = kaggle_working()
    return (named_folder("COURSE_CACHE")
            or (home / "cache" if home else platformdirs.user_cache_path("course_lib")))


def runs_folder() -> Path:
    """Choose where run folders go."""
    return (named_folder("COURSE_RUNS")
            or (checkout() or kaggle_working() or working_folder()) / "runs")


def backup_folder() -> Path | None:
    """Choose where runs are backed up; None where nobody asked for it.

    A folder that is not there is not refused: Drive may be mounted later, and a training goes on
    without it, with a warning.
    """
    return _expanded("COURSE_KEEP")


def back_up_in(folder: Path) -> None:
    """Set the folder where runs are backed up, for this process and those that it starts."""
    os.environ["COURSE_KEEP"] = str(folder)


def show_path(path: str | Path) -> str:
    """Write a path so that a page with it can be handed on: it names neither user nor machine.

    Within the checkout it is relative to that; within the home folder it begins with ~.
    """
    path, course = Path(os.path.abspath(path)), checkout()
    if course and path.is_relative_to(course) and path != course:
        return path.relative_to(course).as_posix()
    home = os.path.expanduser("~")
    for folder in map(Path, (home, os.path.realpath(home))):
        if folder.is_absolute() and folder != Path(folder.anchor) and path.is_relative_to(folder):
            return "/".join(("~", *path.relative_to(folder).parts))
    try:
        names = {socket.gethostname(): "$HOSTNAME", getpass.getuser(): "$USER"}
    except (OSError, KeyError, ImportError):     # a container's user that has no name
        names = {socket.gethostname(): "$HOSTNAME"}
    return str(Path(*(names.get(part, part) for part in path.parts)))
