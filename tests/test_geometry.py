import numpy as np
import pytest
from scipy import ndimage
from skimage.transform import resize

from course_lib.data import geometry
from course_lib.errors import DataError


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def patient(random) -> tuple[np.ndarray, np.ndarray]:
    """A head with a round lesion: image (9, 50, 41, 3) and target (9, 50, 41) of 0 and 1, uint8."""
    z, y, x = np.ogrid[:9, :50, :41]
    head = ((y - 24) / 20) ** 2 + ((x - 20) / 15) ** 2 + 0 * z < 1
    target = ((z - 4) / 3) ** 2 + ((y - 20) / 8) ** 2 + ((x - 22) / 7) ** 2 < 1
    noise = random.integers(0, 9, (9, 50, 41, 3)) * head[..., None]
    image = (head * 100 + target * 80)[..., None] + noise
    return image.astype(np.uint8), target.astype(np.uint8)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize(("shape", "size"), [
    ((3, 20, 20), 33), ((2, 2, 31, 31), 16), ((4, 17, 23), 64), ((1, 50, 9), 21), ((2, 12, 12), 12),
    ((3, 64, 40), (25, 80)), ((2, 5, 5), 1)])
def test_resize_agrees_with_skimage(random, shape, size, order):
    slices = random.random(shape, dtype=np.float32)
    slices[..., :2, :3] = 0         # some background, so that both clip to the same range
    height, width = (size, size) if isinstance(size, int) else size
    expected = resize(slices.astype(np.float64), (*shape[:-2], height, width), order=order,
                      mode="constant", cval=0, anti_aliasing=False)
    resized = geometry.resize_slices(slices, size, order)
    assert resized.dtype == np.float32
    assert resized.shape == expected.shape
    np.testing.assert_allclose(resized, expected, rtol=0, atol=1e-6)


def test_resize_stays_within_the_range_of_the_input():
    step = np.zeros((1, 8, 8), np.float32)
    step[:, :, 4:] = 200
    resized = geometry.resize_slices(step, 64, order=2)       # a spline of order 2 overshoots
    assert (resized.min(), resized.max()) == (0, 200)


def test_resize_takes_integers_without_wrapping_around():
    slices = np.full((1, 6, 6), 255, np.uint8)
    np.testing.assert_allclose(geometry.resize_slices(slices, 6, order=2), 255)


def test_the_box_is_the_smallest_around_what_is_not_background():
    # Maximum 200, so voxels below 20 are background: 19 is, 20 is not.
    volume = np.zeros((6, 10, 12, 3), np.uint8)
    volume[2, 3, 4, 0] = 200
    volume[3, 7, 9, 2] = 20
    volume[1, 1, 1] = volume[4, 9, 11] = 19
    box = geometry.find_box(volume, size=8, drop_ends=True, patient="p")
    assert box == {"kind": "slices", "shape": [6, 10, 12], "start": [2, 3, 4],
                   "stop": [4, 8, 10], "size": 8, "floor": pytest.approx(20)}


def test_the_first_and_the_last_slice_count_only_where_they_are_kept():
    volume = np.full((4, 6, 6, 1), 50, np.uint8)
    volume[0] = 255               # would raise the floor and the extent
    dropped = geometry.find_box(volume, 8, drop_ends=True, patient="p")
    kept = geometry.find_box(volume, 8, drop_ends=False, patient="p")
    assert (dropped["start"][0], dropped["stop"][0], dropped["floor"]) == (1, 3, pytest.approx(5))
    assert (kept["start"][0], kept["stop"][0], kept["floor"]) == (0, 4, pytest.approx(25.5))


@pytest.mark.parametrize("volume", [np.zeros((5, 8, 8, 3), np.uint8), np.zeros((0, 8, 8, 3)),
                                    np.ones((2, 8, 8, 3))])
def test_a_volume_of_zeros_or_without_slices_is_refused_with_the_patients_name(volume):
    with pytest.raises(DataError, match=f"P_17: nothing is left of {len(volume)} slices"):
        geometry.find_box(volume, 8, drop_ends=True, patient="P_17")


@pytest.mark.parametrize(("height", "width", "padding"), [
    (7, 4, (0, 0, 1, 2)),         # 3 columns are missing: floor(1.5) before, ceil(1.5) after
    (4, 7, (1, 2, 0, 0)), (8, 4, (0, 0, 2, 2)), (5, 5, (0, 0, 0, 0)), (5, 4, (0, 0, 0, 1))])
def test_slices_are_padded_to_squares_floor_before_and_ceil_after(height, width, padding):
    box = {"start": [0, 2, 1], "stop": [1, 2 + height, 1 + width]}
    assert geometry._padding(box) == padding
    square = geometry._crop_and_pad(np.ones((1, 12, 12)), box)
    side = max(height, width)
    top, bottom, left, right = padding
    expected = np.zeros((1, side, side))
    expected[:, top : side - bottom, left : side - right] = 1
    np.testing.assert_array_equal(square, expected)


def test_each_channel_of_the_whole_volume_has_mean_0_and_deviation_1(patient):
    image, _ = patient
    image = (image * [0.3, 0.6, 1.0]).astype(np.uint8)
    box = geometry.find_box(image, 32, drop_ends=True, patient="p")
    prepared = geometry.prepare_image(image, box)
    assert prepared.shape == (7, 3, 32, 32)
    assert prepared.dtype == np.float16
    prepared = prepared.astype(np.float64)
    np.testing.assert_allclose(prepared.mean(axis=(0, 2, 3)), 0, atol=1e-3)
    np.testing.assert_allclose(prepared.std(axis=(0, 2, 3)), 1, atol=1e-3)


def test_voxels_below_a_tenth_of_the_maximum_become_background():
    volume = np.zeros((1, 8, 8, 1), np.uint8)
    volume[0, :4, :, 0] = np.arange(0, 64, 2).reshape(4, 8)
    volume[0, 7] = 200
    volume[0, 6, :4, 0] = (18, 19, 20, 21)
    box = geometry.find_box(volume, 8, drop_ends=False, patient="p")
    row = geometry.prepare_image(volume, {**box, "start": [0, 0, 0]})[0, 0, 6]
    assert row[0] == row[1] == row[4]                     # 18 and 19, as the zeros beside them
    assert row[4] < row[2] < row[3]                       # 20 and 21 stay


def test_a_constant_channel_becomes_zeros_and_no_nan(patient):
    image, _ = patient
    image[..., 1] = 0
    box = geometry.find_box(image, 32, drop_ends=True, patient="p")
    prepared = geometry.prepare_image(image, box)
    assert np.isfinite(prepared).all()
    assert (prepared[:, 1] == 0).all()
    assert (prepared[:, 0] != 0).any()


def test_preparing_leaves_the_raw_image_as_it_is(patient):
    image, target = patient
    before = image.copy(), target.copy()
    box = geometry.find_box(image, 32, drop_ends=True, patient="p")
    geometry.prepare_image(image, box)
    geometry.prepare_target(target, box)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(target, before[1])


@pytest.mark.parametrize("size", [32, 48, 64])
def test_restoring_a_prepared_mask_gives_nearly_the_raw_one(patient, size):
    image, target = patient
    box = geometry.find_box(image, size, drop_ends=True, patient="p")
    prepared = geometry.prepare_target(target, box)
    assert prepared.shape == (7, 1, size, size)
    assert prepared.dtype == np.uint8
    assert set(np.unique(prepared)) == {0, 1}
    restored = geometry.restore(prepared, box)[0]
    assert restored.shape == target.shape
    assert restored.dtype == np.float32
    found, kept = restored > 0.5, target[1:-1].astype(bool)
    assert 2 * (found[1:-1] & kept).sum() / (found[1:-1].sum() + kept.sum()) > 0.9
    centres = [ndimage.center_of_mass(mask) for mask in (found, target)]
    np.testing.assert_allclose(*centres, atol=0.5)


def test_restoring_at_the_raw_size_is_exact(patient):
    image, target = patient
    box = geometry.find_box(image, 39, drop_ends=False, patient="p")
    assert box["stop"][1] - box["start"][1] == 39             # rows, the longer side
    restored = geometry.restore(geometry.prepare_target(target, box), box)[0]
    np.testing.assert_array_equal(restored > 0.5, target)


def test_dropped_slices_and_what_lies_outside_of_the_box_come_back_as_zero(patient):
    image, _ = patient
    box = geometry.find_box(image, 32, drop_ends=True, patient="p")
    restored = geometry.restore(np.ones((7, 1, 32, 32), np.float32), box)[0]
    inside = np.zeros_like(restored, dtype=bool)
    inside[1:8, box["start"][1] : box["stop"][1], box["start"][2] : box["stop"][2]] = True
    assert (restored[~inside] == 0).all()
    assert (restored[inside] > 0.5).all()


def test_restored_probabilities_stay_between_0_and_1(random, patient):
    box = geometry.find_box(patient[0], 32, drop_ends=True, patient="p")
    restored = geometry.restore(random.random((7, 1, 32, 32), dtype=np.float32), box)[0]
    assert restored.min() >= 0
    assert restored.max() <= 1
