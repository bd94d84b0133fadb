"""The way in: package files, Makefile, running the lessons."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

import run

CHECKOUT = Path(__file__).parents[1]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))


def names(file: str) -> set[str]:
    lines = (CHECKOUT / file).read_text("utf-8").splitlines()
    return {re.split(r"[=<>;\s]", line)[0].lower().replace("_", "-") for line in lines
            if line and not line.startswith("#")}


def test_every_requirement_has_a_tested_version():
    extras = PROJECT["project"]["optional-dependencies"]["test"]
    extras = {re.split(r"[=<>]", one)[0] for one in extras}
    assert names("requirements.txt") | extras <= names("constraints.txt")


def test_every_imported_package_is_required():
    known = {"PIL": "pillow", "skimage": "scikit-image"}
    lessons = {path.stem for path in CHECKOUT.glob("lessons/*.py")}
    required = names("requirements.txt") | set(sys.stdlib_module_names) | {"course_lib"} | lessons
    for path in [*CHECKOUT.glob("course_lib/**/*.py"), *CHECKOUT.glob("lessons/*.py"),
                 CHECKOUT / "site" / "conf.py"]:
        for name in re.findall(r"^\s*(?:import|from) (\w+)", path.read_text("utf-8"), re.MULTILINE):
            assert known.get(name, name) in required, f"{path.name} imports {name}"


def test_torch_is_at_least_the_release_with_the_security_fixes():
    text = (CHECKOUT / "requirements.txt").read_text("utf-8")
    assert "torch>=2.10\n" in text and "tensorboard>=2.20\n" in text


def test_the_version_stands_once():
    version = PROJECT["project"]["version"]
    for path in [CHECKOUT / "CITATION.cff", *CHECKOUT.glob("course_lib/**/*.py"),
                 *CHECKOUT.glob("lessons/*.py")]:
        assert version not in path.read_text("utf-8"), path


def test_clean_never_touches_data_runs_or_my_course(tmp_path):
    shutil.copy(CHECKOUT / "Makefile", tmp_path)
    for folder in ("data", "runs", "my-course", "build", ".venv", "course_lib/__pycache__"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").write_text("mine")
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("file")}
    assert left == {"data/file", "runs/file", "my-course/file"}


def test_a_wrong_python_is_refused_in_a_sentence(tmp_path):
    shutil.copy(CHECKOUT / "Makefile", tmp_path)
    (tmp_path / "old").write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.1 && exit\n'
                                  "exit 1\n")
    (tmp_path / "old").chmod(0o755)
    found = subprocess.run(["make", ".venv/python", "PYTHON=./old"], cwd=tmp_path, text=True,
                           capture_output=True)
    assert found.returncode and "needs Python 3.11, 3.12 or 3.13" in found.stdout
    assert "Python 3.9.1" in found.stdout and not (tmp_path / ".venv").exists()


def test_lessons_are_chosen_by_number():
    assert [path.name[:2] for path in run.choose(["03", "00"])] == ["03", "00"]
    assert [path.name[:2] for path in run.choose([])] == sorted(
        path.name[:2] for path in run.NOTEBOOKS.glob("0*.ipynb"))
    assert {path.name[:2] for path in run.choose([])} <= set(run.MINUTES)
    with pytest.raises(SystemExit, match="no lesson 77: choose from 00"):
        run.choose(["77"])


def test_a_failing_notebook_is_kept_and_its_error_told_in_a_plain_line(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "NOTEBOOKS", tmp_path)
    (tmp_path / "out").mkdir()
    code = ["print('before')", "raise ValueError('on purpose')", "print('after')"]
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in code])
    nbformat.write(node, tmp_path / "07_fails.ipynb")
    error = run.execute(tmp_path / "07_fails.ipynb", tmp_path / "out")
    assert error == "ValueError: on purpose"
    kept = (tmp_path / "out" / "07_fails.ipynb").read_text("utf-8")
    assert '"before\\n"' in kept and "on purpose" in kept and '"after\\n"' not in kept


def test_the_readme_says_the_same_minutes_as_the_doctor():
    readme = (CHECKOUT / "README.md").read_text("utf-8")
    for number, minutes in run.MINUTES.items():
        row = next(line for line in readme.splitlines() if line.startswith(f"| {number} "))
        assert f"| {minutes['tiny']:g} / {minutes['cpu']:g}" in row, row
