import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import platformdirs
import pytest
import torch

from course_lib import settings
from course_lib.doctor import start
from course_lib.errors import CourseError

VARIABLES = ("COURSE_PROFILE", "COURSE_DATA", "COURSE_CACHE", "COURSE_RUNS", "COURSE_KEEP")


@pytest.fixture
def outside(tmp_path, monkeypatch) -> Path:
    """The working folder, outside of any checkout; none of our variables is set."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def checkout(outside, monkeypatch) -> Path:
    """A checkout, with the working folder two levels below its top."""
    (outside / "course" / "lessons" / "one").mkdir(parents=True)
    (outside / "course" / "pyproject.toml").write_text('[project]\nname = "course-lib"\n')
    monkeypatch.chdir(outside / "course" / "lessons" / "one")
    return outside / "course"


def test_environment_variables_name_the_folders(outside, monkeypatch):
    for name in ("DATA", "CACHE", "RUNS"):
        monkeypatch.setenv(f"COURSE_{name}", str(outside / name))
    assert settings.data_folder() == outside / "DATA"
    assert settings.cache_folder() == outside / "CACHE"
    assert settings.runs_folder() == outside / "RUNS"


def test_environment_variables_go_before_the_checkout(checkout, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", "elsewhere")        # relative to the working folder
    monkeypatch.setenv("COURSE_RUNS", "there")
    assert settings.data_folder() == Path("elsewhere")
    assert settings.runs_folder() == Path("there")


def test_a_tilde_in_a_variable_is_the_home_folder(outside, monkeypatch):
    monkeypatch.setenv("HOME", str(outside))
    for name in ("DATA", "CACHE", "RUNS", "KEEP"):
        monkeypatch.setenv(f"COURSE_{name}", f"~/{name}")
    assert settings.backup_folder() == outside / "KEEP"
    assert settings.data_folder() == outside / "DATA"
    assert settings.cache_folder() == outside / "CACHE"
    assert settings.runs_folder() == outside / "RUNS"


def test_the_checkout_is_found_from_a_folder_below_it(checkout):
    assert settings.checkout() == checkout
    assert settings.data_folder() == checkout / "data"
    assert settings.runs_folder() == checkout / "runs"


def test_another_project_is_not_taken_for_the_checkout(outside):
    (outside / "pyproject.toml").write_text('[project]\nname = "another"\n')
    assert settings.checkout() is None


def test_outside_of_a_checkout_data_go_to_the_users_folder_and_runs_to_the_working_folder(outside):
    assert settings.checkout() is None
    assert settings.data_folder() == platformdirs.user_data_path("course_lib")
    assert settings.runs_folder() == outside / "runs"


def test_an_empty_variable_counts_as_not_set(checkout, monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    assert settings.data_folder() == checkout / "data"
    assert settings.runs_folder() == checkout / "runs"
    assert settings.cache_folder() == platformdirs.user_cache_path("course_lib")
    assert settings.profile() in ("cpu", "gpu")
    assert settings.backup_folder() is None


def test_folders_are_named_and_not_made(outside, monkeypatch):
    for name in ("DATA", "CACHE", "RUNS"):
        monkeypatch.setenv(f"COURSE_{name}", str(outside / name))
    settings.data_folder(), settings.cache_folder(), settings.runs_folder()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("name, folder", [("DATA", "data_folder"), ("CACHE", "cache_folder"),
                                          ("RUNS", "runs_folder")])
def test_a_file_or_a_disk_that_is_not_mounted_is_refused_and_nothing_made(outside, monkeypatch,
                                                                         name, folder):
    (outside / "file").touch()
    (outside / "link").symlink_to(outside / "nowhere")
    (outside / "round").symlink_to(outside / "round")
    for value, words in (("file", "it is a file"), ("link", "it is a link to nothing"),
                         ("round", "cannot be looked at"), ("link/runs", "neither it nor .*link"),
                         ("usb/runs", "neither it nor .*usb is there"),
                         ("file/below", "a file stands where"), ("x" * 300, "cannot be looked at"),
                         ("~no-such-user/runs", "no such user's home folder")):
        monkeypatch.setenv(f"COURSE_{name}", value if value[0] == "~" else str(outside / value))
        with pytest.raises(CourseError, match=f"COURSE_{name}: .*cannot be used: .*{words}"):
            getattr(settings, folder)()
    assert {path.name for path in outside.iterdir()} == {"file", "link", "round"}


@pytest.mark.skipif(os.name == "nt", reason="permissions are others there")
@pytest.mark.parametrize("name", ["DATA", "CACHE", "RUNS"])
def test_a_variable_below_a_folder_that_is_not_ours_is_refused_in_a_sentence(outside, name):
    (outside / "theirs" / "below").mkdir(parents=True)
    (outside / "theirs").chmod(0)
    code = (f"from course_lib import settings\ntry: settings.{name.lower()}_folder()\n"
            "except settings.CourseError as error: print(error)")
    as_nobody = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.getuid() == 0 else []
    done = subprocess.run([*as_nobody, sys.executable, "-c", code], capture_output=True, text=True,
                          env={**os.environ, f"COURSE_{name}": str(outside / "theirs" / "below")})
    (outside / "theirs").chmod(0o755)
    assert done.stdout.startswith(f"COURSE_{name}: ") and "cannot be used" in done.stdout, done


def test_a_backup_folder_that_is_not_there_is_named_all_the_same(outside, monkeypatch):
    monkeypatch.setenv("COURSE_KEEP", str(outside / "drive" / "runs"))
    assert settings.backup_folder() == outside / "drive" / "runs" and not list(outside.iterdir())
    assert "WHICH CANNOT BE USED NOW: neither it nor" in start.begin("tiny")
    monkeypatch.setenv("COURSE_KEEP", "~no-such-user/runs")
    with pytest.raises(CourseError, match="COURSE_KEEP: .*no such user's home folder"):
        settings.backup_folder()


def test_a_deleted_working_folder_is_a_sentence(outside, monkeypatch):
    (outside / "gone").mkdir()
    monkeypatch.chdir(outside / "gone")
    (outside / "gone").rmdir()
    with pytest.raises(CourseError, match="the working folder: there is none"):
        settings.runs_folder()
    monkeypatch.setenv("COURSE_RUNS", str(outside / "runs"))
    assert settings.runs_folder() == outside / "runs"


@pytest.mark.parametrize("content", [b"name = \"other\" # caf\xe9", b"\xff\xfe\x00", b""])
def test_another_projects_file_in_any_encoding_is_nothing(outside, content):
    (outside / "pyproject.toml").write_bytes(content)
    assert settings.checkout() is None


def test_a_folder_of_that_name_is_nothing(outside):
    (outside / "pyproject.toml").mkdir()
    assert settings.checkout() is None


def test_under_torchrun_each_process_has_its_own_gpu(outside, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert settings.rank() == 0 and settings.device() == torch.device("cuda")
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert settings.rank() == 3 and settings.device() == torch.device("cuda:1")
    monkeypatch.setenv("RANK", "first")                          # is not torchrun's
    monkeypatch.setenv("LOCAL_RANK", "first")
    assert settings.rank() == 0 and settings.device() == torch.device("cuda")


def test_without_a_gpu_torchruns_processes_compute_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert settings.device() == torch.device("cpu")


def test_a_path_in_the_home_folder_is_shown_without_its_owner(outside, monkeypatch):
    monkeypatch.setenv("HOME", str(outside))
    assert settings.show_path(outside / "a" / "b") == "~/a/b"
    assert settings.show_path(Path("a")) == "~/a"
    assert settings.show_path(outside) == "~"
    assert settings.show_path(outside.parent / "c") == str(outside.parent / "c")
    monkeypatch.setenv("HOME", "/")                      # a container's: not all paths are below it
    assert settings.show_path("/data/a") == "/data/a"


def test_a_path_through_a_linked_home_folder_is_shown_without_its_owner(outside, monkeypatch):
    (outside / "disk").mkdir()
    (outside / "home").symlink_to(outside / "disk")
    monkeypatch.setenv("HOME", str(outside / "home"))
    assert settings.show_path(outside / "disk" / "a") == "~/a"


def test_a_path_elsewhere_names_neither_user_nor_machine(outside, monkeypatch):
    monkeypatch.setattr(settings.getpass, "getuser", lambda: "ada")
    monkeypatch.setattr(settings.socket, "gethostname", lambda: "ward-7")
    assert settings.show_path("/scratch/ada/runs") == "/scratch/$USER/runs"
    assert settings.show_path("/net/ward-7/adamant") == "/net/$HOSTNAME/adamant"


def test_a_path_in_the_checkout_is_shown_from_there(checkout, monkeypatch):
    monkeypatch.setenv("HOME", str(checkout.parent))
    assert settings.show_path(checkout / "runs" / "03") == "runs/03"
    assert settings.show_path(checkout) == "~/course"
    assert start.begin("tiny").endswith("; runs go to runs in the course's checkout")


@pytest.mark.parametrize("name", settings.PROFILES)
def test_a_known_profile_is_taken(monkeypatch, name):
    monkeypatch.setenv("COURSE_PROFILE", name)
    assert settings.profile() == name


@pytest.mark.parametrize("name", ["fast", "CPU", "cuda"])
def test_an_unknown_profile_is_refused_with_the_list(monkeypatch, name):
    monkeypatch.setenv("COURSE_PROFILE", name)
    with pytest.raises(CourseError, match=f"profile=.{name}.. Use one of .tiny., .cpu., .gpu.[.]"):
        settings.profile()


@pytest.mark.parametrize(("kind", "expected"), [("cpu", "cpu"), ("mps", "cpu"), ("cuda", "gpu")])
def test_without_the_variable_the_device_chooses_the_profile(outside, monkeypatch, kind, expected):
    monkeypatch.setattr(settings, "device", lambda: torch.device(kind))
    assert settings.profile() == expected


@pytest.mark.parametrize(("cuda", "mps", "expected"), [
    (True, False, "cuda"), (True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_the_device_is_cuda_else_mps_else_cpu(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert settings.device() == torch.device(expected)


# --- Kaggle, Colab ---

@pytest.fixture
def kaggle(outside, monkeypatch) -> Path:
    """Kaggle's folder; the working folder is another."""
    (outside / "kaggle" / "working").mkdir(parents=True)
    monkeypatch.setattr(settings, "KAGGLE", outside / "kaggle")
    return outside / "kaggle"


def test_on_kaggle_runs_and_cache_go_to_the_folder_that_is_kept(kaggle, monkeypatch):
    assert settings.runs_folder() == kaggle / "working" / "runs"
    assert settings.cache_folder() == kaggle / "working" / "cache"
    monkeypatch.setenv("COURSE_RUNS", "there")
    monkeypatch.setenv("COURSE_CACHE", "here")
    assert (settings.runs_folder(), settings.cache_folder()) == (Path("there"), Path("here"))


class Drive(ModuleType):
    """Stands in for google.colab.drive."""

    mounted = ()
    answer = None

    def mount(self, place):
        if self.answer:
            raise self.answer
        self.mounted = (*self.mounted, place)


@pytest.fixture
def drive(outside, monkeypatch) -> Drive:
    """Colab's module, and a place for Drive that is not this machine's."""
    found = Drive("google.colab.drive")
    for name in ("google", "google.colab"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "google.colab.drive", found)
    monkeypatch.setattr(start, "DRIVE", outside / "drive")
    monkeypatch.setenv("COURSE_KEEP", "")              # so that it is put back afterwards
    return found


def test_a_notebook_begins_with_what_it_runs_on(outside, monkeypatch):
    monkeypatch.setattr(settings, "device", lambda: torch.device("cpu"))
    line = start.begin("tiny")
    assert line.startswith("profile tiny, device cpu, ") and f"torch {torch.__version__}, " in line
    assert line.endswith(f"; runs go to {outside / 'runs'}, for this was started in {outside}, "
                         "outside of the course's checkout (%env COURSE_RUNS=<a folder> in a cell "
                         "above has them elsewhere)")
    monkeypatch.setenv("COURSE_RUNS", str(outside / "runs"))
    assert start.begin("tiny").endswith(f"; runs go to {outside / 'runs'}")


def test_a_notebook_that_was_started_in_the_home_folder_says_so(outside, monkeypatch):
    monkeypatch.setenv("HOME", str(outside))
    assert "; runs go to ~/runs, for this was started in ~, outside of" in start.begin("tiny")


def test_a_folder_that_cannot_be_written_to_is_said_at_the_beginning(outside, monkeypatch):
    monkeypatch.setattr(start, "can_write", lambda folder: False)
    assert "WHICH CANNOT BE WRITTEN TO: set COURSE_RUNS" in start.begin("tiny")
    assert not list(outside.iterdir())


def test_a_variable_that_cannot_be_used_is_said_at_the_beginning(outside, monkeypatch):
    monkeypatch.setenv("COURSE_RUNS", str(outside / "usb" / "runs"))
    with pytest.raises(CourseError, match="COURSE_RUNS: .*usb/runs cannot be used"):
        start.begin("tiny")


def test_on_drive_it_is_mounted_and_runs_are_kept_there(outside, drive):
    (outside / "drive" / "MyDrive").mkdir(parents=True)
    line = start.begin("tiny", on_drive=True)
    assert drive.mounted == (str(outside / "drive"),)
    assert settings.backup_folder() == outside / "drive" / "MyDrive" / "course-runs"
    assert line.endswith(f", and are backed up in {settings.backup_folder()}")


def test_nobody_is_asked_for_drive_who_did_not_want_it(drive):
    start.begin("tiny", on_drive=False)
    assert drive.mounted == () and settings.backup_folder() is None


def test_a_refused_drive_is_one_sentence_with_the_cure(drive):
    drive.answer = ValueError("mount failed")
    with pytest.raises(CourseError, match=r"not mounted \(ValueError: mount failed\). Run the cell "
                                          "again and allow it, or set KEEP_ON_DRIVE = False"):
        start.begin("tiny", on_drive=True)
    assert settings.backup_folder() is None
