"""The `course` command: `course doctor`, `course grade`; also `python -m course_lib`.

A command imports what it needs when it runs, so that the others start at once.
"""

import argparse
import sys
from pathlib import Path

from course_lib.doctor.start import own_version
from course_lib.errors import CourseError


def run_doctor(options: argparse.Namespace) -> int:
    """Look at this machine and print what was found."""
    from course_lib import doctor

    report = doctor.run()
    print(report)
    return 1 if report.fixes else 0


def run_grade(options: argparse.Namespace) -> int:
    """Print a class's table and write it as csv."""
    from course_lib.check import class_table

    table = class_table.grade(options.folder, options.secret, options.patients)
    print(class_table.as_text(table))
    try:
        table.save(options.to)
    except OSError as error:
        raise CourseError(what=f"{options.to} cannot be written ({error.strerror or error})",
                          where="course grade", cure="name another file with --to") from error
    print(f"written to {options.to}")
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Declare all commands; each sets `run`, a function of the options: to the exit status."""
    parser = argparse.ArgumentParser(prog="course", description="A course in medical image "
                                     "segmentation.")
    parser.add_argument("--version", action="version",
                        version=f"course_lib {own_version()}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="command")
    doctor = commands.add_parser("doctor", help="is this machine ready, and how long will the "
                                                "lessons take on it?")
    doctor.set_defaults(run=run_doctor)
    grade = commands.add_parser("grade", help="for teachers: score what a class handed in, and "
                                              "collect it in one table (docs/teachers.md)")
    grade.add_argument("folder", type=Path, help="of the class, with one folder per student")
    grade.add_argument("--secret", required=True, metavar="TEXT",
                       help="what the hidden patients are made from; tell no student")
    grade.add_argument("--patients", type=int, default=20, help="hidden patients (default: 20)")
    grade.add_argument("--to", type=Path, default=Path("class.csv"), metavar="FILE",
                       help="where the table goes (default: class.csv)")
    grade.set_defaults(run=run_grade)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: instead of the command line's.
    Returns:
        The exit status: 0 where all is well.
    """
    if hasattr(sys.stdout, "reconfigure"):               # a console may lack a character
        sys.stdout.reconfigure(errors="replace")
    options = make_parser().parse_args(arguments)
    try:
        return options.run(options)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
