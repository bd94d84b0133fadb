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

import importlib
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import platformdirs

from course_lib.errors import CourseError
from course_lib.files import is_missing_disk, nearest_folder

PROFILES = ("tiny", "cpu", "gpu")
KAGGLE = Path("/kaggle")          # on Kaggle's machines: input/ is read only, working/ is kept
DRIVE = Path("/content/drive")    # where Google Drive is mounted on Colab's


def rank() -> int:
    """Number this process among those that torchrun started; 0 where it started none."""
    return int(os.environ.get("RANK") or 0)


def device():
    """Choose the device to compute on: cuda, else mps, else cpu; under torchrun the rank's own."""
    import torch

    if torch.cuda.is_available():
        local = os.environ.get("LOCAL_RANK")
        return torch.device("cuda", int(local)) if local else torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def profile() -> str:
    """Choose the profile: COURSE_PROFILE where it is set, else gpu where there is one, else cpu."""
    name = os.environ.get("COURSE_PROFILE") or ("gpu" if device().type == "cuda" else "cpu")
    if name not in PROFILES:
        raise CourseError(what=f"there is no profile {name!r}", where="COURSE_PROFILE",
                          cure=f"use one of {', '.join(PROFILES)}")
    return name


def checkout() -> Path | None:
    """Find the course's checkout that the working folder lies in, by its pyproject.toml."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        try:
            project = (folder / "pyproject.toml").read_bytes()
        except OSError:                          # none, or not ours to read
            continue
        if b'name = "course-lib"' in project:
            return folder
    return None


def _from_variable(name: str) -> Path | None:
    """Read a folder from an environment variable; None where it is not set.

    Raises:
        CourseError: it names a file, or a disk that is not mounted, or a user that does not exist.
    """
    value = os.environ.get(name)
    if not value:
        return None
    try:
        folder = Path(value).expanduser()
        if folder.is_dir():
            return folder
        problem = ("it is a file" if os.path.lexists(folder) else
                   f"neither it nor {folder.parent} is there" if is_missing_disk(folder) else None)
    except (OSError, RuntimeError) as error:     # RuntimeError: ~nobody
        folder, problem = Path(value), str(error)
    if problem:
        raise CourseError(what=f"{value!r} cannot be used: {problem}", where=name,
                          cure="mount that disk or make that folder, or set the variable to "
                               "another one")
    return folder


def data_folder() -> Path:
    """Choose where data sets lie; it need not exist and may be read-only."""
    home = checkout()
    return (_from_variable("COURSE_DATA")
            or (home / "data" if home else platformdirs.user_data_path("course_lib")))


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
            or (checkout() or kaggle_working() or Path.cwd()) / "runs")


def backup_folder() -> Path | None:
    """Choose where runs are backed up; None where nobody asked for it.

    A folder that is not there is not refused: Drive may be mounted later, and a training goes on
    without it, with a warning.
    """
    folder = os.environ.get("COURSE_KEEP")
    return Path(folder).expanduser() if folder else None


def show_path(path: Path) -> str:
    """Write a path for a page that is handed on: within the home folder it begins with ~."""
    path = path.absolute()
    try:
        home = Path.home()
    except RuntimeError:                         # nobody's
        return str(path)
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)


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


def begin(profile: str, on_drive: bool = False) -> str:
    """Say in one line what a notebook runs on; where `on_drive`, runs are backed up there.

    Raises:
        CourseError: Google Drive cannot be had, or a folder cannot be used.
    """
    import torch

    if on_drive:
        backup_on_drive()
    runs, backup = runs_folder(), backup_folder()
    notes = [f"runs go to {show_path(runs)}"]
    if not os.access(nearest_folder(runs), os.W_OK):
        notes.append("WHICH CANNOT BE WRITTEN TO: set COURSE_RUNS to a folder that can")
    elif not (checkout() or kaggle_working() or os.environ.get("COURSE_RUNS")):
        notes.append("for this notebook runs outside of the course's checkout (COURSE_RUNS "
                     "chooses another folder)")
    if backup:
        notes.append(f"and are backed up in {show_path(backup)}")
    return (f"profile {profile}, device {device()}, {os.cpu_count()} cores, torch "
            f"{torch.__version__}, course_lib {own_version()}; {', '.join(notes)}")
