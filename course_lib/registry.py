"""A network, loss or augmentation as text in config.json, and rebuilt from that text.

What can be rebuilt keeps each argument of its constructor under the argument's own name, as the
dataclasses do: `describe` looks there, and `build` calls the constructor with what it found.
"""

import hashlib
import inspect
from collections.abc import Callable

from course_lib.errors import CourseError

OURS = "course_lib."


def describe(thing) -> dict | None:
    """Describe an object or function as config.json keeps it; None for None.

    Returns:
        name; module (told from another class of the same name by it); arguments, as far as the
        object keeps them; and, for what is not of course_lib, a checksum of its source.
    """
    if thing is None:
        return None
    thing = inspect.unwrap(thing) if callable(thing) else thing       # functools.wraps: the same
    of = thing if inspect.isroutine(thing) else type(thing)
    described = {"name": of.__qualname__, "module": of.__module__,
                 "arguments": {} if of is thing else _arguments(thing)}
    return described if is_ours(described) else {**described, "source": source_checksum(of)}


def is_ours(described: dict) -> bool:
    """Tell whether a description is of a class or function of course_lib."""
    return described["module"].startswith(OURS)


def _arguments(thing) -> dict:
    """Read an object's constructor arguments from its attributes."""
    try:
        parameters = inspect.signature(type(thing)).parameters.values()
    except (TypeError, ValueError):                                   # a builtin has none to show
        return {}
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {name: _plain(getattr(thing, name)) for name in named if hasattr(thing, name)}


def _plain(value):
    """Turn an argument into what JSON has; an object that is none of it into its description."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "item") and getattr(value, "shape", None) == ():          # numpy, torch
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return describe(value) if callable(value) else repr(value)


def build(described: dict | None, table: dict[str, Callable]):
    """Rebuild what `describe` described.

    An argument `pretrained` says where the first weights came from; others are loaded now, so
    none are downloaded.

    Args:
        described: name, module and arguments.
        table: name to constructor: MODELS, LOSSES or AUGMENTS.
    Raises:
        CourseError: it is not of course_lib, or not of this version.
    """
    if described is None:
        return None
    constructor = table.get(described["name"]) if is_ours(described) else None
    if constructor is None:
        raise CourseError(what=f"{described['module']}.{described['name']} is not one of "
                               f"course_lib's ({', '.join(table)})", where="config.json",
                          cure="pass it: model=… for a network")
    arguments = {name: _built(value, table) for name, value in described["arguments"].items()}
    if "pretrained" in arguments:
        arguments["pretrained"] = False
    try:
        return constructor(**arguments)
    except TypeError as error:
        raise CourseError(what=f"{described['name']} does not take these arguments ({error})",
                          where="config.json",
                          cure="use the version of course_lib that made the run") from error


def _built(value, table: dict[str, Callable]):
    """Rebuild an argument: descriptions within lists become objects."""
    if isinstance(value, list):
        return [_built(item, table) for item in value]
    if isinstance(value, dict) and {"name", "module", "arguments"} <= value.keys():
        return build(value, table)
    return value


def source_checksum(of: type | Callable) -> str:
    """Checksum what a class or function does: of its source or, where there is none, its code."""
    try:
        text = inspect.getsource(of)
    except (OSError, TypeError):
        text = repr(_codes(of))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _codes(of) -> list:
    """List the compiled code of a function, or of a class's functions."""
    functions = [of] if inspect.isroutine(of) else [
        value for _, value in sorted(vars(of).items()) if inspect.isroutine(value)]
    codes = [getattr(inspect.unwrap(function), "__code__", None) for function in functions]
    return [(code.co_name, code.co_code, code.co_names, repr(code.co_consts))
            for code in codes if code]
