"""Data sets by name: found where they lie already, else downloaded or made.

Fetching is the one thing in the library that prints: it says what is used, or where it wrote.
"""

import tempfile
from pathlib import Path

from course_lib import files, settings
from course_lib.data import phantom
from course_lib.data.tif import find_patients, list_slices
from course_lib.errors import CourseError, DataError

NAMES = ("lgg-phantom", "lgg-mri")
LGG_HANDLE = "mateuszbuda/lgg-mri-segmentation"      # public, no login
LGG_PATIENTS, LGG_SLICES = 110, 3929


def fetch(name: str, patients: int = 40) -> Path:
    """The folder of a data set, with one folder per patient.

    Args:
        name: "lgg-phantom", the simulated twin (made in the cache folder; nothing is downloaded),
            or "lgg-mri", the Kaggle LGG set (looked for under COURSE_DATA and in
            Kaggle's input folder, else downloaded).
        patients: how many the twin has; the real set has those that are there.
    Raises:
        CourseError: there is no such data set.
        DataError: it is not here and cannot be downloaded; says what to do by hand.
    """
    if name == "lgg-phantom":
        folder = phantom.make_twin(patients)
        print(f"lgg-phantom: {patients} simulated patients in {folder}")
        return folder
    if name == "lgg-mri":
        return _report_lgg(_find_lgg() or _download_lgg())
    raise CourseError(what=f"there is no data set {name!r}", where="data.fetch",
                      cure=f"use one of {', '.join(NAMES)}")


def _find_lgg() -> Path | None:
    """A copy that lies under the data folder, where an earlier download went, or on Kaggle."""
    for home in (settings.data_folder(), settings.cache_folder()):
        for folder in (home / "kaggle_3m", home / "lgg-mri", home / "lgg-mri-segmentation"):
            if folder.is_dir():
                return find_patients(folder)[0].parent
    # Kaggle: input/<set>/kaggle_3m or input/datasets/<owner>/<set>/kaggle_3m, and again deeper.
    for depth in range(5):
        for folder in sorted((settings.KAGGLE / "input").glob("*/" * depth + "kaggle_3m")):
            return find_patients(folder)[0].parent
    return None


def _download_lgg() -> Path:
    """Download to the data folder, or to the cache folder where that cannot be written to."""
    import kagglehub

    home = next((folder for folder in (settings.data_folder(), settings.cache_folder())
                 if files.can_write(folder)), None)
    if home is None:
        raise DataError(what="neither COURSE_DATA nor COURSE_CACHE can be written to",
                        where="data.fetch('lgg-mri')", cure="set one of them to another folder")
    by_hand = (f"download https://www.kaggle.com/datasets/{LGG_HANDLE} in a browser, unpack it, "
               f"and move its folder kaggle_3m to {home / 'kaggle_3m'}")
    # Unpacked aside, then put in its place: what an interruption leaves is not taken for the set.
    with tempfile.TemporaryDirectory(dir=home, prefix=".lgg-mri-") as temporary:
        try:
            found = Path(kagglehub.dataset_download(LGG_HANDLE, output_dir=f"{temporary}/lgg-mri"))
            if found.parent == Path(temporary):      # Kaggle's and Colab's machines mount their own
                found = found.rename(home / "lgg-mri")
        except Exception as error:    # no network, a broken archive: it can raise nearly anything
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(what=f"the download failed ({type(error).__name__}: {reason})",
                            where="data.fetch('lgg-mri')",
                            cure=f"try again, or {by_hand}; or go on with 'lgg-phantom'"
                            ) from error
    print(f"downloaded to {found}")
    return find_patients(found)[0].parent


def _report_lgg(folder: Path) -> Path:
    found = find_patients(folder)
    slices = sum(len(list_slices(patient)) for patient in found)
    whole = (len(found), slices) == (LGG_PATIENTS, LGG_SLICES)
    print(f"lgg-mri: {'all' if whole else 'only'} {len(found)} of {LGG_PATIENTS} patients, "
          f"{slices:,} of {LGG_SLICES:,} slices, in {folder}")
    return folder
