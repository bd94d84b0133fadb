import json
import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from course_lib.augment import AUGMENTS, Affine, Compose, Scanner
from course_lib.errors import CourseError
from course_lib.registry import build, describe

SIZE = 64
CENTRE = (SIZE - 1) / 2                                          # of the image, in pixels


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(count: int, seed: int = 0) -> torch.Tensor:
    """The numbers in [0, 1) that affine will draw for scale, rotation and flip, (3, count)."""
    return torch.rand(3, count, generator=generator(seed))


def dots(count: int, x: float, y: float, sigma: float = 2.0) -> torch.Tensor:
    """Images (count, 1, SIZE, SIZE) with a soft dot, x right and y down of the centre."""
    rows, columns = np.indices((SIZE, SIZE)) - CENTRE
    dot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return torch.from_numpy(dot).float().expand(count, 1, SIZE, SIZE)


def centroids(images: torch.Tensor) -> np.ndarray:
    """Where the dots are, (count, 2): x right and y down of the centre."""
    weights = images[:, 0] / images[:, 0].sum(dim=(1, 2), keepdim=True)
    offsets = torch.arange(SIZE) - CENTRE
    x, y = (weights.sum(dim=1) * offsets).sum(dim=1), (weights.sum(dim=2) * offsets).sum(dim=1)
    return torch.stack([x, y], dim=1).numpy()


def directions(images: torch.Tensor) -> np.ndarray:
    """Angles of the dots in degrees, anticlockwise on the screen from the right."""
    x, y = centroids(images).T
    return np.degrees(np.arctan2(-y, x))


def noise(count: int, channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (count, channels, SIZE, SIZE) and targets (count, 1, SIZE, SIZE) uint8."""
    images = torch.rand(count, channels, SIZE, SIZE, generator=generator(7))
    return images, (images[:, :1] > 0.7).to(torch.uint8)


def blobs(count: int) -> torch.Tensor:
    """Targets of smooth shape, the same in all, off the centre."""
    return (dots(count, 6, -9, sigma=8) > 0.5).to(torch.uint8)


def test_no_scale_no_angle_and_no_flip_change_nothing():
    image, target = noise(5)
    moved, moved_target = Affine(scale=0, angle=0, flip=0)(image, target, generator())
    torch.testing.assert_close(moved, image, rtol=0, atol=1e-5)
    assert torch.equal(moved_target, target)


def test_flip_is_an_exact_mirror():
    image, target = noise(5)
    moved, moved_target = Affine(scale=0, angle=0, flip=1)(image, target, generator())
    torch.testing.assert_close(moved, image.flip(3), rtol=0, atol=1e-5)     # left and right
    assert torch.equal(moved_target, target.flip(3))


def test_image_and_target_move_together():
    target = blobs(16)
    image, moved = Affine(scale=0.2, angle=40)(target.float(), target, generator())
    assert (moved != target).any(dim=(1, 2, 3)).all()            # all have moved
    differing = ((image > 0.5) != moved.bool()).sum(dim=(1, 2, 3))
    # Linear and nearest sampling differ in a few pixels of the outline; each target has about 280.
    assert (differing <= 10).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64])
def test_target_keeps_its_type_and_its_two_values(dtype):
    image, target = noise(8)
    _, moved = Affine()(image, target.to(dtype), generator())
    assert moved.dtype == dtype and moved.shape == target.shape
    assert moved.unique().tolist() == [0, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16])
def test_images_come_back_in_float32(dtype):
    image, target = noise(4)
    moved, _ = Affine()(image.to(dtype), target, generator())
    assert moved.dtype == torch.float32 and moved.shape == image.shape
    torch.testing.assert_close(moved, Affine()(image, target, generator())[0], rtol=0, atol=0.01)


def test_inputs_are_left_alone():
    image, target = noise(4)
    before = image.clone(), target.clone()
    Affine()(image, target, generator())
    assert torch.equal(image, before[0]) and torch.equal(target, before[1])


def test_rotation_turns_by_the_drawn_angle():
    angles = 30 * (2 * drawn(12)[1] - 1)                         # degrees
    assert angles.abs().max() > 20
    image, _ = Affine(scale=0, angle=30, flip=0)(dots(12, 18, 0), blobs(12), generator())
    np.testing.assert_allclose(directions(image), angles, atol=0.5)
    np.testing.assert_allclose(np.hypot(*centroids(image).T), 18, atol=0.1)


def test_rotation_is_scipys():
    image = dots(4, 10, 6, sigma=5)
    angles = 40 * (2 * drawn(4)[1] - 1)
    moved, _ = Affine(scale=0, angle=40, flip=0)(image, blobs(4), generator())
    for one, before, angle in zip(moved, image, angles, strict=True):
        expected = ndimage.rotate(before[0].numpy(), float(angle), reshape=False, order=1)
        np.testing.assert_allclose(one[0].numpy(), expected, atol=1e-3)


def test_zoom_above_one_magnifies():
    zoom = 1 + 0.4 * (2 * drawn(12)[0] - 1)
    assert zoom.min() < 0.8 and zoom.max() > 1.2
    image, target = Affine(scale=0.4, angle=0, flip=0)(dots(12, 10, -8), blobs(12), generator())
    np.testing.assert_allclose(centroids(image), zoom[:, None] * torch.tensor([10, -8]), atol=0.1)
    area = target.sum(dim=(1, 2, 3)) / blobs(1).sum()
    torch.testing.assert_close(area, zoom**2, rtol=0.05, atol=0)


def test_scale_comes_first_then_rotation_then_flip():
    zoom, turn, mirror = drawn(16)
    zoom, angle = 1 + 0.2 * (2 * zoom - 1), math.radians(30) * (2 * turn - 1)
    x, y = 12 * zoom, -7 * zoom                                  # scaled
    x, y = (x * torch.cos(angle) + y * torch.sin(angle),         # turned anticlockwise; y is down
            y * torch.cos(angle) - x * torch.sin(angle))
    x = torch.where(mirror < 0.5, -x, x)                         # flipped
    assert 0 < (mirror < 0.5).sum() < 16
    image, _ = Affine(scale=0.2, angle=30, flip=0.5)(dots(16, 12, -7), blobs(16), generator())
    np.testing.assert_allclose(centroids(image), torch.stack([x, y], dim=1), atol=0.1)


def test_the_same_generator_state_gives_the_same_output():
    image, target = noise(4)
    first, again = Affine()(image, target, generator(3)), Affine()(image, target, generator(3))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], Affine()(image, target, generator(4))[0])
    going_on = generator(3)
    Affine()(image, target, going_on)
    assert not torch.equal(first[0], Affine()(image, target, going_on)[0])


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    Affine()(*noise(4), generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_each_image_is_moved_in_its_own_way():
    image = noise(1)[0].expand(6, -1, -1, -1)
    moved, _ = Affine()(image, blobs(6), generator())
    assert all((moved[i] - moved[j]).abs().max() > 0.01 for i in range(6) for j in range(i))


def test_all_channels_of_an_image_are_moved_alike():
    image = noise(4, channels=1)[0].expand(-1, 3, -1, -1)
    moved, _ = Affine()(image, blobs(4), generator())
    assert torch.equal(moved[:, 0], moved[:, 1]) and torch.equal(moved[:, 0], moved[:, 2])


def test_angles_are_even_between_their_ends():
    image, _ = Affine(scale=0, angle=15, flip=0)(dots(400, 24, 0), blobs(400), generator())
    angles = directions(image)
    assert -15.2 < angles.min() < -14 and 14 < angles.max() < 15.2
    shares = np.histogram(angles, bins=4, range=(-15.2, 15.2))[0] / 400
    np.testing.assert_allclose(shares, 0.25, atol=0.07)          # 3 standard errors


def test_scales_are_even_between_their_ends():
    image, _ = Affine(scale=0.05, angle=0, flip=0)(dots(400, 24, 0), blobs(400), generator())
    zoom = centroids(image)[:, 0] / 24
    assert 0.945 < zoom.min() < 0.955 and 1.045 < zoom.max() < 1.055
    shares = np.histogram(zoom, bins=4, range=(0.95, 1.05))[0] / 400
    np.testing.assert_allclose(shares, 0.25, atol=0.07)


@pytest.mark.parametrize("flip", [0.0, 0.2, 0.5, 1.0])
def test_flips_are_as_frequent_as_asked_for(flip):
    image, _ = Affine(scale=0, angle=0, flip=flip)(dots(400, 20, 3), blobs(400), generator())
    share = (centroids(image)[:, 0] < 0).mean()
    assert share == pytest.approx(flip, abs=0.08 if 0 < flip < 1 else 0)


def test_zero_comes_in_from_outside():
    zoom = 1 + 0.5 * (2 * drawn(8)[0] - 1)
    assert zoom.min() < 0.8 and zoom.max() > 1.2
    image = torch.ones(8, 2, SIZE, SIZE)
    target = torch.ones(8, 1, SIZE, SIZE, dtype=torch.uint8)
    moved, moved_target = Affine(scale=0.5, angle=0, flip=0)(image, target, generator())
    for one, one_target, factor in zip(moved, moved_target, zoom, strict=True):
        for picture in (one[0], one_target[0]):
            assert picture[SIZE // 2, SIZE // 2] == 1
            if abs(factor - 1) > 0.05:                           # else the corner is half in
                assert picture[0, 0] == (factor > 1)
            share = min(1, float(factor)) ** 2                   # the frame keeps its size
            assert picture.float().mean() == pytest.approx(share, abs=0.06)


@pytest.mark.parametrize("augment", [
    Affine(scale=0.1, angle=20.0, flip=0.0), Scanner(0.1, 0.2, 0.0),
    Compose([Affine(), Compose([Scanner(gain=0.5), Affine(flip=0.0)])])])
def test_an_augmentation_is_rebuilt_from_its_description(augment):
    assert build(json.loads(json.dumps(describe(augment))), AUGMENTS) == augment


@pytest.mark.parametrize("kind, bad", [
    (Affine, {"scale": -0.1}), (Affine, {"scale": 1.0}), (Affine, {"angle": math.nan}),
    (Affine, {"flip": 1.5}), (Affine, {"flip": "0.5"}), (Scanner, {"gain": -1}),
    (Scanner, {"bias": None}), (Compose, {"steps": Affine()}), (Compose, {"steps": [Affine]})])
def test_an_argument_that_cannot_work_is_named(kind, bad):
    with pytest.raises(CourseError, match=f"augment.{kind.__name__}: {next(iter(bad))}="):
        kind(**bad)


def test_several_labels_keep_their_values():
    target = torch.zeros(4, 1, SIZE, SIZE, dtype=torch.uint8)
    target[..., 10:30, 10:30], target[..., 30:50, 20:50] = 1, 3
    _, moved = Affine(angle=90.0)(torch.zeros(4, 1, SIZE, SIZE), target, generator())
    assert moved.unique().tolist() == [0, 1, 3] and moved.dtype == torch.uint8


def test_scanner_without_amounts_changes_nothing_but_the_type():
    image, target = torch.randn(2, 3, 16, 16).half(), torch.ones(2, 1, 16, 16, dtype=torch.uint8)
    moved, same = Scanner(0, 0, 0)(image, target, generator())
    assert moved.dtype == torch.float32 and torch.equal(moved, image.float()) and same is target


def test_shift_moves_each_channel_by_a_constant_of_its_own():
    image = torch.randn(400, 3, 8, 8)
    moved, _ = Scanner(gain=0, shift=0.3, bias=0)(image, None, generator())
    offsets = (moved - image).flatten(2)
    assert offsets.std(dim=-1).max() < 1e-6
    offsets = offsets.mean(dim=-1)                       # (400, 3): even in [-0.3, 0.3]
    assert offsets.abs().max() <= 0.3 + 1e-6 and abs(offsets.std() - 0.3 / 3 ** 0.5) < 0.01
    assert torch.corrcoef(offsets.T)[0, 1].abs() < 0.2   # channels are independent


def test_gain_stretches_about_zero():
    image = torch.randn(400, 3, 8, 8)
    moved, _ = Scanner(gain=0.3, shift=0, bias=0)(image, None, generator())
    factors = (moved / image).flatten(2)
    assert (factors.amax(dim=-1) - factors.amin(dim=-1)).max() < 1e-4
    assert factors.min() >= 0.7 - 1e-4 and factors.max() <= 1.3 + 1e-4 and factors.std() > 0.15


def test_bias_is_smooth_over_the_slice_and_not_constant():
    moved, _ = Scanner(gain=0, shift=0, bias=0.3)(torch.ones(8, 1, 64, 64), None, generator())
    field = moved - 1
    assert field.flatten(1).std(dim=1).min() > 0.02
    assert field.diff(dim=-1).abs().max() < 0.05         # 0.6 over 32 pixels, cubic: about 0.03


def test_a_chain_applies_all_in_order_from_one_generator():
    image, target = torch.randn(2, 1, 16, 16), torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    both = Compose([Affine(), Scanner()])
    one = generator(5)
    expected = Scanner()(*Affine()(image, target, one), one)
    moved = both(image, target, generator(5))
    assert torch.equal(moved[0], expected[0]) and torch.equal(moved[1], expected[1])


def test_slices_that_are_not_square_are_refused_for_they_would_be_sheared():
    with pytest.raises(CourseError, match=r"\(1, 1, 8, 16\).*square"):
        Affine()(torch.zeros(1, 1, 8, 16), torch.zeros(1, 1, 8, 16), generator())
