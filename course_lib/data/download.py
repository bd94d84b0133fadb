"""Data sets by name: taken where they lie already, else downloaded or made.

Fetching is the one thing in the library that prints: it says what is used, or where it wrote.
"""

import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from course_lib import files, settings
from course_lib.data import archive, phantom, twin_names
from course_lib.data.tif import HIDDEN, NAME, find_patients, list_slices, read_patient
from course_lib.errors import CourseError, DataError, whole_number

NAMES = ("lgg-phantom", "lgg-mri")
LGG_PATIENTS, LGG_SLICES = 110, 3929
LGG_FOLDERS = ("kaggle_3m", "lgg-mri", "lgg-mri-segmentation")
LGG_ARCHIVES = re.compile(r"(archive|lgg|kaggle_3m).*\.zip$", re.IGNORECASE)
DEEPEST = 3                       # folders between COURSE_DATA or Kaggle's input and one of these
KAGGLE_SITE = "https://www.kaggle.com"
LGG_PAGE = "datasets/mateuszbuda/lgg-mri-segmentation"       # public, no login
LGG_DOWNLOAD = "api/v1/datasets/download/mateuszbuda/lgg-mri-segmentation"
WAIT = (10, 60)                   # seconds: for a connection, and for the next bytes
LARGEST_ARCHIVE = 2**31           # bytes; it has 1.0 GB
WHERE = "data.fetch('lgg-mri')"


def fetch(name: str, patients: int | None = None, seed: int | str = 42) -> Path:
    """Find a data set, or make or download it.

    Args:
        name: "lgg-phantom", the simulated twin (made in the cache folder; nothing is downloaded),
            or "lgg-mri", the Kaggle LGG set (looked for under COURSE_DATA, also as the archive
            that a browser left there, and in Kaggle's input folder; else downloaded).
        patients: how many the twin has (else 40); the real set has those that are there.
        seed: of the twin; a student's name or number, as text, makes a twin of their own (see
            twin_names.name_to_seed), and the seed it became is printed.
    Returns:
        Its folder, with one folder per patient.
    Raises:
        CourseError: there is no such data set, or an argument is no such number.
        DataError: it is not here and cannot be downloaded; says what to do by hand.
    """
    patients = 40 if patients is None else whole_number(patients, "patients", "data.fetch")
    number, origin = _read_seed(seed)
    if name == "lgg-phantom":
        folder = phantom.make_twin(patients, number)
        print(f"lgg-phantom: {patients} simulated patients{origin} in "
              f"{settings.show_path(folder)}")
        return folder
    if name == "lgg-mri":
        return _report_lgg(_find_lgg() or _get_lgg())
    raise CourseError(what=f"there is no data set {name!r}", where="data.fetch",
                      cure=f"use one of {', '.join(NAMES)}")


def _read_seed(seed: int | str) -> tuple[int, str]:
    """Turn a seed, or a name, into a number; and write where it comes from, "" for a number."""
    if not isinstance(seed, str):
        return whole_number(seed, "seed", "data.fetch", least=0), ""
    number = twin_names.name_to_seed(seed)
    return number, f" (seed {number} from {str(seed)!r})"


def _subfolders(folder: Path) -> list[Path]:
    """List the folders in a folder that are neither hidden nor the system's, sorted by name."""
    try:
        return sorted(path for path in folder.iterdir()
                      if not HIDDEN.search(path.name) and os.path.isdir(path))
    except OSError:                                      # not there, or not ours to read
        return []


def _places(home: Path) -> Iterator[Path]:
    """List the folders below one in which the set may lie, the nearest first."""
    level = [home]
    for _ in range(DEEPEST + 1):
        yield from (path for folder in level for name in LGG_FOLDERS
                    if os.path.isdir(path := folder / name))
        level = [path for folder in level for path in _subfolders(folder)]


def _holds_patients(folder: Path) -> bool:
    """Tell whether there is a patient whose slices can be listed."""
    try:
        return any(map(_count_slices, find_patients(folder)))
    except (DataError, OSError):
        return False


def _find_lgg() -> Path | None:
    """Find a copy under the data folder, where an earlier download went, or on Kaggle.

    Raises:
        DataError: the set's folder holds slices, but not in one folder per patient.
    """
    data, flat = settings.data_folder(), None
    for place in chain(_places(data), [data], _places(settings.cache_folder()),
                       _places(settings.KAGGLE / "input")):
        if _holds_patients(place):
            return find_patients(place)[0].parent
        if place.name in LGG_FOLDERS and any(NAME.match(path.name) for path in place.glob("*")):
            flat = flat or place
    return find_patients(flat)[0].parent if flat else None         # which says what is wrong


def _get_lgg() -> Path:
    """Unpack an archive that lies in the data folder, else download it.

    It goes to the data folder, or to the cache folder where that cannot be written to.
    """
    home = next((folder for folder in (settings.data_folder(), settings.cache_folder())
                 if files.can_write(folder)), None)
    if home is None:
        raise DataError(what="neither COURSE_DATA nor COURSE_CACHE can be written to",
                        where=WHERE, cure="set one of them to another folder")
    for path in sorted(settings.data_folder().glob("*")):
        if LGG_ARCHIVES.match(path.name) and path.is_file():
            try:
                folder = _install(path, home)
            except DataError as error:
                print(f"{settings.show_path(path)} is left alone: {error.what}")
            else:
                print(f"unpacked {settings.show_path(path)}, which may be deleted now")
                return folder
    with tempfile.TemporaryDirectory(dir=home, prefix=".lgg-mri-") as temporary:
        path = Path(temporary) / "archive.zip"
        try:
            _download(f"{KAGGLE_SITE}/{LGG_DOWNLOAD}", path)
            folder = _install(path, home)
        except Exception as error:    # no network, a broken archive: it can raise nearly anything
            raise _explain(error, home) from error
    print(f"downloaded to {settings.show_path(folder)}")
    return folder


def _explain(error: Exception, home: Path) -> DataError:
    """Say in one sentence why there are no data, and what to do by hand."""
    reason = error.what if isinstance(error, CourseError) else " ".join(
        (f"{type(error).__name__}: {error}").split())
    return DataError(what=f"the download failed ({reason:.300})", where=WHERE,
                     cure=f"try again, or download {KAGGLE_SITE}/{LGG_PAGE} in a browser and put "
                          f"its archive.zip as it is into {settings.show_path(home)}; or go on "
                          "with 'lgg-phantom'")


class _Limited:
    """A file to write to that does not grow beyond LARGEST_ARCHIVE."""

    def __init__(self, file: BinaryIO):
        self.file, self.flush = file, file.flush

    def write(self, chunk: bytes) -> None:
        if self.file.tell() + len(chunk) > LARGEST_ARCHIVE:
            raise DataError(what=f"it is larger than {LARGEST_ARCHIVE:,} bytes", where=WHERE)
        self.file.write(chunk)


def _download(url: str, path: Path) -> None:
    """Download a zip archive, with a progress bar."""
    import pooch

    with open(path, "wb") as file:
        pooch.HTTPDownloader(progressbar=True, chunk_size=2**18, timeout=WAIT)(
            url, _Limited(file), None)
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            raise DataError(what="what came is no whole zip archive: it begins with "
                                 f"{file.read(20)!r}", where=WHERE)


def _install(path: Path, home: Path) -> Path:
    """Unpack an archive aside, look at it, and only then put it in its place.

    So what an interruption leaves is not taken for the set, and no archive without patients is.

    Returns:
        The folder with one folder per patient.
    """
    with tempfile.TemporaryDirectory(dir=home, prefix=".lgg-mri-") as temporary:
        made = Path(temporary) / "lgg-mri"
        archive.unpack(path, made / "kaggle_3m")
        if not any(map(_can_be_read, find_patients(made))):
            raise DataError(what="no patient in it can be read", where=path.name)
        there = _find_lgg()
        if there:                       # another process was faster
            return there
        names = ("lgg-mri", *(f"lgg-mri-{number}" for number in range(2, 1000)))
        final = next(home / name for name in names if not os.path.lexists(home / name))
        return made.rename(final) / "kaggle_3m"


def _can_be_read(patient: Path) -> bool:
    try:
        return bool(read_patient(patient).slices)
    except DataError:
        return False


def _count_slices(patient: Path) -> int:
    """Count a patient's slices; 0 where the folder has a flaw that data.verify tells."""
    try:
        return len(list_slices(patient))
    except DataError:
        return 0


def _report_lgg(folder: Path) -> Path:
    patients = find_patients(folder)
    slices = sum(map(_count_slices, patients))
    whole = (len(patients), slices) == (LGG_PATIENTS, LGG_SLICES)
    print(f"lgg-mri: {'all' if whole else 'only'} {len(patients)} of {LGG_PATIENTS} patients, "
          f"{slices:,} of {LGG_SLICES:,} slices, in {settings.show_path(folder)}")
    return folder
