"""A network, loss or augmentation as text in config.json, and rebuilt from that text.

What can be rebuilt keeps each constructor argument under its own name, as dataclasses do.
"""

import hashlib
import inspect
import math
from collections.abc import Callable
from types import CodeType

from course_lib.errors import CourseError


def describe(thing) -> dict | None:
    """Describe an object or function as config.json keeps it; None for None.

    Returns:
        name; module (tells it from another class of the same name); arguments; for what is not of
        course_lib a checksum of its source. Only what JSON has, the same in every process.
    """
    if thing is None:
        return None
    thing = inspect.unwrap(thing) if callable(thing) else thing       # functools.wraps: the same
    of = thing if inspect.isroutine(thing) else type(thing)
    described = {"name": of.__qualname__, "module": of.__module__ or "",
                 "arguments": {} if of is thing else _arguments(thing)}
    return described if is_ours(described) else {**described, "source": source_checksum(of)}


def is_ours(described: dict) -> bool:
    """Tell whether a description is of a class or function of course_lib."""
    return described["module"].startswith("course_lib.")


def _arguments(thing) -> dict:
    """Read an object's constructor arguments from its attributes."""
    try:
        parameters = inspect.signature(type(thing)).parameters.values()
    except (TypeError, ValueError):                                   # a builtin has none to show
        return {}
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {name: _plain(getattr(thing, name)) for name in named if hasattr(thing, name)}


def _plain(value):
    """Turn an argument into what JSON has, and what is equal to itself when it comes back."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "numpy") or hasattr(value, "tolist"):            # of torch, of numpy
        if getattr(value, "ndim", 0) == 0:
            return _plain(value.item())
        array = value.detach().cpu().numpy() if hasattr(value, "detach") else value
        digest = hashlib.sha256(array.tobytes()).hexdigest()[:16]
        return f"{tuple(array.shape)} {array.dtype} {digest}"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or type(value) in (bool, int, float, str):
        return value
    if callable(value):
        return describe(value) if not isinstance(value, type) else value.__qualname__
    text = repr(value)                       # an address would differ in each process
    return type(value).__qualname__ if " at 0x" in text else text


def build(described: dict | None, table: dict[str, Callable]):
    """Rebuild what `describe` described; `pretrained` weights are not downloaded again.

    Args:
        table: name to constructor: MODELS, LOSSES or AUGMENTS.
    Raises:
        CourseError: it is not of course_lib, or not of this version, or no description.
    """
    if described is None:
        return None
    if not _is_description(described):
        raise CourseError(what=f"{described!r} describes nothing", where="config.json",
                          cure="give a dict of name, module and arguments, as config.json has it")
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


def _is_description(value) -> bool:
    return (isinstance(value, dict) and isinstance(value.get("name"), str)
            and isinstance(value.get("module"), str) and isinstance(value.get("arguments"), dict))


def _built(value, table: dict[str, Callable]):
    """Rebuild an argument: descriptions within lists become objects."""
    if isinstance(value, list):
        return [_built(item, table) for item in value]
    return build(value, table) if _is_description(value) else value


def source_checksum(of: type | Callable) -> str:
    """Checksum what a class or function does: of its source or, where there is none, its code."""
    try:
        text = inspect.getsource(of)
    except (OSError, TypeError):
        parts = vars(of).items() if isinstance(of, type) else [("", of)]
        codes = [getattr(inspect.unwrap(part), "__code__", None)
                 for _, part in sorted(parts, key=lambda part: part[0]) if inspect.isroutine(part)]
        text = repr([_code_facts(code) for code in codes if code])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _code_facts(code: CodeType) -> tuple:
    """List what makes compiled code what it is; functions within it likewise."""
    constants = [_code_facts(constant) if isinstance(constant, CodeType) else repr(constant)
                 for constant in code.co_consts]
    return code.co_name, code.co_code, code.co_names, constants
