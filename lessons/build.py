"""Make notebooks/ from lessons/: `python lessons/build.py` writes, `--check` only compares.

A lesson is a text file in jupytext's percent format: what we edit and review. Its notebook has the
same cells without outputs, and ids derived from lesson and position, so that nothing changes by
chance. The cell tagged `setup` is the same in all lessons; it stands once, in setup_cell.py; it
and the badge take the repository's address and the version from pyproject.toml.

An exercise is three cells, tagged `exercise` (the task), `hints` and `solution` (code that ends
with the call of its checker). What becomes of them depends on the edition:

    student   the stub, then hints and solution, folded: what notebooks/ holds
    teacher   the stub and the hints: for a class
    answers   task and solution of each exercise and nothing else: the answer key
    solved    the solution in place of the stub: what the tests run

`--edition teacher --to FOLDER` writes another edition than the student's, elsewhere.
"""

import argparse
import ast
import hashlib
import sys
import tomllib
from pathlib import Path

import jupytext
import nbformat

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parent / "notebooks"
EDITIONS = ("student", "teacher", "answers", "solved")
ENDLESS = ("- If the cell does not end: *Kernel → Interrupt*; the checker then says where it was. "
           "(It stops by itself after 10 seconds, but not on Windows.)")
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY, TAG = PROJECT["urls"]["Repository"], f"v{PROJECT['version']}"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def lessons() -> list[Path]:
    """The lessons, 00 first."""
    return sorted(HERE.glob("[0-9][0-9]_*.py"))


def make_stub(solution: str) -> str:
    """The solution without what is to be found: functions return `...`, names are `...`.

    Signatures, docstrings, imports and the call of the checker stay.
    """
    lines = solution.splitlines()
    *work, call = ast.parse(solution).body
    if not (isinstance(call, ast.Expr) and isinstance(call.value, ast.Call)
            and call.lineno == call.end_lineno == len(lines)):
        raise ValueError(f"a solution ends with its checker's call, on one line:\n{solution}")
    for node in reversed(work):
        if isinstance(node, ast.FunctionDef):
            docstring, *body = node.body
            if not body or ast.get_docstring(node) is None:
                raise ValueError(f"{node.name} has no docstring, or nothing but that")
            lines[docstring.end_lineno : node.end_lineno] = [
                f"{' ' * docstring.col_offset}return ...   # your code"]
        elif isinstance(node, ast.Assign):
            names = getattr(node.targets[0], "elts", node.targets)
            left, right = (", ".join(map(part, names)) for part in (ast.unparse, lambda _: "..."))
            lines[node.lineno - 1 : node.end_lineno] = [f"{left} = {right}   # your answer"]
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            raise ValueError(f"{type(node).__name__} cannot be made a stub:\n{solution}")
    return "\n".join(lines)


def insist(solution: str) -> str:
    """The solution, and that its checker is content: its call is the last line."""
    *work, call = solution.splitlines()
    call = call.partition("   #")[0]
    return "\n".join([*work, f"verdict = {call}", "assert verdict.solved, verdict", "verdict"])


def fold(title: str, text: str) -> str:
    """Markdown that stays closed until it is clicked."""
    return f"<details>\n<summary>{title}</summary>\n\n{text}\n\n</details>"


def turn(cells: list[nbformat.NotebookNode], edition: str) -> list[nbformat.NotebookNode]:
    """The cells of an edition, from those of the lesson."""
    markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    turned, hints = [], []
    for cell in cells:
        tags = set(cell.metadata.get("tags", []))
        if edition == "answers":
            turned += [cell] if tags & {"title", "exercise", "solution"} else []
        elif "hints" in tags:
            hints = [markdown(fold("Hints", f"{cell.source}\n{ENDLESS}"))]
        elif "solution" in tags:
            solution = markdown(fold("Solution", f"```python\n{cell.source}\n```"))
            turned += ([code(insist(cell.source))] if edition == "solved" else
                       [code(make_stub(cell.source)), *hints] + [solution] * (edition == "student"))
            hints = []
        else:
            turned.append(cell)
    return turned


def setup_cell() -> str:
    """The cell that installs what is missing and imports the rest."""
    text = (HERE / "setup_cell.py").read_text(encoding="utf-8").strip()
    return text.replace("REPOSITORY@vVERSION", f"{REPOSITORY}@{TAG}")


def add_badge(first: str, lesson: str) -> str:
    """A lesson's first cell with the badge that opens the released notebook in Colab."""
    title, _, rest = first.partition("\n")
    path = f"{REPOSITORY.removeprefix('https://github.com/')}/blob/{TAG}/notebooks/{lesson}.ipynb"
    return (f"{title}\n\n[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
            f"(https://colab.research.google.com/github/{path})\n{rest}")


def make_notebook(lesson: Path, edition: str = "student") -> str:
    """A lesson as the text of its notebook."""
    notebook = jupytext.read(lesson, fmt="py:percent")
    notebook.cells = turn(notebook.cells, edition)
    notebook.cells[0].source = add_badge(notebook.cells[0].source, lesson.stem)
    for position, cell in enumerate(notebook.cells):
        cell.id = hashlib.sha256(f"{lesson.stem}/{position}".encode()).hexdigest()[:12]
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.NotebookNode({"tags": tags} if tags else {})
        if "setup" in tags:
            cell.source = setup_cell()
    notebook.metadata = nbformat.NotebookNode(
        {"kernelspec": KERNEL, "language_info": {"name": "python"}})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def stale() -> list[str]:
    """Names in notebooks/ that differ from what lessons/ would give, or should not be there."""
    made = {f"{lesson.stem}.ipynb": make_notebook(lesson) for lesson in lessons()}
    there = {path.name: path.read_text(encoding="utf-8") for path in NOTEBOOKS.glob("*.ipynb")}
    return sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    parser.add_argument("--edition", choices=EDITIONS, default="student")
    parser.add_argument("--to", type=Path, help="folder for another edition than the student's")
    options = parser.parse_args()
    if (options.edition == "student") != (options.to is None):
        parser.error("--edition and --to go together: notebooks/ holds the student's edition")
    if options.check:
        names = stale()
        if names:
            sys.exit(f"notebooks/ and lessons/ differ in {', '.join(names)}: run lessons/build.py")
        return
    folder = options.to or NOTEBOOKS
    folder.mkdir(parents=True, exist_ok=True)
    for lesson in lessons():
        path = folder / f"{lesson.stem}.ipynb"
        path.write_text(make_notebook(lesson, options.edition), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
