"""Several processes in one run folder at once; single bits flipped in its files."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_patient

from course_lib import losses, models, predict, settings, train
from course_lib.compute import PLAIN
from course_lib.data import SliceDataset, cache
from course_lib.errors import CourseError
from course_lib.predict import stored

pytestmark = pytest.mark.usefixtures("on_the_cpu")

TRAIN = """
import sys, time
import torch
from course_lib import losses, models, train
from course_lib.compute import PLAIN
from course_lib.data import SliceDataset
from course_lib.errors import CourseError

torch.set_num_threads(1)
whole = SliceDataset(sys.argv[1], size=32)
torch.optim.Adam([torch.zeros(1)])
print("READY", flush=True)
for line in sys.stdin:
    folder, begin = line.split()
    torch.manual_seed(0)
    time.sleep(max(0, float(begin) - time.time()))
    try:
        run = train.fit(models.UNet(3, 1, features=2), whole.subset(whole.patients[:1]),
                        whole.subset(whole.patients[1:]), loss=losses.BCEDice(), augment=None,
                        config=train.TrainConfig(epochs=6, batch_size=2), folder=folder,
                        compute=PLAIN)
        print("\\nTRAINED", len(run.history), flush=True)
    except CourseError as error:
        print("\\nREFUSED", str(error).replace("\\n", " "), flush=True)
"""


def answer(process) -> str:
    """The next line that is no progress bar."""
    return next(line for line in iter(process.stdout.readline, "")
                if re.match("READY|TRAINED|REFUSED", line))


@pytest.mark.parametrize("pairs", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_of_two_processes_in_one_run_folder_one_trains_and_one_is_refused(tmp_path, pairs):
    for number in (1, 2):
        write_patient(tmp_path / "data", f"P_{number}", seed=number)
    both = [subprocess.Popen([sys.executable, "-c", TRAIN, tmp_path / "data"], text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    assert [answer(process) for process in both] == ["READY\n"] * 2
    for number in range(pairs):
        folder = tmp_path / f"run-{number}"
        for process in both:
            process.stdin.write(f"{folder} {time.time() + 0.3}\n")
            process.stdin.flush()
        refused, trained = sorted(answer(process) for process in both)
        assert trained == "TRAINED 6\n"
        assert re.search(r"process (\d+ on \S+|unknown) is working on it", refused), refused
        config = stored.read_config(folder)
        for name in ("last.pt", "best.pt"):
            assert stored.unpack(folder / name, config["id"])["run"] == config["id"]
        assert len(train.read_history(folder)) == 6 and not list(folder.glob(".*"))
    for process in both:
        process.communicate("")


def flips(path: Path, count: int):
    """Write the file with one bit flipped, so often; afterwards as it was."""
    whole, dice = path.read_bytes(), np.random.default_rng(len(path.name))
    for bit in dice.integers(0, 8 * len(whole), count):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        yield int(bit)
    path.write_bytes(whole)


@pytest.mark.parametrize("count", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_a_flipped_bit_is_noticed_or_harmless_by_those_who_read_the_file(tmp_path, count,
                                                                        monkeypatch):
    """Predicting, going on, and preparing: in best.pt, config.json, last.pt and a cache file."""
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    for number in (1, 2):
        write_patient(tmp_path / "data", f"P_{number}", seed=number)
    whole = SliceDataset(tmp_path / "data", size=16)

    def fit(folder):
        torch.manual_seed(0)
        return train.fit(models.UNet(3, 1, features=1), whole.subset(["P_1"]),
                         whole.subset(["P_2"]), loss=losses.BCEDice(), augment=None, folder=folder,
                         config=train.TrainConfig(epochs=1, batch_size=2), compute=PLAIN)

    run = fit(tmp_path / "run")
    raw = whole.read("P_2")
    expected = predict.load(run.folder).predict(raw).probabilities
    used = []
    for name, count_here in (("best.pt", count), ("config.json", count)):
        for bit in flips(run.folder / name, count_here):
            try:
                if not np.array_equal(predict.load(run.folder).predict(raw).probabilities,
                                      expected):
                    used.append((name, bit))
            except CourseError:
                pass
    for bit in flips(run.folder / "last.pt", count):
        copy = shutil.copytree(run.folder, tmp_path / "copy")
        try:
            fit(copy)
            used.append(("last.pt", bit))
        except CourseError as error:
            assert "last.pt is damaged" in str(error)
        shutil.rmtree(copy)
    (file,) = (settings.cache_folder() / "slices").glob("P_1-*")
    images = whole.prepared("P_1").image.clone()
    for bit in flips(file, count):
        if not cache._is_whole(cache._map(file)):
            continue
        used.append((file.name, bit))
    assert torch.equal(SliceDataset(tmp_path / "data", size=16).prepared("P_1").image, images)
    assert used == []
