"""Where things lie, and what to run on. The only file that reads environment variables.

COURSE_PROFILE   tiny, cpu or gpu: how much a notebook computes (else: what the device suggests)
COURSE_DATA      folder with data sets; may be read-only and shared (else: data/ of the checkout)
COURSE_CACHE     prepared arrays and generated twins (else: the user's cache folder)
COURSE_RUNS      where run folders go (else: runs/ of the checkout)

Outside of a checkout, the user's data folder and the working folder take the checkout's place.
"""

import os
from pathlib import Path

import platformdirs

from course_lib.errors import CourseError

PROFILES = ("tiny", "cpu", "gpu")


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


def cache_folder() -> Path:
    """Where prepared arrays and generated twins lie; may be deleted at any time."""
    return Path(os.environ.get("COURSE_CACHE")
                or platformdirs.user_cache_path("course_lib")).expanduser()


def runs_folder() -> Path:
    """Where run folders go."""
    if os.environ.get("COURSE_RUNS"):
        return Path(os.environ["COURSE_RUNS"]).expanduser()
    return (checkout() or Path.cwd()) / "runs"
