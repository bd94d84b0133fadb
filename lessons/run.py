"""Run the lessons top to bottom and make a site of them: `python lessons/run.py --help`.

Everything goes to a fresh folder build/course-<date>-<time>/: the executed notebooks, in runs/ the
run folders with their pictures, and in site/ the course site. Nothing older is touched. What was
interrupted goes on where it was, where lessons, profile and code are the same: lessons that ran are
not run again, and a training goes on after its last whole epoch.
"""

import argparse
import os
import re
import sys
import time
from hashlib import sha256
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

import pages
from course_lib import settings
from course_lib.check.lessons import LESSONS, Lesson

CHECKOUT = Path(__file__).resolve().parent.parent
NOTEBOOKS = CHECKOUT / "notebooks"


def choose(numbers: list[str]) -> list[Lesson]:
    """Choose the lessons asked for by number; all of them where none is."""
    lessons = {lesson.number: lesson for lesson in LESSONS}
    unknown = [number for number in numbers if number not in lessons]
    if unknown:
        sys.exit(f"there is no lesson {', '.join(unknown)}: choose from {' '.join(lessons)}")
    return [lessons[number] for number in numbers] or LESSONS


def code_checksum() -> str:
    """Checksum all that decides what a run of the lessons gives: notebooks and library."""
    files = [*NOTEBOOKS.glob("*.ipynb"), *(CHECKOUT / "course_lib").rglob("*.py")]
    return sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()[:16]


def find_interrupted(build: Path, plan: dict) -> Path | None:
    """Find the newest folder in build/ that was begun with the same plan and did not come to its
    end; None where there is none."""
    for output in sorted(build.glob("course-*"), reverse=True):
        record = pages.read_record(output)
        if record and not record["finished"] and record["plan"] == plan:
            return output
    return None


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


def run_lessons(lessons: list[Lesson], output: Path, record: dict) -> None:
    """Run those that have not run yet, and write down after each how it went."""
    for lesson in lessons:
        if record["lessons"].get(lesson.stem, {"error": "not run"})["error"] is None:
            print(f"{lesson.stem} has run")
            continue
        start = time.perf_counter()
        print(f"Running {lesson.stem} …", flush=True)
        error = execute(NOTEBOOKS / f"{lesson.stem}.ipynb", output)
        seconds = time.perf_counter() - start
        record["lessons"][lesson.stem] = {"seconds": round(seconds, 1), "error": error}
        pages.write_record(output, record)
        print(f"  {seconds:.0f} s" + (f", FAILED: {error}" if error else ""), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lessons", nargs="*", help="numbers such as 00 03; else all")
    parser.add_argument("--profile", choices=settings.PROFILES, help="else by the device")
    options = parser.parse_args()
    profile, lessons = options.profile or settings.profile(), choose(options.lessons)
    minutes = [lesson.minutes[profile] for lesson in lessons]
    print(f"Profile {profile}; about {sum(minutes):.0f} minutes in all:")
    for lesson, value in zip(lessons, minutes, strict=True):
        print(f"  {lesson.stem:24} about {value:.1f} minutes")
    plan = {"profile": profile, "lessons": [lesson.stem for lesson in lessons],
            "code": code_checksum()}
    output = find_interrupted(CHECKOUT / "build", plan)
    if output:
        record = pages.read_record(output)
        print(f"An interrupted run goes on: {output.relative_to(CHECKOUT)}")
    else:
        output = CHECKOUT / "build" / time.strftime("course-%Y%m%d-%H%M%S")
        output.mkdir(parents=True)
        record = {"plan": plan, "date": time.strftime("%Y-%m-%d"), "lessons": {}, "finished": False}
        pages.write_record(output, record)
    os.environ.update(COURSE_PROFILE=profile, COURSE_RUNS=str(output / "runs"))
    run_lessons(lessons, output, record)
    print("Rendering the site …", flush=True)
    site = pages.describe_site(pages.build(output))
    pages.write_record(output, record | {"finished": True})
    print(f"Executed notebooks and run folders: {output}\n{site}")
    if any(row["error"] for row in record["lessons"].values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
