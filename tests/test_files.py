"""Files whole or not at all; one process at a time."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from course_lib import files
from course_lib.errors import CourseError


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_in_writing_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "folder" / "file"
    files.write_atomically(path, lambda file: file.write(b"old"))

    def write(file):
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        files.write_atomically(path, write)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_writing_replaces_the_old_file(tmp_path):
    for content in (b"old", b"new"):
        files.write_atomically(tmp_path / "file", lambda file, content=content: file.write(content))
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOTDIR])
def test_a_folder_that_may_not_be_written_to_is_not_taken_for_a_full_disk(tmp_path, number):
    with pytest.raises(CourseError, match="Set COURSE_RUNS") as error:
        with files.explain_disk(tmp_path / "run" / "config.json", "the settings"):
            raise OSError(number, os.strerror(number))
    assert "Make room" not in str(error.value) and os.strerror(number) in str(error.value)


def test_a_missing_disk_is_a_folder_without_a_parent(tmp_path):
    assert not files.is_missing_disk(tmp_path) and not files.is_missing_disk(tmp_path / "new")
    assert files.is_missing_disk(tmp_path / "usb" / "runs")


# --- one at a time ---

HOLD = """
import sys, time
from pathlib import Path
from course_lib import files
from course_lib.errors import CourseError
folder, begin = Path(sys.argv[1]), float(sys.argv[2])
time.sleep(max(0, begin - time.time()))
try:
    with files.lock(folder):
        print("HOLDS", flush=True)
        sys.stdin.read()
except CourseError as error:
    print("REFUSED", error, flush=True)
"""


def start(folder, begin=0.0):
    return subprocess.Popen([sys.executable, "-c", HOLD, folder, str(begin)], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_of_two_processes_one_holds_and_the_other_is_told_by_whom(tmp_path):
    first = start(tmp_path / "run")
    assert first.stdout.readline() == "HOLDS\n"
    second = start(tmp_path / "run")
    said = second.communicate("")[0]
    assert said.startswith("REFUSED") and f"process {first.pid} on " in said
    first.communicate("")
    assert sorted(path.name for path in tmp_path.iterdir()) in ([], [".run.lock"])


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    first = start(tmp_path / "run")
    assert first.stdout.readline() == "HOLDS\n"
    first.send_signal(signal.SIGKILL)
    first.wait()
    with files.lock(tmp_path / "run"):
        assert (tmp_path / ".run.owner").exists()
    assert not (tmp_path / "run").exists()                # a lock makes no run


@pytest.mark.slow
def test_of_twenty_pairs_started_at_once_one_of_each_holds(tmp_path):
    for number in range(20):
        begin = time.time() + 1.0
        pair = [start(tmp_path / str(number), begin) for _ in range(2)]
        first = [process.stdout.readline().split()[0] for process in pair]
        for process in pair:
            process.communicate("")
        assert sorted(first) == ["HOLDS", "REFUSED"]
