"""What lessons/pages.py gathers for the site. Rendered pages are looked at in test_site.py."""

import io
from dataclasses import replace
from types import SimpleNamespace

import nbformat
import pytest
from PIL import Image

import pages
from course_lib import show
from course_lib.check.lessons import LESSONS
from course_lib.errors import CourseError


def notebook(*markdown: str, outputs: list[dict] = ()) -> nbformat.NotebookNode:
    outputs = [nbformat.v4.new_output("display_data", data) for data in outputs]
    return nbformat.v4.new_notebook(
        cells=[*map(nbformat.v4.new_markdown_cell, markdown),
               nbformat.v4.new_code_cell("x", outputs=outputs)])


def small_picture(alt: str = "A grey square.", grey: int = 99) -> show.Picture:
    file = io.BytesIO()
    Image.new("L", (6, 4), grey).save(file, "png")
    return show.Picture(file.getvalue(), alt)


def record(**lessons) -> dict:
    return {"plan": {"profile": "tiny"}, "date": "2000-01-01", "lessons": lessons, "finished": True}


@pytest.mark.parametrize(("ran", "expected"), [
    ({}, "| 07 · Seven | count to seven | 40 | 0.5 / 2 | not run |"),
    ({"07_seven": {"seconds": 90, "error": None}},
     "| [07 · Seven](07_seven.ipynb) | count to seven | 40 | 0.5 / 2 | 1.5 |"),
    ({"07_seven": {"seconds": 90, "error": "ValueError: on purpose"}},
     "| [07 · Seven](07_seven.ipynb) | count to seven | 40 | 0.5 / 2 | 1.5, **failed** |")])
def test_a_row_of_the_lesson_map(ran, expected, monkeypatch):
    seven = replace(LESSONS[0], number="07", stem="07_seven", title="Seven", goal="count to seven",
                    minutes={"tiny": 0.5, "cpu": 2.0, "gpu": 9.0})
    monkeypatch.setattr(pages, "work_minutes", lambda lesson: 40)
    assert pages.map_row(seven, record(**ran)) == expected


def test_a_saved_page_shows_stills_instead_of_widgets_and_servers():
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/html": "<img>"}
    frame = {"text/html": '<iframe id="tensorboard-frame-1">'}
    node = notebook(outputs=[widget, frame])
    node.metadata["widgets"] = {"state": {}}
    pages.make_still(node)
    assert dict(node.cells[0].outputs[0].data) == {"text/html": "<img>"}
    assert "iframe" not in node.cells[0].outputs[1].data["text/html"]
    assert "widgets" not in node.metadata


def test_pictures_become_files_once_and_keep_their_words(tmp_path):
    shown = {"text/html": "<p>first</p>" + small_picture('It says "7".')._repr_html_()}
    node = notebook(outputs=[shown, {"text/html": small_picture("Again.")._repr_html_()}])
    pages.take_pictures_out(node, tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == small_picture().data
    first, again = (output.data["text/html"] for output in node.cells[0].outputs)
    assert "base64" not in first + again
    assert f'src="images/{file.name}" alt="It says &quot;7&quot;."' in first
    assert first.startswith("<p>first</p>") and 'width="6" height="4"' in again


def test_links_to_lessons_that_were_not_run_and_pictures_from_the_web_become_words():
    node = notebook("[07](07_seven.ipynb), [08 · Eight](08_eight.ipynb), [DOI](https://doi.org/1), "
                    "[![Open in Colab](https://example.org/badge.svg)](https://example.org/open)")
    pages.keep_inside(node, {"07_seven.ipynb"})
    assert node.cells[0].source == ("[07](07_seven.ipynb), 08 · Eight, [DOI](https://doi.org/1), "
                                    "[Open in Colab](https://example.org/open)")


def test_pictures_of_runs_are_described_as_in_the_lesson_else_by_their_names(tmp_path):
    known, unknown = small_picture('Best: "A" & B.'), small_picture(grey=7)
    nbformat.write(notebook(outputs=[{"text/html": known._repr_html_()}]), tmp_path / "07_s.ipynb")
    known.save(tmp_path / "runs" / "one" / "pictures" / "known.png")
    unknown.save(tmp_path / "runs" / "one" / "pictures" / "unknown.png")
    (tmp_path / "images").mkdir()
    page = pages.pictures_page(tmp_path, tmp_path / "images")
    assert page.count("## one") == 1 and 'alt="Best: &quot;A&quot; &amp; B."' in page
    assert 'alt="unknown of the run one"' in page and "more lie" not in page


def test_pictures_beyond_the_room_are_counted_and_no_pictures_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "PICTURES_MB", 1.5 * len(small_picture().data) / 1e6)
    (tmp_path / "images").mkdir()
    assert "No run saved any." in pages.pictures_page(tmp_path, tmp_path / "images")
    for name in "abc":
        small_picture().save(tmp_path / "runs" / "one" / "pictures" / f"{name}.png")
    page = pages.pictures_page(tmp_path, tmp_path / "images")
    assert page.count("<img") == 1 and "2 more lie in the run folders" in page


def test_each_package_of_the_library_has_a_page(tmp_path):
    pages.write_reference(tmp_path / "reference")
    index = (tmp_path / "reference" / "index.md").read_text("utf-8")
    for name in ("data", "models", "losses", "metrics", "augment", "stats", "show", "train",
                 "predict", "settings", "errors", "check"):
        page = (tmp_path / "reference" / f"{name}.md").read_text("utf-8")
        assert f"\n{name}\n" in index and f"automodule:: course_lib.{name}\n" in page
    assert ":imported-members:" in (tmp_path / "reference" / "data.md").read_text("utf-8")
    assert ":imported-members:" not in (tmp_path / "reference" / "losses.md").read_text("utf-8")


def test_a_failure_of_sphinx_is_told(tmp_path, monkeypatch):
    pages.write_record(tmp_path, record())
    monkeypatch.setattr(pages.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=2))
    with pytest.raises(CourseError, match="Sphinx could not make the site.*make site"):
        pages.build(tmp_path)


def test_a_site_of_nothing_is_refused_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "CHECKOUT", tmp_path)
    monkeypatch.setattr(pages.sys, "argv", ["pages.py"])
    with pytest.raises(SystemExit, match="no build/course.* run `make course` first"):
        pages.main()


def test_a_folder_without_a_record_is_refused_in_a_sentence(tmp_path):
    for text in (None, "{", '{"profile": "tiny"}'):
        if text:
            (tmp_path / pages.RECORD).write_text(text)
        with pytest.raises(CourseError, match="no run.json that says what was run. Run `make"):
            pages.build(tmp_path)
