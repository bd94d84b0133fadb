"""Where things lie, and what to run on. The only file that reads environment variables.

COURSE_PROFILE   tiny, cpu or gpu: how much a notebook computes (else: what the device suggests)
COURSE_DATA      folder with data sets; may be read-only and shared (else: data/ of the checkout)
COURSE_CACHE     prepared arrays and generated twins (else: the user's cache folder)
COURSE_RUNS      where run folders go (else: runs/ of the checkout)
COURSE_KEEP      a folder where runs are backed up, such as on Google Drive (else: nowhere)

Outside of a checkout, the user's data folder and the working folder take the checkout's place. A
variable that names a file, or a folder on a disk that is not mounted, is refused when it is used:
nothing is made on another disk in silence. torchrun's RANK and LOCAL_RANK are read here, too.
"""

import getpass
import importlib
import os
import socket
import stat
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import platformdirs

from course_lib.errors import CourseError
from course_lib.files import can_write, is_missing_disk, nearest_folder

PROFILES = ("tiny", "cpu", "gpu")
KAGGLE = Path("/kaggle")          # on Kaggle's machines: input/ is read only, working/ is kept
DRIVE = Path("/content/drive")    # where Google Drive is mounted on Colab's


def _number(variable: str) -> int | None:
    """Read a whole number from an environment variable; None where it is not set."""
    text = os.environ.get(variable)
    if text and not text.isdecimal():
        raise CourseError(what=f"{text!r} is no number", where=variable,
                          cure="unset it, or let torchrun set it")
    return int(text) if text else None


def rank() -> int:
    """Number this process among those that torchrun started; 0 where it started none."""
    return _number("RANK") or 0


def device():
    """Choose the device to compute on: cuda, else mps, else cpu; under torchrun the rank's own."""
    import torch

    if torch.cuda.is_available():
        local = _number("LOCAL_RANK")
        return torch.device("cuda") if local is None else torch.device("cuda", local)
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def profile() -> str:
    """Choose the profile: COURSE_PROFILE where it is set, else gpu where there is one, else cpu."""
    name = os.environ.get("COURSE_PROFILE") or ("gpu" if device().type == "cuda" else "cpu")
    if name not in PROFILES:
        raise CourseError(what=f"there is no profile {name!r}", where="COURSE_PROFILE",
                          cure=f"use one of {', '.join(PROFILES)}")
    return name


def working_folder() -> Path:
    """Find the working folder.

    Raises:
        CourseError: it has been deleted.
    """
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


def _from_variable(name: str) -> Path | None:
    """Read a folder from an environment variable; None where it is not set.

    Raises:
        CourseError: it names a file, or a disk that is not mounted, or a user that does not exist.
    """
    folder = _expanded(name)
    problem = why_unusable(folder) if folder else ""
    if problem:
        raise CourseError(what=f"{show_path(folder)} cannot be used: {problem}", where=name,
                          cure="mount that disk or make that folder, or set the variable to "
                               "another one")
    return folder


def data_folder() -> Path:
    """Choose where data sets lie; it need not exist and may be read-only."""
    named = _from_variable("COURSE_DATA")
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
    return (_from_variable("COURSE_CACHE")
            or (home / "cache" if home else platformdirs.user_cache_path("course_lib")))


def runs_folder() -> Path:
    """Choose where run folders go."""
    return (_from_variable("COURSE_RUNS")
            or (checkout() or kaggle_working() or working_folder()) / "runs")


def backup_folder() -> Path | None:
    """Choose where runs are backed up; None where nobody asked for it.

    A folder that is not there is not refused: Drive may be mounted later, and a training goes on
    without it, with a warning.
    """
    return _expanded("COURSE_KEEP")


def _private_names() -> dict[str, str]:
    """Map the user's and the machine's names to what stands for them in a path that is shown."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):     # a container's user that has no name
        user = ""
    return {socket.gethostname(): "$HOSTNAME", user: "$USER"}


def show_path(path: str | Path) -> str:
    """Write a path so that a page with it can be handed on: it names neither user nor machine.

    Within the checkout it is relative to that; within the home folder it begins with ~.
    """
    path, course = Path(os.path.abspath(path)), checkout()
    if course and path.is_relative_to(course) and path != course:
        return path.relative_to(course).as_posix()
    for home in map(Path, (os.path.expanduser("~"), os.path.realpath(os.path.expanduser("~")))):
        if home.is_absolute() and home != Path(home.anchor) and path.is_relative_to(home):
            return "/".join(("~", *path.relative_to(home).parts))
    names = _private_names()
    return str(Path(*(names.get(part, part) for part in path.parts)))


def backup_on_drive() -> None:
    """Mount Google Drive, which asks for consent, and back runs up there.

    Raises:
        CourseError: this is not Colab, or consent was not given.
    """
    try:
        importlib.import_module("google.colab.drive").mount(str(DRIVE))
    except Exception as error:         # no such module, or whatever Colab raises for a refusal
        raise CourseError(what=f"Google Drive was not mounted ({type(error).__name__}: {error})",
                          where="KEEP_ON_DRIVE",
                          cure="run the cell again and allow it, or set KEEP_ON_DRIVE = False; "
                               "outside of Colab set COURSE_KEEP to a folder instead") from error
    os.environ["COURSE_KEEP"] = str(DRIVE / "MyDrive" / "course-runs")


def own_version() -> str:
    """Look up course_lib's version."""
    try:
        return version("course-lib")
    except PackageNotFoundError:
        return "not installed, runs from its folder"


def describe_runs() -> str:
    """Say where runs go, and what to do where that is not where they should or can go."""
    folder, home = runs_folder(), checkout()
    place = f"runs go to {show_path(folder)}"
    if home and folder.is_relative_to(home):
        place += " in the course's checkout"
    if not can_write(nearest_folder(folder)):
        return f"{place}, WHICH CANNOT BE WRITTEN TO: set COURSE_RUNS to a folder that can be"
    if home or kaggle_working() or os.environ.get("COURSE_RUNS"):
        return place
    return (f"{place}, for this was started in {show_path(working_folder())}, outside of the "
            "course's checkout (%env COURSE_RUNS=<a folder> in a cell above has them elsewhere)")


def describe_backup() -> str:
    """Say where runs are backed up; "" where nobody asked for it."""
    folder = backup_folder()
    if folder is None:
        return ""
    problem = why_unusable(folder)
    return f", and are backed up in {show_path(folder)}" + (
        f", WHICH CANNOT BE USED NOW: {problem}" if problem else "")


def begin(profile: str, on_drive: bool = False) -> str:
    """Say in one line what a notebook runs on; where `on_drive`, runs are backed up there.

    Raises:
        CourseError: Google Drive cannot be had, or a folder cannot be used.
    """
    import torch

    if on_drive:
        backup_on_drive()
    return (f"profile {profile}, device {device()}, {os.cpu_count()} cores, torch "
            f"{torch.__version__}, course_lib {own_version()}; {describe_runs()}"
            f"{describe_backup()}")
