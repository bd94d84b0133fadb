"""All that the doctor looks at, and the minutes that each lesson will take here.

It only looks: nothing is installed or changed. torch is imported late, so that the report also
covers an installation in which it does not load.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator

from course_lib import settings
from course_lib.check.lessons import LESSONS
from course_lib.doctor import installation, machine
from course_lib.doctor.report import Line, Report
from course_lib.errors import CourseError

# What seconds_per_step gives where the minutes in check/lessons.py were measured, two threads,
# nothing else running: python -c "from course_lib import doctor; print(doctor.seconds_per_step())"
PROBE_SECONDS = 0.064
TRAINING_SHARE = 0.7    # of a lesson; on real data, 152 of lesson 03's 217 s (docs/results.md)


def seconds_per_step() -> float:
    """Time a small training step on this machine's device; see probe."""
    from course_lib.doctor import probe

    return probe.seconds_per_step(settings.device())


def busy() -> bool:
    """Tell whether far more runs than there are processors; False where the system does not say."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0
    return load > 1.5 * (os.cpu_count() or 1)        # one training alone is a load of 1 each


def expected_minutes(profile: str, seconds: float) -> dict[str, float]:
    """Reckon the minutes of each lesson here.

    A slower machine is slower in everything, a faster device only in training. The gpu profile's
    are estimates, and stay as they are.

    Args:
        seconds: of a probe's step here.
    """
    slower = seconds / PROBE_SECONDS
    factor = slower if slower > 1 else 1 - TRAINING_SHARE + TRAINING_SHARE * slower
    return {lesson.number: lesson.minutes[profile] * (1 if profile == "gpu" else factor)
            for lesson in LESSONS}


def check_profile() -> Iterator[Line]:
    """Say which profile will be taken, and how many minutes the lessons take in it."""
    import torch

    device = settings.device().type
    try:
        profile = settings.profile()
    except CourseError as error:
        yield Line("FIX", "profile", str(error), installation.variable("COURSE_PROFILE", "cpu"))
        return
    text = f"{profile}, on {device}; threads {torch.get_num_threads()}, processors {os.cpu_count()}"
    if profile == "gpu" and device != "cuda":
        yield Line("WARN", "profile", f"{text}: this takes hours",
                   installation.variable("COURSE_PROFILE", "cpu"))
        return
    yield Line("OK", "profile", text)
    seconds = seconds_per_step()
    minutes = [f"lesson {lesson} {value:.1f}"
               for lesson, value in expected_minutes(profile, seconds).items()]
    basis = "estimates" if profile == "gpu" else (
        f"a training step takes {1000 * seconds:.0f} ms; {1000 * PROBE_SECONDS:.0f} where the "
        "lessons were measured")
    if busy():
        basis += "; other programs are running, without them it will be faster"
    yield Line("OK", "minutes", f"about: {', '.join(minutes)} ({basis})")


def look(topic: str, check: Callable[..., Iterable[Line]], *arguments) -> list[Line]:
    """List a check's lines; where it fails itself, one that says so: the others still count."""
    lines = []
    try:
        lines.extend(check(*arguments))          # keeps what came before a failure
    except Exception as error:
        lines.append(Line("WARN", topic, f"could not be looked at ({type(error).__name__}: "
                                         f"{installation.first_line(error)})"))
    return lines


def run() -> Report:
    """Look at everything, within about ten seconds. Nothing is raised for what is found."""
    answers: list[bool] = []
    asking = threading.Thread(target=machine.reach, args=(answers,), daemon=True)
    asking.start()                               # it waits while the rest is looked at
    lines = (look("environment", installation.check_environment)
             + look("python", installation.check_python)
             + look("torch", installation.check_torch)
             + look("packages", installation.check_packages)
             + look("ipywidgets", installation.check_widgets)
             + look("tensorboard", installation.check_tensorboard)
             + look("memory", machine.check_memory)
             + look("folders", machine.check_folders))
    if not installation.torch_error():           # else check_torch has said what is not known
        lines += (look("gpu", machine.check_gpu) + look("gpu memory", machine.check_gpu_memory)
                  + look("step", machine.check_step) + look("profile", check_profile))
    return Report(lines + look("network", machine.check_network, asking, answers))
