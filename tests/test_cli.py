import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from course_lib import cli, doctor
from course_lib.doctor import start
from course_lib.errors import CourseError

CHECKOUT = Path(__file__).parents[1]


@pytest.mark.parametrize(("mark", "status"), [("OK", 0), ("WARN", 0), ("FIX", 1)])
def test_doctor_prints_its_report_and_fails_where_something_is_to_fix(monkeypatch, capsys, mark,
                                                                      status):
    report = doctor.Report([doctor.Line(mark, "python", "3.12.1", "a command")])
    monkeypatch.setattr(doctor, "run", lambda: report)
    assert cli.main(["doctor"]) == status
    assert capsys.readouterr().out == f"{report!r}\n"


def test_an_error_is_a_sentence_and_a_status(monkeypatch, capsys):
    def fail():
        raise CourseError(what="it is Monday", where="doctor", cure="wait")

    monkeypatch.setattr(doctor, "run", fail)
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().err == "doctor: it is Monday. Wait.\n"


@pytest.mark.parametrize("arguments", [[], ["nurse"], ["doctor", "now"]])
def test_anything_else_is_refused_with_the_usage(capsys, arguments):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2 and "usage: course" in capsys.readouterr().err


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--help"])
    printed = capsys.readouterr().out
    assert end.value.code == 0 and "doctor" in printed and "grade" in printed


def test_the_version_is_the_installed_one_and_loads_no_torch():
    code = ("import sys\ntry:\n from course_lib.cli import main; main(['--version'])\n"
            "finally:\n print('torch' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout == f"course_lib {start.own_version()}\nFalse\n"


def test_a_library_that_is_not_installed_has_no_version(monkeypatch):
    def missing(name):
        raise start.PackageNotFoundError(name)

    monkeypatch.setattr(start, "version", missing)
    assert start.own_version() == "not installed, runs from its folder"


def test_the_command_is_declared_and_is_also_the_modules(capsys):
    scripts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert EntryPoint("course", scripts["course"], "console_scripts").load() is cli.main
    done = subprocess.run([sys.executable, "-m", "course_lib", "--version"], capture_output=True,
                          text=True, cwd=CHECKOUT)
    assert done.stdout == f"course_lib {start.own_version()}\n"
