"""How answers without code are checked: one letter, or a word for each letter."""

import re
from collections.abc import Callable

from course_lib.check.comparing import written
from course_lib.check.core import OPEN, Verdict, is_open


def _letter(answer) -> str:
    """Read a letter as it is written, such as "c", " C ", "c)" or "(c)"; "" for none."""
    match = re.fullmatch(r"\W*([a-z])\W*", str(answer).lower())
    return match[1] if match else ""


def check_choice(answer: str, right: str, wrong: dict[str, str], remark: str) -> Verdict:
    """Check a choice among letters.

    Args:
        right: the letter that is right.
        wrong: the others, with what speaks against each.
        remark: worth reading for those who solved it.
    """
    if is_open(answer):
        return Verdict(None, OPEN)
    letter = _letter(answer)
    if letter == right:
        return Verdict(True, remark)
    choices = ", ".join(sorted([right, *wrong]))
    return Verdict(False, f"{letter}: {wrong[letter]}" if letter in wrong else
                   f"choose one of {choices}, you chose {written(answer)}")


def check_words(answer: dict[str, str], right: dict[str, str], words: dict[str, str],
                clue: Callable[[str, str, str], str], remark: str) -> Verdict:
    """Check a word for each letter.

    Args:
        right: letter to word.
        words: each word to a pattern of the ways to write it; the first that fits is meant.
        clue: (letter, the word that was given, the right one) -> what speaks against it.
        remark: worth reading for those who solved it.
    """
    if is_open(answer):
        return Verdict(None, OPEN)
    shape = "{" + ", ".join(f'"{letter}": "…"' for letter in right) + "}"
    if not isinstance(answer, dict) or not all(map(_letter, answer)):
        return Verdict(False, f"write one word for each letter, {shape}; you wrote "
                              f"{written(answer)}")
    given = {_letter(letter): word for letter, word in answer.items()}
    truth = {letter.lower(): (letter, word) for letter, word in right.items()}
    unread = next((word for word in given.values() if not is_open(word) and not _read(word, words)),
                  None)
    if unread is not None:
        return Verdict(False, f"{written(unread)} is none of the words: {', '.join(words)}")
    missing = [letter for key, (letter, _) in truth.items() if is_open(given.get(key))]
    if missing:
        return Verdict(False, f"still open: {', '.join(missing)}")
    wrong = [(letter, _read(given[key], words), word) for key, (letter, word) in truth.items()
             if _read(given[key], words) != word]
    if not wrong:
        return Verdict(True, remark)
    return Verdict(False, f"{len(truth) - len(wrong)} of {len(truth)} are right. {wrong[0][0]} is "
                          f"not “{wrong[0][1]}”: {clue(*wrong[0])}")


def _read(word, words: dict[str, str]) -> str:
    """Find which of the words is meant; "" for none."""
    return next((name for name, pattern in words.items()
                 if re.search(pattern, str(word), re.IGNORECASE)), "")
