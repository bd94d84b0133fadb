"""A zip archive that others made, unpacked file by file: nothing gets out of the folder.

Python's own extraction keeps names inside, but would write what no data set needs and stop at no
size; kagglehub's was led out of its folder by links on Python 3.11. Here a name is only ever
<patient>/<file>, and a file is never anything but bytes.
"""

import re
import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from course_lib.data.tif import HIDDEN, NAME
from course_lib.errors import DataError

# The LGG set has 7,858 files of up to 0.2 MB, 1.0 GB in all, and its archive holds them twice.
MOST_ENTRIES, MOST_FILES = 40_000, 16_000
LARGEST_FILE, LARGEST_TOTAL = 2**22, 2**31
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)     # others unpack without a limit


class _Refused(Exception):
    """What is wrong with an archive."""


def _path_of(member: zipfile.ZipInfo) -> PurePosixPath:
    """Read a member's path, which must stay in the folder and be a regular file's."""
    name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or re.search(r"[\\:\x00-\x1f]", name):
        raise _Refused(f"the name {name!r:.100} in it leads elsewhere")
    if kind not in (0, stat.S_IFREG):
        raise _Refused(f"{name!r:.100} in it is a link or a device, not a file")
    return path


def _choose(archive: zipfile.ZipFile) -> dict[tuple[str, str], zipfile.ZipInfo]:
    """Choose the files of one copy of the set, by patient and file name: the copy with most."""
    if len(archive.infolist()) > MOST_ENTRIES:
        raise _Refused(f"it holds {len(archive.infolist()):,} files")
    copies, names = {}, set()
    for member in archive.infolist():
        if member.is_dir():
            continue
        path = _path_of(member)
        if str(path).lower() in names:
            raise _Refused(f"it holds {str(path)!r:.100} twice")
        names.add(str(path).lower())
        if len(path.parts) > 1 and NAME.match(path.name) and not any(map(HIDDEN.search,
                                                                         path.parts)):
            copy = copies.setdefault(path.parents[1], {})
            copy[path.parent.name, path.name] = member
    if not copies:
        raise _Refused("it holds no patients: no folder with files named …_1.tif, …_1_mask.tif")
    return copies[max(copies, key=lambda root: (len(copies[root]), -len(root.parts)))]


def _check_sizes(members: list[zipfile.ZipInfo]) -> None:
    """Refuse what the real set is far from, before anything is unpacked."""
    total = sum(member.file_size for member in members)
    if len(members) > MOST_FILES or total > LARGEST_TOTAL:
        raise _Refused(f"its patients have {len(members):,} files of {total:,} bytes")
    for member in members:
        if member.file_size > LARGEST_FILE:
            raise _Refused(f"{member.filename!r:.100} in it has {member.file_size:,} bytes")
        if member.compress_type not in METHODS:
            raise _Refused(f"{member.filename!r:.100} in it is packed by method "
                           f"{member.compress_type}")


def unpack(file: Path, folder: Path) -> None:
    """Unpack a data set of tif slices: one folder per patient, the slices in it, nothing else.

    Args:
        file: the archive. What it holds twice, in two folders, is unpacked once.
        folder: does not exist yet.
    Raises:
        DataError: it is damaged or no zip archive, holds no patients, or holds what no such
            archive does: names that lead elsewhere, links, far more or larger files.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            chosen = _choose(archive)
            _check_sizes(list(chosen.values()))
            for (patient, name), member in chosen.items():
                (folder / patient).mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, open(folder / patient / name, "xb") as copy:
                    shutil.copyfileobj(source, copy)     # in pieces; the sum is checked at the end
                    if copy.tell() != member.file_size:
                        raise _Refused(f"{name!r:.100} in it is cut short")
    except _Refused as refusal:
        raise _refuse(file, str(refusal)) from None
    except Exception as error:         # a damaged archive can make the reader raise nearly anything
        raise _refuse(file, f"it cannot be unpacked ({type(error).__name__}: {error})") from error


def _refuse(file: Path, what: str) -> DataError:
    return DataError(what=what, where=file.name, cure="download it anew")
