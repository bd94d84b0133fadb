"""Run the lessons top to bottom and make a site of them: `python lessons/run.py --help`.

Everything goes to a fresh folder build/course-<date>-<time>/: the executed notebooks, in runs/ the
run folders with their pictures, and in site/ the course site. Nothing older is touched.
"""

import argparse
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

import pages
from course_lib import settings
from course_lib.doctor import MINUTES

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
    """Run a notebook and write what it became, also when it failed.

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
        error = re.sub(r"\x1b\[[0-9;]*m", "", str(failure)).strip().splitlines()[-1]   # no colours
    nbformat.write(node, output / notebook.name)
    return error


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
    rows = {}
    for path in notebooks:
        start = time.perf_counter()
        print(f"Running {path.stem} …", flush=True)
        error = execute(path, output)
        seconds = time.perf_counter() - start
        rows[path.stem] = {"seconds": round(seconds, 1), "error": error}
        pages.write_record(output, rows, profile)
        print(f"  {seconds:.0f} s" + (f", FAILED: {error}" if error else ""), flush=True)
    print("Rendering the site …", flush=True)
    site = pages.told(pages.build(output))
    print(f"Executed notebooks and run folders: {output}\n{site}")
    if any(row["error"] for row in rows.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
