"""Lesson 03 as a student meets it in JupyterLab, in a real browser: slice viewer, TensorBoard."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

LESSON = Path(__file__).parents[1] / "notebooks" / "03_brain_mri.ipynb"
# The bytes of the viewer's picture, as a number, and the words below it.
SEEN = """async () => {
  const picture = document.querySelector("img.widget-image");
  const bytes = new Uint8Array(await (await fetch(picture.src)).arrayBuffer());
  const words = document.querySelector(".widget-html-content").textContent;
  return [bytes.length, bytes.reduce((sum, byte) => (31 * sum + byte) % 1000003, 7), words]}"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab with lesson 03 in it, and folders and settings of its own."""
    home = tmp_path_factory.mktemp("lab")
    (home / "work").mkdir()
    shutil.copy(LESSON, home / "work")
    settings = home / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    own = {"HOME": home, "JUPYTER_CONFIG_DIR": home / "config", "JUPYTER_DATA_DIR": home / "data",
           "JUPYTER_RUNTIME_DIR": home / "runtime", "IPYTHONDIR": home / "ipython",
           "JUPYTERLAB_SETTINGS_DIR": home / "settings", "COURSE_PROFILE": "tiny",
           "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces", "COURSE_RUNS": home / "runs"}
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with open(home / "log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
             "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
             "--IdentityProvider.token=", f"--ServerApp.root_dir={home / 'work'}",
             "--LabApp.news_url=None"],
            env=os.environ | {name: str(value) for name, value in own.items()},
            stdout=log, stderr=log)
    try:
        until = monotonic() + 60
        while not answers(f"{address}/api"):
            assert process.poll() is None and monotonic() < until, (home / "log").read_text()
            sleep(0.2)
        yield address
    finally:
        process.terminate()                                     # JupyterLab ends its kernels, too
        process.wait(timeout=60)


def answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(address, timeout=5).status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def page(lab, browser):
    """Lesson 03 after Run All Cells."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(f"{lab}/lab/tree/{LESSON.name}?reset")
    page.get_by_text("| Idle").wait_for(timeout=60_000)         # the kernel, in the status bar
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.locator("img.widget-image").wait_for(timeout=300_000)  # the lesson trains in between
    page.get_by_text("| Idle").wait_for(timeout=60_000)
    yield page
    page.close()


def drawn(chart: bytes) -> float:
    """Share of a screenshot's columns with something dark in them: of a dot or a mark 0.03, of a
    curve more, even where TensorBoard cuts it off above and below."""
    dark = (np.asarray(Image.open(io.BytesIO(chart)).convert("RGB")) < 130).all(axis=2)
    return float(dark.any(axis=0).mean())


def test_tensorboard_shows_a_curve_of_all_epochs(page):
    frames = page.locator("iframe[id^=tensorboard-frame]")
    assert frames.count() == 2                                  # after the stop, and at the end
    frames.last.scroll_into_view_if_needed()
    frame = frames.last.content_frame
    chart = frame.locator("line-chart .series-view").first
    chart.wait_for(timeout=60_000)
    assert "No dashboards are active" not in frame.locator("body").inner_text()
    until = monotonic() + 60
    while drawn(chart.screenshot()) < 0.2:
        assert monotonic() < until, "TensorBoard's first chart stays empty"
        sleep(0.5)


def test_moving_a_slider_of_lesson_03_changes_the_picture(page):
    def move(slider: int, key: str) -> tuple[list, list]:
        before = page.evaluate(SEEN)
        handle = page.locator(".widget-slider .noUi-handle").nth(slider)
        handle.scroll_into_view_if_needed()
        handle.focus()
        page.keyboard.press(key)
        page.wait_for_function("words => document.querySelector('.widget-html-content').textContent"
                               " !== words", arg=before[-1], timeout=30_000)
        return before, page.evaluate(SEEN)

    before, after = move(0, "ArrowLeft")                        # slice
    assert before[:2] != after[:2]
    assert before[2].startswith("slice ") and "threshold 0.50" in before[2]
    for _ in range(5):                                          # threshold, of the whole patient
        _, after = move(2, "ArrowRight")
    assert "threshold 0.60" in after[2]
