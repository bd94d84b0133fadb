import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from course_lib.data import find_patients, read_patient, tif
from course_lib.errors import DataError

FIRST = "TEST_AA_0001_20000101"


def test_a_patient_is_read_as_the_files_have_it(tif_folder):
    patient = read_patient(tif_folder / FIRST)
    assert patient.image.shape == (6, 48, 40, 3)
    assert patient.image.dtype == np.uint8
    assert patient.target.shape == (6, 48, 40)
    assert patient.target.sum(axis=(1, 2)).tolist() == [0, 100, 100, 100, 100, 0]   # 10·10 pixels


def test_masks_are_not_needed_where_nobody_asks_for_them(tif_folder):
    for path in (tif_folder / FIRST).glob("*_mask.tif"):
        path.unlink()
    assert read_patient(tif_folder / FIRST, with_target=False).target is None


@pytest.mark.parametrize("inner", ["kaggle_3m", "lgg-mri-segmentation/kaggle_3m"])
def test_in_the_kaggle_archive_each_patient_counts_once(tif_folder, tmp_path, inner):
    shutil.copytree(tif_folder, tmp_path / "archive" / inner)
    shutil.copytree(tif_folder, tmp_path / "archive" / "lgg-mri-segmentation" / "kaggle_3m",
                    dirs_exist_ok=True)
    found = find_patients(tmp_path / "archive")
    assert [path.name for path in found] == sorted(path.name for path in tif_folder.iterdir())
    assert {path.parent for path in found} == {tmp_path / "archive" / inner}


def test_one_patients_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="nowhere: no images named"):
        read_patient(tmp_path / "nowhere")


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: (folder / "empty").mkdir(),
                                  lambda folder: (folder / "data.csv").write_text("")])
def test_a_folder_without_patients_is_refused(tmp_path, make):
    make(tmp_path)
    with pytest.raises(DataError, match="no patient in it.*Point to the folder that holds"):
        find_patients(tmp_path)


def test_pointing_at_one_patient_instead_of_all_is_refused(tif_folder):
    with pytest.raises(DataError, match="Point to the folder that holds one folder per patient"):
        find_patients(tif_folder / FIRST)


def slice_file(folder: Path, number: int = 3, mask: bool = False) -> Path:
    return folder / f"{folder.name}_{number}{'_mask' if mask else ''}.tif"


def copy_patient(folder: Path, name: str) -> Path:
    """The same patient once more, under another name."""
    copy = folder.parent / name
    copy.mkdir()
    for path in folder.iterdir():
        shutil.copy(path, copy / path.name.replace(folder.name, name))
    return copy


def change(path: Path, function) -> None:
    array = function(tifffile.imread(path))
    tifffile.imwrite(path, array, photometric="rgb" if array.ndim == 3 else "minisblack")


def damage(path: Path) -> None:
    """Compress a file and flip a byte in the middle of its pixels."""
    tifffile.imwrite(path, tifffile.imread(path), photometric="rgb", compression="zlib")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def claim(path: Path, width: int, height: int) -> None:
    """Give a file a header of another size."""
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages.first.tags["ImageWidth"].overwrite(width)
        file.pages.first.tags["ImageLength"].overwrite(height)


def grey_border(mask: np.ndarray) -> np.ndarray:
    mask[0, 0] = 128
    return mask


BROKEN = {
    "a missing mask": (
        lambda folder: slice_file(folder, mask=True).unlink(),
        f"{FIRST}/{FIRST}_3_mask.tif: the mask is missing. Every <name>.tif needs its "),
    "a mask without image": (
        lambda folder: slice_file(folder).unlink(),
        f"{FIRST}/{FIRST}_3_mask.tif: a mask without an image. Every <name>.tif needs its"),
    "a mask of 0, 128, 255": (
        lambda folder: change(slice_file(folder, mask=True), grey_border),
        f"{FIRST}/{FIRST}_3_mask.tif: the mask has values [0, 128, 255], expected two "
        "(0 and 1, or 0 and 255). Save it without anti-aliasing"),
    "a mask of 0, 1 among those of 0, 255": (
        lambda folder: change(slice_file(folder, mask=True), lambda mask: mask // 255),
        f"{FIRST}/{FIRST}_3_mask.tif: the mask has values [0, 1], the others [0, 255]"),
    "an image of another size": (
        lambda folder: change(slice_file(folder), lambda image: image[:-1]),
        f"{FIRST}/{FIRST}_3.tif: has shape (47, 40, 3), the first slice (48, 40, 3), expected"),
    "a mask of another size": (
        lambda folder: change(slice_file(folder, mask=True), lambda mask: mask[:, :-2]),
        f"{FIRST}/{FIRST}_3_mask.tif: has shape (48, 38)"),
    "images without channels": (
        lambda folder: [change(slice_file(folder, n), lambda image: image[..., 0])
                        for n in range(1, 7)],
        f"{FIRST}/{FIRST}_1.tif: has shape (48, 40), the first slice (48, 40), expected (H, W, 3)"),
    "images of four channels": (
        lambda folder: [change(slice_file(folder, n), lambda image: image[..., [0, 1, 2, 2]])
                        for n in range(1, 7)],
        f"{FIRST}/{FIRST}_1.tif: has shape (48, 40, 4)"),
    "masks of three channels": (
        lambda folder: [change(slice_file(folder, n, True), lambda mask: np.dstack([mask] * 3))
                        for n in range(1, 7)],
        "expected (48, 40), the same in all slices (and 5 more: "),
    "a truncated tif": (
        lambda folder: slice_file(folder).write_bytes(slice_file(folder).read_bytes()[:900]),
        f"{FIRST}/{FIRST}_3.tif: cannot be read as tif"),
    "a file that is no tif": (
        lambda folder: slice_file(folder).write_bytes(b"hello"),
        f"{FIRST}/{FIRST}_3.tif: cannot be read as tif"),
    "a damaged tif": (
        lambda folder: damage(slice_file(folder)),
        f"{FIRST}/{FIRST}_3.tif: cannot be read as tif"),
    "a tif of several pages": (
        lambda folder: tifffile.imwrite(slice_file(folder), np.zeros((2, 48, 40, 3), np.uint8),
                                        photometric="rgb"),
        f"{FIRST}/{FIRST}_3.tif: cannot be read as tif (ValueError: 2 pages"),
    "a tif that says it is huge": (
        lambda folder: claim(slice_file(folder), width=60000, height=60000),
        f"{FIRST}/{FIRST}_3.tif: cannot be read as tif (ValueError: 1 pages, the first of "
        "10,800,000,000 bytes"),
    "a mask that is a folder": (
        lambda folder: [slice_file(folder, mask=True).unlink(),
                        slice_file(folder, mask=True).mkdir()],
        f"{FIRST}/{FIRST}_3_mask.tif: cannot be read as tif"),
    "slices of two types": (
        lambda folder: change(slice_file(folder), lambda image: image.astype(np.uint16) * 257),
        f"{FIRST}/{FIRST}_3.tif: is uint16, the first slice uint8"),
    "an empty file": (
        lambda folder: slice_file(folder, mask=True).write_bytes(b""),
        f"{FIRST}/{FIRST}_3_mask.tif: cannot be read as tif"),
    "a slice that is there twice": (
        lambda folder: shutil.copy(slice_file(folder), folder / "copy_03.tif"),
        "has the same slice number as "),
    "an image with NaN": (
        lambda folder: [change(slice_file(folder, n), lambda image: image / np.float32(0))
                        for n in range(1, 7)],
        f"{FIRST}/{FIRST}_1.tif: the image holds NaN or infinity (and 5 more: data.verify("),
    "images of zeros": (
        lambda folder: [change(slice_file(folder, n), np.zeros_like) for n in range(1, 7)],
        f"{FIRST}: all voxels of 6 slices are zero. Leave this patient out"),
    "only two slices": (
        lambda folder: [slice_file(folder, n, mask).unlink() for n in (1, 2, 3, 4)
                        for mask in (True, False)],
        f"{FIRST}: nothing is left of 2 slices"),
    "masks only": (
        lambda folder: [slice_file(folder, n).unlink() for n in range(1, 7)],
        f"{FIRST}: no images named …_<slice number>.tif. Point to a folder with one patient's"),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning:test_tif")       # one case divides by zero
@pytest.mark.parametrize("case", [case for case in BROKEN if case != "only two slices"])
def test_a_bad_patient_is_refused_with_file_and_cure(tif_folder, case):
    spoil, words = BROKEN[case]
    spoil(tif_folder / FIRST)
    with pytest.raises(DataError, match=re.escape(words)):
        read_patient(tif_folder / FIRST)


def test_all_problems_of_a_patient_are_found_in_one_pass(tif_folder):
    slice_file(tif_folder / FIRST, 2).write_bytes(b"")
    slice_file(tif_folder / FIRST, 4, mask=True).unlink()
    change(slice_file(tif_folder / FIRST, 5, mask=True), grey_border)
    patient, problems = tif.examine(tif_folder / FIRST)
    assert patient is None
    assert {problem.where: problem.what.split(" (")[0].split(" [")[0] for problem in problems} == {
        f"{FIRST}/{FIRST}_2.tif": "cannot be read as tif",
        f"{FIRST}/{FIRST}_4_mask.tif": "the mask is missing",
        f"{FIRST}/{FIRST}_5_mask.tif": "the mask has values"}


def test_a_gap_in_the_slice_numbers_is_told_and_does_not_stop(tif_folder):
    for mask in (False, True):
        slice_file(tif_folder / FIRST, 3, mask).unlink()
    patient, problems = tif.examine(tif_folder / FIRST)
    assert patient.slices == [1, 2, 4, 5, 6]
    assert [(problem.what, problem.fatal) for problem in problems] == [
        ("slice numbers [3] are missing between 1 and 6", False)]


@pytest.mark.parametrize("kind", [np.float32, np.uint16, np.int64])
def test_masks_of_other_types_come_back_as_uint8(tif_folder, kind):
    expected = read_patient(tif_folder / FIRST).target
    for path in (tif_folder / FIRST).glob("*_mask.tif"):
        change(path, lambda mask: (mask // 255).astype(kind))
    target = read_patient(tif_folder / FIRST).target
    assert target.dtype == np.uint8
    np.testing.assert_array_equal(target, expected)


def test_endings_in_capitals_count_and_other_files_do_not(tif_folder):
    for path in (tif_folder / FIRST).iterdir():
        path.rename(path.with_suffix(".TIF"))
    other = tif_folder / "other"
    other.mkdir()
    for name in ("a_1.tif.bak", "._a_1.tif"):
        (other / name).write_bytes(b"")
    found = find_patients(tif_folder)
    assert [path.name for path in found].count(FIRST) == 1
    assert other not in found
    assert len(read_patient(tif_folder / FIRST).slices) == 6


def test_only_the_same_images_have_the_same_digest(tif_folder):
    patients = [read_patient(folder).image for folder in find_patients(tif_folder)]
    changed = patients[0].copy()
    changed[0, 0, 0, 0] ^= 1
    assert len({tif.digest(image) for image in (*patients, changed)}) == len(patients) + 1
    assert tif.digest(patients[0]) == tif.digest(patients[0].copy(order="F"))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_damaged_files_raise_nothing_but_data_errors(tmp_path, compression):
    random = np.random.default_rng(0)
    path = tmp_path / "patient" / "a_1.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, random.integers(0, 255, (48, 40, 3), dtype=np.uint8),
                     photometric="rgb", compression=compression)
    sound, refused = path.read_bytes(), 0
    for _ in range(200):
        content = bytearray(sound[: random.integers(len(sound)) if random.random() < 0.2 else None])
        for position in random.integers(min(400, len(content) + 1), size=3):     # mostly the header
            content[position:position + 1] = random.bytes(1)
        path.write_bytes(content)
        _, problems = tif.examine(path.parent, with_target=False)
        refused += bool(problems)
    assert 50 < refused < 200
