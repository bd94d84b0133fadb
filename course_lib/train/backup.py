"""Backups of runs, for machines that are taken away with their disk.

Where COURSE_KEEP names a folder, such as one on Google Drive, each checkpoint goes there too, with
all that it takes to go on, as one file, a generation. Such folders drop, delay and shorten files: a
copy counts once it was read back; the one before stays; its checksum is looked at when it is used.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

from course_lib import settings, show
from course_lib.errors import CourseError
from course_lib.predict.stored import read_config, read_history, unpack
from course_lib.train import log
from course_lib.train.folder import FILES, write

SETTINGS = ("data", "model", "loss", "augment", "training", "postprocess")
NAME = re.compile(r"epoch-(\d{6})-(\d{8}-\d{6})-([0-9a-f]{16})\.zip")    # …-<UTC>-<checksum>.zip


def checksum(path: Path) -> str:
    """Compute sixteen hexadecimal digits of a file's SHA-256."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def generations(home: Path) -> list[Path]:
    """List kept backups, newest first; nothing where there is no such folder."""
    if not home.is_dir():
        return []
    return sorted((path for path in home.iterdir() if NAME.fullmatch(path.name)), reverse=True)


def _delete(path: Path) -> None:
    with suppress(FileNotFoundError):      # an old listing shows what is gone
        os.truncate(path, 0)               # else Drive's bin, which counts, fills with checkpoints
        path.unlink()


def _is_other_run(config: dict, packed: Path) -> bool:
    """Tell whether a backup is of a run with other settings or data; its id may differ."""
    with zipfile.ZipFile(packed) as archive:
        kept = json.loads(archive.read("config.json"))
    return any(config.get(name) != kept.get(name) for name in SETTINGS)


class Backup:
    """A second copy of a run, from its folder, in COURSE_KEEP; does nothing where that is unset."""

    def __init__(self, folder: Path):
        self.folder, self.home, self.good, self.warned = folder, None, None, False
        try:
            home = settings.backup_folder()
        except CourseError as error:
            home = None
            warnings.warn(f"the run is not backed up: {error}", stacklevel=4)
        if home and not settings.rank():                 # of several processes the first one writes
            path, runs = folder.resolve(), settings.runs_folder().resolve()
            self.home = home / (path.relative_to(runs) if path.is_relative_to(runs) else path.name)

    def store(self, epoch: int) -> None:
        """Back the run up as it is after an epoch; of what is older, all but one is deleted."""
        if self.home is None:
            return
        try:
            with tempfile.TemporaryDirectory() as scratch:
                packed = Path(scratch) / "run.zip"
                with zipfile.ZipFile(packed, "w") as archive:
                    for name in filter(lambda name: (self.folder / name).is_file(), FILES):
                        archive.write(self.folder / name, name)
                kept = self._copy(packed, epoch)
            for path in generations(self.home):
                if path < kept and path != self.good:
                    _delete(path)
            self.good = kept
        except OSError as error:
            self._warn(f"after epoch {epoch} the run was not backed up ({error})")

    def _copy(self, packed: Path, epoch: int) -> Path:
        """Write under another name, read back, compare, rename."""
        settings.backup_folder().mkdir(exist_ok=True)    # not its parents: Drive may not be mounted
        self.home.mkdir(parents=True, exist_ok=True)
        for part in self.home.glob(".part-*"):         # of a session that was cut off
            _delete(part)
        size, digest = packed.stat().st_size, checksum(packed)
        part = self.home / f".part-{digest}"
        shutil.copyfile(packed, part)
        if checksum(part) != digest:
            raise OSError(f"{size:,} bytes were written, {part.stat().st_size:,} came back, not "
                          "the same")
        when = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        kept = self.home / f"epoch-{epoch:06d}-{when}-{digest}.zip"
        os.replace(part, kept)
        if kept.stat().st_size != size:                # before anything older is deleted
            raise OSError(f"{kept.name} did not keep its {size:,} bytes")
        return kept

    def bring_back(self) -> None:
        """Bring back the newest whole generation, and say which, where the run folder has less."""
        if self.home is None:
            return
        try:
            config, here = self._look_here()
        except CourseError:                            # no run, or damaged: refused after this
            self.home = None
            return
        with tempfile.TemporaryDirectory() as scratch:
            packed = Path(scratch) / "run.zip"
            problems = self._fetch_newest(packed)
            kept = int(NAME.fullmatch(self.good.name)[1]) if self.good else -1
            if self.good and config and _is_other_run(config, packed):
                self._warn("another run is backed up under this name, so this one is not; give it "
                           "another folder")
                self.home = None
            elif kept > here:
                self._unpack(packed, problems)
            elif here > kept:
                self.store(here)
            elif problems and kept < 0:
                self._warn(f"no whole copy of the run is there ({'; '.join(problems)})")

    def _look_here(self) -> tuple[dict | None, int]:
        """Look up config and epochs of the run in the run folder: None and -1 for none."""
        if not any(self.folder.glob("[!.]*")):
            return None, -1
        config = read_config(self.folder)
        try:
            return config, len(unpack(self.folder / "last.pt", config["id"])["history"])
        except (CourseError, KeyError):                # missing or damaged: a backup is better
            return config, -1

    def _fetch_newest(self, packed: Path) -> list[str]:
        """Copy the newest whole generation here; returns what is wrong with those after it."""
        problems = []
        try:
            for path in generations(self.home):
                try:
                    shutil.copyfile(path, packed)
                    if checksum(packed) == NAME.fullmatch(path.name)[3]:
                        self.good = path
                        break
                    problems.append(f"{path.name} is damaged")
                except OSError as error:
                    problems.append(f"{path.name} cannot be read: {error.strerror or error}")
        except OSError as error:                       # the folder cannot be listed
            problems.append(str(error))
        return problems

    def _unpack(self, packed: Path, problems: list[str]) -> None:
        with zipfile.ZipFile(packed) as archive:
            for name in sorted(archive.namelist(), key=FILES.index):
                write(self.folder / name, archive.read(name))
        rows = read_history(self.folder)
        with show.EventFile(self.folder / "tensorboard", 0) as board:     # anew, without pictures
            for row in rows:
                log.write_epoch(board, row, {})
        step = f"step {rows[-1]['step']:.0f}" if rows else "the beginning"
        print("; ".join([f"{settings.show_path(self.folder)} is brought back from "
                         f"{settings.show_path(self.home)}: epoch {len(rows)}, {step}, backed up "
                         f"{NAME.fullmatch(self.good.name)[2]} UTC", *problems]))

    def _warn(self, reason: str) -> None:
        """Warn, once a training."""
        if not self.warned:
            warnings.warn(f"{settings.show_path(self.home)}: {reason}. The training goes on in "
                          f"{settings.show_path(self.folder)}; set COURSE_KEEP to a folder that "
                          "can be used, or unset it.", stacklevel=2)
        self.warned = True
