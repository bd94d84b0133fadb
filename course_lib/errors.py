"""Errors as sentences: where it is, what is wrong with it, and the cure."""

import math
import operator
import re


class CourseError(Exception):
    """Something in a call cannot work.

    Args:
        what: what is wrong, with the value that is.
        where: the patient, file or argument it was found in.
        cure: what to do about it.
    """

    def __init__(self, what: str, where: str, cure: str):
        self.what, self.where, self.cure = what, where, cure
        word = re.match(r"[a-z]+(?=[ ,:;])", cure)          # a plain word; code is left as written
        sentence = cure[:1].upper() + cure[1:] if word else cure
        super().__init__(f"{where}: {what}. {sentence.rstrip('.')}.")

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
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        raise CourseError(what=f"{name}={value!r}", where=where,
                          cure=f"give {name} as a whole number from {least} on")
    return number


def number_within(value, name: str, where: str, least: float = -math.inf,
                  most: float = math.inf) -> float:
    """Check an argument that measures something; numpy's numbers count, True and "3" do not.

    Raises:
        CourseError: it is no number, not finite, or not within [least, most].
    """
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and least <= number <= most):
        span = f"from {least:g} to {most:g}" if most < math.inf else f"of at least {least:g}"
        raise CourseError(what=f"{name}={value!r}", where=where,
                          cure=f"give {name} as a number {span}")
    return number


def _rebuild(kind: type, fields: dict, arguments: tuple) -> CourseError:
    """Make an error again from what a pickle holds of it."""
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(fields)
    return error
