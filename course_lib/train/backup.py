"""Runs that outlive the machine: a run folder, kept a second time where the machine cannot lose it.

Colab takes a machine away with its disk. Where COURSE_KEEP names a folder, such as one on Google
Drive, each checkpoint goes there too, as one file, a generation, with all that the run needs to go
on. Such folders drop, delay and shorten files. So a copy counts only once it was read back; the
generation before it stays; and when it is wanted, its checksum is looked at again, for what was
read back may have come from the machine's own memory. A folder that fails never ends a training.
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

from course_lib import settings
from course_lib.data.cache import write_atomically
from course_lib.train import watch

FILES = ("config.json", "history.csv", "best.pt", "last.pt")     # last.pt last: it is the run
NAME = re.compile(r"epoch-(\d{6})-(\d{8}-\d{6})-([0-9a-f]{16})\.zip")    # …-<UTC>-<checksum>.zip


def checksum(path: Path) -> str:
    """Sixteen hexadecimal digits of a file's SHA-256."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def generations(home: Path) -> list[Path]:
    """What is kept in a folder, newest first; nothing where there is no such folder."""
    if not home.is_dir():
        return []
    return sorted((path for path in home.iterdir() if NAME.fullmatch(path.name)), reverse=True)


def _delete(path: Path) -> None:
    with suppress(FileNotFoundError):      # an old listing shows what is gone
        os.truncate(path, 0)               # else Drive's bin, which counts, fills with checkpoints
        path.unlink()


def _pack(folder: Path, packed: Path) -> None:
    with zipfile.ZipFile(packed, "w") as archive:
        for name in FILES:
            if (folder / name).is_file():
                archive.write(folder / name, name)


class Keeper:
    """Keeps one run's folder in COURSE_KEEP, and brings it back; does nothing where that is unset.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path):
        self.folder, self.home, self.good, self.warned = folder, settings.keep_folder(), None, False
        if self.home:
            place, runs = folder.resolve(), settings.runs_folder().resolve()
            inside = place.is_relative_to(runs)
            self.home = self.home / (place.relative_to(runs) if inside else place.name)

    def store(self, epoch: int) -> None:
        """Keep the run as it is after an epoch; of what is older, all but one is deleted."""
        if self.home is None:
            return
        try:
            with tempfile.TemporaryDirectory() as scratch:
                _pack(self.folder, Path(scratch) / "run.zip")
                kept = self._copy(Path(scratch) / "run.zip", epoch)
            for path in generations(self.home):
                if path < kept and path != self.good:
                    _delete(path)
            self.good = kept
        except OSError as error:
            self._warn(f"after epoch {epoch} the run was not kept ({error})")

    def _copy(self, packed: Path, epoch: int) -> Path:
        """Write under another name, read back, compare, rename."""
        settings.keep_folder().mkdir(exist_ok=True)    # not its parents: Drive is mounted, or isn't
        self.home.mkdir(parents=True, exist_ok=True)
        for part in self.home.glob(".part-*"):         # of a session that was cut off
            _delete(part)
        size, digest = packed.stat().st_size, checksum(packed)
        part = self.home / f".part-{digest}"
        shutil.copyfile(packed, part)
        if checksum(part) != digest:
            raise OSError(f"{size:,} bytes were written, {part.stat().st_size:,} came back, or "
                          "others")
        when = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        kept = self.home / f"epoch-{epoch:06d}-{when}-{digest}.zip"
        os.replace(part, kept)
        if kept.stat().st_size != size:                # before anything older is deleted
            raise OSError(f"{kept.name} did not keep its {size:,} bytes")
        return kept

    def restore(self) -> None:
        """Bring back the newest whole generation, and say which, where the run folder has less."""
        foreign = not (self.folder / "config.json").is_file() and any(self.folder.glob("[!.]*"))
        if self.home is None or foreign:               # what is not a run is refused after this
            return
        here = len(watch.read_history(self.folder)) if (self.folder / "last.pt").is_file() else -1
        with tempfile.TemporaryDirectory() as scratch:
            packed = Path(scratch) / "run.zip"
            passed = self._fetch_newest(packed)
            kept = int(NAME.fullmatch(self.good.name)[1]) if self.good else -1
            if self.good and here >= 0 and not self._is_this_run(packed):
                self._warn("another run is kept under this name, so this one is not; give it "
                           "another folder to have it kept")
                self.home = None
            elif kept > here:
                self._unpack(packed, passed)
            elif here > kept:
                self.store(here)
            elif passed and kept < 0:
                self._warn(f"no whole copy of the run was found ({'; '.join(passed)})")

    def _fetch_newest(self, packed: Path) -> list[str]:
        """Copy the newest whole generation here; returns what is wrong with those after it."""
        passed = []
        try:
            for path in generations(self.home):
                try:
                    shutil.copyfile(path, packed)
                    if checksum(packed) == NAME.fullmatch(path.name)[3]:
                        self.good = path
                        break
                    passed.append(f"{path.name} is damaged")
                except OSError as error:
                    passed.append(f"{path.name} cannot be read: {error.strerror or error}")
        except OSError as error:
            passed.append(str(error))
        return passed

    def _is_this_run(self, packed: Path) -> bool:
        with zipfile.ZipFile(packed) as archive:
            kept = json.loads(archive.read("config.json"))
        here = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        return all(kept.get(field) == here.get(field)
                   for field in ("data", "model", "loss", "augment", "training"))

    def _unpack(self, packed: Path, passed: list[str]) -> None:
        with zipfile.ZipFile(packed) as archive:
            for name in sorted(archive.namelist(), key=FILES.index):
                content = archive.read(name)
                with watch.explain_disk(self.folder / name, f"a file of {len(content):,} bytes"):
                    write_atomically(self.folder / name, lambda file, all=content: file.write(all))
        rows = watch.read_history(self.folder)
        with watch.TensorBoard(self.folder, 0) as board:         # all anew; pictures are lost
            for row in rows:
                board.scalars(row)
        step = f"step {rows[-1]['step']:.0f}" if rows else "the beginning"
        when = time.strptime(NAME.fullmatch(self.good.name)[2], "%Y%m%d-%H%M%S")
        print("; ".join([f"{self.folder} is brought back from {self.home}: epoch {len(rows)}, "
                         f"{step}, kept {time.strftime('%Y-%m-%d %H:%M', when)} UTC", *passed]))

    def _warn(self, reason: str) -> None:
        """Once a training is enough."""
        if not self.warned:
            warnings.warn(f"{self.home}: {reason}. The training goes on in {self.folder}.",
                          stacklevel=2)
        self.warned = True
