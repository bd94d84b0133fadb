"""The student's own copy of the notebooks: made, kept, begun again."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / "lessons" / "my_course.py"
SPEC = importlib.util.spec_from_file_location("my_course", PATH)
my_course = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(my_course)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Two notebooks, and an empty place for the student's copies."""
    monkeypatch.setattr(my_course, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(my_course, "MINE", tmp_path / "my-course")
    (tmp_path / "notebooks").mkdir()
    for name in ("00_start", "01_look"):
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text(f"{name}, as published")
    return tmp_path


def texts(folder: Path) -> list[str]:
    return sorted(path.read_text() for path in folder.glob("*.ipynb"))


def test_missing_notebooks_are_copied(folders):
    assert my_course.update() == []
    assert texts(folders / "my-course") == ["00_start, as published", "01_look, as published"]


def test_solved_work_survives_an_update_and_the_student_is_told(folders):
    my_course.update()
    (folders / "my-course" / "01_look.ipynb").write_text("solved")
    assert my_course.update() == []
    (folders / "notebooks" / "01_look.ipynb").write_text("01_look, second edition")
    told = my_course.update()
    assert len(told) == 1 and "newer 01_look.ipynb" in told[0] and "make again LESSON=01" in told[0]
    assert (folders / "my-course" / "01_look.ipynb").read_text() == "solved"


def test_one_lesson_begins_again_and_the_old_one_is_kept(folders):
    my_course.update()
    for name in ("00_start", "01_look"):
        (folders / "my-course" / f"{name}.ipynb").write_text(f"{name}, solved")
    (folders / "notebooks" / "01_look.ipynb").write_text("01_look, second edition")
    told = my_course.update(again="01")
    assert len(told) == 1 and "begins again" in told[0]
    assert texts(folders / "my-course") == ["00_start, solved", "01_look, second edition",
                                            "01_look, solved"]
    assert my_course.update() == []


def test_nothing_is_overwritten_when_two_begin_in_one_second(folders, monkeypatch):
    monkeypatch.setattr(my_course.time, "strftime", lambda _: "20260101-000000")
    my_course.update()
    my_course.update(again="01")
    with pytest.raises(SystemExit, match="wait a second"):
        my_course.update(again="01")
    assert len(texts(folders / "my-course")) == 3


def test_a_lesson_that_is_not_there_is_refused_before_anything_changes(folders):
    my_course.update()
    with pytest.raises(SystemExit, match="there is no lesson 77: choose from 00 01"):
        my_course.update(again="77")
    assert len(texts(folders / "my-course")) == 2


def test_a_damaged_or_missing_record_loses_nothing(folders):
    my_course.update()
    (folders / "my-course" / "01_look.ipynb").write_text("solved")
    record = folders / "my-course" / my_course.MADE_FROM
    for text in ('{"01_look', "[1]"):
        record.write_text(text)
        told = my_course.update()
        assert len(told) == 1 and "there is another 01_look.ipynb" in told[0]
    record.unlink()
    assert "another" in my_course.update()[0]
    assert (folders / "my-course" / "01_look.ipynb").read_text() == "solved"
