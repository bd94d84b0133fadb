"""What lessons/pages.py gathers for the site. Rendered pages are looked at in test_site.py."""

import io
import re
from dataclasses import replace
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from PIL import Image

import pages
from course_lib import show
from course_lib.check.lessons import LESSONS
from course_lib.errors import CourseError
from course_lib.tables import Table


def notebook(*markdown: str, outputs: list[dict] = ()) -> nbformat.NotebookNode:
    outputs = [nbformat.v4.new_output("display_data", data) for data in outputs]
    return nbformat.v4.new_notebook(
        cells=[*map(nbformat.v4.new_markdown_cell, markdown),
               nbformat.v4.new_code_cell("x", outputs=outputs)])


def small_picture(alt: str = "A grey square.", grey: int = 99) -> show.Picture:
    file = io.BytesIO()
    Image.new("L", (6, 4), grey).save(file, "png")
    return show.Picture(file.getvalue(), alt)


def bands(*widths: int, height: int = 300) -> np.ndarray:
    """Grey values of panels of such widths with white gutters of 10 pixels, as sheets have them."""
    page = np.full((height, sum(widths) + 10 * (len(widths) + 1)), 255, np.uint8)
    left = 10
    for width in widths:
        page[5:-50, left : left + width] = 60
        left += width + 10
    return page


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
    pages.make_light(node, tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == small_picture().data
    first, again = (output.data["text/html"] for output in node.cells[0].outputs)
    assert "base64" not in first + again
    assert f'src="images/{file.name}" alt="It says &quot;7&quot;."' in first
    assert first.startswith("<p>first</p>") and 'width="6" height="4"' in again


@pytest.mark.parametrize(("widths", "expected"), [
    ((500,), 1),                         # narrow enough
    ((280, 280, 280), 2),                # two panels, then one
    ((280,) * 5, 3),
    ((450, 450), 2),                     # two charts
    ((450, 12, 450), 2),                 # a label between them
    ((800,), 1), ((100, 700), 1)])       # nothing to cut at, or in the wrong place
def test_a_wide_picture_is_cut_at_its_gutters(widths, expected):
    page = bands(*widths)
    parts = pages.pieces(page)
    assert len(parts) == expected
    assert [left for left, _ in parts[1:]] == [right for _, right in parts[:-1]]
    assert (parts[0][0], parts[-1][1]) == (0, page.shape[1])
    assert all(page[:-40, left].min() == 255 for left, _ in parts)       # through no panel
    assert expected == 1 or all(right - left <= pages.PIECE for left, right in parts)


def test_a_label_stays_with_its_chart():
    (_, cut), _ = pages.pieces(bands(450, 12, 450))
    assert cut == 465                                                    # before the label


def test_sheets_of_the_library_can_be_cut_and_stacked_curves_need_not(tmp_path):
    slices = [np.random.default_rng(0).random((64, 64))] * 4
    sheets = {columns: show.contact_sheet(slices[:columns], titles=["a slice"] * columns, alt="s",
                                          columns=columns) for columns in (2, 3, 4)}
    history = [{"epoch": epoch, "training_loss": 1.0, "validation_loss": 1.0, "prepared_dsc": 0.5}
               for epoch in range(3)]
    shown = [*sheets.values(), show.curves(history, "c")]
    tags = [pages.picture(one.data, "png", one.alt, tmp_path).count("(Part ") for one in shown]
    assert tags == [0, 2, 2, 0]


def test_pieces_are_parts_of_one_file_in_one_scale(tmp_path):
    file = io.BytesIO()
    Image.fromarray(bands(280, 280, 280)).save(file, "png")
    shown = pages.picture(file.getvalue(), "png", "Three slices.", tmp_path)
    whole, *parts = re.findall(r"<img [^>]*>", shown)
    assert 'width="880"' in whole and "class" not in whole
    assert len(set(re.findall(r'src="([^"]+)"', shown))) == 1 == len(list(tmp_path.iterdir()))
    assert ['alt="Three slices. (Part 1 of 2.)"' in parts[0],
            'alt="Three slices. (Part 2 of 2.)"' in parts[1]] == [True, True]
    widths, heights = zip(*[map(float, re.search(r"width:([\d.]+)%;aspect-ratio:(\d+)/", part)
                                .groups()) for part in parts], strict=True)
    assert widths[0] / heights[0] == pytest.approx(widths[1] / heights[1], rel=1e-3)


def test_a_wide_picture_without_gutters_is_marked(tmp_path):
    for width, marked in ((800, True), (500, False)):
        file = io.BytesIO()
        Image.fromarray(bands(width)).save(file, "png")
        assert ('class="wide"' in pages.picture(file.getvalue(), "png", "A.", tmp_path)) == marked


def test_names_in_tables_may_break():
    page = Table([{"a_name": "TWIN_01", "dsc": 0.5}])._repr_html_()
    node = notebook(outputs=[{"text/html": f"<p>as_is</p>{page}"}])
    pages.make_light(node, None)
    shown = node.cells[0].outputs[0].data["text/html"]
    assert "<p>as_is</p>" in shown and shown.replace("<wbr>", "") == f"<p>as_is</p>{page}"
    assert "a_<wbr>name</th>" in shown and "TWIN_<wbr>01</td>" in shown


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
    assert "<figcaption>Best: &quot;A&quot; &amp; B.</figcaption>" in page
    assert 'alt="unknown of the run one"' in page and "more lie" not in page


def test_patients_stand_side_by_side_with_their_dsc_the_best_first(tmp_path):
    run = tmp_path / "runs" / "one"
    Table([{"patient": "worst", "dsc": 0.1}, {"patient": "best", "dsc": 0.9},
           {"patient": "nothing", "dsc": float("nan")}]).save(run / "scores.csv")
    for grey, name in enumerate(("worst", "nothing", "best")):
        file = io.BytesIO()
        Image.new("L", (6, 4), grey).save(file, "gif")
        (run / "pictures").mkdir(exist_ok=True)
        (run / "pictures" / f"{name}.gif").write_bytes(file.getvalue())
    small_picture("A chart.").save(run / "pictures" / "chart.png")
    (tmp_path / "images").mkdir()
    page = pages.pictures_page(tmp_path, tmp_path / "images")
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert captions == ["best · DSC 0.900", "worst · DSC 0.100", "nothing of the run one",
                        "chart of the run one"]
    assert page.count('<div class="pictures">') == 1
    assert page.count('<figure class="gif">') == 3 and page.count('<figure class="png">') == 1
    legend = page.split("\n\n")[1]
    assert "solid #56B4E9" in legend and "dashed #E69F00" in legend and "DSC is 1" in legend
    (run / "scores.csv").unlink()
    assert " · DSC" not in pages.pictures_page(tmp_path, tmp_path / "images")


def test_the_front_page_has_readmes_picture(tmp_path):
    readme = (pages.CHECKOUT / "README.md").read_text("utf-8").split("\n\n")
    shown = pages.readme_picture(*readme[2:4], tmp_path)
    (file,) = tmp_path.iterdir()
    assert f"images/{file.name}" in shown and file.stat().st_size < 1e6
    assert "<figcaption>Test patients" in shown and "*" not in shown


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
