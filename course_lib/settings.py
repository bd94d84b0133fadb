"""Where things lie, and what to run on. The only file that reads environment variables.

COURSE_PROFILE   tiny, cpu or gpu: how much a notebook computes (else: what the device suggests)
COURSE_DATA      folder with data sets; may be read-only and shared (else: data/ of the checkout)
COURSE_CACHE     prepared arrays and generated twins (else: the user's cache folder)
COURSE_RUNS      where run folders go (else: runs/ of the checkout)
COURSE_KEEP      a folder where trainings are kept as well, such as on Google Drive (else: nowhere)

Outside of a checkout, the user's data folder and the working folder take the checkout's place.
"""

import importlib
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import platformdirs

from course_lib.errors import CourseError

PROFILES = ("tiny", "cpu", "gpu")
KAGGLE = Path("/kaggle")          # on Kaggle's machines: input/ is read only, working/ is kept
DRIVE = Path("/content/drive")    # where Google Drive is mounted on Colab's


def device():
    """The device to compute on: cuda, else mps, else cpu."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def profile() -> str:
    """COURSE_PROFILE where it is set, else gpu where there is one, else cpu."""
    name = os.environ.get("COURSE_PROFILE") or ("gpu" if device().type == "cuda" else "cpu")
    if name not in PROFILES:
        raise CourseError(what=f"there is no profile {name!r}", where="COURSE_PROFILE",
                          cure=f"use one of {', '.join(PROFILES)}")
    return name


def checkout() -> Path | None:
    """The course's checkout that the working folder lies in, found by its pyproject.toml."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        project = folder / "pyproject.toml"
        if project.is_file() and 'name = "course-lib"' in project.read_text(encoding="utf-8"):
            return folder
    return None


def data_folder() -> Path:
    """Where data sets lie; it need not exist and may be read-only."""
    if os.environ.get("COURSE_DATA"):
        return Path(os.environ["COURSE_DATA"]).expanduser()
    home = checkout()
    return home / "data" if home else platformdirs.user_data_path("course_lib")


def kaggle_working() -> Path | None:
    """Kaggle's folder for what a notebook writes; None elsewhere."""
    return KAGGLE / "working" if (KAGGLE / "working").is_dir() else None


def cache_folder() -> Path:
    """Where prepared arrays and generated twins lie; may be deleted at any time."""
    if os.environ.get("COURSE_CACHE"):
        return Path(os.environ["COURSE_CACHE"]).expanduser()
    home = kaggle_working()
    return home / "cache" if home else platformdirs.user_cache_path("course_lib")


def runs_folder() -> Path:
    """Where run folders go."""
    if os.environ.get("COURSE_RUNS"):
        return Path(os.environ["COURSE_RUNS"]).expanduser()
    return (checkout() or kaggle_working() or Path.cwd()) / "runs"


def keep_folder() -> Path | None:
    """Where trainings are kept as well; None where nobody asked for it."""
    kept = os.environ.get("COURSE_KEEP")
    return Path(kept).expanduser() if kept else None


def keep_on_drive() -> None:
    """Mount Google Drive, which asks for consent, and keep trainings there.

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
    """Of course_lib, as installed."""
    try:
        return version("course-lib")
    except PackageNotFoundError:
        return "not installed, runs from its folder"


def begin(profile: str, on_drive: bool = False) -> str:
    """What a notebook runs on, in one line; where `on_drive`, trainings are kept on Google Drive.

    Raises:
        CourseError: Google Drive cannot be had.
    """
    import torch

    if on_drive:
        keep_on_drive()
    kept = f", and are kept in {keep_folder()}" if keep_folder() else ""
    return (f"profile {profile}, device {device()}, {os.cpu_count()} cores, torch "
            f"{torch.__version__}, course_lib {own_version()}; runs go to "
            f"{runs_folder()}{kept}")
