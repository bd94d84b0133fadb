import os
import sys
import types
from collections import namedtuple
from pathlib import Path

import pytest

from course_lib import settings
from course_lib.doctor import installation

SOUND = {"course-lib": "1", "torch": "2.15.0", "numpy": "2.4.6", "ipykernel": "7.4.0",
         "ipywidgets": "8.1.9", "jupyterlab_widgets": "3.0.17", "tensorboard": "2.21.0",
         "setuptools": "84.2.1", "medpy": "0.5.2", "jupyterlab": "4.6.6",
         "nilearn": "0.14.1"}
NEEDED = {"torch": "2.10", "numpy": "2.0", "ipywidgets": "7.7.1", "tensorboard": "2.20",
          "medpy": "0.5.2", "jupyterlab": "4.4", "nilearn": "0.12"}
COLAB = {**SOUND, "google-colab": "1.0.0", "torch": "2.11.0+cu128", "numpy": "2.1.3",
         "ipykernel": "6.17.1", "ipywidgets": "7.7.1", "jupyterlab_widgets": None,
         "tensorboard": "2.20.0", "setuptools": "75.2.0", "jupyterlab": None}


@pytest.fixture
def having(monkeypatch):
    """A function that replaces what is installed; nothing of it is loaded."""
    for name in SOUND:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(installation, "requirements", lambda: NEEDED)

    def replace(base: dict, **changes: str | None) -> None:
        versions = {**base, **{name.replace("__", "-"): version
                               for name, version in changes.items()}}
        monkeypatch.setattr(installation, "installed", versions.get)

    return replace


def only(lines):
    (line,) = lines
    return line


def test_versions_compare_as_numbers():
    assert installation.numbers("2.15.0+cu128") == (2, 15, 0)
    assert installation.numbers("2.9") < installation.numbers("2.10.0rc1")


def test_what_course_lib_declares_is_read_without_its_extras(monkeypatch):
    monkeypatch.setattr(installation.importlib.metadata, "requires", lambda name: [
        "torch>=2.10", 'pytest>=8.4; extra == "test"'])
    assert installation.requirements() == {"torch": "2.10"}


def test_running_from_a_folder_is_told(having, monkeypatch):
    having(SOUND)
    monkeypatch.setattr(installation, "requirements", dict)
    lines = list(installation.check_packages())
    assert [line.mark for line in lines] == ["WARN", "OK", "OK", "OK"]
    assert lines[0].command.endswith("pip install -e .")
    having(SOUND, numpy=None)
    assert only(line for line in installation.check_packages()
                if line.mark == "FIX").command.endswith("pip install numpy")


@pytest.mark.parametrize("base", [SOUND, COLAB])
def test_sound_packages_are_ok(having, base):
    having(base)
    for check in (installation.check_torch, installation.check_packages,
                  installation.check_widgets, installation.check_tensorboard):
        assert {line.mark for line in check()} == {"OK"}


@pytest.mark.parametrize("version", [None, "0.4.1"])
@pytest.mark.parametrize("name", ["medpy", "jupyterlab"])
def test_a_missing_or_old_package_is_a_fix_with_the_command(having, name, version):
    having(SOUND, **{name: version})
    line = only(line for line in installation.check_packages() if line.mark != "OK")
    assert (line.mark, line.topic) == ("FIX", name)
    assert (version or "not installed") in line.text
    assert line.command.endswith(f'pip install "{name}>={NEEDED[name]}"')


def test_a_package_that_was_replaced_while_loaded_wants_a_restart(having, monkeypatch):
    having(SOUND)
    old = types.ModuleType("numpy")
    old.__version__ = "2.1.3"
    monkeypatch.setitem(sys.modules, "numpy", old)
    line = only(line for line in installation.check_packages() if line.mark != "OK")
    assert (line.mark, line.command) == ("WARN", "restart the kernel")
    assert "2.4.6 is installed, but 2.1.3 is loaded" in line.text


@pytest.mark.parametrize(("front", "words"), [
    (None, "jupyterlab_widgets is missing"), ("1.1.11", "1.1.11 does not fit"),
    ("4.0.0", "4.0.0 does not fit")])
def test_a_missing_or_wrong_front_end_is_a_fix(having, front, words):
    having(SOUND, jupyterlab_widgets=front)
    line = only(installation.check_widgets())
    assert line.mark == "FIX" and words in line.text
    assert line.command.endswith(
        'pip install --upgrade "ipywidgets>=8.1" "jupyterlab_widgets>=3,<4"')


def test_ipywidgets_7_has_a_front_end_of_its_own(having):
    having(SOUND, ipywidgets="7.7.5", jupyterlab_widgets="1.1.11")
    assert only(installation.check_widgets()).mark == "OK"
    having(SOUND, ipywidgets="7.7.5")
    assert only(installation.check_widgets()).mark == "FIX"


def test_an_ipywidgets_of_the_future_is_not_vouched_for(having):
    having(SOUND, ipywidgets="9.0.0")
    assert only(installation.check_widgets()).mark == "FIX"


def test_missing_ipywidgets_are_one_fix(having):
    having(SOUND, ipywidgets=None)
    assert only(installation.check_widgets()).mark == "FIX"


@pytest.mark.parametrize(("tensorboard", "setuptools", "mark"), [
    ("2.20.0", "81.0.0", "OK"), ("2.20.0", "82.0.0", "FIX"), ("2.20.0", None, "FIX"),
    ("2.21.0", "84.0.0", "OK"), ("2.21.0", None, "OK"), (None, "84.0.0", "FIX")])
def test_an_old_tensorboard_does_not_go_with_a_new_setuptools(having, tensorboard, setuptools,
                                                              mark):
    having(SOUND, tensorboard=tensorboard, setuptools=setuptools)
    line = only(installation.check_tensorboard())
    assert line.mark == mark
    if tensorboard == "2.20.0" and mark == "FIX":
        assert line.command.endswith('pip install "tensorboard>=2.21"')


@pytest.mark.parametrize("changes", [
    {"torch": "2.9.0"}, {"torch": None}, {"numpy": "1.26.4"}, {"ipywidgets": "8.1.9"},
    {"ipywidgets": None}, {"setuptools": "82.0.0"}, {"tensorboard": None}, {"ipykernel": None}])
def test_on_colab_its_own_packages_are_never_installed_anew(having, changes):
    having(COLAB, **changes)
    lines = [line for check in (installation.check_torch, installation.check_packages,
                                installation.check_widgets, installation.check_tensorboard)
             for line in check() if line.mark != "OK"]
    line = only(lines)
    assert line.mark == "WARN" and line.command.startswith("menu Runtime > ")


def test_on_colab_a_package_of_ours_is_installed_without_what_it_pulls_in(having):
    having(COLAB, nilearn=None)
    line = only(line for line in installation.check_packages() if line.mark != "OK")
    assert line.mark == "FIX" and 'install --no-deps "nilearn>=0.12"' in line.command


def test_on_colab_as_it_is_only_what_the_setup_cell_installs_is_missing(having, monkeypatch):
    freeze = Path(__file__).parents[2] / "shared" / "data" / "colab" / "pip-freeze.gpu.txt"
    if not freeze.is_file():
        pytest.skip("the list of Colab's packages is not under ../shared/data beside the checkout")
    pairs = (line.split("==") for line in freeze.read_text("utf-8").splitlines() if "==" in line)
    colabs = {name.lower(): version for name, version in pairs}
    lines = (Path(__file__).parents[1] / "requirements.txt").read_text("utf-8").splitlines()
    needed = dict(line.split(">=") for line in lines if not line.startswith("#"))
    having({**colabs, "google-colab": "1.0.0", "course-lib": "1"})
    monkeypatch.setattr(installation, "requirements", lambda: needed)
    fixes = [line.topic for check in (installation.check_torch, installation.check_packages,
                                      installation.check_widgets, installation.check_tensorboard)
             for line in check() if line.mark == "FIX"]
    assert fixes == ["nilearn"]


def test_commands_fit_a_notebook_or_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "executable", str(Path.cwd() / ".venv" / "bin" / "python"))
    command = str(Path(".venv/bin/python"))
    assert installation.pip("torch") == f"{command} -m pip install torch"
    monkeypatch.setattr(sys, "executable", "/home/Jane Doe/python")
    assert installation.pip("torch") == '"/home/Jane Doe/python" -m pip install torch'
    assert installation.variable("A", "b") in ("export A=b", "set A=b")
    monkeypatch.setitem(sys.modules, "ipykernel.kernelapp", types.ModuleType("kernelapp"))
    assert installation.pip("torch") == "%pip install torch"
    assert installation.variable("A", "b") == "%env A=b"


@pytest.fixture
def environment(having, tmp_path, monkeypatch):
    """An environment in tmp_path/env that the running Python belongs to; no checkout."""
    having(SOUND)
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(settings, "checkout", lambda: None)
    monkeypatch.setattr(installation.shutil, "which", lambda name: str(python.with_name(name)))
    return tmp_path / "env"


def test_a_venv_is_ok(environment):
    line = only(installation.check_environment())
    assert (line.mark, line.text) == ("OK", f"venv, {environment}")


def test_a_python_shared_by_all_wants_an_environment(environment, monkeypatch):
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    line = only(installation.check_environment())
    assert line.mark == "WARN" and line.command.startswith("python -m venv .venv && ")


def test_conda_is_ok_but_its_base_is_shared(environment, monkeypatch):
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    (environment / "conda-meta").mkdir()
    assert only(installation.check_environment()).text == f"conda, {environment}"
    (environment / "condabin").mkdir()
    assert only(installation.check_environment()).mark == "WARN"


def test_another_python_than_the_checkouts_is_told(environment, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "checkout", lambda: tmp_path)
    assert only(installation.check_environment()).mark == "OK"           # there is no other yet
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").touch()
    line = only(installation.check_environment())
    assert line.mark == "WARN" and settings.show_path(tmp_path / ".venv") in line.text
    assert line.command.startswith(f"cd {os.path.relpath(tmp_path)} && ")
    monkeypatch.setitem(sys.modules, "ipykernel.kernelapp", types.ModuleType("kernelapp"))
    assert "the kernel's Python is" in only(installation.check_environment()).text


def test_another_environments_jupyter_is_told(environment, monkeypatch):
    monkeypatch.setattr(installation.shutil, "which", lambda name: "/elsewhere/bin/jupyter")
    lines = list(installation.check_environment())
    assert [line.mark for line in lines] == ["OK", "WARN"]
    assert lines[1].command == f"{sys.executable} -m jupyter lab"


@pytest.mark.parametrize(("version", "mark"), [((3, 10, 9), "FIX"), ((3, 11, 0), "OK"),
                                               ((3, 13, 9), "OK"), ((3, 14, 0), "FIX")])
def test_the_python_is_one_of_those_tested(having, monkeypatch, version, mark):
    having(SOUND)
    monkeypatch.setattr(sys, "version_info", namedtuple("V", "major minor micro")(*version))
    assert only(installation.check_python()).mark == mark
    having(COLAB)
    line = only(installation.check_python())
    assert line.mark == mark.replace("FIX", "WARN")
    assert line.mark == "OK" or line.command.startswith("menu Runtime")


@pytest.mark.parametrize("version", [None, "2.9.1"])
def test_a_missing_or_old_torch_is_one_fix(having, monkeypatch, version):
    having(SOUND, torch=version)
    if version is None:
        monkeypatch.setitem(sys.modules, "torch", None)                  # import raises
    line = only(installation.check_torch())
    assert line.mark == "FIX" and line.command.endswith('pip install "torch>=2.10"')


def test_a_torch_that_does_not_load_is_a_fix(having, monkeypatch):
    having(SOUND)
    assert only(installation.check_torch()).mark == "OK"                 # a module stands in
    monkeypatch.setitem(sys.modules, "torch", None)
    line = only(installation.check_torch())
    assert line.mark == "FIX" and "does not load" in line.text
    assert line.command.endswith("pip install --force-reinstall torch torchvision")
    having(COLAB)
    assert only(installation.check_torch()).command == installation.FRESH_RUNTIME
