import io
import os
import re
import shutil
import stat
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from course_lib import settings
from course_lib.data import SliceDataset, archive, download, fetch, phantom
from course_lib.errors import CourseError, DataError


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    """Data and cache folders of this test; nobody else's machine or network."""
    for name in ("data", "cache"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"COURSE_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(settings, "KAGGLE", tmp_path / "kaggle")
    monkeypatch.setattr(download, "KAGGLE_SITE", "http://127.0.0.1:9")     # where nobody listens
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")


class Kaggle(ThreadingHTTPServer):
    """What stands in for Kaggle: the archive, behind a redirect to where it is stored."""

    def __init__(self, archive: bytes):
        super().__init__(("127.0.0.1", 0), Answer)
        self.archive, self.broken, self.asked = archive, "", []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.let_go = threading.Event()


class Answer(BaseHTTPRequestHandler):
    server: Kaggle

    def do_GET(self):
        archive, broken = self.server.archive, self.server.broken
        self.server.asked.append(self.path)
        if broken == "error 500":
            self.answer(500, b"out of order", "text/plain")
        elif broken == "hangs at once":
            self.server.let_go.wait(60)
        elif self.path.startswith("/api/"):
            other = {"leads in circles": self.path, "leads nowhere": "http://127.0.0.1:9/archive"}
            self.answer(302, b"", "text/html", ("Location", other.get(broken, "/storage/archive")))
        elif broken == "a page":
            self.answer(200, b"<!DOCTYPE html><title>Sign in</title>" * 99, "text/html")
        elif broken == "nothing":
            self.answer(200, b"", "application/zip")
        elif broken == "archive cut":
            self.answer(200, archive[: len(archive) // 2], "application/zip")
        elif broken == "connection cut":
            self.answer(200, archive[: len(archive) // 2], "application/zip", length=len(archive))
        elif broken == "hangs half-way":
            self.answer(200, archive[: len(archive) // 2], "application/zip", length=len(archive))
            self.wfile.flush()
            self.server.let_go.wait(60)
        elif broken == "a file in the archive damaged":
            middle = len(archive) // 4
            damaged = archive[:middle] + b"\0" * 400 + archive[middle + 400 :]
            self.answer(200, damaged, "application/zip")
        else:
            self.answer(200, archive, "application/zip")

    def answer(self, status, content, kind, *headers, length=None):
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(length or len(content))),
                            *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def zipped(folder: Path) -> bytes:
    """The archive as Kaggle has it, with each image twice."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for home in ("kaggle_3m", "lgg-mri-segmentation/kaggle_3m"):
            archive.writestr(f"{home}/data.csv", "Patient\n")
            for path in sorted(folder.rglob("*.tif")):
                archive.write(path, f"{home}/{path.relative_to(folder)}")
    return memory.getvalue()


@pytest.fixture
def kaggle(tif_folder, monkeypatch) -> Kaggle:
    """A server that is taken for Kaggle's, with the patients of tif_folder."""
    server = Kaggle(zipped(tif_folder))
    monkeypatch.setattr(download, "KAGGLE_SITE", server.url)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.let_go.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("home", ["data", "cache"])
@pytest.mark.parametrize("inner", ["kaggle_3m", "lgg-mri/kaggle_3m", "lgg-mri-segmentation"])
def test_a_copy_that_is_there_is_taken_and_said_to_be_partial(tif_folder, tmp_path, capsys, home,
                                                              inner):
    expected = tmp_path / home / inner
    shutil.copytree(tif_folder, expected)
    assert fetch("lgg-mri") == expected
    # 6 + 5 + 6 + 5 slices
    assert capsys.readouterr().out == ("lgg-mri: only 4 of 110 patients, 22 of 3,929 slices, in "
                                       f"{expected}\n")


@pytest.mark.parametrize(("inner", "variable"), [
    ("kaggle_3m", "kaggle_3m"),                          # COURSE_DATA is the set itself
    (".", "."), ("archive/kaggle_3m", "."), ("archive (1)/kaggle_3m", "."),
    ("archive/lgg-mri-segmentation/kaggle_3m", "."),
    ("lgg-mri/lgg-mri-segmentation/kaggle_3m", "."),
    ("lgg-mri-segmentation/kaggle_3m", "lgg-mri-segmentation"), ("sets/brain/lgg-mri", "."),
    ("lgg-mri-2/kaggle_3m", "."), ("a/b/c/kaggle_3m", ".")])
def test_a_set_is_taken_wherever_it_lies_below_the_data_folder(tif_folder, tmp_path, monkeypatch,
                                                               inner, variable):
    shutil.copytree(tif_folder, tmp_path / "data" / inner, dirs_exist_ok=True)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data" / variable))
    assert fetch("lgg-mri") == tmp_path / "data" / inner


@pytest.mark.parametrize("empty", ["kaggle_3m", "lgg-mri", "lgg-mri/kaggle_3m"])
def test_a_folder_without_patients_is_passed_over(tif_folder, tmp_path, empty):
    (tmp_path / "data" / empty).mkdir(parents=True)
    (tmp_path / "data" / empty / "readme.txt").touch()
    full = tmp_path / "data" / "lgg-mri-segmentation" / "kaggle_3m"
    shutil.copytree(tif_folder, full)
    assert fetch("lgg-mri") == full


@pytest.mark.parametrize("hidden", [".Trash-1000/kaggle_3m", "@eaDir/kaggle_3m",
                                    ".lgg-mri-abc/lgg-mri/kaggle_3m", "__MACOSX/kaggle_3m"])
def test_what_lies_in_a_hidden_folder_is_not_the_set(tif_folder, tmp_path, hidden):
    shutil.copytree(tif_folder, tmp_path / "data" / hidden)
    assert download._find_lgg() is None


def test_slices_that_all_lie_in_one_folder_are_a_sentence_and_no_download(tif_folder, tmp_path,
                                                                          kaggle):
    (tmp_path / "data" / "kaggle_3m").mkdir()
    for path in tif_folder.rglob("*.tif"):
        shutil.copy(path, tmp_path / "data" / "kaggle_3m")
    with pytest.raises(DataError, match="lie in the folder itself.*one folder per patient"):
        fetch("lgg-mri")
    assert kaggle.asked == []


def test_a_patient_with_a_flaw_does_not_hide_the_set(tif_folder, tmp_path, capsys):
    shutil.copytree(tif_folder, tmp_path / "data" / "kaggle_3m")
    patient = next((tmp_path / "data" / "kaggle_3m").iterdir())
    shutil.copy(next(patient.glob("*_2.tif")), patient / "other_2.tif")
    fetch("lgg-mri")
    assert "only 4 of 110 patients, 1" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["lgg-mri-segmentation", "my-copy", ".",
                                   "datasets/mateuszbuda/lgg-mri-segmentation"])
def test_on_kaggle_the_attached_set_is_taken_and_each_patient_counts_once(tif_folder, tmp_path,
                                                                          capsys, where):
    attached = tmp_path / "kaggle" / "input" / where
    shutil.copytree(tif_folder, attached / "kaggle_3m")
    shutil.copytree(tif_folder, attached / "lgg-mri-segmentation" / "kaggle_3m")
    (tmp_path / "kaggle" / "input" / "another-set").mkdir()
    assert fetch("lgg-mri") == attached / "kaggle_3m"
    assert "only 4 of 110 patients, 22 of 3,929 slices" in capsys.readouterr().out


def test_on_kaggle_the_deeper_copy_is_taken_where_it_is_the_only_one(tif_folder, tmp_path):
    deep = (tmp_path / "kaggle" / "input" / "datasets" / "mateuszbuda" / "lgg-mri-segmentation"
            / "lgg-mri-segmentation" / "kaggle_3m")
    shutil.copytree(tif_folder, deep)
    assert fetch("lgg-mri") == deep


def test_a_copy_of_ones_own_goes_before_kaggles(tif_folder, tmp_path):
    for home in ("data", "kaggle/input/lgg-mri-segmentation"):
        shutil.copytree(tif_folder, tmp_path / home / "kaggle_3m")
    assert fetch("lgg-mri") == tmp_path / "data" / "kaggle_3m"


def test_a_whole_copy_is_said_to_be_whole(tif_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(download, "LGG_PATIENTS", 4)
    monkeypatch.setattr(download, "LGG_SLICES", 22)
    shutil.copytree(tif_folder, tmp_path / "data" / "kaggle_3m")
    fetch("lgg-mri")
    assert capsys.readouterr().out.startswith("lgg-mri: all 4 of 4 patients, 22 of 22 slices, in ")


def test_the_real_copy_is_found(real_folder, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_DATA", str(real_folder.parent))
    assert fetch("lgg-mri") == real_folder
    assert re.match(r"lgg-mri: (all|only) \d+ of 110 patients", capsys.readouterr().out)


def test_a_download_goes_to_the_data_folder_and_counts_each_patient_once(kaggle, tmp_path, capsys):
    folder = fetch("lgg-mri")
    assert folder == tmp_path / "data" / "lgg-mri" / "kaggle_3m"
    printed = capsys.readouterr().out
    assert f"downloaded to {folder}\n" in printed
    assert f"lgg-mri: only 4 of 110 patients, 22 of 3,929 slices, in {folder}\n" in printed
    assert len(SliceDataset(folder, size=32).patients) == 4
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["lgg-mri"]
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 2 * 22
    assert kaggle.asked == ["/api/v1/datasets/download/mateuszbuda/lgg-mri-segmentation",
                            "/storage/archive"]


def test_what_is_downloaded_is_not_downloaded_again(kaggle):
    first = fetch("lgg-mri")
    count = len(kaggle.asked)
    assert fetch("lgg-mri") == first
    assert len(kaggle.asked) == count


def test_a_download_goes_to_the_cache_where_the_data_folder_cannot_be_written(kaggle, tmp_path,
                                                                             monkeypatch):
    monkeypatch.setattr(download.files, "can_write", lambda folder: folder.name == "cache")
    folder = fetch("lgg-mri")
    assert folder == tmp_path / "cache" / "lgg-mri" / "kaggle_3m"
    assert fetch("lgg-mri") == folder
    assert len(kaggle.asked) == 2


def test_without_a_folder_to_write_to_nothing_is_asked_for(kaggle, monkeypatch):
    monkeypatch.setattr(download.files, "can_write", lambda folder: False)
    with pytest.raises(DataError, match="neither COURSE_DATA nor COURSE_CACHE can be written to. "
                                        "Set one of them to another folder"):
        fetch("lgg-mri")
    assert kaggle.asked == []


@pytest.mark.parametrize("value", ["file", "usb/data"])
def test_a_data_folder_that_cannot_be_is_a_sentence_and_nothing_is_made(kaggle, tmp_path,
                                                                        monkeypatch, value):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / value))
    with pytest.raises(CourseError, match="COURSE_DATA: .* cannot be used"):
        fetch("lgg-mri")
    assert kaggle.asked == [] and not (tmp_path / "usb").exists()


def assert_fails_in_one_sentence(tmp_path: Path, words: str = "") -> None:
    """And nothing of it stays."""
    with pytest.raises(DataError) as error:
        fetch("lgg-mri")
    sentence = str(error.value)
    assert sentence.startswith("data.fetch('lgg-mri'): the download failed (")
    assert "\n" not in sentence and words in sentence
    assert "datasets/mateuszbuda/lgg-mri-segmentation in a browser" in sentence
    assert f"put its archive.zip as it is into {tmp_path / 'data'}" in sentence
    assert "go on with 'lgg-phantom'" in sentence
    assert list((tmp_path / "data").iterdir()) == list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(("broken", "words"), [
    ("error 500", "500"), ("leads in circles", "redirects"), ("leads nowhere", "refused"),
    ("a page", "no whole zip archive: it begins with b'<!DOCTYPE html>"),
    ("nothing", "no whole zip archive"), ("archive cut", "no whole zip archive"),
    ("connection cut", "IncompleteRead"), ("hangs at once", "timed out"),
    ("hangs half-way", "timed out"), ("a file in the archive damaged", "cannot be unpacked")])
def test_a_broken_answer_is_one_sentence_leaves_nothing_and_the_next_try_works(
        kaggle, tmp_path, monkeypatch, broken, words):
    monkeypatch.setattr(download, "WAIT", 0.2 if "hangs" in broken else 20)
    kaggle.broken = broken
    assert_fails_in_one_sentence(tmp_path, words)
    kaggle.broken = ""
    monkeypatch.setattr(download, "WAIT", 20)
    assert len(SliceDataset(fetch("lgg-mri"), size=32).patients) == 4


def test_an_answer_without_end_is_cut(kaggle, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "LARGEST_ARCHIVE", len(kaggle.archive) - 1)
    assert_fails_in_one_sentence(tmp_path, "larger than")


def test_without_a_network_the_error_says_what_to_do_by_hand(tmp_path):
    assert_fails_in_one_sentence(tmp_path, "ConnectionError")


def test_an_interrupted_download_is_not_taken_for_the_data(kaggle, tmp_path, monkeypatch):
    def interrupted(patient):
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_can_be_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("lgg-mri")
    assert download._find_lgg() is None
    assert list((tmp_path / "data").iterdir()) == []


def test_a_folder_that_an_earlier_try_left_does_not_block_the_place(kaggle, tmp_path):
    (tmp_path / "data" / "lgg-mri").mkdir()
    (tmp_path / "data" / "lgg-mri" / "page.html").touch()
    assert fetch("lgg-mri") == tmp_path / "data" / "lgg-mri-2" / "kaggle_3m"
    assert (tmp_path / "data" / "lgg-mri" / "page.html").exists()


def test_who_comes_second_takes_the_first_ones_data(kaggle, tmp_path, tif_folder, monkeypatch):
    can_be_read = download._can_be_read

    def meanwhile(patient):
        shutil.copytree(tif_folder, tmp_path / "data" / "lgg-mri" / "kaggle_3m")
        return can_be_read(patient)

    monkeypatch.setattr(download, "_can_be_read", meanwhile)
    assert fetch("lgg-mri") == tmp_path / "data" / "lgg-mri" / "kaggle_3m"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["lgg-mri"]


# ---------------------------------------------------------------- archives

def pack(*members, method=zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of (name, content, kind) members; kind is a file's, a link's or a device's."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", method) as packed:
        for name, content, *kind in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            info.external_attr = ((kind[0] if kind else stat.S_IFREG) | 0o777) << 16
            packed.writestr(info, content)
    return memory.getvalue()


def good(tif_folder: Path) -> list[tuple[str, bytes]]:
    return [(f"kaggle_3m/{path.parent.name}/{path.name}", path.read_bytes())
            for path in sorted(tif_folder.rglob("*.tif"))]


HOSTILE = {
    "../evil_1.tif": "leads elsewhere", "kaggle_3m/A/../../evil_1.tif": "leads elsewhere",
    "/tmp/evil_1.tif": "leads elsewhere", "..\\A\\evil_1.tif": "leads elsewhere",
    "C:/A/evil_1.tif": "leads elsewhere", "C:evil_1.tif": "leads elsewhere",
    "kaggle_3m/A/evil_1.tif:stream": "leads elsewhere"}


@pytest.mark.parametrize(("name", "words"), HOSTILE.items())
def test_a_name_that_leads_elsewhere_refuses_the_archive(kaggle, tif_folder, tmp_path, name, words):
    kaggle.archive = pack(*good(tif_folder), (name, b"evil"))
    before = {path for path in tmp_path.rglob("*")}
    assert_fails_in_one_sentence(tmp_path, words)
    assert {path for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_a_link_or_a_device_refuses_the_archive(kaggle, tif_folder, tmp_path, kind):
    kaggle.archive = pack(("kaggle_3m/L", "..", kind), ("kaggle_3m/L/L", "..", kind),
                          ("kaggle_3m/L/L/evil_1.tif", b"evil"), *good(tif_folder))
    assert_fails_in_one_sentence(tmp_path, "is a link or a device")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("change", [str, str.lower])
def test_a_name_that_is_there_twice_refuses_the_archive(kaggle, tif_folder, tmp_path, change):
    members = good(tif_folder)
    kaggle.archive = pack(*members, (change(members[0][0]), b"another"))
    assert_fails_in_one_sentence(tmp_path, "twice")


@pytest.mark.parametrize("members", [
    [], [("readme.txt", b"hello")], [("x_1.tif", b"flat")], [("kaggle_3m/A/notes.tif", b"notes")],
    [("__MACOSX/A/A_1.tif", b"mac")], [("kaggle_3m/.A/A_1.tif", b"hidden")], [("A/A_1.tif/", b"")]])
def test_an_archive_without_patients_is_refused_and_the_next_try_downloads_anew(
        kaggle, tif_folder, tmp_path, members):
    whole = kaggle.archive
    kaggle.archive = pack(*members)
    assert_fails_in_one_sentence(tmp_path, "no patients")
    kaggle.archive = whole
    assert len(SliceDataset(fetch("lgg-mri"), size=32).patients) == 4


def test_an_archive_of_patients_that_cannot_be_read_is_refused(kaggle, tif_folder, tmp_path):
    kaggle.archive = pack(*((name, b"<html>") for name, _ in good(tif_folder)))
    assert_fails_in_one_sentence(tmp_path, "no patient in it can be read")


def test_only_the_slices_of_the_fuller_copy_are_unpacked(kaggle, tif_folder, tmp_path):
    members = good(tif_folder)
    kaggle.archive = pack(*members[:9], ("kaggle_3m/setup.py", b"evil"), ("run.exe", b"evil"),
                          ("kaggle_3m/A/notes.tif", b"evil"), *((f"deeper/{name}", content)
                                                                for name, content in members))
    folder = fetch("lgg-mri")
    assert sorted(path.name for path in (tmp_path / "data").rglob("*") if path.is_file()) == sorted(
        name.rsplit("/")[-1] for name, _ in members)
    assert len(SliceDataset(folder, size=32).patients) == 4


@pytest.mark.parametrize(("limit", "value", "words"), [
    ("MOST_ENTRIES", 40, "it holds 45 files"), ("MOST_FILES", 40, "have 45 files"),
    ("LARGEST_TOTAL", 99_999, "45 files of"), ("LARGEST_FILE", 9_999, "has 10,000 bytes")])
def test_more_than_the_real_set_is_refused_before_anything_is_unpacked(
        kaggle, tif_folder, tmp_path, monkeypatch, limit, value, words):
    kaggle.archive = pack(*good(tif_folder), ("kaggle_3m/A/A_1.tif", b"\0" * 10_000))
    monkeypatch.setattr(archive, limit, value)
    monkeypatch.setattr(archive.shutil, "copyfileobj", None)
    assert_fails_in_one_sentence(tmp_path, words)


def test_the_real_set_is_far_within_the_limits():
    files, total = 2 * 3929, 3929 * (196_748 + 65_700)
    assert archive.MOST_FILES > 1.5 * files and archive.MOST_ENTRIES > 2 * files + 100
    assert archive.LARGEST_TOTAL > 1.5 * total and archive.LARGEST_FILE > 10 * 196_748


def claim(archive: bytes, name: bytes, size: int) -> bytes:
    """The archive, with another size of a file in both of its records."""
    for mark, offset, name_at in ((b"PK\3\4", 22, 30), (b"PK\1\2", 24, 46)):
        place = -1
        while (place := archive.find(mark, place + 1)) >= 0:
            if archive[place + name_at :].startswith(name):
                archive = (archive[: place + offset] + size.to_bytes(4, "little")
                           + archive[place + offset + 4 :])
    return archive


@pytest.mark.parametrize(("content", "claimed", "words"), [
    (b"\0" * 2**25, 100, "cannot be unpacked"),          # 32 MiB in 32 kB, claims to be small
    (b"tif", 2**22, "in it"), (b"tif", 2**32 - 2, "45 files of 4,29")])
def test_a_file_that_is_not_as_large_as_it_claims_is_refused(kaggle, tif_folder, tmp_path, content,
                                                             claimed, words):
    kaggle.archive = claim(pack(("kaggle_3m/A/A_1.tif", content), *good(tif_folder)),
                           b"kaggle_3m/A/A_1.tif", claimed)
    assert_fails_in_one_sentence(tmp_path, words)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_a_limit_are_refused(kaggle, tif_folder, tmp_path, method):
    kaggle.archive = pack(*good(tif_folder), method=method)
    assert_fails_in_one_sentence(tmp_path, f"packed by method {method}")


def test_an_encrypted_archive_is_refused(kaggle, tif_folder, tmp_path):
    packed = bytearray(pack(*good(tif_folder)))
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        packed[packed.find(mark) + offset] |= 1
    kaggle.archive = bytes(packed)
    assert_fails_in_one_sentence(tmp_path, "cannot be unpacked")


@pytest.mark.parametrize("name", ["archive.zip", "Archive (1).ZIP", "lgg-mri-segmentation.zip",
                                  "kaggle_3m.zip"])
def test_an_archive_that_a_browser_left_is_used(kaggle, tmp_path, capsys, name):
    (tmp_path / "data" / name).write_bytes(kaggle.archive)
    folder = fetch("lgg-mri")
    assert folder == tmp_path / "data" / "lgg-mri" / "kaggle_3m" and kaggle.asked == []
    assert f"unpacked {tmp_path / 'data' / name}, which may be deleted now" in (
        capsys.readouterr().out)
    assert len(SliceDataset(folder, size=32).patients) == 4


def test_an_archive_in_a_data_folder_that_is_read_only_goes_to_the_cache(kaggle, tmp_path,
                                                                         monkeypatch):
    (tmp_path / "data" / "archive.zip").write_bytes(kaggle.archive)
    monkeypatch.setattr(download.files, "can_write", lambda folder: folder.name == "cache")
    assert fetch("lgg-mri") == tmp_path / "cache" / "lgg-mri" / "kaggle_3m"


def test_another_archive_or_a_broken_one_is_named_and_does_not_stop_the_download(
        kaggle, tmp_path, capsys):
    (tmp_path / "data" / "archive.zip").write_bytes(pack(("brats/readme.txt", b"another set")))
    (tmp_path / "data" / "lgg.zip").write_bytes(kaggle.archive[:-99])
    (tmp_path / "data" / "archive-2.zip").mkdir()
    (tmp_path / "data" / "photos.zip").write_bytes(b"whatever")
    assert fetch("lgg-mri") == tmp_path / "data" / "lgg-mri" / "kaggle_3m"
    printed = capsys.readouterr().out
    assert "archive.zip is left alone: it holds no patients" in printed
    assert "lgg.zip is left alone: it cannot be unpacked (BadZipFile" in printed
    assert "archive-2" not in printed and "photos" not in printed


# ---------------------------------------------------------------- the twin, and arguments

def test_the_twin_is_made_in_the_cache_and_said_so(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(phantom, "make_twin", lambda *given: asked.append(given) or tmp_path / "t")
    assert fetch("lgg-phantom", patients=3) == tmp_path / "t"
    assert capsys.readouterr().out == f"lgg-phantom: 3 simulated patients in {tmp_path / 't'}\n"
    fetch("lgg-phantom")
    fetch("lgg-phantom", np.int64(5), seed=np.uint8(7))
    assert asked == [(3, 42), (40, 42), (5, 7)]
    monkeypatch.setenv("HOME", str(tmp_path))
    fetch("lgg-phantom")
    assert capsys.readouterr().out.endswith("40 simulated patients in ~/t\n")


def test_a_name_makes_a_twin_of_its_own_and_the_seed_is_said(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(phantom, "make_twin", lambda *given: asked.append(given) or tmp_path / "t")
    fetch("lgg-phantom", patients=3, seed="Ada Lovelace")
    assert asked == [(3, 46304125)]
    assert capsys.readouterr().out == (
        "lgg-phantom: 3 simulated patients (seed 46304125 from 'Ada Lovelace') in "
        f"{tmp_path / 't'}\n")
    fetch("lgg-phantom", patients=3, seed=np.str_("1234567"))
    assert asked[1:] == [(3, 1234567)]
    assert "(seed 1234567 from '1234567')" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["lgg-phantom", "lgg-mri"])
def test_a_name_with_nothing_in_it_is_refused(name):
    with pytest.raises(CourseError, match="data.fetch: seed=' '. Give seed as a whole number from "
                                          "0 on, or as a name"):
        fetch(name, seed=" ")


@pytest.mark.parametrize("name", ["lgg-phantom", "lgg-mri"])
@pytest.mark.parametrize(("argument", "value"), [
    *(("patients", value) for value in ("3", 0, -1, 2.5, True, np.float32(3), [3])),
    *(("seed", value) for value in (-1, b"x", None, 1.5, False))])
def test_an_argument_that_is_no_such_number_is_refused_by_its_name(name, argument, value):
    with pytest.raises(CourseError, match=re.escape(f"data.fetch: {argument}={value!r}. Give "
                                                    f"{argument} as a whole number")):
        fetch(name, **{argument: value})


@pytest.mark.parametrize("name", ["brats", None, 3])
def test_an_unknown_data_set_is_refused_with_the_list(name):
    with pytest.raises(CourseError, match=f"no data set {name!r}. Use one of lgg-phantom, lgg-"):
        fetch(name)


def test_nothing_is_made_where_nothing_is_fetched(tmp_path):
    os.rmdir(tmp_path / "data")
    assert download._find_lgg() is None
    assert not settings.data_folder().exists()
