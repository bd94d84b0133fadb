"""Run the lessons top to bottom and leave them as HTML: `python lessons/run.py --help`.

Everything goes to a fresh folder build/course-<date>-<time>/: the executed notebooks, their HTML,
an index page, and in runs/ the run folders with their pictures. Nothing older is touched.
"""

import argparse
import html
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter

from course_lib import settings
from course_lib.doctor import MINUTES

STYLE = ("body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
         "figure{display:inline-block;margin:.5rem;max-width:18rem;vertical-align:top}"
         "img{max-width:100%}figcaption{font-size:.8rem}")
CHECKOUT = Path(__file__).resolve().parent.parent
NOTEBOOKS = CHECKOUT / "notebooks"


def choose(wanted: list[str]) -> list[Path]:
    """The notebooks asked for by number; all of them where none is."""
    found = {path.name[:2]: path for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    unknown = [number for number in wanted if number not in found]
    if unknown:
        sys.exit(f"there is no lesson {', '.join(unknown)}: choose from {' '.join(found)}")
    return [found[number] for number in wanted] or list(found.values())


def execute(notebook: Path, output: Path) -> str | None:
    """Run a notebook and write what it became, as ipynb and HTML, also when it failed.

    Returns:
        None, or the error in one line.
    """
    node = nbformat.read(notebook, as_version=4)
    client = NotebookClient(node, timeout=None, kernel_name="python3", coalesce_streams=True,
                            resources={"metadata": {"path": str(NOTEBOOKS)}})
    error = None
    try:
        client.execute()
    except (CellExecutionError, DeadKernelError) as failure:
        error = str(failure).strip().splitlines()[-1]
    nbformat.write(node, output / notebook.name)
    make_still(node)
    page, _ = HTMLExporter().from_notebook_node(node, {"metadata": {"name": notebook.stem}})
    (output / f"{notebook.stem}.html").write_text(page, encoding="utf-8")
    return error


def make_still(node: nbformat.NotebookNode) -> None:
    """Replace what needs a kernel or a server: widgets by still pictures, TensorBoard by a word."""
    for cell in node.cells:
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            if "text/html" in data:
                data.pop("application/vnd.jupyter.widget-view+json", None)
                if "tensorboard-frame" in data["text/html"]:
                    data["text/html"] = ("<p>TensorBoard runs here while the notebook does; a "
                                         "saved page has no server.</p>")
    node.metadata.pop("widgets", None)


def write_index(output: Path, rows: list[tuple[Path, float, str | None]], profile: str) -> Path:
    """The page that leads to everything that was made."""
    lessons = "".join(
        f'<li><a href="{notebook.stem}.html">{notebook.stem.replace("_", " ")}</a>: '
        f"{seconds / 60:.1f} minutes{f', failed: {html.escape(error)}' if error else ''}</li>"
        for notebook, seconds, error in rows)
    runs = "".join(f'<li><a href="{path.relative_to(output).as_posix()}/">{path.name}</a></li>'
                   for path in sorted((output / "runs").glob("*/")))
    pictures = "".join(
        f'<figure><img src="{path.relative_to(output).as_posix()}" alt="{path.stem}">'
        f"<figcaption>{path.parent.parent.name}: {path.stem}</figcaption></figure>"
        for path in sorted((output / "runs").glob("*/pictures/*")))
    index = output / "index.html"
    index.write_text(
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>The course, run</title>"
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style></head>"
        f"<body><h1>The course, run in profile {profile}</h1><h2>Lessons</h2><ul>{lessons}</ul>"
        f"<h2>Run folders</h2><ul>{runs}</ul><h2>Pictures</h2>{pictures}</body></html>\n",
        encoding="utf-8")
    return index


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lessons", nargs="*", help="numbers such as 00 03; else all")
    parser.add_argument("--profile", choices=settings.PROFILES, help="else by the device")
    options = parser.parse_args()
    profile = options.profile or settings.profile()
    notebooks = choose(options.lessons)
    minutes = {path: MINUTES[path.name[:2]][profile] for path in notebooks}
    print(f"Profile {profile}; about {sum(minutes.values()):.0f} minutes in all:")
    for path in notebooks:
        print(f"  {path.stem:24} about {minutes[path]:.1f} minutes")
    output = CHECKOUT / "build" / time.strftime("course-%Y%m%d-%H%M%S")
    output.mkdir(parents=True)
    os.environ.update(COURSE_PROFILE=profile, COURSE_RUNS=str(output / "runs"))
    rows = []
    for path in notebooks:
        start = time.perf_counter()
        print(f"Running {path.stem} …", flush=True)
        error = execute(path, output)
        rows.append((path, time.perf_counter() - start, error))
        print(f"  {rows[-1][1]:.0f} s" + (f", FAILED: {error}" if error else ""), flush=True)
    index = write_index(output, rows, profile)
    print(f"Lessons, run folders and pictures: {index}")
    if any(error for *_, error in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
