"""The machine: graphics and driver, one training step beside the CPU's, memory, disk, network."""

import os
import platform
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path

from course_lib import settings
from course_lib.doctor.installation import first_line, on_colab, reinstall, variable
from course_lib.doctor.report import Line
from course_lib.errors import CourseError
from course_lib.files import can_write, nearest_folder

# Below these: WARN. 40 real patients at 256 px are prepared in 1.3 GB; the whole set's arrays
# take 2 GB of disk. What the gpu profile takes of a GPU is not measured yet.
MEMORY_GB, GPU_MEMORY_GB, DISK_GB = 2.0, 2.0, 3.0
FULL_DISK_GB = 0.3                     # below this: FIX; a checkpoint may no longer fit
MEMINFO = Path("/proc/meminfo")
WAIT = 3.0                             # seconds, for the network
FAR_AWAY = "https://www.kaggle.com"    # where the real data come from


def nvidia() -> tuple[list[str], str]:
    """List cards, as "NVIDIA L4, driver 570.1", and the complaint of the driver's tool, if any."""
    try:
        done = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version",
                               "--format=csv,noheader"], capture_output=True, text=True, timeout=5)
    except FileNotFoundError:
        return [], ""
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], first_line(error)
    if done.returncode:
        return [], first_line(done.stdout + done.stderr)
    return [", driver ".join(line.split(", ")) for line in done.stdout.strip().splitlines()], ""


def check_gpu() -> Iterator[Line]:
    """Compare driver and CUDA with what torch sees of them."""
    import torch

    cards, complaint = nvidia()
    built = torch.version.cuda
    with warnings.catch_warnings(record=True) as caught:         # so torch tells of an old driver
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if available:
        name = cards[0] if cards else torch.cuda.get_device_name()
        yield Line("OK", "gpu", f"{name}; torch is built for "
                                f"{f'CUDA {built}' if built else f'ROCm {torch.version.hip}'}")
    elif cards and not built:
        index = " --index-url <the address for CUDA, from pytorch.org>" if os.name == "nt" else ""
        yield Line("FIX", "gpu", f"{cards[0]}; but this torch is built without CUDA",
                   reinstall(f"--force-reinstall torch torchvision{index}"))
    elif cards:
        why = first_line(caught[0].message) if caught else "it gives no reason"
        yield Line("FIX", "gpu", f"{cards[0]}; torch, built for CUDA {built}, cannot use it: {why} "
                   "An old driver: update it and restart the machine. This shows at the top right "
                   "which CUDA the driver can do", "nvidia-smi")
    elif torch.backends.mps.is_available():
        yield Line("OK", "gpu", f"Apple's (mps), macOS {platform.mac_ver()[0]}")
    elif on_colab():
        yield Line("WARN", "gpu", "none in this session",
                   "menu Runtime > Change runtime type > T4 GPU")
    elif complaint:
        yield Line("WARN", "gpu", f"nvidia-smi fails: {complaint}. If there is an NVIDIA card, "
                   "restart the machine, or install the driver anew", "nvidia-smi")
    else:
        yield Line("OK", "gpu", "none; the course computes on the CPU")


def check_step() -> Iterator[Line]:
    """Take a small training step on the device, plainly and as training does it, and on the CPU."""
    import torch

    from course_lib.compute import PLAIN
    from course_lib.doctor import probe

    device = settings.device()
    chosen, reference = probe.usual_compute(device), probe.one_step(torch.device("cpu"))
    chosen = replace(chosen, resident=False)             # as PLAIN; a probe's data are nothing
    right, results = f"The CPU's loss in float32 is {reference.loss:.4f}", []
    for compute in {chosen} if device.type == "cpu" else dict.fromkeys((PLAIN, chosen)):
        what = f"{device.type} {compute.layout} {compute.precision}"
        try:
            step = probe.one_step(device, compute)
        except Exception as error:               # no kernel for this card, no memory, no such layer
            yield Line("FIX", "step", f"a training step fails ({what}): {first_line(error)}",
                       reinstall("--upgrade torch torchvision"))
            return
        results.append(f"{what}: loss {step.loss:.4f}, a layer's change "
                       f"{100 * probe.distances(step, reference)[1]:.0f} % off at most "
                       f"(limit {100 * probe.TOLERANCE[compute.precision][1]:.0f})")
        if not probe.agrees(step, reference, compute.precision):
            cure = ("do not train on this device with this torch" if compute == PLAIN else
                    "train with compute=Compute(layout='contiguous', precision='float32')")
            yield Line("FIX", "step", f"WRONG RESULTS. {right}, but {results[-1]}. Until this is "
                       f"mended, {cure}",
                       reinstall("--upgrade torch torchvision"))
            return
    alone = "no other device to compare. " if device.type == "cpu" else ""
    yield Line("OK", "step", f"{alone}{right}; {'; '.join(results)}")


def memory_gb() -> tuple[float | None, float | None]:
    """Look up main memory: what is free, and all; None for what the system does not say."""
    try:
        text = MEMINFO.read_text(encoding="ascii")
        free, total = (int(re.search(rf"{name}:\s+(\d+) kB", text)[1]) / 2**20
                       for name in ("MemAvailable", "MemTotal"))
        return free, total
    except (OSError, TypeError):                 # no such file, or no such line in it
        pass
    try:                                         # macOS; Windows has no sysconf
        return None, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (AttributeError, ValueError, OSError):
        return None, None


def check_memory() -> Iterator[Line]:
    """Look for free main memory."""
    free, total = memory_gb()
    text = ("not known" if total is None else f"{total:.1f} GB in all, free not known"
            if free is None else f"{free:.1f} of {total:.1f} GB free")
    if free is not None and free < MEMORY_GB:
        yield Line("WARN", "memory", f"{text}; close other programs and notebooks, or compute less",
                   variable("COURSE_PROFILE", "tiny"))
    else:
        yield Line("OK", "memory", text)


def check_gpu_memory() -> Iterator[Line]:
    """Look for free memory of a CUDA device; says nothing where there is none."""
    import torch

    if settings.device().type == "cuda":
        free, total = (size / 2**30 for size in torch.cuda.mem_get_info())
        text = f"{free:.1f} of {total:.1f} GB free"
        yield Line("OK", "gpu memory", text) if free >= GPU_MEMORY_GB else Line(
            "WARN", "gpu memory", f"{text}; shut down other programs and notebooks that hold it "
            "(this lists them)", "nvidia-smi")


def check_folders() -> Iterator[Line]:
    """Look whether the folders of data, cache, runs and backup can be used, and have room."""
    for topic, name, choose in (("data", "DATA", settings.data_folder),
                                ("cache", "CACHE", settings.cache_folder),
                                ("runs", "RUNS", settings.runs_folder),
                                ("backup", "KEEP", settings.backup_folder)):
        cure = variable(f"COURSE_{name}", "<a folder of yours>")
        try:
            folder = choose()
        except CourseError as error:
            yield Line("FIX", topic, str(error), cure)
            continue
        if folder:
            yield check_folder(topic, folder, cure)


def check_folder(topic: str, folder: Path, cure: str) -> Line:
    """Look at one folder; nothing is made. Data may lie where nothing can be written."""
    shown, there = settings.show_path(folder), nearest_folder(folder)
    problem = settings.why_unusable(folder)
    if problem:                                          # of a backup: it may be mounted later
        return Line("WARN", topic, f"{shown} cannot be used now: {problem}", cure)
    if topic == "data":
        if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
            return Line("FIX", topic, f"{shown} cannot be read", cure)
        return Line("OK", topic, shown if folder.is_dir() else f"{shown}, not there yet")
    if not can_write(there):
        return Line("FIX", topic, f"{shown} cannot be written to", cure)
    free = shutil.disk_usage(there).free / 2**30
    mark = "FIX" if free < FULL_DISK_GB else "WARN" if free < DISK_GB else "OK"
    return Line(mark, topic, f"{shown}, {free:.1f} GB free", "" if mark == "OK" else cure)


def reach(answers: list[bool]) -> None:
    """Ask for a page's head, and note in `answers` that something came."""
    request = urllib.request.Request(FAR_AWAY, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=WAIT).close()
    except urllib.error.HTTPError:                  # a refusal is an answer, too
        pass
    except (OSError, HTTPException, ValueError):    # no network, no name, a proxy that is none
        return
    answers.append(True)


def check_network(thread: threading.Thread, answers: list[bool]) -> Iterator[Line]:
    """Say whether `reach`, running in a thread, has had an answer by now."""
    thread.join(WAIT)
    yield Line("OK", "network", f"{FAR_AWAY} answers") if answers else Line(
        "WARN", "network", f"{FAR_AWAY} does not answer. The simulated twin needs no network; the "
        "real data do, or are put in place by hand (data/README.md)")
