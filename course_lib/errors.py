"""Errors as sentences: where it is, what is wrong with it, and the cure."""


class CourseError(Exception):
    """Something in a call cannot work.

    Args:
        what: what is wrong, with the value that is.
        where: the patient, file or argument it was found in.
        cure: what to do about it.
    """

    def __init__(self, what: str, where: str, cure: str):
        self.what, self.where, self.cure = what, where, cure
        super().__init__(f"{where}: {what}. {cure[:1].upper()}{cure[1:].rstrip('.')}.")

    def __reduce__(self):
        return type(self), (self.what, self.where, self.cure), self.__dict__


class DataError(CourseError, ValueError):
    """Something in the user's data cannot work, or, where it is not `fatal`, looks wrong."""

    def __init__(self, what: str, where: str, cure: str, fatal: bool = True):
        super().__init__(what, where, cure)
        self.fatal = fatal
