"""Train, killed again and again, each time in a fork of this process (torch is loaded once)."""

import itertools
import json
import os
import signal
import sys
import time
from pathlib import Path

import test_resume as tests
import torch
import torch.utils.tensorboard

from course_lib import settings
from course_lib.compute import Compute
from course_lib.train import folder as run_folder
from course_lib.train import loop

torch.set_num_threads(1)
torch.optim.Adam([torch.zeros(1)])          # loads the rest of torch, once for all forks
settings.device = lambda: torch.device("cpu")
parts, home, resident = tests.split(sys.argv[1]), Path(sys.argv[2]), sys.argv[4] == "True"


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def dying(function, at, after=False):
    """The function, in whose call number `at` the process dies, before it or after."""
    calls = itertools.count(1)

    def call(*args, **kwargs):
        now = next(calls) == at
        if now and not after:
            die()
        result = function(*args, **kwargs)
        if now:
            die()
        return result

    return call


class Torn:
    """A file that takes half of what is written; then the process dies."""

    def __init__(self, file):
        self.file = file

    def write(self, content):
        self.file.write(content[:len(content) // 2])
        self.file.flush()
        die()


def torn(write_atomically, at):
    """The function, whose call number `at` is never finished."""
    calls = itertools.count(1)

    def call(path, write):
        now = next(calls) == at
        write_atomically(path, lambda file: write(Torn(file) if now else file))

    return call


def train(folder, weights, point):
    """One process. Returns whether it was killed."""
    child = os.fork()
    if child:
        if point and point[0] == "seconds":
            time.sleep(point[1])
            os.kill(child, signal.SIGKILL)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    try:
        where, at = point or (None, 0)
        if where == "step":
            step = torch.optim.Adam.step
            torch.optim.Adam.step = dying(step, at)
        elif where == "validation":
            loop._validate = dying(loop._validate, at)
        elif where == "half":                       # half of a checkpoint's bytes are there
            run_folder.write_atomically = torn(run_folder.write_atomically, at)
        elif where == "save":                       # the bytes are there, the name is not
            os.fsync = dying(os.fsync, at, after=True)
        elif where == "saved":                      # this file is there, the next is not
            os.replace = dying(os.replace, at, after=True)
        tests.fit(folder, parts, weights=weights, epochs=4,
                  compute=Compute("contiguous", "float32", resident))
        os._exit(0)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)


train(home / "unbroken", 0, None)
for number, points in enumerate(json.loads(sys.argv[3])):
    folder = home / f"broken-{number}"
    for attempt, point in enumerate([*points, None]):
        begun = (folder / "last.pt").exists()       # then it must not matter what a network holds
        killed = train(folder, 100 + attempt if begun else 0, point)
        assert not point or killed or point[0] == "seconds", f"{point} was never reached"
