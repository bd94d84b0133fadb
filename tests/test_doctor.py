import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from course_lib import doctor, settings
from course_lib.check.lessons import LESSONS
from course_lib.doctor import examination, installation, machine, probe
from course_lib.doctor.examination import PROBE_SECONDS, expected_minutes
from course_lib.doctor.report import ADVICE

MINUTES = LESSONS[3].minutes
LINES = [doctor.Line("OK", "python", "3.12.1"),
         doctor.Line("WARN", "memory", "1.0 of <8> GB free, " + "so close something " * 8),
         doctor.Line("FIX", "numpy", "not installed", "pip install " + "numpy " * 20)]


@pytest.fixture
def quick(monkeypatch):
    """No network is asked for, no steps are taken, and this is a CPU."""
    monkeypatch.setattr(machine, "reach", lambda answers: answers.append(True))
    monkeypatch.setattr(settings, "device", lambda: torch.device("cpu"))
    monkeypatch.setattr(probe, "seconds_per_step", lambda device: 2 * PROBE_SECONDS)
    monkeypatch.delenv("COURSE_PROFILE", raising=False)


def test_a_report_is_text_with_each_command_whole_on_a_line_of_its_own():
    report = doctor.Report(LINES)
    text = repr(report).splitlines()
    assert text[0] == "OK    python       3.12.1"
    assert text[1].startswith("WARN  memory       1.0 of <8> GB free, so close")
    assert text[2].startswith(" " * 19 + "close something")              # wrapped
    assert "FIX   numpy        not installed" in text
    assert f"{'':17}> {LINES[2].command}" in text
    assert "1 to fix, 1 to look at, 1 fine." in text
    assert report.fixes == [LINES[2]]


def test_a_report_is_a_table_in_a_notebook():
    page = doctor.Report(LINES)._repr_html_()
    assert page.count("<tr>") == 3 and ">FIX</b></td>" in page
    assert "1.0 of &lt;8&gt; GB" in page and f"<code>{LINES[2].command}</code></span></td>" in page
    assert page.count("<code>") == 1                             # where there is nothing to mend


def luminance(colour: str) -> float:
    """Relative luminance of #RRGGBB in [0, 1]: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance
    """
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
                        for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(text: str, ground: str) -> float:
    """Contrast ratio of two colours, from 1 to 21."""
    dark, bright = sorted((luminance(text), luminance(ground)))
    return (bright + 0.05) / (dark + 0.05)


def test_marks_can_be_read_on_light_and_on_dark_pages():
    assert contrast("#FFFFFF", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") < 4.5 < contrast("#767676", "#FFFFFF")
    page = doctor.Report(LINES)._repr_html_()
    marks = re.findall(r"color:(#\w{6});background:(#\w{6});[^>]*>(\w+)<", page)
    assert [mark for *_, mark in marks] == ["OK", "WARN", "FIX"]  # each has a ground of its own
    assert [mark for text, ground, mark in marks if contrast(text, ground) < 4.5] == []
    assert len({ground for _, ground, _ in marks}) == 3


def test_the_advice_is_two_lines_each_on_an_environment_and_on_a_mirror():
    assert [len(text.splitlines()) for text in ADVICE] == [2, 2]
    report = doctor.Report([])
    assert "environment of its own" in repr(report)
    assert "--index-url <address of the mirror>" in repr(report)
    assert "--index-url &lt;address of the mirror&gt;" in report._repr_html_()


def test_everything_is_looked_at_in_order(quick):
    report = doctor.run()
    topics = list(dict.fromkeys(line.topic for line in report.lines))
    wanted = ["environment", "python", "torch", "numpy", "ipykernel", "packages", "ipywidgets",
              "tensorboard", "memory", "data", "cache", "runs", "gpu", "step", "profile", "minutes",
              "network"]
    assert [topic for topic in topics if topic in wanted] == wanted
    assert {line.mark for line in report.lines} <= {"OK", "WARN", "FIX"}
    assert not any("could not be looked at" in line.text for line in report.lines)


def test_a_check_that_fails_itself_is_told_and_the_others_go_on(quick, monkeypatch):
    def fail():
        raise KeyError("odd machine")
        yield

    monkeypatch.setattr(machine, "check_gpu", fail)
    lines = {line.topic: line for line in doctor.run().lines}
    assert lines["gpu"].mark == "WARN"
    assert lines["gpu"].text == "could not be looked at (KeyError: 'odd machine')"
    assert lines["step"].mark == "OK" and "profile" in lines


def test_lines_that_came_before_a_failure_are_kept():
    def half():
        yield LINES[0]
        raise OSError("gone")

    assert [line.topic for line in examination.look("half", half)] == ["python", "half"]


def test_without_torch_the_rest_is_looked_at(quick, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)              # import raises
    report = doctor.run()
    topics = [line.topic for line in report.lines]
    fix = [line for line in report.fixes if line.topic == "torch"]
    assert len(fix) == 1 and "does not load" in fix[0].text
    assert not {"gpu", "step", "gpu memory", "profile", "minutes"} & set(topics)
    assert {"memory", "runs", "network"} <= set(topics)


def test_without_numpy_or_a_network_nothing_is_raised(quick, monkeypatch):
    monkeypatch.setattr(machine, "reach", lambda answers: None)
    monkeypatch.setattr(installation, "installed", lambda name: None)
    report = doctor.run()
    assert {"torch", "numpy", "ipywidgets", "tensorboard", "ipykernel"} <= {
        line.topic for line in report.fixes}
    assert any(line.topic == "network" and line.mark == "WARN" for line in report.lines)


# ---------------------------------------------------------------- profile and minutes

def test_every_lesson_has_minutes_for_every_profile():
    lessons = (Path(__file__).parents[1] / "lessons").glob("[0-9]*.py")
    assert sorted(path.stem for path in lessons) == [lesson.stem for lesson in LESSONS]
    for lesson in LESSONS:
        assert set(lesson.minutes) == set(settings.PROFILES)


def test_a_slower_machine_is_slower_in_everything_a_faster_device_in_training():
    usual = MINUTES["cpu"]
    assert expected_minutes("cpu", PROBE_SECONDS)["03"] == pytest.approx(usual)
    assert expected_minutes("cpu", 3 * PROBE_SECONDS)["03"] == pytest.approx(3 * usual)
    assert expected_minutes("cpu", PROBE_SECONDS / 2)["03"] == pytest.approx(0.65 * usual)
    assert expected_minutes("cpu", 1e-9)["03"] == pytest.approx(0.3 * usual)
    assert expected_minutes("gpu", 1e-9)["03"] == MINUTES["gpu"]


def test_the_profile_and_its_minutes_are_told(quick, monkeypatch):
    monkeypatch.setattr(examination, "busy", lambda: False)
    profile, minutes = examination.check_profile()
    assert profile.mark == minutes.mark == "OK" and profile.text.startswith("cpu, on cpu; ")
    assert f"lesson 03 {2 * MINUTES['cpu']:.1f}" in minutes.text
    assert "other programs" not in minutes.text
    monkeypatch.setattr(examination, "busy", lambda: True)
    assert "other programs are running" in list(examination.check_profile())[1].text


def test_an_unknown_profile_is_a_fix(quick, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "fast")
    (line,) = examination.check_profile()
    assert line.mark == "FIX" and "profile='fast'" in line.text
    assert "COURSE_PROFILE=cpu" in line.command


def test_the_gpu_profile_without_a_gpu_is_a_warning(quick, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "gpu")
    (line,) = examination.check_profile()
    assert line.mark == "WARN" and "COURSE_PROFILE=cpu" in line.command


def test_the_gpu_profile_gives_estimates(quick, monkeypatch):
    monkeypatch.setattr(settings, "device", lambda: torch.device("cuda"))
    profile, minutes = examination.check_profile()
    assert profile.text.startswith("gpu, on cuda")
    assert f"lesson 03 {MINUTES['gpu']:.1f}" in minutes.text
    assert "(estimates" in minutes.text


@pytest.mark.parametrize(("load", "expected"), [(2.5, False), (3.5, True)])
def test_a_busy_machine_is_seen(monkeypatch, load, expected):
    monkeypatch.setattr(examination.os, "getloadavg", lambda: (load, 0, 0), raising=False)
    monkeypatch.setattr(examination.os, "cpu_count", lambda: 2)
    assert examination.busy() == expected
    monkeypatch.delattr(examination.os, "getloadavg")            # Windows
    assert not examination.busy()


def test_importing_the_doctor_loads_neither_torch_nor_numpy():
    code = "from course_lib import doctor; import sys; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.slow
def test_the_whole_doctor_ends_soon_on_this_machine():
    done = subprocess.run([sys.executable, "-m", "course_lib", "doctor"], capture_output=True,
                          text=True, timeout=120)
    assert done.returncode in (0, 1) and done.stderr == ""
    assert "lesson 03" in done.stdout and "could not be looked at" not in done.stdout
