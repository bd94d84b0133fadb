"""The setup cell: what it installs and what it leaves alone, here and with Colab's versions."""

import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pytest
from test_notebooks import CHECKOUT, build

from course_lib.errors import CourseError

# --- here ---

@pytest.fixture
def run_cell(monkeypatch):
    """Runs the setup cell where some packages are missing; returns its variables and pip's calls.

    Nothing is installed: what is missing here only seems to be.
    """
    def run(missing=(), returncode=0, change=lambda cell: cell):
        calls, find = [], importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec",
                            lambda name: None if name in missing else find(name))
        monkeypatch.setattr(subprocess, "run", lambda command, **_: calls.append(command) or
                            subprocess.CompletedProcess(command, returncode, b"", b"a page"))
        variables = {}
        try:
            exec(change(build.setup_cell()), variables)
        except SystemExit as stop:
            return str(stop), calls
        return variables, calls

    return run


def test_where_all_is_there_nothing_is_installed(run_cell, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_PROFILE", "tiny")
    variables, calls = run_cell()
    assert calls == [] and variables["PROFILE"] == "tiny" and variables["SEED"] == 42
    assert re.match(r"profile tiny, device \w+, \d+ cores, torch [\w.+]+, course_lib [\d.]+; runs "
                    "go to ", capsys.readouterr().out)


@pytest.mark.parametrize("missing", [["nilearn"], ["course_lib"], ["course_lib", "nilearn"]])
def test_only_what_is_missing_is_installed_and_nothing_it_depends_on(run_cell, missing):
    _, (call,) = run_cell(missing)
    address = f"git+{build.REPOSITORY}@{build.TAG}"
    assert call[1:] == ["-m", "pip", "install", "--no-deps",
                        *({"course_lib": address, "nilearn": "nilearn"}[one] for one in missing)]


def test_without_a_network_the_cell_ends_in_one_sentence(run_cell, capfd):
    said, _ = run_cell(["nilearn"], returncode=1)
    assert said == "pip could not install ['nilearn']: no network? (On Kaggle: Internet on.)"
    assert capfd.readouterr() == ("", "")


def test_keeping_on_drive_elsewhere_than_on_colab_is_refused_with_the_cure(run_cell):
    def ask(cell):
        assert cell.count("KEEP_ON_DRIVE = False") == 1
        return cell.replace("KEEP_ON_DRIVE = False", "KEEP_ON_DRIVE = True")

    with pytest.raises(CourseError, match="Google Drive was not mounted .*KEEP_ON_DRIVE = False"):
        run_cell(change=ask)


# --- with Colab's versions: minutes, and 6 GB on the disk and through the network ---

# Of Colab's packages those that the course needs, and those that the cell must leave alone. The
# versions, of all that they need too, are the list's. CUDA's packages are left to torch: Colab's
# build of torch (+cu128) is not in the common index, so it is the same release with other CUDA.
PROTECTED = {"torch", "torchvision", "numpy", "scipy", "matplotlib", "ipywidgets", "ipykernel",
             "tensorboard", "setuptools", "protobuf", "pandas"}
NEEDED = {"pip", "wheel", "ipython", "nbclient", "scikit-image", "scikit-learn", "tifffile",
          "nibabel", "pooch", "platformdirs", "kagglehub", "pillow", "tqdm", "joblib", "lxml",
          "requests"}


def as_constraints(freeze: str) -> str:
    """The list's versions without what names a build, `torch==2.11.0+cu128` as `torch==2.11.0`."""
    found = re.findall(r"^([\w.-]+==[\w.]+)(?:\+\w+)?$", freeze, re.MULTILINE)
    return "\n".join(line for line in found if not line.startswith(("nvidia", "cuda")))


def call(command: list, **options) -> subprocess.CompletedProcess:
    """Run a command in which nothing shows of the environment that the tests run in."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("COURSE_", "VIRTUAL_ENV", "PYTHON", "JUPYTER"))}
    return subprocess.run(command, capture_output=True, text=True,
                          env=kept | options.pop("variables", {}), **options)


def installed(python: Path) -> dict[str, str]:
    listed = call([python, "-m", "pip", "list", "--format=json"], check=True)
    return {one["name"].lower(): one["version"] for one in json.loads(listed.stdout)}


@pytest.fixture
def colab(tmp_path) -> Iterator[Path]:
    """The Python of a fresh environment with Colab's versions, which is deleted afterwards."""
    beside = CHECKOUT.parent / "shared" / "data"
    places = [Path(home) / "colab" / "pip-freeze.gpu.txt"
              for home in (os.environ.get("COURSE_DATA") or beside, beside)]
    freeze = next(filter(Path.is_file, places), None)
    if freeze is None:
        pytest.skip("the list of Colab's packages, colab/pip-freeze.gpu.txt, is neither under "
                    "COURSE_DATA nor under ../shared/data beside the checkout")
    newest = "python3.13"
    if not shutil.which(newest) or subprocess.run([newest, "--version"]).returncode:
        pytest.skip(f"{newest}, Colab's, is not installed here")
    (tmp_path / "constraints.txt").write_text(as_constraints(freeze.read_text("utf-8")))
    python = tmp_path / "colab" / "bin" / "python"
    call([newest, "-m", "venv", tmp_path / "colab"], check=True)
    done = call([python, "-m", "pip", "install", "-q", "-c", tmp_path / "constraints.txt",
                 *sorted(PROTECTED | NEEDED)])
    assert done.returncode == 0, done.stderr[-3000:]
    yield python
    shutil.rmtree(tmp_path / "colab")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def repository(tmp_path) -> Iterator[str]:
    """The address of a clone of this checkout's last commit, tagged, as a web server has it."""
    home = tmp_path / "served"
    for command in (["clone", "-q", "--bare", CHECKOUT, home / "course.git"],
                    ["-C", home / "course.git", "tag", "-f", build.TAG, "HEAD"],
                    ["-C", home / "course.git", "update-server-info"]):
        subprocess.run(["git", *command], check=True, capture_output=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=home)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/course.git"
        server.shutdown()
        thread.join()


def run_notebook(python: Path, folder: Path, cells: int | None,
                 address: str) -> tuple[subprocess.CompletedProcess, str]:
    """Run lesson 00's first cells, or all, in that environment; what it printed in all of them."""
    notebook = nbformat.reads(build.make_notebook(build.lesson_files()[0]), as_version=4)
    notebook.cells = notebook.cells[:cells]
    setup = next(cell for cell in notebook.cells if "setup" in cell.metadata.get("tags", []))
    assert build.REPOSITORY in setup.source
    setup.source = setup.source.replace(build.REPOSITORY, address)
    folder.mkdir()
    nbformat.write(notebook, folder / "lesson.ipynb")
    done = call([python.parent / "jupyter-execute", "--output=done", "lesson.ipynb"], cwd=folder,
                variables={"COURSE_PROFILE": "tiny", "COURSE_CACHE": str(folder / "cache"),
                           "no_proxy": "127.0.0.1"})
    if done.returncode:
        return done, ""
    outputs = [output for cell in nbformat.read(folder / "done.ipynb", as_version=4).cells
               for output in cell.get("outputs", [])]
    return done, "".join(output.get("text", "") for output in outputs)


@pytest.mark.slow
def test_with_colabs_versions_lesson_00_runs_to_its_end_and_nothing_there_is_changed(
        colab, repository, tmp_path):
    before, nobody = installed(colab), "http://127.0.0.1:9"
    assert before.keys() >= PROTECTED and "course-lib" not in before and "nilearn" not in before
    assert re.match(r"2\.11\.0", before["torch"]) and before["ipykernel"] == "6.17.1"

    done, _ = run_notebook(colab, tmp_path / "offline", 3, nobody)
    said = re.sub(r"\x1b\[[\d;]*m", "", done.stderr)                         # without colours
    assert done.returncode and "SystemExit: pip could not install ['git+http://" in said, said
    assert installed(colab) == before

    done, printed = run_notebook(colab, tmp_path / "first", None, repository)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "profile tiny" in printed and re.search(r"2 test patients; \d+ s since", printed)
    assert (tmp_path / "first" / "runs" / "00-start-tiny" / "best.pt").is_file()
    after = installed(colab)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"course-lib", "nilearn"}

    done, printed = run_notebook(colab, tmp_path / "again", 3, nobody)      # nothing is fetched
    assert done.returncode == 0 and "profile tiny" in printed, done.stderr[-3000:]
