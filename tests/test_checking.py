import hashlib
import re
import shutil

import pytest
from test_tif import BROKEN, FIRST, copy_patient, slice_file

from course_lib import data
from course_lib.data import SliceDataset, verify


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
    assert f"<td>{FIRST}</td>" in findings._repr_html_()


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
    assert "<td>&lt;b&gt;bold</td>" in verify(tif_folder)._repr_html_()


def test_the_real_patients_are_sound(real_folder):
    findings = verify(real_folder)
    assert not [row for row in findings if row["fatal"]], str(findings)
