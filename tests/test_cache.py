import os
import subprocess
import sys

import numpy as np
import pytest

from course_lib import settings
from course_lib.data import cache
from course_lib.errors import DataError

ARRAYS = {"image": np.arange(600, dtype=np.float16).reshape(2, 300), "box": np.array([1, 2])}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))


class Maker:
    """Makes ARRAYS, and counts how often."""

    calls = 0

    def __call__(self):
        self.calls += 1
        return ARRAYS


def assert_same(arrays):
    assert set(arrays) == set(ARRAYS)
    for name, expected in ARRAYS.items():
        assert arrays[name].dtype == expected.dtype
        np.testing.assert_array_equal(arrays[name], expected)


def test_the_second_time_nothing_is_made():
    make = Maker()
    for _ in range(2):
        assert_same(cache.cached("slices/a-1", make))
    assert make.calls == 1
    assert (settings.cache_folder() / "slices" / "a-1.arrays").is_file()


def test_another_name_is_another_array():
    make = Maker()
    cache.cached("a-1", make)
    cache.cached("a-2", make)
    assert make.calls == 2


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_made_again(keep):
    make = Maker()
    cache.cached("a", make)
    path = settings.cache_folder() / "a.arrays"
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    assert_same(cache.cached("a", make))
    assert make.calls == 2
    assert path.read_bytes() == data


def test_a_flipped_bit_anywhere_is_noticed():
    cache.cached("a", Maker())
    path = settings.cache_folder() / "a.arrays"
    data = path.read_bytes()
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :])
        assert not cache._is_whole(cache._map(path)), position
    make = Maker()
    assert_same(cache.cached("a", make))
    assert make.calls == 1


def test_arrays_can_be_written_to_and_the_first_lies_where_tensors_want_it():
    arrays = [cache.cached("a", Maker()) for _ in range(2)][1]
    assert arrays["image"].flags.writeable
    assert arrays["image"].ctypes.data % cache.ALIGNMENT == 0


def test_a_file_that_goes_as_soon_as_it_is_written_is_not_missed(monkeypatch):
    monkeypatch.setattr(cache, "write_atomically", lambda path, write, durable: None)
    assert_same(cache.cached("a", Maker()))


def test_texts_and_numbers_are_kept_too():
    made = {"name": np.asarray("a patient"), "floor": np.asarray(1.5)}
    for _ in range(2):
        arrays = cache.cached("b", lambda: made)
        assert (str(arrays["name"]), arrays["floor"].tolist()) == ("a patient", 1.5)


MAKE_AND_COMPARE = """
import numpy as np
from course_lib.data import cache
for number in range(20):
    expected = np.full((200, 100), number, np.float16)
    arrays = cache.cached(f"a-{number}", lambda: {"image": expected})
    assert (arrays["image"] == expected).all()
"""


def test_several_processes_may_start_at_once_on_a_cold_cache():
    processes = [subprocess.Popen([sys.executable, "-c", MAKE_AND_COMPARE]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    found = sorted(path.name for path in settings.cache_folder().iterdir())
    assert found == sorted(f"a-{number}.arrays" for number in range(20))


def test_what_is_no_array_file_is_made_again():
    path = settings.cache_folder() / "a.arrays"
    path.parent.mkdir(parents=True)
    for content in (b"", b"hello", b"PK\x03\x04"):
        path.write_bytes(content)
        make = Maker()
        assert_same(cache.cached("a", make))
        assert make.calls == 1


def test_the_key_follows_content_and_name_of_files_and_the_settings_not_the_time(tmp_path):
    file = tmp_path / "a.tif"
    file.write_bytes(b"1234")
    os.utime(file, ns=(10**18, 10**18))

    def key(**facts):
        return cache.key(files=cache.file_stamps([file]), **facts)

    first = key(size=64)
    assert key(size=64) == first
    assert key(size=128) != first
    os.utime(file, ns=(10**18, 10**18 + 1))
    assert key(size=64) == first
    file.write_bytes(b"1243")                            # the same name, size and time
    os.utime(file, ns=(10**18, 10**18))
    assert key(size=64) != first
    file.write_bytes(b"1234")
    file = file.rename(tmp_path / "b.tif")
    assert key(size=64) != first


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a_1.tif")
    with pytest.raises(DataError, match=r"a_1\.tif: cannot be read .it is no regular file"):
        cache.file_stamps([tmp_path / "a_1.tif"])


def test_the_key_does_not_depend_on_the_order_of_the_facts():
    assert cache.key(a=1, b=2) == cache.key(b=2, a=1)


def test_a_cache_that_cannot_be_written_warns_and_returns_the_arrays(monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "write_atomically", full)
    make = Maker()
    for _ in range(2):
        with pytest.warns(UserWarning, match="not kept.*Set COURSE_CACHE to a folder that can be"):
            assert_same(cache.cached("a", make))
    assert make.calls == 2
