"""Data sets to test on, and folders of our own: tests never touch the user's."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from course_lib import settings

torch.set_num_threads(1)     # in networks so small, threads only wait for each other

SITES = ("AA", "AA", "BB", "BB")


@pytest.fixture(scope="session", autouse=True)
def _cache_of_this_session(tmp_path_factory):
    """COURSE_CACHE is one folder for the whole session: arrays are prepared once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _runs_of_this_test(tmp_path, monkeypatch):
    """COURSE_RUNS is another folder in each test; nothing is kept elsewhere."""
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("COURSE_KEEP", raising=False)


@pytest.fixture(scope="module")
def on_the_cpu():
    """The CPU, also where there is something faster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "device", lambda: torch.device("cpu"))
        yield


def write_patient(folder: Path, name: str = "TEST_AA_0001_20000101", slices: int = 5,
                  shape: tuple[int, int] = (48, 40), seed: int = 0, tumour: bool = True) -> Path:
    """Write <folder>/<name>/<name>_<n>.tif and ..._mask.tif: a bright ellipse with a square lesion.

    Args:
        slices: how many; numbered from 1, the lesion lies in all but the first and the last.
        shape: (H, W) of each.
        tumour: False draws no lesion and leaves all masks empty.
    Returns:
        The patient's folder. Images are (H, W, 3) uint8, masks (H, W) uint8 of 0 and 255.
    """
    height, width = shape
    random = np.random.default_rng(seed)
    row, column = np.ogrid[:height, :width]
    head = np.hypot((row - height / 2) / (0.4 * height), (column - width / 2) / (0.4 * width)) < 1
    top, left = int(height * 0.35) + seed % 3, int(width * 0.35)
    side = min(height, width) // 4
    patient = folder / name
    patient.mkdir(parents=True)
    for number in range(1, slices + 1):
        target = np.zeros(shape, np.uint8)
        if tumour and 1 < number < slices:
            target[top : top + side, left : left + side] = 255
        image = head[..., None] * np.array([80, 100, 90]) + (target > 0)[..., None] * np.array(
            [20, 90, 20])                                                        # (H, W, 3)
        noise = random.integers(0, 12, image.shape) * head[..., None]
        tifffile.imwrite(patient / f"{name}_{number}.tif", (image + noise).astype(np.uint8),
                         photometric="rgb")
        tifffile.imwrite(patient / f"{name}_{number}_mask.tif", target)
    return patient


@pytest.fixture
def tif_folder(tmp_path) -> Path:
    """A folder with four patients of two sites, 5 or 6 slices each, written by write_patient."""
    for number, site in enumerate(SITES, start=1):
        write_patient(tmp_path / "kaggle_3m", f"TEST_{site}_{number:04d}_20000101",
                      slices=5 + number % 2, seed=number)
    return tmp_path / "kaggle_3m"


@pytest.fixture(scope="session")
def real_folder() -> Path:
    """kaggle_3m under COURSE_DATA, else under ../shared/data beside the checkout."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    for home in (Path(os.environ.get("COURSE_DATA") or beside).expanduser(), beside):
        if (home / "kaggle_3m").is_dir():
            return home / "kaggle_3m"
    pytest.skip("the folder kaggle_3m with real patients is neither under COURSE_DATA nor under "
                "../shared/data beside the checkout")


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium that reaches nothing but this machine."""
    programs = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next(filter(None, map(shutil.which, programs)), None)
    if program is None:
        pytest.skip(f"there is no browser: none of {', '.join(programs)} is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=[
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"])
