import doctest
import math

import numpy as np
import pytest
import torch
from skimage import measure

from course_lib import metrics
from course_lib.errors import CourseError
from course_lib.metrics import deepest_component, dsc, iou, largest_component

PREDICTION = np.array([[1, 1, 0], [1, 0, 0]], np.uint8)
TARGET = np.array([[1, 0, 0], [1, 1, 1]], np.uint8)
EMPTY = np.zeros((2, 3), np.uint8)


@pytest.fixture(params=range(4))
def pair(request) -> tuple[np.ndarray, np.ndarray]:
    """Two overlapping random masks of a volume, of quite different sizes."""
    random = np.random.default_rng(request.param)
    target = random.random((6, 11, 9)) < 0.1 + 0.2 * request.param
    return target ^ (random.random(target.shape) < 0.2), target


def test_scores_by_hand():
    # |P| = 3, |T| = 4, |P ∩ T| = 2, |P ∪ T| = 5
    assert dsc(PREDICTION, TARGET) == 2 * 2 / (3 + 4)
    assert iou(PREDICTION, TARGET) == 2 / 5


@pytest.mark.parametrize("score", [dsc, iou])
def test_a_perfect_prediction_scores_one(score):
    assert score(TARGET, TARGET) == 1
    assert score(np.ones((2, 3), bool), np.ones((2, 3), bool)) == 1


@pytest.mark.parametrize("score", [dsc, iou])
def test_masks_that_do_not_meet_score_zero(score):
    assert score(TARGET, 1 - TARGET) == 0


@pytest.mark.parametrize("score", [dsc, iou])
def test_two_empty_masks_score_nan_or_what_is_asked_for(score):
    assert math.isnan(score(EMPTY, EMPTY))
    assert score(EMPTY, EMPTY, empty=1.0) == 1
    assert math.isnan(score(np.zeros((0, 4), bool), np.zeros((0, 4), bool)))


@pytest.mark.parametrize("score", [dsc, iou])
def test_empty_target_with_false_positives_scores_zero(score):
    assert score(PREDICTION, EMPTY, empty=1.0) == 0


@pytest.mark.parametrize("score", [dsc, iou])
def test_empty_prediction_of_a_target_scores_zero(score):
    assert score(EMPTY, TARGET, empty=1.0) == 0


@pytest.mark.parametrize("score", [dsc, iou])
@pytest.mark.parametrize("make", [
    torch.from_numpy, lambda mask: torch.from_numpy(mask).bool(), lambda mask: mask.astype(bool),
    lambda mask: mask.astype(np.int64), lambda mask: torch.from_numpy(mask).long(),
    np.ndarray.tolist])
def test_tensors_arrays_and_lists_of_any_whole_type_score_alike(score, make):
    assert score(make(PREDICTION), make(TARGET)) == score(PREDICTION, TARGET)
    assert score(make(PREDICTION), TARGET) == score(PREDICTION, TARGET)
    assert type(score(make(PREDICTION), make(TARGET))) is float


@pytest.mark.parametrize("score", [dsc, iou])
def test_large_masks_do_not_overflow(score):
    everything = np.ones((40, 20, 20), np.uint8)                 # 16,000 voxels, in uint8
    assert score(everything, everything) == 1


@pytest.mark.parametrize(("score", "name"), [(dsc, "dsc"), (iou, "iou")])
@pytest.mark.parametrize("wrong", [
    TARGET / 2, TARGET.astype(np.float32), torch.rand(2, 3), 255 * TARGET, 2 * TARGET,
    torch.tensor([[0, 1, 2], [0, 0, 0]]), -TARGET.astype(np.int8)])
def test_probabilities_and_label_maps_are_refused(score, name, wrong):
    for arguments in ((wrong, TARGET), (TARGET, wrong)):
        with pytest.raises(CourseError, match=f"metrics.{name}: {name} takes masks of 0 and 1, got "
                                              "probabilities or a label map. Threshold first"):
            score(*arguments)


@pytest.mark.parametrize("score", [dsc, iou])
def test_masks_on_different_grids_are_refused(score):
    with pytest.raises(CourseError, match=r"prediction has shape \(2, 3\), target \(1, 2, 3\)"):
        score(PREDICTION, TARGET[None])                          # numpy would broadcast these


def test_scores_agree_with_medpy(pair):
    from medpy.metric import binary

    assert dsc(*pair) == pytest.approx(binary.dc(*pair), abs=1e-12)
    assert iou(*pair) == pytest.approx(binary.jc(*pair), abs=1e-12)


def test_scores_agree_with_monai(pair):
    from monai.metrics import DiceMetric, compute_iou

    prediction, target = (torch.from_numpy(mask)[None, None].float() for mask in pair)
    assert dsc(*pair) == pytest.approx(DiceMetric()(prediction, target).item(), abs=1e-6)
    assert iou(*pair) == pytest.approx(compute_iou(prediction, target).item(), abs=1e-6)


def test_iou_follows_from_dsc(pair):
    score = dsc(*pair)
    assert 0 < score < 1                                         # else the formula says nothing
    assert iou(*pair) == pytest.approx(score / (2 - score), abs=1e-12)


def test_scores_are_symmetric(pair):
    prediction, target = pair
    assert dsc(prediction, target) == dsc(target, prediction)
    assert iou(prediction, target) == iou(target, prediction)


def test_examples_in_the_docstrings_are_true():
    found = doctest.testmod(metrics)
    assert found.attempted >= 1 and found.failed == 0


def test_largest_component_by_hand():
    mask = np.array([[1, 1, 0, 0, 1],
                     [0, 0, 0, 1, 1],
                     [1, 0, 0, 0, 1]], np.uint8)                 # parts of 2, 4 and 1
    expected = np.array([[0, 0, 0, 0, 1],
                         [0, 0, 0, 1, 1],
                         [0, 0, 0, 0, 1]], np.uint8)
    assert np.array_equal(largest_component(mask), expected)


def test_corners_do_not_join_in_2d():
    mask = np.array([[1, 1, 0],
                     [0, 0, 1],
                     [0, 0, 1]], bool)                           # two parts of 2, by a corner
    assert largest_component(mask).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(("second", "kept"), [
    ((0, 0, 1), 3), ((0, 1, 0), 3), ((1, 0, 0), 3),              # by a face
    ((0, 1, 1), 2), ((1, 0, 1), 2), ((1, 1, 0), 2),              # by an edge
    ((1, 1, 1), 2)])                                             # by a corner
def test_only_faces_join_in_3d(second, kept):
    mask = np.zeros((4, 4, 4), np.uint8)
    mask[1, 1, 0:2] = 1                                          # two voxels, one at (1, 1, 1)
    mask[tuple(1 + np.array(second))] = 1
    assert largest_component(mask).sum() == kept


def test_the_deepest_component_is_that_of_more_slices_not_the_larger_flat_one():
    mask = np.zeros((6, 10, 10), np.uint8)
    mask[1:4, 1:4, 1:4] = 1                                      # 27 voxels, 3 · 9^¼ = 5.2
    mask[5, 1:9, 1:9] = 1                                        # 64 voxels, 64^¼ = 2.8
    assert largest_component(mask).sum() == 64
    kept = deepest_component(mask)
    assert kept.sum() == 27 and kept[1:4].sum() == 27 and kept.dtype == mask.dtype
    assert mask.sum() == 27 + 64


def test_a_thread_of_a_few_more_slices_is_not_deeper_than_a_tumour():
    mask = np.zeros((8, 10, 10), bool)
    mask[:5, 9, 9] = True                                        # 5 slices of one pixel: 5
    mask[2:5, 1:5, 1:5] = True                                   # 3 slices of 16: 3 · 2 = 6
    assert deepest_component(mask).sum() == 48


def test_in_one_slice_the_deepest_component_is_the_largest():
    mask = np.array([[[1, 1, 0, 0, 1], [0, 0, 0, 1, 1], [1, 0, 0, 0, 1]]], np.uint8)
    assert np.array_equal(deepest_component(mask), largest_component(mask))
    assert not deepest_component(np.zeros((3, 4, 4), bool)).any()


def test_the_first_of_equally_large_parts_is_kept():
    mask = np.array([0, 1, 1, 0, 1, 1, 0, 1], bool)[None]
    assert largest_component(mask).tolist() == [[0, 1, 1, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
def test_an_empty_mask_stays_empty_and_a_full_one_full(shape):
    assert not largest_component(np.zeros(shape, np.uint8)).any()
    assert largest_component(np.ones(shape, np.uint8)).all()


@pytest.mark.parametrize("shape", [(24, 31), (7, 12, 11)])
@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
def test_largest_component_agrees_with_skimage(shape, share):
    mask = np.random.default_rng(3).random(shape) < share
    labels = measure.label(mask, connectivity=1)
    sizes = np.bincount(labels[labels > 0])
    found = largest_component(mask)
    assert found.sum() == sizes.max() < mask.sum()
    assert len(np.unique(labels[found])) == 1 and not found[~mask].any()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
@pytest.mark.parametrize("parts", [0, 1, 2])
def test_largest_component_keeps_the_type_and_leaves_its_input_alone(dtype, parts):
    mask = np.zeros((3, 6), dtype)
    mask[0, : 2 * parts : 2] = 1
    before = mask.copy()
    found = largest_component(mask)
    assert found.dtype == mask.dtype and found.shape == mask.shape
    found[:] = 1
    assert np.array_equal(mask, before)


def test_largest_component_takes_a_tensor():
    found = largest_component(torch.tensor([[1, 0, 1, 1]], dtype=torch.uint8))
    assert isinstance(found, np.ndarray) and found.dtype == np.uint8
    assert found.tolist() == [[0, 0, 1, 1]]
