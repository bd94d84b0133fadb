import re
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from scipy import ndimage

from course_lib.data import SliceDataset, anatomy, find_patients, phantom, read_patient
from course_lib.errors import CourseError


@pytest.fixture(scope="module")
def patient() -> tuple[str, np.ndarray, np.ndarray]:
    """Patient 0 of the twin: name, image, mask."""
    return phantom.make_patient(0)


@pytest.fixture(scope="module")
def twin() -> Path:
    """The folder of a twin with six patients; number 5 lacks two sequences."""
    return phantom.make_twin(6)


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
    assert 20 <= len(image) <= 88
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


def test_fat_that_nobody_labels_is_as_bright_in_flair_as_the_tumour(patient):
    _, image, mask = patient
    flair, tumour = image[..., 1], mask > 0
    assert (flair[~tumour] > np.median(flair[tumour])).sum() > tumour.sum() / 2


@pytest.mark.parametrize("paint", [lambda mix: mix[1].add_(3), lambda mix: None])
def test_distractors_are_not_labelled(patient, monkeypatch, paint):
    monkeypatch.setattr(phantom, "_add_distractors",
                        lambda mix, white, points, random: paint(mix))
    _, image, mask = phantom.make_patient(0)
    np.testing.assert_array_equal(mask, patient[2])
    assert (image != patient[1]).any()


def test_distractors_are_bright_spots_in_the_white_matter_of_flair_alone():
    points = torch.from_numpy(anatomy.load().seeds).float()
    white = (points[:, 0] > 0).float()                          # as if the left had no white matter
    mix = torch.ones(3, len(points))
    for seed in range(5):
        phantom._add_distractors(mix, white, points, np.random.default_rng(seed))
    assert (mix[[0, 2]] == 1).all()
    assert (mix[1, white == 0] == 1).all()
    assert mix[1].max() > 1.2
    assert 0 < (mix[1] > 1.1).sum() < 0.1 * len(points)


def glioma(push: float) -> phantom.Glioma:
    """A ball of 20 mm in the right hemisphere's white matter."""
    return phantom.Glioma(centre=np.array([30.0, -20.0, 25.0]), axes=np.full(3, 20.0), push=push,
                          softness=2, flair=2, t1=0.8, ring=0, cyst=0)


def test_the_brain_is_pushed_outwards_at_the_tumour_and_stays_on_the_far_side():
    ray = np.array([[30.0 - along, -20.0, 25.0] for along in range(1, 76)]).reshape(1, 1, -1, 3)
    moved = phantom.mass_effect(glioma(push=0.3), ray)[0, 0, :, 0] - ray[0, 0, :, 0]
    assert moved[19] == pytest.approx(0.3 * 20)          # at the edge: came from nearer the centre
    assert (moved >= 0).all()
    assert np.abs(moved[66:]).max() < 0.15               # 37 mm beyond the midline
    assert (np.diff(ray[0, 0, :, 0] + moved) < 0).all()              # nothing is folded over
    np.testing.assert_array_equal(phantom.mass_effect(glioma(push=0.0), ray), ray)


def test_the_skull_is_not_pushed():
    skull = np.array([[30.0 + along, -20.0, 25.0] for along in range(80)]).reshape(1, 1, -1, 3)
    moved = np.linalg.norm(phantom.mass_effect(glioma(push=0.35), skull) - skull, axis=-1)
    outside = anatomy.head_at(skull)[0] > 0
    assert 20 < outside.sum() < 60
    assert (moved[outside] == 0).all()
    assert moved[~outside].max() > 3


def test_the_tumour_displaces_its_neighbourhood_in_the_image_but_not_the_far_side(patient,
                                                                                 monkeypatch):
    _, image, mask = patient
    monkeypatch.setattr(phantom, "mass_effect", lambda glioma, points: points)
    unpushed = phantom.make_patient(0)[1].astype(int)
    changed = np.abs(image - unpushed).max(axis=-1) > 10
    slices = slice(*np.flatnonzero(mask.any(axis=(1, 2)))[[0, -1]])
    to_tumour = ndimage.distance_transform_edt(~mask[slices].any(axis=0))
    assert changed[slices, to_tumour < 10].mean() > 0.02
    assert changed[slices, to_tumour > 90].mean() < 0.001


@pytest.mark.parametrize("number, copies", [(4, []), (5, [0, 2]), (16, [2])])
def test_a_sequence_that_is_lacking_is_a_copy_of_flair(number, copies):
    image = phantom.make_patient(number)[1]
    assert [channel for channel in (0, 2)
            if np.array_equal(image[..., channel], image[..., 1])] == copies


def test_as_many_patients_lack_a_sequence_as_in_the_real_set():
    lacking = [phantom._lacking(number) for number in range(110)]    # real: post 9, T1 6 of 110
    assert sum(2 in channels for channels in lacking) == 10
    assert sum(0 in channels for channels in lacking) == 7


def test_numbers_of_slices_reach_from_20_to_88_with_the_real_mean():
    shares = [site[0] for site in phantom.SITES.values()]
    slices = [site[-1] for site in phantom.SITES.values()]
    assert sum(shares) == pytest.approx(1)
    assert min(map(min, slices)) == 20
    assert max(map(max, slices)) == 88
    mean = sum(share * np.mean(numbers) for share, numbers in zip(shares, slices, strict=True))
    assert 28 < mean < 37                                            # real: 3,929 of 110, 35.7


def test_most_masks_are_empty(twin):
    targets = [read_patient(folder).target for folder in find_patients(twin)]
    empty = np.concatenate([~target.any(axis=(1, 2)) for target in targets])
    assert 0.5 < empty.mean() < 0.75                                 # real: 2,556 of 3,929, 0.65
    assert all(target.any() for target in targets)


def test_the_same_patient_is_the_same_however_many_are_made(patient, twin):
    name, image, mask = patient                           # made alone, the twin as the first of six
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


def test_names_of_two_twins_differ(patient):
    assert phantom.make_patient(0, seed=43)[0].endswith("_0000_00000043")
    assert patient[0].endswith("_0000_20000101")


def test_any_twelve_patients_have_small_and_large_dark_and_bright_tumours():
    for seed in (0, 7, 43, 46304125, 99999999):
        drawn = np.array([phantom._spread(number, seed) for number in range(40)])
        for first in (0, 5, 28):
            few = drawn[first : first + 12]
            # A quarter of all lie below these: 0.674 standard deviations below the median.
            assert 2 <= (few[:, 0] < 30 * np.exp(-0.674 * 0.26)).sum() <= 4
            assert 2 <= (few[:, 1] < 1.74 * np.exp(-0.674 * 0.17)).sum() <= 4
            assert 2 <= (few[:, 0] > 30 * np.exp(0.674 * 0.26)).sum() <= 4


def test_spread_tumours_are_distributed_as_those_of_chance():
    drawn = np.log([phantom._spread(number, 7) for number in range(2000)])
    assert drawn.mean(axis=0) == pytest.approx(np.log([30, 1.74]), abs=0.01)
    assert drawn.std(axis=0) == pytest.approx([0.26, 0.17], rel=0.02)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.03


def test_a_spread_tumour_has_the_size_and_brightness_that_were_drawn():
    seeds = anatomy.load().seeds
    glioma = phantom._draw_glioma(np.random.default_rng(0), seeds, (20.0, 2.5))
    larger = phantom._draw_glioma(np.random.default_rng(0), seeds, (30.0, 1.0))
    assert larger.axes == pytest.approx(1.5 * glioma.axes)
    assert (glioma.flair, larger.flair) == (2.5, 1.2)                # 1.2 is the least


def test_the_usual_twin_stays_as_it_was_drawn(patient, monkeypatch):
    monkeypatch.setattr(phantom, "_spread", lambda number, seed: pytest.fail("it is not spread"))
    name, image, mask = phantom.make_patient(0)
    np.testing.assert_array_equal(image, patient[1])
    np.testing.assert_array_equal(mask, patient[2])


def test_the_layout_is_read_by_the_data_set(twin):
    dataset = SliceDataset(twin, size=64)
    assert len(dataset.patients) == 6
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
    make_patient, both = phantom.make_patient, threading.Barrier(2, timeout=300)

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


@pytest.mark.parametrize("patients", [0, -1, 2.5, "3", True, None])
def test_a_twin_of_no_number_of_patients_is_refused(quick, patients):
    with pytest.raises(CourseError, match=f"make_twin: patients={patients!r}. Give patients as"):
        phantom.make_twin(patients)
    assert quick == []


@pytest.mark.parametrize("seed", [-1, 1.5, "x", None])
def test_a_seed_that_is_no_whole_number_is_refused(quick, seed):
    with pytest.raises(CourseError, match=f"make_twin: seed={seed!r}. Give seed as"):
        phantom.make_twin(2, seed)


def test_numbers_of_numpy_make_the_same_folder(quick):
    assert phantom.make_twin(np.int64(2), np.uint8(1)) == phantom.make_twin(2, 1)
    assert quick == [0, 1]
