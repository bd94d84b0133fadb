import hashlib
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import write_patient
from test_tif import BROKEN, FIRST, copy_patient, slice_file

from course_lib import data
from course_lib.data import SliceDataset, verify
from course_lib.data.checking import shared_images
from course_lib.errors import DataError


def test_a_sound_folder_has_no_findings(tif_folder):
    findings = verify(tif_folder)
    assert (list(findings), findings.patients) == ([], 4)
    assert str(findings) == "patients looked at: 4; findings: 0; patients that cannot be used: 0"
    assert "<table>" not in findings._repr_html_()


@pytest.mark.filterwarnings("ignore::RuntimeWarning:test_tif")
@pytest.mark.parametrize("case", [case for case in BROKEN if case != "only two slices"])
def test_what_the_loader_refuses_is_listed_and_fatal(tif_folder, case):
    BROKEN[case][0](tif_folder / FIRST)
    findings = verify(tif_folder)
    assert findings.patients == 4
    assert {row["patient"] for row in findings if row["fatal"]} == {FIRST}
    words = re.sub(r" \(and \d more: .*", "", BROKEN[case][1])
    told = [f"{row['patient']}{'/' * bool(row['file'])}{row['file']}: {row['problem']}. "
            f"{row['cure'][:1].upper()}{row['cure'][1:]}." for row in findings]
    assert any(words in line for line in told), told
    assert FIRST in str(findings)
    assert f">{FIRST}</td>" in findings._repr_html_()


def test_problems_of_several_patients_stand_in_one_table(tif_folder):
    names = [path.name for path in data.find_patients(tif_folder)]
    slice_file(tif_folder / names[1]).write_bytes(b"")
    slice_file(tif_folder / names[3], mask=True).unlink()
    copy_patient(tif_folder / names[0], "TEST_ZZ_0009")
    for mask in (False, True):
        slice_file(tif_folder / names[2], 3, mask).unlink()
    (tif_folder / "notes").mkdir()
    rows = [(row["patient"], row["file"], row["problem"].split(" (")[0], row["fatal"])
            for row in verify(tif_folder)]
    assert rows == [
        ("notes", "", "a folder without images named …_<slice number>.tif", False),
        (names[1], f"{names[1]}_3.tif", "cannot be read as tif", True),
        (names[2], "", "slice numbers [3] are missing between 1 and 6", False),
        (names[3], f"{names[3]}_3_mask.tif", "the mask is missing", True),
        ("TEST_ZZ_0009", "", f"has the same images as {names[0]}", True)]
    with pytest.warns(UserWarning):
        left = SliceDataset(tif_folder, size=32, on_error="skip").patients
    assert left == [names[0], names[2]]              # those without a fatal finding


@pytest.mark.parametrize(("make", "words"), [
    (lambda folder: folder.rmdir(), "there is no such folder"),
    (lambda folder: None, "no patient in it"),
    (lambda folder: (folder / "images").mkdir(), "no patient in it"),
    (lambda folder: (folder / "brain.tif").write_bytes(b""), "no patient in it")])
def test_an_empty_folder_or_another_layout_is_a_finding(tmp_path, make, words):
    (tmp_path / "set").mkdir()
    make(tmp_path / "set")
    (row,) = findings = verify(tmp_path / "set")
    assert (row["patient"], row["file"], row["fatal"]) == ("", str(tmp_path / "set"), True)
    assert words in row["problem"]
    assert findings.patients == 0


def test_a_copied_patient_that_lacks_a_slice_and_a_shared_slice_are_told(tif_folder):
    names = [path.name for path in data.find_patients(tif_folder)]
    copy = copy_patient(tif_folder / names[0], "TEST_ZZ_0009")
    for mask in (False, True):
        slice_file(copy, 6, mask).unlink()
        shutil.copy(slice_file(tif_folder / names[1], 4, mask),
                    slice_file(tif_folder / names[2], 4, mask))
    rows = {row["patient"]: (row["file"], row["problem"]) for row in verify(tif_folder)}
    assert rows == {
        "TEST_ZZ_0009": ("", f"has the same images as {names[0]}"),
        names[2]: (f"{names[2]}_4.tif",
                   f"shares images with {names[1]}: {names[2]}_4.tif is {names[1]}'s "
                   f"{names[1]}_4.tif")}
    with pytest.raises(DataError, match="has the same images|shares images with"):
        SliceDataset(tif_folder, size=32)


def test_black_slices_and_empty_masks_are_not_taken_for_the_same(tif_folder):
    for folder in data.find_patients(tif_folder):
        number = len(data.read_patient(folder).slices)                  # the last: nothing marked
        tifffile.imwrite(slice_file(folder, number), np.zeros((48, 40, 3), np.uint8),
                         photometric="rgb")
    assert list(verify(tif_folder)) == []


def test_a_slice_saved_twice_and_an_inverted_mask_are_worth_a_look(tif_folder):
    folder = tif_folder / FIRST
    shutil.copy(slice_file(folder, 2), slice_file(folder, 4))
    for number in range(1, 7):
        path = slice_file(folder, number, True)
        tifffile.imwrite(path, 255 - tifffile.imread(path))
    rows = [(row["file"], row["problem"], row["fatal"]) for row in verify(tif_folder)]
    assert rows == [
        (f"{FIRST}_1_mask.tif", "the mask covers 100% of the image and 100% of its border, as 6 of "
                                "6 masks do", False),
        (f"{FIRST}_4.tif", f"is the same picture as {FIRST}_2.tif", False)]


@pytest.mark.parametrize("spoil", [lambda mask: 255 - mask,                  # inverted
                                   lambda mask: np.full_like(mask, 255)])
def test_one_mask_that_covers_the_background_is_worth_a_look(tif_folder, spoil):
    path = slice_file(tif_folder / FIRST, 4, True)
    tifffile.imwrite(path, spoil(tifffile.imread(path)))
    (row,) = verify(tif_folder)
    assert (row["file"], row["fatal"]) == (path.name, False)
    assert row["problem"].endswith("100% of its border, as 1 of 6 masks do")


def test_masks_that_lie_beside_what_the_images_show_are_worth_a_look(tif_folder):
    for number in range(1, 7):
        path = slice_file(tif_folder / FIRST, number, True)
        tifffile.imwrite(path, np.roll(tifffile.imread(path), (-16, -13), axis=(0, 1)))
    (row,) = verify(tif_folder)
    assert (row["file"], row["fatal"]) == (f"{FIRST}_2_mask.tif", False)
    assert row["problem"] == "99 of the mask's 100 pixels are background in the image"


def test_label_maps_are_verified_with_their_labels(tif_folder):
    for folder in data.find_patients(tif_folder):
        path = slice_file(folder, 3, True)
        tifffile.imwrite(path, tifffile.imread(path) // 255 * 2)
        for number in (1, 2, 4, 5, 6):
            path = slice_file(folder, number, True)
            if path.exists():
                tifffile.imwrite(path, tifffile.imread(path) // 255)
    assert list(verify(tif_folder, labels={"oedema": 1, "core": 2})) == []
    assert {row["fatal"] for row in verify(tif_folder)} == {True}


def test_slices_beside_the_patients_folders_are_worth_a_look(tif_folder):
    for number in (1, 2):
        shutil.copy(slice_file(tif_folder / FIRST, number), tif_folder)
    (row,) = verify(tif_folder)
    assert (row["patient"], row["file"], row["fatal"]) == ("", f"{FIRST}_1.tif", False)
    assert row["problem"] == "2 slices lie beside the patients' folders"


def test_a_folder_that_cannot_be_read_is_one_finding_and_can_be_skipped(tif_folder, monkeypatch):
    iterdir = Path.iterdir

    def locked(path):
        if path.name == FIRST:
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", locked)
    (row,) = verify(tif_folder)
    assert (row["patient"], row["fatal"]) == (FIRST, True)
    assert row["problem"] == "the folder cannot be read (Permission denied)"
    with pytest.warns(UserWarning, match="patient left out"):
        assert FIRST in SliceDataset(tif_folder, size=32, on_error="skip").skipped


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda path: os.mkfifo(path), "is no regular file"),
    (lambda path: path.symlink_to(path), "cannot be read"),
    (lambda path: path.mkdir(), "is no regular file")])
def test_what_is_no_file_is_a_finding_and_refused_without_waiting(tif_folder, spoil, words):
    for number, mask in ((2, False), (4, True)):
        path = slice_file(tif_folder / FIRST, number, mask)
        path.unlink()
        spoil(path)
    rows = verify(tif_folder)
    assert len(rows) == 2
    assert all(words in row["problem"] and row["fatal"] for row in rows)
    with pytest.raises(DataError):
        SliceDataset(tif_folder, size=32)


@pytest.mark.parametrize("kept", [(1, 5), (1,)])
def test_what_a_data_set_with_its_defaults_refuses_is_fatal(tmp_path, kept):
    folder = write_patient(tmp_path)
    for number in range(1, 6):
        if number not in kept:
            tifffile.imwrite(slice_file(folder, number), np.zeros((48, 40, 3), np.uint8),
                             photometric="rgb")
    (row,) = (row for row in verify(tmp_path) if row["fatal"])
    assert "nothing is left of 5 slices" in row["problem"]
    with pytest.raises(DataError, match="nothing is left of 5 slices"):
        SliceDataset(tmp_path, size=32)


def test_folders_of_the_system_are_no_findings(tif_folder):
    for name in (".Trash-1000", "@eaDir", "__MACOSX", "$RECYCLE.BIN"):
        (tif_folder / name).mkdir()
    assert list(verify(tif_folder)) == []


def test_checksums_may_be_one_of_all_images():
    assert not shared_images({"a": {"image": "1"}, "b": {"image": "2"}})
    (problem,) = shared_images({"a": {"image": "1"}, "b": {"image": "1"}})
    assert (problem.patient, problem.what) == ("b", "has the same images as a")


def test_shared_images_are_listed_for_each_pair_of_patients():
    images = {"a": {"a_1": "1", "a_2": "2", "a_3": "3", "a_4": "all 0"},
              "b": {"b_1": "3", "b_2": "4", "b_3": "5", "b_4": "all 0"},
              "c": {"c_1": "4", "c_2": "1", "c_3": "2", "c_4": "6"},
              "d": {"d_1": "2", "d_2": "1", "d_3": "2", "d_4": "all 0"},
              "e": {"e_1": "all 0"}}
    problems = shared_images({name: {"image": files} for name, files in images.items()})
    assert [(problem.patient, problem.file, problem.what) for problem in problems] == [
        ("b", "b_1", "shares images with a: b_1 is a's a_3"),
        ("c", "c_1", "shares images with b: c_1 is b's b_2"),
        ("c", "c_2", "shares images with a: c_2 is a's a_1, c_3 is a's a_2"),
        ("d", "", "has the same images as a")]             # all that d holds, one of them twice
    assert all(problem.fatal for problem in problems)


def test_the_second_copy_in_kaggles_archive_is_no_finding(tif_folder):
    shutil.copytree(tif_folder, tif_folder.parent / "copy")
    shutil.move(tif_folder.parent / "copy", tif_folder / "kaggle_3m")
    assert list(verify(tif_folder)) == []


def test_verifying_writes_nothing(tif_folder):
    def state():
        return {path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
                for path in tif_folder.rglob("*") if path.is_file()}

    before = state()
    verify(tif_folder)
    assert state() == before


def test_markup_in_a_file_name_is_shown_as_text(tif_folder):
    (tif_folder / "<b>bold").mkdir()
    assert ">&lt;b&gt;bold</td>" in verify(tif_folder)._repr_html_()


def test_the_real_patients_are_sound(real_folder):
    findings = verify(real_folder)
    assert not [row for row in findings if row["fatal"]], str(findings)
