import hashlib
import io
import json
import re
import shutil
import threading
import zipfile
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from course_lib import settings
from course_lib.data import SliceDataset, download, fetch, phantom
from course_lib.errors import CourseError, DataError


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    """Data and cache folders of this test; no Kaggle account, no machine of Kaggle's or Colab's."""
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(settings, "KAGGLE", tmp_path / "kaggle")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_KERNEL_RUN_TYPE",
                 "KAGGLE_API_ENVIRONMENT", "TBE_RUNTIME_ADDR"):
        monkeypatch.delenv(name, raising=False)


class Kaggle(ThreadingHTTPServer):
    """What kagglehub asks Kaggle for: the version, then the archive behind a redirect."""

    def __init__(self, archive: bytes):
        super().__init__(("127.0.0.1", 0), Answer)
        self.archive, self.broken, self.asked = archive, "", []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    server: Kaggle

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path.rsplit("/")[-1], asked))
        if self.server.broken == "error 500":
            self.answer(500, b"out of order", "text/plain")
        elif self.path == "/v1/datasets.DatasetApiService/GetDataset":
            version = b'{"currentVersionNumber": 2}'
            self.answer(200, b"<html>" if self.server.broken == "no json" else version,
                        "application/json")
        elif self.path == "/v1/datasets.DatasetApiService/DownloadDataset":
            self.answer(302, b"", "text/html", ("Location", f"{self.server.url}/storage/archive"))
        else:
            self.answer(404, b"", "text/plain")

    def do_GET(self):
        archive, broken = self.server.archive, self.server.broken
        checksum = ("X-Goog-Hash", f"md5={b64encode(hashlib.md5(archive).digest()).decode()}")
        if broken == "archive cut":
            self.answer(200, archive[: len(archive) // 2], "application/zip")
        elif broken == "archive cut, its sum known":
            self.answer(200, archive[: len(archive) // 2], "application/zip", checksum)
        elif broken == "connection cut":
            self.answer(200, archive[: len(archive) // 2], "application/zip", length=len(archive))
        elif broken == "a file in the archive damaged":
            middle = len(archive) // 4
            damaged = archive[:middle] + b"\0" * 400 + archive[middle + 400 :]
            self.answer(200, damaged, "application/zip")
        else:
            self.answer(200, archive, "application/zip", checksum)

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
    """A server that kagglehub takes for Kaggle's, with the patients of tif_folder."""
    from kagglesdk import kaggle_env

    server = Kaggle(zipped(tif_folder))
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, server.url)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
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
    assert f"downloaded to {tmp_path / 'data' / 'lgg-mri'}\n" in printed
    assert f"lgg-mri: only 4 of 110 patients, 22 of 3,929 slices, in {folder}\n" in printed
    assert len(SliceDataset(folder, size=32).patients) == 4
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["lgg-mri"]
    assert not list((tmp_path / "data").rglob("*.archive"))
    asked = [(name, query["ownerSlug"], query["datasetSlug"]) for name, query in kaggle.asked]
    assert asked == [(name, "mateuszbuda", "lgg-mri-segmentation")
                     for name in ("GetDataset", "DownloadDataset")]


def test_what_is_downloaded_is_not_downloaded_again(kaggle):
    first = fetch("lgg-mri")
    count = len(kaggle.asked)
    assert fetch("lgg-mri") == first
    assert len(kaggle.asked) == count


def test_a_download_goes_to_the_cache_where_the_data_folder_cannot_be_written(kaggle, tmp_path,
                                                                             monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "file" / "below"))
    folder = fetch("lgg-mri")
    assert folder == tmp_path / "cache" / "lgg-mri" / "kaggle_3m"
    assert fetch("lgg-mri") == folder
    assert len(kaggle.asked) == 2


def test_without_a_folder_to_write_to_nothing_is_asked_for(kaggle, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    for name in ("COURSE_DATA", "COURSE_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "file" / "below"))
    with pytest.raises(DataError, match="neither COURSE_DATA nor COURSE_CACHE can be written to. "
                                        "Set one of them to another folder"):
        fetch("lgg-mri")
    assert kaggle.asked == []


def assert_fails_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        fetch("lgg-mri")
    sentence = str(error.value)
    assert sentence.startswith("data.fetch('lgg-mri'): the download failed (")
    assert "\n" not in sentence
    assert "download https://www.kaggle.com/datasets/mateuszbuda/lgg-mri-segmentation" in sentence
    assert f"move its folder kaggle_3m to {tmp_path / 'data' / 'kaggle_3m'}" in sentence
    assert "go on with 'lgg-phantom'" in sentence


@pytest.mark.parametrize("broken", ["error 500", "no json", "archive cut", "connection cut",
                                    "archive cut, its sum known", "a file in the archive damaged"])
def test_a_broken_answer_is_one_sentence_leaves_nothing_and_the_next_try_works(kaggle, tmp_path,
                                                                              broken):
    kaggle.broken = broken
    assert_fails_in_one_sentence(tmp_path)
    assert list((tmp_path / "data").iterdir()) == []
    kaggle.broken = ""
    assert len(SliceDataset(fetch("lgg-mri"), size=32).patients) == 4


def test_without_a_network_the_error_says_what_to_do_by_hand(tmp_path, monkeypatch):
    from kagglesdk import kaggle_env

    nobody = "http://127.0.0.1:9"         # the discard port, where nothing listens
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, nobody)
    assert_fails_in_one_sentence(tmp_path)


def test_an_interrupted_download_is_not_taken_for_the_data(tif_folder, tmp_path, monkeypatch):
    import kagglehub

    def interrupted(handle, output_dir):
        shutil.copytree(tif_folder, Path(output_dir) / "kaggle_3m")
        raise KeyboardInterrupt

    monkeypatch.setattr(kagglehub, "dataset_download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("lgg-mri")
    assert download._find_lgg() is None
    assert list((tmp_path / "data").iterdir()) == []


def test_where_kaggle_mounts_the_data_they_are_used_in_place(tif_folder, monkeypatch, capsys):
    import kagglehub

    monkeypatch.setattr(kagglehub, "dataset_download", lambda handle, output_dir: str(tif_folder))
    assert fetch("lgg-mri") == tif_folder
    assert f"downloaded to {tif_folder}\n" in capsys.readouterr().out
    assert tif_folder.is_dir()


def test_the_twin_is_made_in_the_cache_and_said_so(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(phantom, "make_twin", lambda *given: asked.append(given) or tmp_path)
    assert fetch("lgg-phantom", patients=3) == tmp_path
    assert asked == [(3,)]
    assert capsys.readouterr().out == f"lgg-phantom: 3 simulated patients in {tmp_path}\n"
    fetch("lgg-phantom")
    assert asked[1:] == [(40,)]


def test_an_unknown_data_set_is_refused_with_the_list():
    with pytest.raises(CourseError, match="no data set 'brats'. Use one of lgg-phantom, lgg-mri."):
        fetch("brats")


def test_nothing_is_made_where_nothing_is_fetched():
    assert download._find_lgg() is None
    assert not settings.data_folder().exists()
