"""The line with which each notebook begins: what it runs on, and where its runs go."""

import importlib
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from course_lib import settings
from course_lib.errors import CourseError
from course_lib.files import can_write, nearest_folder

DRIVE = Path("/content/drive")    # where Google Drive is mounted on Colab's machines


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
    settings.back_up_in(DRIVE / "MyDrive" / "course-runs")


def own_version() -> str:
    """Look up course_lib's version."""
    try:
        return version("course-lib")
    except PackageNotFoundError:
        return "not installed, runs from its folder"


def describe_runs() -> str:
    """Say where runs go, and what to do where that is not where they should or can go."""
    folder, home = settings.runs_folder(), settings.checkout()
    place = f"runs go to {settings.show_path(folder)}"
    if home and folder.is_relative_to(home):
        place += " in the course's checkout"
    if not can_write(nearest_folder(folder)):
        return f"{place}, WHICH CANNOT BE WRITTEN TO: set COURSE_RUNS to a folder that can be"
    if home or settings.kaggle_working() or settings.named_folder("COURSE_RUNS"):
        return place
    here = settings.show_path(settings.working_folder())
    return (f"{place}, for this was started in {here}, outside of the course's checkout (%env "
            "COURSE_RUNS=<a folder> in a cell above has them elsewhere)")


def describe_backup() -> str:
    """Say where runs are backed up; "" where nobody asked for it."""
    folder = settings.backup_folder()
    if folder is None:
        return ""
    problem = settings.why_unusable(folder)
    return f", and are backed up in {settings.show_path(folder)}" + (
        f", WHICH CANNOT BE USED NOW: {problem}" if problem else "")


def begin(profile: str, on_drive: bool = False) -> str:
    """Say in one line what a notebook runs on; where `on_drive`, runs are backed up there.

    Raises:
        CourseError: Google Drive cannot be had, or a folder cannot be used.
    """
    import torch

    if on_drive:
        backup_on_drive()
    return (f"profile {profile}, device {settings.device()}, {os.cpu_count()} cores, torch "
            f"{torch.__version__}, course_lib {own_version()}; {describe_runs()}"
            f"{describe_backup()}")
