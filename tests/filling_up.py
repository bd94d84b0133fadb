"""Train into a folder whose disk of 1 MB fills up in the second epoch; then make room."""

import itertools
import subprocess
import sys
from pathlib import Path

import test_resume as tests
import torch

from course_lib import settings
from course_lib.errors import CourseError

torch.set_num_threads(1)
settings.device = lambda: torch.device("cpu")
parts, disk, calls = tests.split(sys.argv[1]), Path(sys.argv[2]), itertools.count(1)
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]).returncode:
    sys.exit(77)


def filling(image, target, generator):
    if next(calls) == 8:
        try:
            (disk / "film").write_bytes(bytes(2**21))
        except OSError:
            with open(disk / "film", "r+b") as film:      # room for TensorBoard, not for last.pt
                film.truncate((disk / "film").stat().st_size - 2**14)
    return tests.noisy(image, target, generator)


filling.__wrapped__ = tests.noisy          # to the run it is the same augmentation
try:
    tests.fit(disk / "run", parts, change=filling)
except CourseError as error:
    print("SAID", error)
state = torch.load(disk / "run" / "last.pt", weights_only=True)
print("EPOCHS", len(state["history"]), "PARTS", len(list((disk / "run").glob(".*"))))
(disk / "film").unlink()
tests.fit(disk / "run", parts, weights=1)
tests.assert_same_run(disk / "run", Path(sys.argv[3]))
print("SAME")
