"""The exercises of lesson 01 that are answered in words."""

from course_lib.check.choosing import check_words
from course_lib.check.core import Verdict
from course_lib.check.record import exercise

SEQUENCES = {"FLAIR": r"flair", "T1": r"before|without|native|\bpre|^\W*t1w?\W*$",
             "T1 after contrast agent": r"contrast|after|post|gd|gadolin|t1 ?\+|t1-?(c|ce|gd)\b"}


def _tell_apart(letter: str, said: str, shown: str) -> str:
    """Say by what two sequences are told apart."""
    if {said, shown} == {"T1", "T1 after contrast agent"}:
        return ("the two are alike but for what the contrast agent lights up: the great vein in "
                "the midline, at times the rim of a tumour. Lay the patient's pictures side by "
                "side")
    if said == "T1 after contrast agent":
        return ("grey matter is brighter than white there, and swollen tissue bright. The third "
                "channel is not always what its place says: compare it with the patient's others")
    return ("in T1 white matter is brighter than grey, in FLAIR grey than white; swollen tissue is "
            "bright in FLAIR and dull in T1")


@exercise("01")
def which_sequence(answer, truth: dict[str, str]) -> Verdict:
    """Check the sequence that each of several pictures shows.

    Args:
        answer: letter to "T1", "FLAIR" or "T1 after contrast agent"; a copy of FLAIR shows FLAIR.
        truth: the same, as the lesson drew them.
    """
    return check_words(answer, {letter: "FLAIR" if "FLAIR" in name else name
                                for letter, name in truth.items()}, SEQUENCES, _tell_apart,
                       remark="told by what is bright, not by the place in the file. A channel "
                              "that holds another one's copy is found no other way")


@exercise("01")
def name_the_leaks(answer) -> Verdict:
    """Check what leaks in each of four reports: letter to word."""
    clues = {"a": "what was drawn at random there, patients or something smaller?",
             "b": "over whom were mean and standard deviation taken?",
             "c": "how many scores on the test patients were seen before one was reported?",
             "d": "who chose there, and how often were the test patients scored?"}
    return check_words(
        answer, {"a": "slices", "b": "normalisation", "c": "chosen on test", "d": "none"},
        {"slices": r"slice", "normalisation": r"normali|z-?score",
         "chosen on test": r"chos|choos|choice|select|test", "none": r"none|^no\b|nothing"},
        lambda letter, said, leak: clues[letter],
        remark="in d nothing about the test patients was known before the one score was taken. It "
               "is also the lowest: honest numbers often are")
