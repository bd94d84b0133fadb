"""What is returned beside what is expected: the difference in words, and values written short."""

from collections.abc import Iterator

import numpy as np
import torch

FEW = 12               # values that are written out
LONG = 110             # characters of a call that is still read at a glance


def difference(answer, expected, tolerance: float = 1e-4) -> str | None:
    """Say what is wrong with a value; None where it is as expected.

    Tensors and arrays are compared in shape, kind of type, device and values; lists, tuples and
    dicts item by item; numbers within a relative and absolute tolerance.
    """
    if answer is None:
        return "it returned None: is there a `return`?"
    if isinstance(expected, dict):
        return _difference_of_dicts(answer, expected, tolerance)
    if isinstance(expected, torch.Tensor | np.ndarray):
        return _difference_of_arrays(answer, expected, tolerance)
    if isinstance(expected, list | tuple):
        return _difference_of_lists(answer, expected, tolerance)
    answer = single(answer)
    if isinstance(expected, bool | str):
        return None if agree(answer, expected) else _beside(answer, expected)
    return _difference_of_numbers(answer, expected, tolerance)


def _beside(answer, expected) -> str:
    return f"expected {written(expected)}, you returned {written(answer)}"


def single(value):
    """Turn what numpy or torch wrap around one value into that value."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _difference_of_numbers(answer, expected: float, tolerance: float) -> str | None:
    try:
        several = isinstance(answer, str | bytes | bool) or getattr(answer, "ndim", 0)
        value = None if several else float(answer)
    except Exception:              # whatever a strange object raises
        value = None
    if value is None:
        lacks = ": is a .sum() or .mean() missing?" if getattr(answer, "ndim", 0) else ""
        return f"expected a number, you returned {written(answer)}{lacks}"
    same = np.isclose(value, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    return None if same else f"expected {number(expected)}, you returned {number(value)}"


def _difference_of_dicts(answer, expected: dict, tolerance: float) -> str | None:
    """Name what differs first; both are what was observed, so it is not the student's return."""
    for what, value in expected.items():
        if problem := difference(answer[what], value, tolerance):
            return f"{what}: {problem.replace('you returned', 'yours has')}"
    return None


def _difference_of_lists(answer, expected: list | tuple, tolerance: float) -> str | None:
    """Say what is wrong with a list or tuple: its kind, its length, or the first item that is."""
    kind = type(expected).__name__
    if isinstance(answer, set | frozenset):
        return f"a set has no order: return a {kind}"
    if hasattr(answer, "tolist"):
        return (f"a {kind} is asked for, you returned a {type(answer).__name__}: `.tolist()` makes "
                "a list of it")
    if isinstance(answer, Iterator | range):
        return f"a {kind} is asked for, you returned a {type(answer).__name__}: list(…) makes one"
    if not isinstance(answer, list | tuple):
        return f"expected a {kind} of {len(expected)} values, you returned {written(answer)}"
    if any(isinstance(single(value), bool) for value in answer) and not any(
            isinstance(value, bool) for value in expected):
        return "numbers are asked for, you returned booleans"
    problem = next((problem for pair in zip(answer, expected, strict=False)
                    if (problem := difference(*pair, tolerance))), None)
    if problem is None and len(answer) != len(expected):
        problem = f"expected a {kind} of {len(expected)} values, you returned {len(answer)}"
    whole = _beside(answer, expected)
    return whole if problem and problem.startswith("expected") and len(whole) <= LONG else problem


def _difference_of_arrays(answer, expected, tolerance: float) -> str | None:
    kind = type(expected)
    if not isinstance(answer, kind):
        return f"expected a {kind.__name__}, you returned {written(answer)}"
    if tuple(answer.shape) != tuple(expected.shape):
        return f"expected shape {tuple(expected.shape)}, you returned {tuple(answer.shape)}"
    if isinstance(answer, torch.Tensor) and answer.device != expected.device:
        return f"expected a tensor on {expected.device}, yours is on {answer.device}"
    if answer.dtype != expected.dtype:
        return f"expected {expected.dtype}, you returned {answer.dtype}{_lost(answer, expected)}"
    given, wanted = (_plain(value).astype(np.float64) for value in (answer, expected))
    if np.isnan(given).any() and not np.isnan(wanted).any():
        return "there is NaN in what you returned"
    close = np.isclose(given, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)
    if close.all():
        return None
    if wanted.size <= FEW:
        return _beside(answer, expected)
    place = tuple(int(i) for i in np.argwhere(~close)[0])
    return (f"{(~close).mean():.0%} of the values differ; at {place} expected {wanted[place]:.7g}, "
            f"you returned {given[place]:.7g}")


def _lost(answer, expected) -> str:
    """Say what a type cannot hold, or how it becomes the right one."""
    if not _holds_decimals(expected):
        return ""
    if not _holds_decimals(answer):
        return ", which holds no decimals"
    cure = ".float()" if isinstance(answer, torch.Tensor) else f".astype(np.{expected.dtype})"
    return f": `{cure}` makes it so"


def _holds_decimals(value) -> bool:
    is_float = isinstance(value, torch.Tensor) and value.is_floating_point()
    return is_float or isinstance(value, np.ndarray) and value.dtype.kind == "f"


def agree(one, other, tolerance: float = 1e-4) -> bool:
    """Tell whether two results hold the same values, whatever types hold them.

    Text, sets and truth values agree only with their like.
    """
    if isinstance(other, dict):
        return (isinstance(one, dict) and one.keys() == other.keys()
                and all(agree(one[key], other[key], tolerance) for key in other))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(
            agree(*pair, tolerance) for pair in zip(one, other, strict=True))
    if other is None or isinstance(other, str | set):
        return type(one) is type(other) and one == other
    try:
        one, other = np.asarray(_plain(one)), np.asarray(_plain(other))
    except Exception:              # a ragged list, a sparse tensor, or something stranger
        return False
    if one.shape != other.shape or one.dtype.kind not in "buif" or (
            other.dtype.kind == "b" != one.dtype.kind):
        return False
    return bool(np.isclose(one.astype(float), other.astype(float), rtol=tolerance, atol=tolerance,
                           equal_nan=True).all())


def _plain(value):
    """Turn a tensor into an array; anything else stays."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value


def number(value: float) -> str:
    """Write a number: a whole one with commas, another with seven digits at most."""
    if np.isnan(value):
        return "NaN"
    whole = np.isfinite(value) and value == round(value)
    return f"{value:,.0f}" if whole and abs(value) < 1e15 else f"{value:.7g}"


def written(value, length: int = 60) -> str:
    """Write a value in so many characters at most; of large arrays the shape."""
    is_array = isinstance(value, torch.Tensor | np.ndarray)
    try:
        text = "" if is_array and np.prod(value.shape) > FEW else _items(value)
    except Exception:              # an answer's own __repr__, or a sparse tensor
        text = ""
    if not text:
        shape = f" of shape {tuple(value.shape)}" if is_array else ""
        return f"a {type(value).__name__}{shape}"
    return text if is_array or len(text) <= length else f"{text[:length - 1]}…"


def _items(value) -> str:
    """Write a value as Python would be typed: arrays as lists, floats with four digits."""
    value = value.tolist() if isinstance(value, torch.Tensor | np.ndarray) else single(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_items, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_items, value))}{',' if len(value) == 1 else ''})"
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


def call(function, arguments: tuple) -> str:
    """Write the call of a named function with small arguments; "" where it would not be read."""
    name = getattr(function, "__name__", "")
    if not name.isidentifier() or not all(map(_is_small, arguments)):
        return ""
    text = f"{name}({', '.join(map(_items, arguments))})"
    return text if len(text) <= LONG else ""


def _is_small(value) -> bool:
    if isinstance(value, torch.Tensor | np.ndarray):
        return np.prod(value.shape) <= FEW
    if isinstance(value, list | tuple):
        return all(map(_is_small, value))
    return isinstance(value, str | int | float)
