"""Errors as sentences: where it is, what is wrong with it, and the cure."""

import math
import os
import re
import sys
from numbers import Integral, Real

LARGEST = sys.float_info.max


class CourseError(Exception):
    """Something in a call cannot work.

    Args:
        what: what is wrong, with the value that is.
        where: the patient, file or argument it was found in.
        cure: what to do about it.
    """

    def __init__(self, what: str, where: str, cure: str):
        self.what, self.where, self.cure = what, where, cure
        word = re.match(r"[a-z]+(-[a-z]+)*([ ,:;]|\.?$)", cure)     # code is left as written
        cure = cure[:1].upper() + cure[1:] if word else cure
        text = f"{what}. {cure.rstrip('.')}." if cure else f"{what}."
        text, home = f"{where}: {text}" if where else text, os.path.expanduser("~")
        super().__init__(text.replace(f"{home}{os.sep}", f"~{os.sep}") if home > os.sep else text)

    def __reduce__(self):
        return _rebuild, (type(self), self.__dict__, self.args)


class DataError(CourseError, ValueError):
    """Something in the user's data cannot work, or, where it is not `fatal`, looks wrong.

    Args:
        what, where, cure: as in CourseError; `where` follows from patient and file.
        patient, file: names of the patient and of the file in their folder; "" for none.
        fatal: whether the patient cannot be used.
    """

    def __init__(self, what: str, where: str = "", cure: str = "", *, patient: str = "",
                 file: str = "", fatal: bool = True):
        self.patient, self.file, self.fatal = patient, file, fatal
        super().__init__(what, where or "/".join(filter(None, (patient, file))), cure)


def whole_number(value, name: str, where: str, least: int = 1) -> int:
    """Check an argument that counts something; numpy's integers count as whole numbers.

    Raises:
        CourseError: it is no whole number (True and "3" are none), or below `least`.
    """
    number = _single(value)
    if not isinstance(number, Integral) or isinstance(number, bool) or number < least:
        raise CourseError(what=f"{name}={value!r}", where=where,
                          cure=f"give {name} as a whole number from {least} on")
    return int(number)


def number_within(value, name: str, where: str, least: float, most: float = math.inf) -> float:
    """Check an argument that measures something; numpy's numbers count, True and "3" do not.

    Raises:
        CourseError: it is no number, not finite, or not within [least, most].
    """
    number = _single(value)
    if (not isinstance(number, Real) or isinstance(number, bool)
            or not (-LARGEST <= number <= LARGEST and least <= number <= most)):
        span = f"from {least:g} on" if most == math.inf else f"from {least:g} to {most:g}"
        raise CourseError(what=f"{name}={value!r}", where=where,
                          cure=f"give {name} as a number {span}")
    return float(number)


def one_of(value, name: str, where: str, choices: tuple):
    """Check an argument that has a few possible values; 1 is not True, and 2.0 is not 2.

    Returns:
        The choice, which JSON has where numpy's own does not.
    Raises:
        CourseError: it is none of `choices`, which are named.
    """
    plain = _single(value)
    for choice in choices:
        if type(choice) is type(plain) and choice == plain:
            return choice
    raise CourseError(what=f"{name}={value!r}", where=where,
                      cure=f"use one of {', '.join(map(repr, choices))}")


def _single(value):
    """Turn what numpy or torch wrap around one value into that value."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _rebuild(kind: type, fields: dict, arguments: tuple) -> CourseError:
    """Make an error again from what a pickle holds of it."""
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(fields)
    return error
