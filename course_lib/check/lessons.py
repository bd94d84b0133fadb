"""The lessons in one table: README, doctor, site, notebooks and checkers all take it from here."""

from collections.abc import Sequence
from dataclasses import dataclass

from course_lib.errors import DataError


@dataclass(frozen=True)
class Lesson:
    """What is known of a lesson without opening it.

    Attributes:
        number: two digits.
        stem: of its notebook's file name.
        title: without the number.
        goal: what the student can do afterwards, to follow "After this you can".
        minutes: profile to the minutes it runs, measured on two CPU cores (docs/results.md); of
            gpu, an estimate.
        data: what it runs on.
        expected: what comes out.
        files: of the library, those it is about.
        patients: the least number of a user's own patients, with something to find, that it
            works with; 0 where it takes none.
        exercises: name of the checker to the exercise's title, in their order.
        forecasts: name to what is asked for, with its unit, in their order. A "share" and a "DSC"
            lie between 0 and 1.
    """

    number: str
    stem: str
    title: str
    goal: str
    minutes: dict[str, float]
    data: str
    expected: str
    files: tuple[str, ...]
    patients: int
    exercises: dict[str, str]
    forecasts: dict[str, dict[str, str]]


LESSONS = [
    Lesson(number="00", stem="00_start_here", title="Start here",
           goal="see a brain tumour outlined by a network that you trained yourself, find your way "
                "around the course, and say what your machine can do",
           minutes={"tiny": 0.5, "cpu": 0.9, "gpu": 1.0},
           data="twin, 12 patients",
           expected="a segmented brain within a minute; a slice's score beside its patient's; a "
                    "second, shorter training",
           files=("settings", "data/download", "predict/", "show/", "doctor/"),
           patients=0, exercises={},
           forecasts={"00-start": {"mean DSC": "DSC"},
                      "00-change": {"mean DSC of the second network": "DSC"}}),
    Lesson(number="01", stem="01_look_at_the_data", title="Look at the data",
           goal="read the slices and masks of a brain scan, tell three MRI sequences apart, "
                "normalise them without harm, and split patients so that a score means what its "
                "name says",
           minutes={"tiny": 0.4, "cpu": 2.0, "gpu": 3.0},
           data="twin, 24 patients; or the real LGG set",
           expected="two scores of one method, which copies the mask of the most similar slice: "
                    "split by patient, and split by slice",
           files=("data/tif", "data/checking", "data/split", "show/", "check/"),
           patients=4,
           exercises={"which_sequence": "Which sequence is this?",
                      "slice_dsc_of_nothing": "What does nothing score?",
                      "normalise": "Normalise a volume", "split_rows": "Split by patient",
                      "name_the_leaks": "Name the leaks"},
           forecasts={"01-imbalance": {"slices with tumour": "share", "tumour pixels": "share",
                                       "nothing, per slice": "DSC"},
                      "01-copying": {"split by patient": "DSC", "split by slice": "DSC"}}),
    Lesson(number="02", stem="02_unet_block_by_block", title="U-Net, block by block",
           goal="build a U-Net from its blocks, name the shape at every level, compute why 572 "
                "pixels become 388, and say what its skips bring and what it costs",
           minutes={"tiny": 0.3, "cpu": 1.0, "gpu": 2.0},
           data="twin, 24 patients, and a saved run; or the real LGG set",
           expected="572 pixels give 388; what skips bring, patient by patient, with a range",
           files=("models/", "augment/", "losses", "stats"),
           patients=4,
           exercises={"instance_block": "Another block", "parameters_by_hand": "Count by hand",
                      "valid_side": "A shape puzzle",
                      "crop_and_join": "A skip that is cropped",
                      "training_memory": "The memory of a training",
                      "judge_the_claim": "One claim stands"},
           forecasts={"02-skips": {"nothing": "DSC", "add": "DSC", "concatenate": "DSC"},
                      "02-reach": {"bottleneck": "pixels", "90 % of a logit": "pixels"},
                      "02-cost": {"multiply-adds": "share", "parameters": "share"}}),
    Lesson(number="03", stem="03_brain_mri", title="The brain MRI task",
           goal="train a U-Net on brain MRI slices, watch, stop and resume it, score it per "
                "patient, and say how much better it is than doing nearly nothing",
           minutes={"tiny": 0.5, "cpu": 3.1, "gpu": 8.0},
           data="twin, 32 patients; or the real LGG set (4 minutes)",
           expected="a ladder of scores, one DSC per patient: from marking nothing to a U-Net that "
                    "you trained",
           files=("data/slices", "data/geometry", "models/unet", "losses", "augment/", "train/",
                  "metrics", "stats"),
           patients=8,
           exercises={"dsc_of_patient": "The score itself",
                      "training_step": "The five lines of a step",
                      "faulty_loop": "Three loops that do not complain",
                      "whose_score": "Whose 0.91?", "best_threshold": "Choose a threshold"},
           forecasts={"03-baselines": {"all empty": "DSC", "FLAIR threshold": "DSC"},
                      "03-unet": {"U-Net": "DSC"},
                      "03-resume": {"whole epochs that are kept": "epochs"}}),
]


def enough_patients(number: str, patients: Sequence, kind: str = "") -> None:
    """Check that a data set has the patients that a lesson takes.

    Args:
        number: of the lesson.
        patients: those that are there, and that count.
        kind: which ones count, such as "with tumour".
    Raises:
        DataError: they are too few.
    """
    least = next(lesson.patients for lesson in LESSONS if lesson.number == number)
    if len(patients) < least:
        which = f"patients {kind}".rstrip()
        raise DataError(what=f"the data set has {len(patients)} {which}, and lesson {number} takes "
                             f"{least} or more", where=f"lesson {number}",
                        cure='add patients, or go on with the twin: NAME = "lgg-phantom"')
