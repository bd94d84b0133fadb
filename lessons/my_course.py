"""Your own copy of the notebooks, in my-course/: `python lessons/my_course.py` adds what is new.

What is there is never overwritten: solved work survives updates. `--again 01` brings one lesson
back to its start; the old one stays beside it, under its name with date and time.
"""

import argparse
import json
import sys
import time
from hashlib import sha256
from pathlib import Path

from course_lib.files import write_atomically

CHECKOUT = Path(__file__).resolve().parent.parent
NOTEBOOKS, MINE = CHECKOUT / "notebooks", CHECKOUT / "my-course"
MADE_FROM = ".made-from.json"        # in my-course/: name to checksum of what it was copied from


def checksum(path: Path) -> str:
    """Checksum a file."""
    return sha256(path.read_bytes()).hexdigest()


def replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    write_atomically(path, lambda file: file.write(content))


def read_record(record: Path) -> dict[str, str]:
    """Read what each copy was made from; nothing where the record is missing or damaged."""
    try:
        return dict(json.loads(record.read_text("utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def set_aside(copy: Path) -> Path:
    """Rename a copy; it keeps its ending, so that it still opens."""
    kept = copy.with_name(f"{copy.stem}-{time.strftime('%Y%m%d-%H%M%S')}.ipynb")
    if kept.exists():
        sys.exit(f"{kept} is there already: wait a second")
    return copy.rename(kept)


def update(again: str | None = None) -> list[str]:
    """Copy the notebooks that are missing in my-course/, and the one to begin again.

    Args:
        again: number of the lesson, such as "01".
    Returns:
        What to tell the student.
    """
    MINE.mkdir(exist_ok=True)
    record = MINE / MADE_FROM
    made_from = read_record(record)
    originals = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    if again and not any(path.name.startswith(f"{again}_") for path in originals):
        sys.exit(f"there is no lesson {again}: choose from "
                 f"{' '.join(path.name[:2] for path in originals)}")
    notes = []
    for original in originals:
        copy = MINE / original.name
        if again and original.name.startswith(f"{again}_") and copy.exists():
            notes.append(f"{copy.name} begins again; the old one is {set_aside(copy).name}")
        if not copy.exists():
            replace(copy, original.read_bytes())
            made_from[copy.name] = checksum(original)
        elif checksum(original) not in (made_from.get(copy.name), checksum(copy)):
            what = "a newer" if copy.name in made_from else "another"
            notes.append(f"there is {what} {copy.name}; yours stays as it is, and "
                        f"`make again LESSON={copy.name[:2]}` takes that one")
    replace(record, json.dumps(made_from, indent=1).encode())
    return notes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--again", metavar="LESSON", help="begin this lesson again, such as 01")
    for line in update(parser.parse_args().again):
        print(line)


if __name__ == "__main__":
    main()
