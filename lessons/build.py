"""Make notebooks/ from lessons/, and README's table: `python lessons/build.py`; `--check` compares.

A lesson is a text file in jupytext's percent format: what we edit and review. Its notebook has the
same cells without outputs, and ids derived from lesson and position, so that nothing changes by
chance. What is known of a lesson stands once, in course_lib/check/lessons.py: the cell tagged
`title` begins with title, badge, goal and minutes from there. The cell tagged `setup` is the same
in all lessons; it stands once, in setup_cell.py; it and the badge take the repository's address and
the version from pyproject.toml.

An exercise is three cells, tagged `exercise` (the task), `hints` and `solution` (code that ends
with the call of its checker). What becomes of them depends on the edition:

    student   the stub, then hints and solution, folded: what notebooks/ holds
    teacher   the stub and the hints: for a class
    answers   task and solution of each exercise and nothing else: the answer key
    solved    the solution in place of the stub: what the tests run

`--edition teacher --to FOLDER` writes another edition than the student's, elsewhere.

What a lesson must be for that is checked by lint.py; what is beyond its limits of length is listed.

A cell tagged `extra:NAME` needs the packages of that extra in pyproject.toml. It becomes an `if`:
where one is missing, the notebook says so in a line, with the command, and runs on. The edition
`solved` leaves out what cannot run here by nbval's tag, so that the tests count it as skipped.
"""

import argparse
import ast
import base64
import hashlib
import re
import sys
import textwrap
import tomllib
from pathlib import Path

import jupytext
import nbformat

import lint
from course_lib.check.extras import is_installed
from course_lib.check.lessons import LESSONS, Lesson

HERE = Path(__file__).parent
NOTEBOOKS, README = HERE.parent / "notebooks", HERE.parent / "README.md"
PICTURES = HERE.parent / "docs" / "pictures"
EDITIONS = ("student", "teacher", "answers", "solved")
ENDLESS = ("- If the cell does not end: *Kernel → Interrupt*; the checker then says where it was. "
           "(It stops by itself after 10 seconds, but not on Windows.)")
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY, TAG = PROJECT["urls"]["Repository"], f"v{PROJECT['version']}"
# Extra to the names of its packages, without versions.
EXTRAS = {extra: [re.match(r"[\w.-]+", package)[0] for package in packages]
          for extra, packages in PROJECT["optional-dependencies"].items()}
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def lesson_files() -> list[Path]:
    """List the lessons, 00 first."""
    return sorted(HERE.glob("[0-9][0-9]_*.py"))


def find_row(stem: str) -> Lesson:
    """Find what is known of a lesson."""
    row = next((row for row in LESSONS if row.stem == stem), None)
    if row is None:
        raise ValueError(f"{stem} has no row in course_lib/check/lessons.py")
    return row


def make_stub(solution: str) -> str:
    """Take out of a solution what is to be found: functions return `...`, names are `...`.

    Signatures, docstrings, decorators, imports and the call of the checker stay. Of a class its
    fields stay, too, and the call of super().__init__: an object of a torch.nn.Module can then be
    made in an unsolved notebook, and its methods return `...`.
    """
    lines = solution.splitlines()
    *work, call = ast.parse(solution).body
    if not (isinstance(call, ast.Expr) and isinstance(call.value, ast.Call)
            and call.lineno == call.end_lineno == len(lines)):
        raise ValueError(f"a solution ends with its checker's call, on one line:\n{solution}")
    for node in reversed(work):
        if isinstance(node, ast.FunctionDef):
            empty_function(lines, node)
        elif isinstance(node, ast.ClassDef):
            empty_class(lines, node)
        elif isinstance(node, ast.Assign):
            names = getattr(node.targets[0], "elts", node.targets)
            left = ", ".join(map(ast.unparse, names))
            right = ", ".join("..." for _ in names)
            lines[node.lineno - 1 : node.end_lineno] = [f"{left} = {right}   # your answer"]
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            raise ValueError(f"{type(node).__name__} cannot be made a stub:\n{solution}")
    return "\n".join(lines)


def empty_function(lines: list[str], node: ast.FunctionDef) -> None:
    """Replace the body of a function, below its docstring, by `return ...`."""
    docstring, *body = node.body
    if not body or ast.get_docstring(node) is None:
        raise ValueError(f"{node.name} has no docstring, or nothing but that")
    lines[docstring.end_lineno : node.end_lineno] = [
        f"{' ' * docstring.col_offset}return ...   # your code"]


def empty_class(lines: list[str], node: ast.ClassDef) -> None:
    """Replace the bodies of a class's methods; docstrings and fields stay."""
    docstring, *body = node.body
    if not body or ast.get_docstring(node) is None:
        raise ValueError(f"{node.name} has no docstring, or nothing but that")
    for part in reversed(body):
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            empty_init(lines, part)
        elif isinstance(part, ast.FunctionDef):
            empty_function(lines, part)
        elif not isinstance(part, ast.AnnAssign):
            raise ValueError(f"{type(part).__name__} in {node.name} cannot be made a stub")


def empty_init(lines: list[str], node: ast.FunctionDef) -> None:
    """Replace the body of `__init__`, but for its docstring and the call of super().__init__."""
    kept = [part for number, part in enumerate(node.body)
            if number == 0 and ast.get_docstring(node) is not None
            or ast.unparse(part).startswith("super().__init__(")]
    text = [lines[part.lineno - 1 : part.end_lineno] for part in kept]
    first = node.body[0]
    if any(line.lstrip().startswith("#") for line in lines[node.lineno : first.lineno - 1]):
        raise ValueError(f"a comment above the first line of {node.name} would stay in the stub")
    lines[first.lineno - 1 : node.end_lineno] = [
        *sum(text, []), f"{' ' * first.col_offset}...   # your code"]


def assert_solved(solution: str) -> str:
    """Add to a solution that its checker must be content: its call is the last line."""
    *work, call = solution.splitlines()
    call = call.partition("   #")[0]
    return "\n".join([*work, f"verdict = {call}", "assert verdict.solved, verdict", "verdict"])


def only_with(extra: str, source: str) -> str:
    """Make a cell run only where the packages of an extra are installed; elsewhere it says so."""
    if extra not in EXTRAS:
        raise ValueError(f"pyproject.toml has no extra {extra!r}")
    tree, lines = ast.parse(source), source.splitlines()
    if any(isinstance(node, ast.Constant | ast.JoinedStr) and node.lineno < node.end_lineno
           for node in ast.walk(tree)):
        raise ValueError(f"indenting would change a string over several lines:\n{source}")
    last = tree.body[-1]
    if isinstance(last, ast.Expr):                       # within an `if` it would not be shown
        lines[last.lineno - 1] = f"display({lines[last.lineno - 1]}"
        lines[last.end_lineno - 1] += ")"
    needed = ", ".join(f'"{package}"' for package in EXTRAS[extra])
    return f"if check.is_installed({needed}):\n" + textwrap.indent("\n".join(lines), "    ")


def fold(title: str, text: str) -> str:
    """Write Markdown that stays closed until it is clicked."""
    return f"<details>\n<summary>{title}</summary>\n\n{text}\n\n</details>"


def exercise_cells(solution: str, hints: str, edition: str) -> list[nbformat.NotebookNode]:
    """Make the cells of an exercise below its task: stub, hints, solution, as the edition has them.
    """
    markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    if edition == "solved":
        return [code(assert_solved(solution))]
    cells = [code(make_stub(solution)), markdown(fold("Hints", hints))]
    if edition == "student":
        cells.append(markdown(fold("Solution", f"```python\n{solution}\n```")))
    return cells


def make_cells(cells: list[nbformat.NotebookNode], row: Lesson,
               edition: str) -> list[nbformat.NotebookNode]:
    """Make the cells of an edition from those of the lesson."""
    made, hints, endless, minutes = [], "", ENDLESS, say_minutes(cells, row)
    for cell in cells:
        tags = cell.metadata.get("tags", [])
        extra = next((tag.removeprefix("extra:") for tag in tags if tag.startswith("extra:")), None)
        if "title" in tags:
            cell.source = make_head(row, cell.source, minutes)
        elif "setup" in tags:
            cell.source = setup_cell()
        elif extra:
            cell.source = only_with(extra, cell.source)
            if edition == "solved" and not is_installed(*EXTRAS[extra]):
                cell.metadata.tags = [*tags, "nbval-skip"]
        if edition == "answers":
            made += [cell] if {"title", "exercise", "solution"} & set(tags) else []
        elif "hints" in tags:
            hints = cell.source
        elif "solution" in tags:
            if re.search(r"^(def|class) ", cell.source, re.MULTILINE):     # else there is no code
                hints, endless = f"{hints}\n{endless}".rstrip(), ""       # once in a lesson
            made += exercise_cells(cell.source, hints, edition)
        else:
            made.append(cell)
    return made


def setup_cell() -> str:
    """Read the cell that installs what is missing and imports the rest."""
    text = (HERE / "setup_cell.py").read_text(encoding="utf-8").strip()
    return text.replace("REPOSITORY@vVERSION", f"{REPOSITORY}@{TAG}")


def make_head(row: Lesson, text: str, minutes: str) -> str:
    """Write a lesson's first cell: title, badge (opens the release in Colab), goal, minutes, text.
    """
    path = f"{REPOSITORY.removeprefix('https://github.com/')}/blob/{TAG}/notebooks/{row.stem}.ipynb"
    badge = ("[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
             f"(https://colab.research.google.com/github/{path})")
    return (f"# {row.number} · {row.title}\n\n{badge}\n\n**After this you can** {row.goal}.\n\n"
            f"**Minutes:** {minutes}; to run, {row.minutes['cpu']:g} on a "
            f"laptop's CPU (profile `cpu`), {row.minutes['tiny']:g} in `tiny` (both measured), "
            f"about {row.minutes['gpu']:g} in `gpu` (an estimate).\n\n{text}")


def read_cells(lesson: Path) -> lint.Cells:
    """Read a lesson's cells."""
    return jupytext.read(lesson, fmt="py:percent").cells


def say_minutes(cells: lint.Cells, row: Lesson) -> str:
    """Say how long a lesson takes to work through, and of what that is the sum."""
    reading, solving = lint.minutes_to_work(cells, row.stem)
    if not solving:
        return f"{reading} to read ({lint.READING_SPEED} words a minute)"
    return (f"{reading + solving} to work through ({reading} to read, at {lint.READING_SPEED} "
            f"words a minute, and {solving} for the exercises)")


def work_minutes(row: Lesson) -> int:
    """Reckon the minutes that it takes to work through a lesson."""
    return sum(lint.minutes_to_work(read_cells(HERE / f"{row.stem}.py"), row.stem))


def make_cells_of(lesson: Path, edition: str) -> lint.Cells:
    """Read a lesson, check it, and make the cells of an edition.

    Raises:
        ValueError: the lesson is not as lint.py demands.
    """
    cells, row = read_cells(lesson), find_row(lesson.stem)
    lint.check_exercises(cells, row)
    made = make_cells(cells, row, edition)
    lint.check_forecasts(cells, row)               # now the setup cell is filled in
    lint.check_columns(cells, row.stem)
    return made


def embed_pictures(text: str) -> str:
    """Put a picture's bytes in place of its path in Markdown: on Colab a notebook is alone."""
    def embed(match: re.Match) -> str:
        data = base64.b64encode((PICTURES / match[1]).read_bytes()).decode()
        return f"](data:image/jpeg;base64,{data})"

    return re.sub(r"\]\(\.\./docs/pictures/(\w+\.jpg)\)", embed, text)


def make_notebook(lesson: Path, edition: str = "student") -> str:
    """Turn a lesson into the text of its notebook."""
    notebook = nbformat.v4.new_notebook(cells=make_cells_of(lesson, edition))
    for position, cell in enumerate(notebook.cells):
        cell.id = hashlib.sha256(f"{lesson.stem}/{position}".encode()).hexdigest()[:12]
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.NotebookNode({"tags": tags} if tags else {})
        if cell.cell_type == "markdown":
            cell.source = embed_pictures(cell.source)
    notebook.metadata = nbformat.NotebookNode(
        {"kernelspec": KERNEL, "language_info": {"name": "python"}})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def lesson_table() -> str:
    """Write the table of lessons, in Markdown, as README has it."""
    lines = ["| lesson | minutes to work through | minutes to run (tiny / laptop CPU) | data | "
             "expected | library files |", "|---|---|---|---|---|---|"]
    for row in LESSONS:
        files = ", ".join(f"`{name}`" for name in row.files)
        lines.append(f"| [{row.number} {row.title}](notebooks/{row.stem}.ipynb) | "
                     f"{work_minutes(row)} | {row.minutes['tiny']:g} / {row.minutes['cpu']:g} | "
                     f"{row.data} | {row.expected} | {files} |")
    return "\n".join(lines)


def make_readme() -> str:
    """Put the table of lessons into README, between its two marks."""
    begin, end = "<!-- lessons: made by lessons/build.py -->\n\n", "\n\n<!-- end of lessons -->"
    before, _, rest = README.read_text(encoding="utf-8").partition(begin)
    return f"{before}{begin}{lesson_table()}{end}{rest.partition(end)[2]}"


def stale() -> list[str]:
    """List names in notebooks/ that differ from what lessons/ would give, or that do not belong
    there; README.md where its table is old."""
    made = {f"{lesson.stem}.ipynb": make_notebook(lesson) for lesson in lesson_files()}
    there = {path.name: path.read_text(encoding="utf-8") for path in NOTEBOOKS.glob("*.ipynb")}
    made["README.md"], there["README.md"] = make_readme(), README.read_text(encoding="utf-8")
    return sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))


def build(options: argparse.Namespace) -> None:
    """Compare, or write notebooks and README; print what is beyond the limits of length."""
    if options.check:
        names = stale()
        if names:
            sys.exit(f"what lessons/ makes differs in {', '.join(names)}: run lessons/build.py")
        return
    folder = options.to or NOTEBOOKS
    folder.mkdir(parents=True, exist_ok=True)
    made = {lesson: make_notebook(lesson, options.edition) for lesson in lesson_files()}
    for lesson, text in made.items():                        # all are sound: now they are written
        path = folder / f"{lesson.stem}.ipynb"
        path.write_text(text, encoding="utf-8")
        print(path)
        for limit in lint.beyond_limits(make_cells_of(lesson, "student"),
                                        find_row(lesson.stem)):
            print(f"  {limit}")
    if options.to is None:
        README.write_text(make_readme(), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    parser.add_argument("--edition", choices=EDITIONS, default="student")
    parser.add_argument("--to", type=Path, help="folder for another edition than the student's")
    options = parser.parse_args()
    if (options.edition == "student") != (options.to is None):
        parser.error("--edition and --to go together: notebooks/ holds the student's edition")
    try:
        build(options)
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
