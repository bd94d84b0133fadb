"""What every notebook must be, without running it. Running is nbval's: see `make test`."""

import ast
import base64
import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import lint
import pages
from course_lib import check
from course_lib.check import extras
from course_lib.check.lessons import LESSONS as ROWS

CHECKOUT = Path(__file__).parents[1]
LESSONS = sorted((CHECKOUT / "lessons").glob("[0-9][0-9]_*.py"))
SPEC = importlib.util.spec_from_file_location("build", CHECKOUT / "lessons" / "build.py")
EXERCISE = re.compile(
    rf"^check\.({'|'.join(name for row in ROWS for name in row.exercises)})\(", re.M)
build = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(build)


def cells(lesson: Path, kind: str) -> list[str]:
    notebook = json.loads((CHECKOUT / "notebooks" / f"{lesson.stem}.ipynb").read_text("utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_notebooks_are_what_the_lessons_make():
    assert build.stale() == []


def test_a_changed_lesson_is_noticed(tmp_path, monkeypatch):
    for folder in ("lessons", "notebooks"):
        (tmp_path / folder).mkdir()
        for path in (CHECKOUT / folder).glob("*.*"):
            (tmp_path / folder / path.name).write_text(path.read_text("utf-8"), "utf-8")
    monkeypatch.setattr(build, "HERE", tmp_path / "lessons")
    monkeypatch.setattr(build, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(build, "README", tmp_path / "README.md")
    (tmp_path / "README.md").write_bytes((CHECKOUT / "README.md").read_bytes())
    assert build.stale() == []
    with open(tmp_path / "lessons" / LESSONS[0].name, "a", encoding="utf-8") as file:
        file.write("\n# %%\nprint(1)\n")
    assert build.stale() == [f"{LESSONS[0].stem}.ipynb"]
    (tmp_path / "notebooks" / "99_left_over.ipynb").write_text("{}", "utf-8")
    assert "99_left_over.ipynb" in build.stale()
    text = (tmp_path / "README.md").read_text("utf-8").replace("U-Net, block by block", "U-Net")
    (tmp_path / "README.md").write_text(text, "utf-8")
    assert "README.md" in build.stale()


def test_a_picture_travels_inside_its_notebook():
    first = cells(LESSONS[0], "markdown")[0]
    alt, data = re.search(r"!\[([^\]]+)\]\(data:image/jpeg;base64,([^)]+)\)", first).groups()
    assert base64.b64decode(data) == (CHECKOUT / "docs/pictures/start.jpg").read_bytes()
    assert len(data) < 80_000 and "outlined" in alt
    assert build.embed_pictures("[a link](../docs/results.md)") == "[a link](../docs/results.md)"
    assert "](../docs/pictures" not in "".join(
        "".join(cells(lesson, "markdown")) for lesson in LESSONS)


def test_building_twice_gives_the_same_bytes():
    assert build.make_notebook(LESSONS[0]) == build.make_notebook(LESSONS[0])


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_no_outputs_are_stored_and_ids_are_unique(lesson):
    notebook = json.loads((CHECKOUT / "notebooks" / f"{lesson.stem}.ipynb").read_text("utf-8"))
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook["cells"])
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_code_cells_are_short_and_each_lesson_asserts_something(lesson):
    limits = lint.beyond_limits(build.make_cells_of(lesson, "student"), build.find_row(lesson.stem))
    assert [limit for limit in limits if limit.startswith("a cell of")] == []
    trees = [lint.parse(cell) for cell in cells(lesson, "code")]
    assert any(isinstance(node, ast.Assert) for tree in trees for node in ast.walk(tree))


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_each_lesson_has_its_parts(lesson):
    text = "\n".join(cells(lesson, "markdown"))
    for part in ("After this you can", "**Minutes:**", "**Forecast.**", "## Summary", "left out"):
        assert part.lower() in text.lower() or part == "left out" and "does not show" in text, part
    assert cells(lesson, "code")[0] == build.setup_cell()
    assert build.find_row(lesson.stem).forecasts                       # which are in the cells


ROW = replace(ROWS[1], number="77", stem="77_title", title="Title", goal="count",
              exercises={"double": "Double it"}, forecasts={})
LESSON = """# %% [markdown] tags=["title"]
# Read it.

# %% [markdown] tags=["exercise"]
# ### Exercise 1 · Double it
#
# Difficulty 2/5 · 10 minutes
#
# Write `double`.

# %% [markdown] tags=["hints"]
# - Twice.

# %% tags=["solution"]
from math import prod


def double(value):
    \"\"\"Twice the value.

    Args:
        value: a number.
    \"\"\"
    factor = 2
    return prod([factor, value])


largest, smallest = max(1, 2), 1
check.double(double)

# %%
print("the end")
"""


@pytest.fixture
def editions(tmp_path, monkeypatch):
    """A lesson with one exercise in each edition: the sources of its cells."""
    (tmp_path / "77_title.py").write_text(LESSON, "utf-8")
    monkeypatch.setattr(build, "LESSONS", [ROW])
    return {edition: [(cell["cell_type"], "".join(cell["source"])) for cell in
                      json.loads(build.make_notebook(tmp_path / "77_title.py", edition))["cells"]]
            for edition in build.EDITIONS}


def test_the_student_gets_stub_hints_and_solution_folded(editions):
    title, task, stub, hints, solution, end = editions["student"]
    assert task == ("markdown", "### Exercise 1 · Double it\n\nDifficulty 2/5 · 10 minutes\n\n"
                                "Write `double`.")
    assert stub == ("code", "from math import prod\n\n\ndef double(value):\n"
                            '    """Twice the value.\n\n    Args:\n        value: a number.\n'
                            '    """\n    return ...   # your code\n\n\n'
                            "largest, smallest = ..., ...   # your answer\ncheck.double(double)")
    for (kind, text), inside in ((hints, "- Twice."), (solution, "factor = 2")):
        assert kind == "markdown" and text.startswith("<details>") and inside in text
    assert "Interrupt" in hints[1] and end == ("code", 'print("the end")')


@pytest.mark.parametrize(("solution", "says"), [
    ("class A:\n    pass\ncheck.a(A)", "A has no docstring"),
    ('class A:\n    """Words."""\n    b = 1\ncheck.a(A)', "Assign in A cannot be made a stub"),
    ("for i in x:\n    pass\ncheck.a(i)", "For cannot be made a stub"),
    ("answer: str = 'd'\ncheck.a(answer)", "AnnAssign cannot"),
    ("def f(x):\n    return x\ncheck.a(f)", "no docstring"),
    ('def f(x):\n    """Words."""\ncheck.a(f)', "nothing but that"),
    ("answer = 1", "ends with its checker's call"),
    ("answer = 1\ncheck.a(answer)   # so", None),
    ("answer = 1\ncheck.a(\n    answer)", "on one line")])
def test_a_solution_that_would_leak_or_break_is_refused(solution, says):
    if says is None:
        assert build.make_stub(solution).startswith("answer = ...")
        return
    with pytest.raises(ValueError, match=says):
        build.make_stub(solution)


def test_a_comment_below_the_docstring_does_not_leak():
    stub = build.make_stub('def f(x):\n    """Words."""\n    # the trick\n    return x\n\n\n'
                           "check.a(f)")
    assert "trick" not in stub and stub.endswith("return ...   # your code\n\n\ncheck.a(f)")


CLASS = '''class Half(nn.Module):
    """Halves a side."""

    factor: int = 2

    def __init__(self, channels):
        """Takes channels."""
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3)

    def forward(self, image):
        """(B, C, H, W) to (B, C, H / 2, W / 2)."""
        return self.conv(image)[:, :, ::2, ::2]


check.a(Half)'''


def test_the_stub_of_a_class_can_be_made_and_returns_nothing():
    stub = build.make_stub(CLASS)
    assert "conv" not in stub and "::2" not in stub and stub.endswith("check.a(Half)")
    names = {"nn": torch.nn}
    exec(stub.removesuffix("check.a(Half)"), names)
    half = names["Half"](3)
    assert half(torch.zeros(1, 3, 4, 4)) is ... and half.factor == 2
    assert half.__init__.__doc__ == "Takes channels." and not list(half.parameters())


def test_a_class_whose_stub_would_leak_is_refused():
    with pytest.raises(ValueError, match="forward has no docstring"):
        build.make_stub(CLASS.replace('        """(B, C, H, W) to (B, C, H / 2, W / 2)."""\n', ""))


def test_an_exercise_that_the_table_does_not_know_is_refused(editions, tmp_path):
    for before, after in (("Double it", "Triple it"), ("check.double(", "check.triple(")):
        (tmp_path / "77_title.py").write_text(LESSON.replace(before, after), "utf-8")
        with pytest.raises(ValueError, match="77_title: the exercises .* are not those of the"):
            build.make_notebook(tmp_path / "77_title.py")
    with pytest.raises(ValueError, match="78_other has no row"):
        build.find_row("78_other")


def test_a_lesson_that_is_refused_is_refused_in_words_and_limits_are_listed(editions, tmp_path,
                                                                            monkeypatch, capsys):
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setattr(build, "setup_cell", lambda: "")
    monkeypatch.setattr(build.sys, "argv", ["build", "--edition", "solved", "--to", str(tmp_path)])
    build.main()
    assert "words, expected 1,500 to 3,000" in capsys.readouterr().out
    (tmp_path / "77_title.py").write_text(f"{LESSON}print({'9' * 90})\n", "utf-8")
    with pytest.raises(SystemExit, match="77_title: lines of code are wider than 88 columns"):
        build.main()


# --- cells that need an extra ---

def run_cell(source: str, names: dict) -> list:
    shown = []
    exec(source, names | {"check": check, "display": shown.append})
    return shown


def test_a_cell_with_an_extra_runs_where_its_packages_are(monkeypatch, capsys):
    source = build.only_with("test", "value = 3\n(value +\n 1)")
    assert run_cell(source, {}) == [4] and capsys.readouterr().out == ""
    monkeypatch.setattr(extras, "_is_there", lambda package: package != "monai")
    assert run_cell(source, {}) == []
    assert "run `pip install monai` and restart the kernel" in capsys.readouterr().out


def test_a_cell_with_an_extra_that_cannot_be_wrapped_is_refused():
    with pytest.raises(ValueError, match="pyproject.toml has no extra 'nothing'"):
        build.only_with("nothing", "1")
    with pytest.raises(ValueError, match="indenting would change a string"):
        build.only_with("test", 'x = """a\nb"""')


def test_where_its_packages_are_missing_the_solved_edition_skips_the_cell(tmp_path, monkeypatch):
    text = LESSON + '\n# %% tags=["extra:test"]\nimport monai\n'
    (tmp_path / "77_title.py").write_text(text, "utf-8")
    monkeypatch.setattr(build, "LESSONS", [ROW])
    for there, tags in ((True, ["extra:test"]), (False, ["extra:test", "nbval-skip"])):
        monkeypatch.setattr(extras, "_is_there", lambda package, there=there: there)
        notebook = json.loads(build.make_notebook(tmp_path / "77_title.py", "solved"))
        assert notebook["cells"][-1]["metadata"] == {"tags": tags}
        assert "".join(notebook["cells"][-1]["source"]).startswith("if check.is_installed(")


def test_the_other_editions(editions):
    assert editions["teacher"] == [*editions["student"][:4], editions["student"][5]]
    assert [text.splitlines()[0] for _, text in editions["answers"]] == [
        "# 77 · Title", "### Exercise 1 · Double it", "from math import prod"]
    assert [kind for kind, _ in editions["solved"]] == ["markdown", "markdown", "code", "code"]
    assert "factor = 2" in editions["solved"][2][1]
    assert "\nverdict = check.double(double)\nassert verdict.solved" in editions["solved"][2][1]


def test_the_stub_of_each_lesson_is_not_attempted_and_its_solution_is_right(tmp_path):
    """Each exercise alone, without the rest of its lesson."""
    found = []
    for lesson in LESSONS:
        for edition, expected in (("student", None), ("answers", True)):
            notebook = json.loads(build.make_notebook(lesson, edition))
            names = {"np": np, "torch": torch, "nn": torch.nn, "check": check,
                     "truth": {"A": "T1 after contrast agent", "B": "T1", "C": "FLAIR",
                               "D": "FLAIR", "E": "copy of FLAIR"}}      # as on the twin
            for cell in notebook["cells"]:
                source = "".join(cell["source"])
                if cell["cell_type"] == "code" and EXERCISE.search(source):
                    *work, call = ast.parse(source).body
                    exec(compile(ast.Module(work, []), lesson.stem, "exec"), names)
                    verdict = eval(compile(ast.Expression(call.value), lesson.stem, "eval"), names)
                    assert verdict.solved is expected, (lesson.stem, source, verdict)
                    found.append(expected)
    assert found.count(None) == found.count(True) == len(check.summary().rows)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_badge_and_setup_cell_lead_to_the_released_version(lesson):
    address, tag = build.PROJECT["urls"]["Repository"], f"v{build.PROJECT['version']}"
    repository = re.fullmatch("https://github.com/([^/]+/[^/]+)", address)[1]
    assert (f"](https://colab.research.google.com/github/{repository}/blob/{tag}/notebooks/"
            f"{lesson.stem}.ipynb)") in cells(lesson, "markdown")[0]
    assert f'"git+{address}@{tag}"' in cells(lesson, "code")[0]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_every_figure_is_followed_by_what_to_see(lesson):
    notebook = json.loads((CHECKOUT / "notebooks" / f"{lesson.stem}.ipynb").read_text("utf-8"))
    for here, after in zip(notebook["cells"], notebook["cells"][1:], strict=False):
        if re.search(r"^(show\.|show_|chart$|viewer$|patient_gif)",
                     "".join(here["source"]), re.MULTILINE) and here["cell_type"] == "code":
            assert after["cell_type"] == "markdown", "".join(here["source"])


def test_minutes_are_the_sum_of_words_and_exercises_and_stand_wherever_they_are_read():
    row = ROWS[1]
    text = "\n".join(text for text in cells(LESSONS[1], "markdown")[1:]
                     if not text.startswith("<details>"))
    solving = sum(map(int, re.findall(r"^Difficulty ./5 · (\d+) minutes", text, re.MULTILINE)))
    minutes = build.work_minutes(row)
    assert solving > 20 and abs(minutes - solving - len(text.split()) / 150) < 1
    reading = minutes - solving
    assert (f"**Minutes:** {minutes} to work through ({reading} to read, at 150 words a minute, "
            f"and {solving} for the exercises); to run, ") in cells(LESSONS[1], "markdown")[0]
    assert f"| {minutes} | {row.minutes['tiny']:g} / " in build.lesson_table()
    assert f"| {minutes} | {row.minutes['tiny']:g} / " in pages.map_row(row, {"lessons": {}})


def test_a_lesson_without_exercises_is_only_read():
    assert re.search(r"\*\*Minutes:\*\* \d+ to read \(150 words a minute\); to run",
                     cells(LESSONS[0], "markdown")[0])
