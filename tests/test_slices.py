import hashlib
import json
import os
import re
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from conftest import write_patient
from scipy import stats
from skimage.exposure import rescale_intensity
from skimage.transform import resize
from test_tif import BROKEN, FIRST, copy_patient, slice_file

from course_lib.compute import PLAIN
from course_lib.data import (
    SliceDataset,
    find_patients,
    prepare,
    read_patient,
    restore,
    verify,
)
from course_lib.errors import CourseError, DataError

# Few slices, several sites. In FG_7634 two sequences are one, in HT_7877 and HT_8105 all three.
REAL = {"TCGA_HT_7692_19960724": 128, "TCGA_EZ_7264_20010816": 128, "TCGA_FG_7634_20000128": 128,
        "TCGA_HT_7877_19980917": 128, "TCGA_CS_4944_20010208": 256}


def reference_preparation(folder: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The published preparation written down anew, with skimage: the oracle.

    Source: github.com/mateuszbuda/brain-segmentation-pytorch, `dataset.py` and `utils.py`.

    Returns:
        image (S', size, size, 3) float64, target (S', size, size) bool.
    """
    numbers = sorted(int(path.stem.split("_")[-1]) for path in folder.glob("*.tif")
                     if not path.stem.endswith("_mask"))
    stem = folder.name
    image = np.stack([tifffile.imread(folder / f"{stem}_{n}.tif") for n in numbers[1:-1]])
    target = np.stack([tifffile.imread(folder / f"{stem}_{n}_mask.tif") for n in numbers[1:-1]])
    image = np.where(image < 0.1 * image.max(), 0, image)
    inside = np.nonzero(image.max(axis=-1))
    box = tuple(slice(axis.min(), axis.max() + 1) for axis in inside)
    image, target = image[box], target[box]
    height, width = target.shape[1:]
    half = abs(height - width) / 2
    pad = (int(np.floor(half)), int(np.ceil(half)))
    rows, columns = ((0, 0), pad) if height > width else (pad, (0, 0))
    image = np.pad(image, ((0, 0), rows, columns, (0, 0)))
    target = np.pad(target, ((0, 0), rows, columns))
    # One channel at a time, for skimage pads each axis by 24; clipped to the range of all of them.
    low, high = image.min() / 255, image.max() / 255
    image = np.stack([resize(image[..., channel], (len(image), size, size), order=2, clip=False,
                             mode="constant", cval=0, anti_aliasing=False) for channel in range(3)],
                     axis=-1).clip(low, high)
    target = resize(target, (len(target), size, size), order=0, mode="constant", cval=0,
                    anti_aliasing=False)
    image = rescale_intensity(image, in_range=tuple(np.percentile(image, (10, 99))))
    image = (image - image.mean(axis=(0, 1, 2))) / image.std(axis=(0, 1, 2))
    return image, target > 0.5


def assert_same_as_the_reference(folder: Path, size: int) -> SliceDataset:
    dataset = SliceDataset(folder.parent, size=size, patients=[folder.name])
    image, target = reference_preparation(folder, size)
    assert dataset.images.shape == (len(image), 3, size, size)
    difference = np.abs(dataset.images.numpy().transpose(0, 2, 3, 1) - image)
    assert difference.max() < 0.02
    np.testing.assert_array_equal(dataset.targets[:, 0].numpy(), target)
    return dataset


def message(error: pytest.ExceptionInfo) -> str:
    return str(error.value)


# --- the preparation --------------------------------------------------------------------------

@pytest.mark.parametrize("name", REAL)
def test_a_real_patient_is_prepared_as_the_reference_does(real_folder, name):
    if not (real_folder / name).is_dir():
        pytest.skip(f"{name} is not among the patients in kaggle_3m")
    dataset = assert_same_as_the_reference(real_folder / name, REAL[name])
    assert dataset.targets.any()


@pytest.mark.parametrize("size", [64, 31])
def test_an_odd_sized_patient_is_prepared_as_the_reference_does(tmp_path, size):
    dataset = assert_same_as_the_reference(write_patient(tmp_path / "a", shape=(47, 33)), size)
    assert dataset.targets.any()
    assert_same_as_the_reference(write_patient(tmp_path / "b", shape=(33, 47)), size)


def test_a_patient_without_tumour_is_prepared_as_the_reference_does(tmp_path):
    dataset = assert_same_as_the_reference(write_patient(tmp_path, tumour=False, slices=7), 64)
    assert len(dataset) == 5
    assert not dataset.targets.any()


def test_arrays_have_the_types_and_shapes_that_the_docstring_names(tif_folder):
    dataset = SliceDataset(tif_folder, size=32)
    assert len(dataset) == 4 + 3 + 4 + 3                  # 6, 5, 6 and 5 slices less two each
    assert dataset.images.shape == (14, 3, 32, 32)
    assert dataset.images.dtype == torch.float16
    assert dataset.targets.shape == (14, 1, 32, 32)
    assert dataset.targets.dtype == torch.uint8
    assert dataset.targets.unique().tolist() == [0, 1]
    image, target = dataset[5]
    torch.testing.assert_close(image, dataset.images[5], rtol=0, atol=0)
    torch.testing.assert_close(target, dataset.targets[5], rtol=0, atol=0)


def test_masks_of_0_and_1_and_of_0_and_255_give_the_same(tmp_path):
    write_patient(tmp_path / "a", FIRST)
    for path in write_patient(tmp_path / "b", FIRST).glob("*_mask.tif"):
        tifffile.imwrite(path, tifffile.imread(path) // 255)
    first, second = (SliceDataset(tmp_path / part, size=32) for part in "ab")
    assert first.targets.any()
    torch.testing.assert_close(first.targets, second.targets, rtol=0, atol=0)
    torch.testing.assert_close(first.images, second.images, rtol=0, atol=0)


def test_the_second_time_gives_the_same_without_reading_a_file(tif_folder, monkeypatch):
    first = SliceDataset(tif_folder, size=32)
    monkeypatch.setattr(tifffile, "TiffFile", None)         # calling it would raise
    second = SliceDataset(tif_folder, size=32)
    torch.testing.assert_close(first.images, second.images, rtol=0, atol=0)
    torch.testing.assert_close(first.targets, second.targets, rtol=0, atol=0)
    assert first.index == second.index
    assert first.boxes == second.boxes


def test_each_size_and_each_choice_of_slices_is_cached_on_its_own(tif_folder):
    for size, drop_ends in [(32, True), (64, True), (32, False), (32, True)]:
        dataset = SliceDataset(tif_folder, size=size, patients=[FIRST], drop_ends=drop_ends)
        assert dataset.images.shape == (4 if drop_ends else 6, 3, size, size)


@pytest.mark.parametrize("size", [0, -1, 2.5, "64", None, True])
def test_a_size_that_cannot_work_is_refused_by_name(tif_folder, size):
    with pytest.raises(CourseError, match=f"SliceDataset: size={size!r}. Give size as a whole"):
        SliceDataset(tif_folder, size=size)


def test_a_size_of_numpy_works_and_is_stored_as_a_number(tif_folder):
    preparation = SliceDataset(tif_folder, size=np.int64(32), patients=[FIRST]).preparation
    assert json.dumps(preparation) == '{"kind": "slices", "size": 32, "drop_ends": true}'


def test_a_mask_edited_with_its_time_kept_is_prepared_again(tif_folder):
    before = SliceDataset(tif_folder, size=32, patients=[FIRST])
    path = tif_folder / FIRST / f"{FIRST}_3_mask.tif"
    times = path.stat()
    tifffile.imwrite(path, np.roll(tifffile.imread(path), 7, axis=1))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = SliceDataset(tif_folder, size=32, patients=[FIRST])
    assert path.stat().st_size == times.st_size
    assert not torch.equal(before.targets, after.targets)
    assert torch.equal(before.images, after.images)


def test_two_masks_swapped_are_prepared_again(tif_folder):
    before = SliceDataset(tif_folder, size=32, patients=[FIRST])
    one, other = (tif_folder / FIRST / f"{FIRST}_{number}_mask.tif" for number in (3, 6))
    one.rename(tif_folder / "aside")
    other.rename(one)
    (tif_folder / "aside").rename(other)
    after = SliceDataset(tif_folder, size=32, patients=[FIRST])
    row = before.index.index((FIRST, 3))
    assert before.targets[row].any() and not after.targets[row].any()


def test_a_changed_file_is_prepared_again(tif_folder):
    before = SliceDataset(tif_folder, size=32, patients=[FIRST])
    path = tif_folder / FIRST / f"{FIRST}_3_mask.tif"
    tifffile.imwrite(path, np.zeros_like(tifffile.imread(path)))
    after = SliceDataset(tif_folder, size=32, patients=[FIRST])
    row = before.index.index((FIRST, 3))
    assert before.targets[row].any()
    assert not after.targets[row].any()


# --- who and which ----------------------------------------------------------------------------

def test_the_index_has_the_patients_and_the_numbers_in_the_file_names(tif_folder):
    names = [path.name for path in find_patients(tif_folder)]
    dataset = SliceDataset(tif_folder, size=32)
    assert dataset.patients == names == sorted(names)
    assert dataset.index == [(name, number) for name, last in zip(names, (6, 5, 6, 5), strict=True)
                             for number in range(2, last)]
    kept = SliceDataset(tif_folder, size=32, drop_ends=False)
    assert [number for name, number in kept.index if name == names[0]] == [1, 2, 3, 4, 5, 6]


def test_the_index_has_the_numbers_of_the_slices_that_the_crop_left(tmp_path):
    folder = write_patient(tmp_path, slices=8)
    for number in (1, 2, 3, 7, 8):
        path = folder / f"{folder.name}_{number}.tif"
        tifffile.imwrite(path, np.zeros_like(tifffile.imread(path)), photometric="rgb")
    dataset = SliceDataset(tmp_path, size=32)
    assert dataset.index == [(folder.name, 4), (folder.name, 5), (folder.name, 6)]


def test_slices_are_in_the_order_of_their_numbers_2_before_10(tmp_path):
    folder = write_patient(tmp_path, slices=12)
    patient = read_patient(folder)
    assert patient.name == folder.name
    assert patient.slices == list(range(1, 13))
    expected = [tifffile.imread(folder / f"{folder.name}_{n}.tif") for n in range(1, 13)]
    np.testing.assert_array_equal(patient.image, expected)
    assert [n for _, n in SliceDataset(tmp_path, size=32).index] == list(range(2, 12))


def test_patients_are_taken_in_the_order_asked_for(tif_folder):
    names = [path.name for path in find_patients(tif_folder)]
    dataset = SliceDataset(tif_folder, size=32, patients=[names[2], names[0]])
    assert dataset.patients == [names[2], names[0]]
    assert [name for name, _ in dataset.index] == [names[2]] * 4 + [names[0]] * 4
    alone = SliceDataset(tif_folder, size=32, patients=[names[0]])
    torch.testing.assert_close(dataset.images[4:], alone.images, rtol=0, atol=0)


def test_a_subset_keeps_rows_and_order(tif_folder):
    dataset = SliceDataset(tif_folder, size=32)
    names = [dataset.patients[3], dataset.patients[1]]
    part = dataset.subset(names)
    assert part.patients == list(part.boxes) == names
    assert part.index == [(name, number) for name in names for number in (2, 3, 4)]
    for row, entry in enumerate(part.index):
        old = dataset.index.index(entry)
        torch.testing.assert_close(part.images[row], dataset.images[old], rtol=0, atol=0)
        torch.testing.assert_close(part.targets[row], dataset.targets[old], rtol=0, atol=0)
    assert part.boxes[names[0]] == dataset.boxes[names[0]]
    assert part.preparation == dataset.preparation == {
        "kind": "slices", "size": 32, "drop_ends": True}
    part.images[:] = 0
    assert (dataset.images[dataset.rows(names[0])] != 0).any()       # a copy, not a view


def test_the_rows_of_a_patient_are_those_of_the_index(tif_folder):
    dataset = SliceDataset(tif_folder, size=32)
    for name in dataset.patients:
        assert {entry[0] for entry in dataset.index[dataset.rows(name)]} == {name}
    assert sum(len(dataset.index[dataset.rows(name)]) for name in dataset.patients) == 14
    with pytest.raises(CourseError, match="no patient 'nobody'.*such as 'TEST_AA_0001"):
        dataset.subset(["nobody"])


def test_the_contract_that_training_and_prediction_rest_on(tif_folder):
    dataset = SliceDataset(tif_folder, size=32)
    name = dataset.patients[1]
    ready, raw = dataset.prepared(name), dataset.read(name)
    assert dataset.labels == {"tumour": 1}
    assert ready.image.shape == (3, 3, 32, 32) and ready.target.shape == (3, 1, 32, 32)
    assert ready.image.data_ptr() == dataset.images[dataset.rows(name)].data_ptr()       # no copy
    again = prepare(raw, dataset.preparation)
    assert torch.equal(again.image, ready.image) and torch.equal(again.target, ready.target)
    assert again.box == ready.box
    assert restore(ready.target.numpy(), ready.box).shape == (1, *raw.target.shape)
    digests = dataset.digests[name]
    assert list(digests) == ["image", "target"] and len(digests["image"]) == 5
    assert f"{name}_3_mask.tif" in digests["target"]


def test_batches_are_drawn_in_proportion_to_the_sampling_weights(tif_folder):
    dataset = SliceDataset(tif_folder, size=32, patients=[FIRST])
    dataset.targets.zero_()
    for row in range(4):                       # each slice its own number, in image and in target
        dataset.images[row], dataset.targets[row, 0, 0, :row] = row, 1
    generator, counts = torch.Generator().manual_seed(0), torch.zeros(4)
    for image, target in dataset.batches(5, 2000, generator, compute=PLAIN):
        assert image.dtype == torch.float16 and target.dtype == torch.uint8 and len(image) == 5
        assert torch.equal(image[:, 0, 0, 0].long(), target.sum(dim=(1, 2, 3)))
        counts += torch.bincount(image[:, 0, 0, 0].long(), minlength=4)
    expected = (10_000 * dataset.sampling_weights()).numpy()
    assert counts.sum() == 10_000 and stats.chisquare(counts.numpy(), expected).pvalue > 0.01


def test_the_pixels_are_counted_once_not_each_epoch(tif_folder, monkeypatch):
    dataset, counted = SliceDataset(tif_folder, size=16), []
    count = SliceDataset.sampling_weights
    monkeypatch.setattr(SliceDataset, "sampling_weights",
                        lambda self: counted.append(self) or count(self))
    for part in (dataset, dataset, dataset.subset(dataset.patients[:1])):
        next(part.batches(2, 1, torch.Generator().manual_seed(0), compute=PLAIN))
    assert len(counted) == 2                                     # the subset has its own


def test_label_maps_keep_their_values(tmp_path):
    folder = write_patient(tmp_path, slices=4)
    for number, value in ((2, 1), (3, 2)):
        path = folder / f"{folder.name}_{number}_mask.tif"
        tifffile.imwrite(path, (tifffile.imread(path) > 0).astype(np.uint8) * value)
    dataset = SliceDataset(tmp_path, size=48, drop_ends=False, labels={"oedema": 1, "core": 2})
    assert [part.unique().tolist() for part in dataset.targets] == [[0], [0, 1], [0, 2], [0]]
    assert dataset.subset(dataset.patients).labels == {"oedema": 1, "core": 2}
    assert dataset.read(folder.name).target.max() == 2


# --- layouts ----------------------------------------------------------------------------------

def test_a_nested_copy_beside_the_patients_is_not_counted(tif_folder):
    shutil.copytree(tif_folder, tif_folder.parent / "copy")
    shutil.move(tif_folder.parent / "copy", tif_folder / "kaggle_3m")
    (tif_folder / "data.csv").write_text("Patient\n")
    (tif_folder / "notes").mkdir()
    assert len(find_patients(tif_folder)) == 4
    assert len(SliceDataset(tif_folder, size=32)) == 14


def test_a_read_only_data_folder_works_and_raw_files_are_left_alone(tif_folder):
    def state():
        return {path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
                for path in sorted(tif_folder.rglob("*")) if path.is_file()}

    folders = [tif_folder, *tif_folder.iterdir()]
    before = state()
    for folder in folders:
        folder.chmod(0o555)
    try:
        dataset = SliceDataset(tif_folder, size=32)
        dataset.images.zero_()
        assert state() == before
        assert len(dataset) == 14
    finally:
        for folder in folders:
            folder.chmod(0o755)


# --- sampling weights ---------------------------------------------------------------------------

def areas(dataset: SliceDataset, values: list[int]) -> None:
    """Give the data set's slices masks of these areas, in pixels."""
    dataset.targets.zero_()
    for row, value in enumerate(values):
        dataset.targets[row].view(-1)[:value] = 1


def test_sampling_weights_of_areas_0_10_30_are_those_worked_out_by_hand(tif_folder):
    # S = 40, n = 3, so 0.1·S/n = 4/3 and 1.1·S = 44:
    # (0 + 4/3)/44 = 1/33, (10 + 4/3)/44 = 17/66, (30 + 4/3)/44 = 47/66; together 66/66.
    name = find_patients(tif_folder)[1].name
    dataset = SliceDataset(tif_folder, size=32, patients=[name])
    areas(dataset, [0, 10, 30])
    expected = torch.tensor([2, 17, 47], dtype=torch.float64) / 66
    torch.testing.assert_close(dataset.sampling_weights(), expected)


def test_sampling_weights_are_even_for_a_patient_without_tumour_and_even_over_patients(tif_folder):
    names = [path.name for path in find_patients(tif_folder)]
    dataset = SliceDataset(tif_folder, size=32, patients=[names[0], names[1]])
    areas(dataset, [0, 0, 0, 0, 0, 10, 30])
    expected = torch.tensor([1 / 8] * 4 + [2 / 132, 17 / 132, 47 / 132], dtype=torch.float64)
    torch.testing.assert_close(dataset.sampling_weights(), expected)


def test_sampling_weights_sum_to_one_and_draw_each_slice(tif_folder):
    weights = SliceDataset(tif_folder, size=32).sampling_weights()
    assert weights.dtype == torch.float64
    assert weights.shape == (14,)
    assert weights.sum().item() == pytest.approx(1)
    assert weights.min() > 0


# --- at the door ----------------------------------------------------------------------------------

@pytest.mark.filterwarnings("ignore::RuntimeWarning:test_tif", "ignore:.*slice numbers")
@pytest.mark.parametrize("case", BROKEN)
def test_a_bad_patient_is_refused_by_name_or_left_out(tif_folder, case):
    spoil, words = BROKEN[case]
    spoil(tif_folder / FIRST)
    with pytest.raises(DataError) as error:
        SliceDataset(tif_folder, size=32)
    assert words in message(error)
    with pytest.warns(UserWarning, match=f"patient left out: .*{re.escape(words)}"):
        dataset = SliceDataset(tif_folder, size=32, on_error="skip")
    assert len(dataset.patients) == 3
    assert FIRST not in dataset.patients
    assert list(dataset.skipped) == [FIRST]
    assert isinstance(dataset.skipped[FIRST], DataError)
    assert words in str(dataset.skipped[FIRST])
    assert len(dataset) == 3 + 4 + 3


def test_good_patients_give_no_warning_and_are_not_skipped(tif_folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert SliceDataset(tif_folder, size=32, on_error="skip").skipped == {}


def test_a_mask_that_goes_after_the_patient_was_cached_is_missed(tif_folder):
    SliceDataset(tif_folder, size=32)
    slice_file(tif_folder / FIRST, mask=True).unlink()
    with pytest.raises(DataError, match="the mask is missing"):
        SliceDataset(tif_folder, size=32)


def test_a_link_to_nothing_is_a_bad_patient_and_not_the_end(tif_folder):
    path = slice_file(tif_folder / FIRST)
    path.unlink()
    path.symlink_to(tif_folder / "nowhere.tif")
    with pytest.raises(DataError, match=f"{FIRST}: cannot be read .*nowhere|{FIRST}_3.tif"):
        SliceDataset(tif_folder, size=32)
    with pytest.warns(UserWarning, match="patient left out"):
        assert len(SliceDataset(tif_folder, size=32, on_error="skip").patients) == 3


def test_a_patient_asked_for_twice_is_refused(tif_folder):
    with pytest.raises(CourseError, match="1 patients stand twice.*Give each patient once"):
        SliceDataset(tif_folder, size=32, patients=[FIRST, FIRST])


@pytest.mark.parametrize("slices", [1, 2])
def test_too_few_slices_to_drop_the_ends_are_told_as_such(tmp_path, slices):
    write_patient(tmp_path, slices=slices)
    with pytest.raises(DataError, match=rf"nothing is left of {slices} slices .*drop_ends=False"):
        SliceDataset(tmp_path, size=32)


def test_a_mask_that_appears_after_the_patient_was_cached_is_noticed(tif_folder):
    SliceDataset(tif_folder, size=32)
    shutil.copy(slice_file(tif_folder / FIRST, mask=True), slice_file(tif_folder / FIRST, 9, True))
    with pytest.raises(DataError, match="a mask without an image"):
        SliceDataset(tif_folder, size=32)


def test_several_bad_patients_are_told_at_once_and_the_good_ones_stay_prepared(
        tif_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    names = [path.name for path in find_patients(tif_folder)]
    for name in names[1:3]:
        slice_file(tif_folder / name).write_bytes(b"")
    words = f"{names[1]}_3.tif: 2 of 4 patients .*data.verify.*cannot be read"
    with pytest.raises(DataError, match=words):
        SliceDataset(tif_folder, size=32)
    assert len(list((tmp_path / "cache" / "slices").iterdir())) == 2


def test_a_patient_that_is_there_twice_is_refused_or_left_out(tif_folder):
    names = [path.name for path in find_patients(tif_folder)]
    copy_patient(tif_folder / names[0], "TEST_ZZ_0009")
    with pytest.raises(DataError, match=f"TEST_ZZ_0009: has the same images as {names[0]}. Keep"):
        SliceDataset(tif_folder, size=32)
    with pytest.warns(UserWarning, match="left out: TEST_ZZ_0009: has the same images"):
        assert SliceDataset(tif_folder, size=32, on_error="skip").patients == names
    alone, others = (SliceDataset(tif_folder, size=32, patients=part)
                     for part in (["TEST_ZZ_0009"], names))            # nothing to clash with
    copied, original = (list(part.digests[name]["image"].values()) for part, name in
                        ((alone, "TEST_ZZ_0009"), (others, names[0])))
    assert copied == original


def test_a_gap_in_the_slice_numbers_is_a_warning_each_time(tif_folder):
    for mask in (False, True):
        slice_file(tif_folder / FIRST, 3, mask).unlink()
    for _ in range(2):                                                # the second from the cache
        with pytest.warns(UserWarning, match=r"slice numbers \[3\] are missing between 1 and 6"):
            assert len(SliceDataset(tif_folder, size=32).patients) == 4


@pytest.mark.parametrize("function", [find_patients, SliceDataset])
def test_a_missing_folder_is_refused(tmp_path, function):
    with pytest.raises(DataError, match="nowhere: there is no such folder. "):
        function(tmp_path / "nowhere")


def test_an_unknown_patient_is_refused_even_where_bad_ones_are_skipped(tif_folder):
    for on_error in ("raise", "skip"):
        with pytest.raises(DataError, match="1 of 2 patients are not there, the first is nobody"):
            SliceDataset(tif_folder, size=32, patients=[FIRST, "nobody"], on_error=on_error)


def test_nothing_left_after_skipping_is_refused(tif_folder):
    slice_file(tif_folder / FIRST).write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(DataError, match="no patient could be read"):
        SliceDataset(tif_folder, size=32, patients=[FIRST], on_error="skip")


def test_another_word_for_on_error_is_refused(tif_folder):
    with pytest.raises(CourseError, match="on_error='ignore'. Use 'raise' or 'skip'"):
        SliceDataset(tif_folder, on_error="ignore")


def test_one_voxel_that_is_far_too_bright_does_not_take_the_head_for_air(tif_folder):
    """Prepared from the brightest voxel, everything else would be cut away, in silence."""
    path = next(p for p in sorted((tif_folder / FIRST).glob("*_3.tif")))
    image = tifffile.imread(path).astype(np.uint16)
    image[20, 20, 1] = 60_000
    for other in sorted((tif_folder / FIRST).glob("*.tif")):
        if not other.stem.endswith("mask"):
            tifffile.imwrite(other, tifffile.imread(other).astype(np.uint16))
    tifffile.imwrite(path, image)
    with pytest.raises(DataError, match="only 1 of .* reach a tenth of the brightest, 60000"):
        SliceDataset(tif_folder, size=16)
    rows = [row for row in verify(tif_folder) if row["patient"] == FIRST and row["fatal"]]
    assert len(rows) == 1 and "clip them" in rows[0]["cure"]


@pytest.mark.parametrize("labels", [{"t": 0}, {"t": 2}, ["tumour"], "tumour", 1, {}, {"t": "1"}])
def test_labels_that_are_none_are_refused_by_name(tif_folder, labels):
    with pytest.raises(CourseError, match="data: labels=.*Give a dict of name to value"):
        SliceDataset(tif_folder, size=16, labels=labels)


def test_numpys_numbers_are_values_of_labels(tif_folder):
    dataset = SliceDataset(tif_folder, size=16, labels={"tumour": np.int64(1)})
    assert json.dumps(dataset.labels) == '{"tumour": 1}'


@pytest.mark.parametrize("patients, says", [([], "an empty list"), ("TEST", "patients='TEST'"),
                                            (3, "patients=3"), (["A", "A"], "1 patients stand")])
def test_lists_of_patients_that_are_none_are_refused(tif_folder, patients, says):
    with pytest.raises(CourseError, match=says):
        SliceDataset(tif_folder, size=16, patients=patients)
    with pytest.raises(CourseError, match=says):
        SliceDataset(tif_folder, size=16).subset(patients)


@pytest.mark.parametrize("folder", [None, 3, b"x", ["x"]])
def test_what_is_no_path_is_a_sentence(folder):
    with pytest.raises(DataError, match="data: folder=.* Give a path"):
        SliceDataset(folder)
    (row,) = verify(folder)
    assert row["fatal"] and "folder=" in row["problem"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_folder_whose_name_is_no_text_is_refused(tif_folder):
    os.rename(tif_folder / FIRST, os.fsencode(tif_folder) + b"/M\xfcller_0")
    with pytest.raises(DataError, match="the folder's name is not text .*Rename the folder"):
        SliceDataset(tif_folder, size=16)
    assert any("not text" in row["problem"] for row in verify(tif_folder))
