"""A run outlives the machine it was begun on, and no folder, however bad, ends a training."""

import errno
import os
import re
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from test_resume import assert_same_run, dropout_net, fit, interrupting, noisy, split

from course_lib import settings, train
from course_lib.compute import Compute
from course_lib.errors import CourseError
from course_lib.predict import stored
from course_lib.train import backup, folder

pytestmark = pytest.mark.usefixtures("on_the_cpu")
GONE = OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))      # what a lost mount says


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """Where this test's run is kept: it lies in COURSE_RUNS and is called run."""
    (tmp_path / "drive").mkdir()
    monkeypatch.setenv("COURSE_KEEP", str(tmp_path / "drive" / "course-runs"))
    return tmp_path / "drive" / "course-runs" / "run"


@pytest.fixture
def run_folder(tmp_path) -> Path:
    return tmp_path / "runs" / "run"


@pytest.fixture
def parts(tif_folder):
    return split(tif_folder)


def epochs(home):
    """Of all generations, newest first."""
    return [int(backup.NAME.fullmatch(path.name)[1]) for path in backup.generations(home)]


def is_whole(path):
    return backup.checksum(path) == backup.NAME.fullmatch(path.name)[3]


def assert_goes_on_as_unbroken(run_folder, parts, home, **settings_of_run):
    os.environ.pop("COURSE_KEEP")
    unbroken = fit(home.parents[2] / "unbroken", parts, **settings_of_run)
    assert_same_run(run_folder, unbroken.folder)


# --- after a disconnect ---

@pytest.mark.parametrize("at, said", [(8, "epoch 1, step 5, backed up 20"),
                                      (3, "epoch 0, the beginning, backed up 20")])
@pytest.mark.parametrize("precision", ["float32", "float16"])     # float16: with a scaler
def test_a_run_whose_machine_is_lost_ends_as_an_unbroken_one(run_folder, parts, home, capsys, at,
                                                             said, precision):
    with pytest.raises(KeyboardInterrupt):
        fit(run_folder, parts, change=interrupting(noisy, at=at),
            compute=Compute("contiguous", precision))
    shutil.rmtree(run_folder)
    capsys.readouterr()
    fit(run_folder, parts, weights=1, compute=Compute("contiguous", precision))
    assert f"{run_folder} is brought back from {home}: {said}" in capsys.readouterr().out
    state = torch.load(run_folder / "last.pt", weights_only=True)
    assert bool(state["scaler"]) == (precision == "float16")
    assert_goes_on_as_unbroken(run_folder, parts, home, compute=Compute("contiguous", precision))


def test_a_run_folder_that_has_fewer_epochs_is_brought_forward(run_folder, parts, home, capsys):
    with pytest.raises(KeyboardInterrupt):
        fit(run_folder, parts, change=interrupting(noisy, at=8))
    early = shutil.copytree(run_folder, run_folder.with_name("early"))
    with pytest.raises(KeyboardInterrupt):
        fit(run_folder, parts, change=interrupting(noisy, at=8))
    shutil.rmtree(run_folder)
    early.rename(run_folder)
    fit(run_folder, parts, weights=1)
    assert "epoch 2, step 10, backed up" in capsys.readouterr().out
    assert_goes_on_as_unbroken(run_folder, parts, home)


def test_a_run_folder_that_has_as_much_or_more_stays_and_is_kept(run_folder, parts, home, capsys,
                                                                 monkeypatch):
    kept = os.environ["COURSE_KEEP"]
    with pytest.raises(KeyboardInterrupt):
        fit(run_folder, parts, change=interrupting(noisy, at=8))
    monkeypatch.delenv("COURSE_KEEP")
    fit(run_folder, parts)
    before = (run_folder / "last.pt").read_bytes()
    monkeypatch.setenv("COURSE_KEEP", kept)
    assert epochs(home) == [1, 0]
    fit(run_folder, parts)                                        # finished: it is only shown
    assert epochs(home) == [3, 1]
    assert "brought back" not in capsys.readouterr().out
    assert (run_folder / "last.pt").read_bytes() == before


def test_what_is_brought_back_with_other_settings_is_refused_by_name(run_folder, parts):
    fit(run_folder, parts)
    shutil.rmtree(run_folder)
    with pytest.raises(CourseError, match=r"training\.epochs was 3, is 4.*'run-2'"):
        fit(run_folder, parts, epochs=4)


def test_another_run_that_is_kept_under_the_name_is_left_alone(run_folder, parts, home,
                                                               monkeypatch):
    fit(run_folder, parts)
    before = {path: path.read_bytes() for path in home.iterdir()}
    shutil.rmtree(run_folder)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.delenv("COURSE_KEEP")
        fit(run_folder, parts, learning_rate=0.02, change=interrupting(noisy, at=3))
    with pytest.warns(UserWarning, match="another run is backed up under this name"):
        fit(run_folder, parts, learning_rate=0.02)
    assert {path: path.read_bytes() for path in home.iterdir()} == before


def test_a_folder_with_other_files_is_refused_and_nothing_is_put_there(run_folder, parts):
    fit(run_folder, parts)
    shutil.rmtree(run_folder)
    run_folder.mkdir()
    (run_folder / "thesis.docx").touch()
    with pytest.raises(CourseError, match="holds files, but is not a run"):
        fit(run_folder, parts)
    assert [path.name for path in run_folder.iterdir()] == ["thesis.docx"]


# --- what is kept ---

def test_two_generations_are_kept_with_all_that_is_needed(run_folder, parts, home):
    fit(run_folder, parts)
    newest, older = backup.generations(home)
    assert epochs(home) == [3, 2] and is_whole(newest) and is_whole(older)
    assert len(list(home.iterdir())) == 2
    with zipfile.ZipFile(newest) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            name: (run_folder / name).read_bytes()
            for name in ("config.json", "history.csv", "best.pt", "last.pt")}


def test_runs_of_one_name_in_two_folders_are_kept_apart(parts, home, tmp_path):
    one_backup = backup.Backup(tmp_path / "runs" / "seed-1" / "unet")
    assert one_backup.home == home.parent / "seed-1" / "unet"
    assert backup.Backup(tmp_path / "elsewhere" / "unet").home == home.parent / "unet"


def test_without_the_variable_nothing_is_kept(run_folder, parts, home, monkeypatch):
    monkeypatch.delenv("COURSE_KEEP")
    fit(run_folder, parts, epochs=1)
    assert not home.parent.exists()


def test_parts_that_a_lost_machine_left_are_cleared_away(run_folder, parts, home):
    home.mkdir(parents=True)
    (home / ".part-0123456789abcdef").write_bytes(b"half")
    (home / "notes.txt").write_text("mine")
    fit(run_folder, parts, epochs=1)
    assert {path.name for path in home.iterdir() if path not in backup.generations(home)} == {
        "notes.txt"}


# --- bad folders ---

def shortened(source, target):
    Path(target).write_bytes(Path(source).read_bytes()[:1000])


def changed(source, target):
    content = bytearray(Path(source).read_bytes())
    content[1000] ^= 1
    Path(target).write_bytes(content)


def dropped(source, target):
    """It says that it wrote, and nothing is there."""


def refused(source, target):
    Path(target).write_bytes(b"some")
    raise GONE


BAD = {shortened: r"[\d,]+ bytes were written, 1,000 came back", changed: "came back, not the same",
       dropped: "No such file", refused: re.escape(GONE.strerror)}


@pytest.mark.parametrize("copy", BAD)
def test_a_folder_that_fails_is_told_once_and_does_not_end_the_training(
        run_folder, parts, home, monkeypatch, copy):
    monkeypatch.setattr(backup.shutil, "copyfile", copy)
    with pytest.warns(UserWarning) as told:
        run = fit(run_folder, parts)
    assert len(run.history) == 3 and backup.generations(home) == []
    words = [str(one.message) for one in told if "The training goes on" in str(one.message)]
    assert len(words) == 1 and re.search(BAD[copy], words[0]), words
    assert words[0].startswith(f"{home}: after epoch 0 the run was not backed up") and str(
        run_folder) in words[0]


@pytest.mark.parametrize("copy", BAD)
def test_what_was_kept_before_a_folder_failed_is_still_there_and_gone_on_from(
        run_folder, parts, home, monkeypatch, copy):
    with pytest.raises(KeyboardInterrupt):
        fit(run_folder, parts, change=interrupting(noisy, at=8))
    with monkeypatch.context() as patch, pytest.warns(UserWarning, match=BAD[copy]):
        patch.setattr(backup, "_delete", None)                      # nothing may be deleted
        patch.setattr(backup.Backup, "bring_back", lambda self: None)
        patch.setattr(backup.shutil, "copyfile", copy)
        with pytest.raises(KeyboardInterrupt):
            fit(run_folder, parts, change=interrupting(noisy, at=8))
    assert epochs(home) == [1, 0]
    shutil.rmtree(run_folder)
    fit(run_folder, parts, weights=1)
    assert_goes_on_as_unbroken(run_folder, parts, home)


def test_a_folder_that_shows_a_file_late_is_believed_when_it_does(run_folder, parts, home,
                                                                  monkeypatch):
    """Each copy is seen when the next is made: never in time to be read back."""
    copyfile, late = shutil.copyfile, []

    def delayed(source, target):
        if Path(target).name.startswith(".part-"):
            for path, content in late:
                path.write_bytes(content)
            late[:] = [(Path(target), Path(source).read_bytes())]
        else:
            copyfile(source, target)

    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="No such file"):
        patch.setattr(backup.shutil, "copyfile", delayed)
        fit(run_folder, parts, epochs=2)
    assert backup.generations(home) == []
    fit(run_folder, parts, epochs=2)
    assert epochs(home) == [2] and len(list(home.iterdir())) == 1


def test_a_generation_that_is_seen_late_is_never_deleted_for_an_earlier_one(
        run_folder, parts, home, monkeypatch, capsys):
    """The new machine sees an empty folder and begins anew; then what was kept is seen."""
    fit(run_folder, parts)
    away = home.rename(home.with_name("away"))
    shutil.rmtree(run_folder)
    with pytest.raises(KeyboardInterrupt):
        fit(run_folder, parts, weights=1, change=interrupting(noisy, at=3))
    for path in away.iterdir():
        path.rename(home / path.name)
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr(backup.Backup, "bring_back", lambda self: None)
        fit(run_folder, parts, weights=1, change=interrupting(noisy, at=8))
    assert 3 in epochs(home)
    capsys.readouterr()
    fit(run_folder, parts, weights=1)
    assert "epoch 3, step 15, backed up" in capsys.readouterr().out
    assert_goes_on_as_unbroken(run_folder, parts, home)


def test_an_old_listing_deletes_nothing_twice_and_tells_nothing(run_folder, parts, home,
                                                                monkeypatch, recwarn):
    listed = set()

    def old(folder):
        listed.update(generations(folder))
        return sorted(listed, reverse=True)                       # what was deleted is still shown

    generations = backup.generations
    monkeypatch.setattr(backup, "generations", old)
    fit(run_folder, parts)
    assert len(listed) == 4 and len(list(home.iterdir())) == 2
    assert not [one for one in recwarn if "goes on" in str(one.message)]


def test_a_copy_that_changes_when_it_gets_its_name_deletes_nothing(run_folder, parts, home,
                                                                   monkeypatch):
    fit(run_folder, parts, epochs=1)
    replace = os.replace

    def shortening(source, target):
        replace(source, target)
        os.truncate(target, 10)

    one_backup = backup.Backup(run_folder)
    one_backup.bring_back()
    monkeypatch.setattr(backup.os, "replace", shortening)
    with pytest.warns(UserWarning, match="did not keep its"):
        one_backup.store(2)
    assert epochs(home) == [2, 1, 0] and [is_whole(path) for path in backup.generations(home)] == [
        False, True, True]


def test_a_folder_whose_parent_is_not_there_is_not_made(run_folder, parts, tmp_path, monkeypatch):
    """An unmounted Drive: what is written there would be lost with the machine."""
    monkeypatch.setenv("COURSE_KEEP", str(tmp_path / "no-drive" / "course-runs"))
    with pytest.warns(UserWarning, match="was not backed up .*No such file.*no-drive"):
        fit(run_folder, parts, epochs=1)
    assert not (tmp_path / "no-drive").exists()


def test_a_folder_that_cannot_be_listed_is_told(run_folder, parts, monkeypatch):
    def gone(folder):
        raise GONE

    monkeypatch.setattr(backup, "generations", gone)
    with pytest.warns(UserWarning, match=f"no whole copy.*{re.escape(GONE.strerror)}"):
        assert len(fit(run_folder, parts, epochs=1).history) == 1


# --- damaged generations ---

def cut(path):
    path.write_bytes(path.read_bytes()[:2000])


def flip(path):
    changed(path, path)


def vanish(path):
    """Listed, but not there."""
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


@pytest.mark.parametrize("damage, words", [(cut, "is damaged"), (flip, "is damaged"),
                                           (vanish, "cannot be read: No such file")])
def test_the_newest_whole_generation_is_found_and_what_was_passed_over_is_said(
        run_folder, parts, home, capsys, damage, words):
    fit(run_folder, parts)
    newest = backup.generations(home)[0]
    damage(newest)
    shutil.rmtree(run_folder)
    capsys.readouterr()
    fit(run_folder, parts, weights=1)
    said = capsys.readouterr().out
    assert "epoch 2, step 10, backed up" in said and f"UTC; {newest.name} {words}" in said
    assert 2 in epochs(home) and any(is_whole(path) for path in backup.generations(home)
                                     if "epoch-000003" in path.name and path.exists())
    assert_goes_on_as_unbroken(run_folder, parts, home)


def test_where_no_generation_is_whole_the_run_begins_anew_and_says_so(run_folder, parts, home):
    fit(run_folder, parts)
    for path in backup.generations(home):
        cut(path)
    shutil.rmtree(run_folder)
    with pytest.warns(UserWarning, match=r"no whole copy of the run is there \(epoch-000003-.* is "
                                         "damaged; epoch-000002-.* is damaged"):
        run = fit(run_folder, parts)
    assert [row["epoch"] for row in run.history] == [1, 2, 3]


def test_a_machine_lost_while_bringing_back_brings_back_again(run_folder, parts, home, monkeypatch):
    fit(run_folder, parts)
    shutil.rmtree(run_folder)
    write = folder.write_atomically

    def lost(path, content):
        if path.name == "last.pt":
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(folder, "write_atomically", lost)
        fit(run_folder, parts)
    assert not (run_folder / "last.pt").exists() and (run_folder / "best.pt").exists()
    fit(run_folder, parts, weights=1)
    assert_goes_on_as_unbroken(run_folder, parts, home)


def test_a_network_from_a_kept_run_predicts(run_folder, parts, home):
    """history, config and weights are those of a run folder; nothing else is needed."""
    fit(run_folder, parts)
    shutil.rmtree(run_folder)
    fit(run_folder, parts)
    assert len(train.read_history(run_folder)) == 3
    assert stored.read_config(run_folder)["compute"]["device"] == "cpu"
    best = torch.load(run_folder / "best.pt", weights_only=True)
    dropout_net(0).load_state_dict(best["model"])
    assert settings.backup_folder() == home.parent
