"""The way in: package files, Makefile, running the lessons."""

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
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
    mine = {"data", "data/kaggle_3m/__pycache__", "runs", "my-course",
            "build/course-20260101-000000", "build/course-20260101-000000/runs/03/__pycache__"}
    for folder in (*mine, "build/test/runs", ".venv", "course_lib/__pycache__"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "file").write_text("mine")
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    left = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("file")}
    assert left == mine
    (tmp_path / "empty").mkdir()
    shutil.copy(CHECKOUT / "Makefile", tmp_path / "empty")
    subprocess.run(["make", "clean"], cwd=tmp_path / "empty", check=True, capture_output=True)


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
    assert [lesson.number for lesson in run.choose(["03", "00"])] == ["03", "00"]
    assert [lesson.stem for lesson in run.choose([])] == sorted(
        path.stem for path in run.NOTEBOOKS.glob("0*.ipynb"))
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


@pytest.fixture
def build(tmp_path, monkeypatch):
    """A checkout of two small lessons; the second fails, or is cut off, as `second` says."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "course_lib").mkdir()
    for number, stem in enumerate(("00_one", "01_two")):
        node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f"print({number})")])
        nbformat.write(node, tmp_path / "notebooks" / f"{stem}.ipynb")
    lessons = [replace(lesson, stem=stem) for lesson, stem in zip(
        run.LESSONS, ("00_one", "01_two"), strict=False)]
    monkeypatch.setattr(run, "LESSONS", lessons)
    monkeypatch.setattr(run, "CHECKOUT", tmp_path)
    monkeypatch.setattr(run, "NOTEBOOKS", tmp_path / "notebooks")
    for name in ("COURSE_PROFILE", "COURSE_RUNS"):
        monkeypatch.setenv(name, "tiny")                # put back afterwards
    monkeypatch.setattr(run.pages, "build", lambda output: output / "site" / "index.html")
    executed = []

    def go(*arguments, second=None):
        def execute(notebook, output):
            if second and notebook.stem == "01_two":
                raise second
            executed.append((notebook.stem, output.name, os.environ["COURSE_RUNS"]))

        monkeypatch.setattr(run, "execute", execute)
        monkeypatch.setattr(run.sys, "argv", ["run.py", *arguments])
        executed.clear()
        try:
            run.main()
        except KeyboardInterrupt:
            pass
        return [stem for stem, *_ in executed], {output for _, output, _ in executed}

    go.home, go.executed = tmp_path, executed
    return go


def test_an_interrupted_course_goes_on_where_it_was(build, capsys):
    stems, first = build(second=KeyboardInterrupt())
    assert stems == ["00_one"]
    stems, again = build()
    assert stems == ["01_two"] and again == first
    assert Path(build.executed[0][2]).parent.name == first.pop()          # the same COURSE_RUNS
    assert "An interrupted run goes on: build/course-" in capsys.readouterr().out
    time.sleep(1.1)                                                       # another folder's name
    stems, fresh = build()
    assert stems == ["00_one", "01_two"] and fresh != again               # it had come to its end


@pytest.mark.parametrize("change", ["lessons", "profile", "code", "record"])
def test_another_course_begins_anew(build, change):
    _, first = build("--profile", "tiny", second=KeyboardInterrupt())
    (output,) = first
    time.sleep(1.1)
    if change == "code":
        (build.home / "course_lib" / "new.py").write_text("x = 1")
    if change == "record":
        (build.home / "build" / output / "run.json").write_text("{")
    arguments = ["--profile", "cpu" if change == "profile" else "tiny",
                 *(["00"] if change == "lessons" else [])]
    stems, again = build(*arguments)
    assert stems[0] == "00_one" and again != first
