import subprocess
import threading
import urllib.error
import warnings
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from course_lib import settings
from course_lib.compute import PLAIN, Compute
from course_lib.doctor import installation, machine, probe

CARD = (["NVIDIA L4, driver 570.1"], "")
NONE = ([], "")
FAST = Compute("channels_last", "bfloat16")


def only(lines):
    (line,) = lines
    return line


@pytest.fixture
def gpu(monkeypatch):
    """A function that replaces what torch and the driver say of a GPU."""
    def replaced(cards=NONE, cuda="12.8", available=False, mps=False, warning=None):
        def is_available():
            if warning:
                warnings.warn(warning, stacklevel=2)
            return available

        monkeypatch.setattr(machine, "nvidia", lambda: cards)
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(torch.cuda, "is_available", is_available)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return replaced


@pytest.fixture
def colab(monkeypatch):
    monkeypatch.setattr(machine, "on_colab", lambda: True)
    monkeypatch.setattr(installation, "on_colab", lambda: True)


def test_a_gpu_that_torch_sees_is_ok_with_driver_and_cuda(gpu):
    gpu(CARD, available=True)
    line = only(machine.check_gpu())
    assert (line.mark, line.text) == ("OK", "NVIDIA L4, driver 570.1; torch is built for CUDA 12.8")
    gpu(NONE, available=True)                            # the driver's tool is not on the path
    assert only(machine.check_gpu()).text.startswith("a card; ")


def test_a_torch_without_cuda_beside_a_card_is_a_fix(gpu):
    gpu(CARD, cuda=None)
    line = only(machine.check_gpu())
    assert line.mark == "FIX" and "built without CUDA" in line.text
    assert "pip install --force-reinstall torch torchvision" in line.command


@pytest.mark.parametrize("cuda", [None, "12.8"])
def test_on_colab_torch_is_never_installed_anew(gpu, colab, cuda):
    gpu(CARD, cuda=cuda)
    line = only(machine.check_gpu())
    assert line.mark == "FIX" and "pip" not in line.command


def test_a_driver_that_is_too_old_is_a_fix_with_torchs_reason(gpu):
    gpu(CARD, warning="The NVIDIA driver on your system is too old (found version 11040).")
    line = only(machine.check_gpu())
    assert (line.mark, line.command) == ("FIX", "nvidia-smi")
    assert "too old (found version 11040)" in line.text and "update it" in line.text


def test_without_a_gpu_the_cpu_is_fine_and_apples_is_named(gpu):
    gpu()
    assert only(machine.check_gpu()).text == "none; the course computes on the CPU"
    gpu(cuda=None, mps=True)
    line = only(machine.check_gpu())
    assert line.mark == "OK" and "mps" in line.text


def test_on_colab_a_session_without_gpu_is_told_where_to_find_one(gpu, colab):
    gpu(([], "NVIDIA-SMI has failed"))
    line = only(machine.check_gpu())
    assert line.mark == "WARN" and line.command.startswith("menu Runtime > Change runtime type")


def test_a_driver_that_complains_is_a_warning_with_its_words(gpu):
    gpu(([], "Driver/library version mismatch"))
    line = only(machine.check_gpu())
    assert line.mark == "WARN" and "Driver/library version mismatch" in line.text


@pytest.mark.parametrize(("code", "said", "expected"), [
    (0, "NVIDIA L4, 570.1\nTesla T4, 570.1\n",
     (["NVIDIA L4, driver 570.1", "Tesla T4, driver 570.1"], "")),
    (0, "", ([], "")), (9, "NVIDIA-SMI has failed.\nMake sure", ([], "NVIDIA-SMI has failed."))])
def test_the_drivers_own_tool_is_understood(monkeypatch, code, said, expected):
    monkeypatch.setattr(subprocess, "run",
                        lambda command, **how: subprocess.CompletedProcess(command, code, said, ""))
    assert machine.nvidia() == expected


@pytest.mark.parametrize(("error", "complains"), [
    (FileNotFoundError("no file"), False), (PermissionError("not allowed"), True),
    (subprocess.TimeoutExpired("nvidia-smi", 5), True)])
def test_a_driver_without_its_tool_is_nothing_and_one_that_hangs_is_told(monkeypatch, error,
                                                                         complains):
    def fail(command, **how):
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    cards, complaint = machine.nvidia()
    assert cards == [] and bool(complaint) == complains


# ---------------------------------------------------------------- the step

@pytest.fixture
def device(monkeypatch):
    """A function that stands a device in: its steps are the CPU's, changed by `spoil`."""
    real = probe.one_step

    def replaced(kind, spoil=lambda step, precision: step, chosen=PLAIN):
        def one_step(on, compute=PLAIN):
            step = real(torch.device("cpu"), compute)
            plain_cpu = (on.type, compute) == ("cpu", PLAIN)
            return step if plain_cpu else spoil(step, compute.precision)

        monkeypatch.setattr(settings, "device", lambda: torch.device(kind))
        monkeypatch.setattr(probe, "usual_compute", lambda on: chosen)
        monkeypatch.setattr(probe, "one_step", one_step)

    return replaced


def test_a_cpu_alone_compares_what_training_takes_with_plain_float32(device):
    device("cpu", chosen=FAST)
    line = only(machine.check_step())
    assert line.mark == "OK" and line.text.startswith("no other device to compare")
    assert "cpu channels_last bfloat16: loss 1.3" in line.text


def test_a_device_that_computes_right_is_ok(device):
    device("mps")
    line = only(machine.check_step())
    assert line.mark == "OK" and line.text.count("mps contiguous float32: loss 1.3") == 1


def test_a_gpu_is_compared_plainly_and_as_training_does(device):
    device("cuda", chosen=FAST)
    text = only(machine.check_step()).text
    assert "cuda contiguous float32: " in text and "cuda channels_last bfloat16: " in text


@pytest.mark.parametrize("spoil", [
    lambda step, precision: replace(step, loss=19.9),
    lambda step, precision: replace(step, loss=float("nan")),
    lambda step, precision: replace(step, changes=[-change for change in step.changes])])
def test_a_device_that_gives_wrong_losses_or_steps_is_a_fix(device, spoil):
    device("mps", spoil)
    line = only(machine.check_step())
    assert line.mark == "FIX" and "WRONG RESULTS" in line.text
    assert "do not train on this device" in line.text
    assert line.command.endswith("pip install --upgrade torch torchvision")


def test_a_layout_or_precision_that_is_wrong_has_a_setting_as_cure(device):
    device("cuda", lambda step, precision: replace(
        step, loss=step.loss + (precision == "bfloat16")), FAST)
    line = only(machine.check_step())
    assert line.mark == "FIX"
    assert "compute=Compute(layout='contiguous', precision='float32')" in line.text


def test_a_step_that_fails_is_a_fix_with_the_reason(device, colab):
    def fail(step, precision):
        raise RuntimeError("no kernel image is available\nmore")

    device("cuda", fail)
    line = only(machine.check_step())
    assert line.mark == "FIX" and line.text.endswith("no kernel image is available")
    assert "pip" not in line.command                     # on Colab


# ---------------------------------------------------------------- memory, disk, network

@pytest.mark.parametrize(("free", "mark"), [(4, "OK"), (1, "WARN")])
def test_free_memory_is_read(tmp_path, monkeypatch, free, mark):
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    machine.MEMINFO.write_text(f"MemTotal: {8 * 2**20} kB\nMemFree: 1 kB\n"
                               f"MemAvailable:   {free * 2**20} kB\n")
    line = only(machine.check_memory())
    assert line.mark == mark and line.text.startswith(f"{free}.0 of 8.0 GB free")
    assert ("COURSE_PROFILE=tiny" in line.command) == (mark == "WARN")


@pytest.mark.parametrize("content", [None, "MemTotal: 1 kB\n"])
def test_where_free_memory_is_not_told_there_is_no_judgement(tmp_path, monkeypatch, content):
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    if content:
        machine.MEMINFO.write_text(content)
    monkeypatch.setattr(machine.os, "sysconf", lambda name: 2**15, raising=False)
    line = only(machine.check_memory())
    assert (line.mark, line.text) == ("OK", "1.0 GB in all, free not known")
    monkeypatch.delattr(machine.os, "sysconf")           # Windows
    assert only(machine.check_memory()).text == "not known"


@pytest.mark.parametrize(("free", "mark"), [(100, "OK"), (1, "WARN")])
def test_gpu_memory_that_others_hold_is_told(monkeypatch, free, mark):
    monkeypatch.setattr(settings, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free * 2**30, 139 * 2**30))
    line = only(machine.check_gpu_memory())
    assert line.mark == mark and line.text.startswith(f"{free}.0 of 139.0 GB free")


def test_without_cuda_there_is_no_gpu_memory(on_the_cpu):
    assert list(machine.check_gpu_memory()) == []


@pytest.fixture
def room(monkeypatch):
    """A function that replaces the free room on every disk, in GB."""
    return lambda free: monkeypatch.setattr(machine.shutil, "disk_usage",
                                            lambda folder: SimpleNamespace(free=free * 2**30))


def test_folders_that_can_be_written_are_ok_and_not_made(tmp_path, monkeypatch, room):
    for name in ("DATA", "CACHE", "RUNS", "KEEP"):
        monkeypatch.setenv(f"COURSE_{name}", str(tmp_path / name))
    room(9)
    lines = {line.topic: line for line in machine.check_folders()}
    assert list(lines) == ["data", "cache", "runs", "backup"]
    assert {line.mark for line in lines.values()} == {"OK"}
    assert lines["data"].text == f"{tmp_path / 'DATA'}, not there yet"
    assert lines["runs"].text == f"{tmp_path / 'RUNS'}, 9.0 GB free"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["DATA", "CACHE", "RUNS", "KEEP"])
@pytest.mark.parametrize(("place", "problem"), [("file", "it is a file"),
                                                ("usb/course", "neither it nor")])
def test_a_variable_that_names_a_file_or_a_disk_that_is_not_there_is_told(tmp_path, monkeypatch,
                                                                        name, place, problem):
    (tmp_path / "file").touch()
    monkeypatch.setenv(f"COURSE_{name}", str(tmp_path / place))
    topic = {"KEEP": "backup"}.get(name, name.lower())
    line = next(line for line in machine.check_folders() if line.topic == topic)
    assert line.mark == ("WARN" if name == "KEEP" else "FIX")
    assert str(tmp_path / place) in line.text and problem in line.text
    assert f"COURSE_{name}=<a folder of yours>" in line.command
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_data_may_be_read_only_but_not_unreadable(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setattr(machine, "can_write", lambda folder: False)
    assert next(iter(machine.check_folders())).mark == "OK"
    monkeypatch.setattr(machine.os, "access", lambda folder, how: False)
    line = next(iter(machine.check_folders()))
    assert (line.mark, line.text) == ("FIX", f"{tmp_path} cannot be read")


def test_no_line_names_the_user_or_the_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path / "runs"))
    line = next(line for line in machine.check_folders() if line.topic == "runs")
    assert line.text.startswith("~/runs, ")


def test_a_run_root_that_cannot_be_written_is_a_fix_with_the_variable(tmp_path, monkeypatch):
    (tmp_path / "file").touch()                          # no folder can be made below a file
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path / "file" / "runs"))
    line = [line for line in machine.check_folders() if line.topic == "runs"][0]
    assert line.mark == "FIX" and f"{tmp_path / 'file' / 'runs'} cannot be used" in line.text
    assert "COURSE_RUNS=<a folder of yours>" in line.command


def test_a_read_only_disk_is_a_fix_for_both(monkeypatch):
    def refuse(dir):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("course_lib.files.tempfile.TemporaryFile", refuse)
    assert [(line.mark, line.topic) for line in machine.check_folders()] == [
        ("OK", "data"), ("FIX", "cache"), ("FIX", "runs")]


@pytest.mark.parametrize(("free", "mark"), [(0.1, "FIX"), (1, "WARN"), (5, "OK")])
def test_a_disk_that_is_nearly_full_is_told(room, free, mark):
    room(free)
    _, *lines = machine.check_folders()                  # data are only read
    for line in lines:
        assert line.mark == mark and ("COURSE_" in line.command) == (mark != "OK")


@pytest.mark.parametrize(("error", "mark"), [
    (None, "OK"), (urllib.error.HTTPError("", 403, "", {}, None), "OK"),
    (urllib.error.URLError("no network"), "WARN"), (TimeoutError(), "WARN"),
    (ValueError("unknown proxy"), "WARN")])
def test_the_network_is_there_or_a_sentence_says_what_needs_it(monkeypatch, error, mark):
    class Answer:
        close = staticmethod(lambda: None)

    def open_page(request, timeout):
        if error:
            raise error
        return Answer

    monkeypatch.setattr(machine.urllib.request, "urlopen", open_page)
    answers = []
    machine.reach(answers)
    thread = threading.Thread(target=len, args=((),))
    thread.start()
    line = only(machine.check_network(thread, answers))
    assert line.mark == mark
    assert mark == "OK" or "simulated twin needs no network" in line.text
