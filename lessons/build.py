"""Make notebooks/ from lessons/: `python lessons/build.py` writes, `--check` only compares.

A lesson is a text file in jupytext's percent format: what we edit and review. Its notebook has the
same cells without outputs, and ids derived from lesson and position, so that nothing changes by
chance. The cell tagged `setup` is the same in all lessons; it stands once, in setup_cell.py.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import jupytext
import nbformat

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parent / "notebooks"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def lessons() -> list[Path]:
    """The lessons, 00 first."""
    return sorted(HERE.glob("[0-9][0-9]_*.py"))


def make_notebook(lesson: Path) -> str:
    """A lesson as the text of its notebook."""
    notebook = jupytext.read(lesson, fmt="py:percent")
    setup = (HERE / "setup_cell.py").read_text(encoding="utf-8").strip()
    for position, cell in enumerate(notebook.cells):
        cell.id = hashlib.sha256(f"{lesson.stem}/{position}".encode()).hexdigest()[:12]
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.NotebookNode({"tags": tags} if tags else {})
        if "setup" in tags:
            cell.source = setup
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
    if parser.parse_args().check:
        names = stale()
        if names:
            sys.exit(f"notebooks/ and lessons/ differ in {', '.join(names)}: run lessons/build.py")
        return
    NOTEBOOKS.mkdir(exist_ok=True)
    for lesson in lessons():
        (NOTEBOOKS / f"{lesson.stem}.ipynb").write_text(make_notebook(lesson), encoding="utf-8")
        print(f"notebooks/{lesson.stem}.ipynb")


if __name__ == "__main__":
    main()
