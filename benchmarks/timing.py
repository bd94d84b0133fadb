"""Timing side by side: what is compared takes turns, so that a noisy machine slows both alike."""

import time
from collections.abc import Callable

import torch


def fastest(tasks: dict[str, Callable], repeats: int, clock: Callable = time.perf_counter) -> dict:
    """Time each task's fastest call, in seconds; all are called once a round, after a first one.

    Args:
        tasks: name to function without arguments.
        clock: time.perf_counter, or time.process_time for the CPU time of all threads.
    """
    took = {name: [] for name in tasks}
    for _ in range(repeats + 1):
        for name, task in tasks.items():
            start = now(clock)
            task()
            took[name].append(now(clock) - start)
    return {name: min(times[1:]) for name, times in took.items()}


def now(clock: Callable = time.perf_counter) -> float:
    """Read the clock, once the GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()
    return clock()
