import re
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from course_lib.data import SliceDataset, find_patients, phantom, read_patient
from course_lib.errors import CourseError


@pytest.fixture(scope="module")
def patient() -> tuple[str, np.ndarray, np.ndarray]:
    """Patient 0 of the twin: name, image, mask."""
    return phantom.make_patient(0)


@pytest.fixture(scope="module")
def twin() -> Path:
    """The folder of a twin with two patients."""
    return phantom.make_twin(2)


@pytest.fixture
def quick(tmp_path, monkeypatch) -> list[int]:
    """Cache of this test, and patients of 8 pixels made in no time; the numbers of those made."""
    made = []

    def make_patient(number, seed):
        made.append(number)
        return (f"TWIN_CS_{number:04d}_20000101", np.full((2, 8, 8, 3), seed, np.uint8),
                np.zeros((2, 8, 8), np.uint8))

    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(phantom, "make_patient", make_patient)
    return made


def test_a_patient_has_the_shapes_and_values_of_the_real_set(patient):
    _, image, mask = patient
    assert image.ndim == 4
    assert image.shape[1:] == (256, 256, 3)
    assert 20 <= len(image) <= 40
    assert image.dtype == mask.dtype == np.uint8
    assert mask.shape == image.shape[:3]
    assert set(np.unique(mask)) == {0, 255}
    assert image.max() > 150


def test_the_name_says_that_it_is_simulated_and_has_a_site(patient):
    assert re.fullmatch(r"TWIN_(CS|DU|EZ|FG|HT)_0000_\d{8}", patient[0])


def test_the_tumour_is_one_main_blob_inside_the_head(patient):
    _, image, mask = patient
    blobs, count = ndimage.label(mask)
    assert count >= 1
    assert np.bincount(blobs.ravel())[1:].max() > 0.9 * (mask > 0).sum()
    assert 0 < (mask > 0).any(axis=(1, 2)).sum() < len(mask)          # not in all slices
    for slice_image, slice_mask in zip(image, mask > 0, strict=True):
        head = ndimage.binary_fill_holes(ndimage.gaussian_filter(slice_image.max(axis=-1), 1) > 25)
        assert not (slice_mask & ~head).any()
        assert slice_mask.sum() < 0.5 * max(head.sum(), 1)


def test_the_tumour_is_brighter_in_flair_than_what_surrounds_it(patient):
    _, image, mask = patient
    ball = ndimage.generate_binary_structure(3, 1)
    around = ndimage.binary_dilation(mask > 0, ball, iterations=12) & ~ndimage.binary_dilation(
        mask > 0, ball, iterations=4) & (image[..., 1] > 25)
    assert image[..., 1][mask > 0].mean() > 1.2 * image[..., 1][around].mean()


def test_the_same_patient_is_the_same_however_many_are_made(patient, twin):
    name, image, mask = patient                           # made alone, the twin as the first of two
    read = read_patient(twin / name)
    np.testing.assert_array_equal(read.image, image)
    np.testing.assert_array_equal(read.target * 255, mask)
    assert read.slices == list(range(1, len(image) + 1))


def test_another_number_and_another_seed_are_other_patients(patient, twin):
    _, image, _ = patient
    second = read_patient(find_patients(twin)[1]).image
    reseeded = phantom.make_patient(0, seed=43)[1]
    for other in (second, reseeded):
        slices = min(len(image), len(other))
        assert (image[:slices] != other[:slices]).mean() > 0.3


def test_the_layout_is_read_by_the_data_set(twin):
    dataset = SliceDataset(twin, size=64)
    assert len(dataset.patients) == 2
    assert dataset.skipped == {}
    for name in dataset.patients:
        assert dataset.targets[dataset.rows(name)].any()


def test_the_second_time_the_same_folder_comes_back_at_once(quick):
    first = phantom.make_twin(2)
    assert quick == [0, 1]
    assert phantom.make_twin(2) == first
    assert quick == [0, 1]
    assert len(find_patients(first)) == 2


def test_another_number_of_patients_and_another_seed_have_other_folders(quick):
    folders = {phantom.make_twin(2), phantom.make_twin(3), phantom.make_twin(2, seed=1)}
    assert len(folders) == 3
    assert tifffile.imread(next(phantom.make_twin(2, seed=1).glob("*/*_1.tif"))).max() == 1


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_half_made_folder_is_never_seen_and_the_next_try_makes_it_whole(quick, tmp_path,
                                                                         monkeypatch, error):
    make_patient = phantom.make_patient

    def fail_at_the_second(number, seed):
        if number == 1:
            raise error
        return make_patient(number, seed)

    with monkeypatch.context() as patch:
        patch.setattr(phantom, "make_patient", fail_at_the_second)
        with pytest.raises(type(error)):
            phantom.make_twin(3)
    assert list((tmp_path / "cache").iterdir()) == []
    assert len(find_patients(phantom.make_twin(3))) == 3


def test_two_may_make_the_same_twin_at_once(quick, monkeypatch):
    make_patient, both = phantom.make_patient, threading.Barrier(2, timeout=20)

    def wait_for_the_other(number, seed):
        both.wait()               # so that neither has its folder in place when the other begins
        return make_patient(number, seed)

    monkeypatch.setattr(phantom, "make_patient", wait_for_the_other)
    found = []
    threads = [threading.Thread(target=lambda: found.append(phantom.make_twin(1))) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert quick == [0, 0]
    assert len(found) == 2
    assert found[0] == found[1]
    assert list(found[0].parent.iterdir()) == [found[0]]
    assert len(find_patients(found[0])) == 1


@pytest.mark.parametrize("patients", [0, -1])
def test_a_twin_without_patients_is_refused(quick, patients):
    with pytest.raises(CourseError, match=f"patients={patients}. Make at least one."):
        phantom.make_twin(patients)
