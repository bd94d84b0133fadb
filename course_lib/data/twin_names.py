"""Whose twin it is: from a student's name to a seed, and from a patient's name back to it."""

import hashlib
import re
import unicodedata

from course_lib.errors import CourseError

USUAL = 42           # the seed of lessons and results: its patients' names end with a date
DIGITS = 12          # of a text that is taken as a number


def name_to_seed(name: str) -> int:
    """Turn a student's name or number, as text, into a seed.

    A text of at most twelve digits is the number that it writes. Any other becomes the last eight
    decimal digits of its SHA-256 (UTF-8), taken after NFKC, in lower case and with single spaces:
    capitals, stray spaces and accents typed in two ways make no other student.

    Raises:
        CourseError: there is nothing in it.
    """
    text = " ".join(unicodedata.normalize("NFKC", name).lower().split())
    if not text:
        raise CourseError(what=f"seed={name!r}", where="data.fetch",
                          cure="give seed as a whole number from 0 on, or as a name")
    if text.isdecimal() and len(text) <= DIGITS:
        return int(text)
    return int(hashlib.sha256(text.encode(errors="replace")).hexdigest(), 16) % 10**8


def name_patient(site: str, number: int, seed: int) -> str:
    """Name a simulated patient: TWIN, site, number, and the seed, or the usual twin's date."""
    return f"TWIN_{site}_{number:04d}_{_date(number) if seed == USUAL else f'{seed:08d}'}"


def _date(number: int) -> str:
    """Invent a patient's date, as the real set's names have one."""
    return f"{2000 + number % 10}{1 + number % 12:02d}{1 + number % 28:02d}"


def seed_of(patient: str) -> int | None:
    """Read from a patient's name which seed made them; None for who is no twin's."""
    match = re.fullmatch(r"TWIN_[A-Z]{2}_(\d{4,9})_(\d{8,99})", patient)
    if match is None:
        return None
    return USUAL if match[2] == _date(int(match[1])) else int(match[2])
