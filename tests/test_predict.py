"""From a run folder to masks on the original grid, and to scores per patient worked out by hand."""

import csv
import dataclasses
import math
import os
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from conftest import write_patient
from PIL import Image
from torch import nn
from writing import write_config

from course_lib import losses, models, predict, show, train
from course_lib.compute import Compute
from course_lib.data import Prepared, SliceDataset, geometry, read_patient
from course_lib.errors import CourseError, DataError
from course_lib.predict import exporting, labels, stored

CPU = torch.device("cpu")
PREPARATION = {"kind": "slices", "size": 32, "drop_ends": True}
pytestmark = pytest.mark.usefixtures("on_the_cpu")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Four patients of 6, 5, 6, 5 raw slices of 48x40, the last without tumour."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(1, 5):
        write_patient(folder, f"TEST_{number}", slices=5 + number % 2, seed=number,
                      tumour=number < 4)
    return SliceDataset(folder, size=32)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, whole):
    """The folder of a finished run. Only looked at; tests that change it copy it."""
    torch.manual_seed(0)
    config = train.TrainConfig(epochs=2, batch_size=2, learning_rate=0.01)
    return train.fit(models.UNet(3, 1, features=2), whole.subset(whole.patients[:2]),
                     whole.subset(whole.patients[2:]), loss=losses.BCEDice(), augment=None,
                     config=config, folder=tmp_path_factory.mktemp("runs") / "run",
                     compute=Compute("channels_last", "float32")).folder


class Bright(nn.Module):
    """Tumour is where FLAIR is bright. No parameters; logits are 10 and -10."""

    def __init__(self, threshold=0.5):
        super().__init__()
        self.threshold = threshold

    def forward(self, image):
        return torch.where(image[:, 1:2] > self.threshold, 10.0, -10.0)


def square_patient(folder, name="SQUARE"):
    """Five slices of 32x32 without background, so that the prepared grid at size 32 is the raw one.

    In slices 1 to 4 the target is 12x12; of it 12x10 is bright in FLAIR, in slices 2 to 5. A second
    bright part of 3x3 lies in slices 2 to 4 elsewhere. Preparation drops slices 1 and 5.
    """
    (folder / name).mkdir(parents=True)
    for number in range(1, 6):
        image, target = np.full((32, 32, 3), 100, np.uint8), np.zeros((32, 32), np.uint8)
        if number > 1:
            image[4:16, 4:14, 1] = 200
        if 1 < number < 5:
            image[24:27, 24:27, 1] = 200
        if number < 5:
            target[4:16, 4:16] = 255
        tifffile.imwrite(folder / name / f"{name}_{number}.tif", image, photometric="rgb")
        tifffile.imwrite(folder / name / f"{name}_{number}_mask.tif", target)
    return folder / name


def bright(folder=None, **changes):
    return predict.Predictor(Bright(**changes), PREPARATION, folder=folder)


# --- logits ---

def test_logits_come_in_order_whatever_the_batch_size():
    images = torch.randn(7, 3, 16, 16).half()
    model = nn.Conv2d(3, 1, 1)
    alone = torch.cat([model(image[None].float()) for image in images]).detach()
    for batch_size in (1, 3, 7, 32):
        logits = predict.predict_logits(model, images, batch_size=batch_size)
        assert logits.dtype == torch.float32 and not logits.requires_grad
        assert torch.allclose(logits, alone, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_prediction_is_in_eval_mode_and_the_mode_comes_back(training):
    model = nn.Sequential(nn.Conv2d(3, 1, 1), nn.BatchNorm2d(1), nn.Dropout(0.5)).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.randn(4, 3, 8, 8)
    first, second = (predict.predict_logits(model, images) for _ in range(2))
    assert torch.equal(first, second) and model.training == training
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


def test_a_network_without_parameters_predicts():
    logits = predict.predict_logits(Bright(0.0), torch.tensor([-1.0, 1.0]).expand(1, 3, 2, 2))
    assert logits.tolist() == [[[[-10.0, 10.0], [-10.0, 10.0]]]]


def test_mixed_precision_rounds_inside_and_returns_float32():
    model, images = nn.Conv2d(3, 1, 1), torch.randn(2, 3, 8, 8)
    exact = predict.predict_logits(model, images)
    rounded = predict.predict_logits(model, images, compute=Compute(precision="bfloat16"))
    assert rounded.dtype == torch.float32 and not torch.equal(rounded, exact)
    assert torch.allclose(rounded, exact, atol=0.05)


# --- DSC on the prepared grid ---

def test_prepared_dsc_by_hand():
    """Three patients of two 8x8 slices; the target is 2x4 pixels in each slice of the first two.

    a: found in one slice, 8 of 16 pixels, and an island of 1 pixel that is not the largest part:
    2·8 / (8 + 16) = 2/3. b: found whole, 16, and 8 more beside it: 2·16 / (24 + 16) = 0.8.
    c: nothing there, nothing found: NaN.
    """
    targets, logits = torch.zeros(6, 1, 8, 8, dtype=torch.uint8), torch.full((6, 1, 8, 8), -3.0)
    targets[:4, :, 2:4, 2:6] = 1
    logits[0, :, 2:4, 2:6] = 3
    logits[1, :, 7, 7] = 3
    logits[2:4, :, 2:4, 2:6] = 3
    logits[2, :, 4:6, 2:6] = 3
    rows = {"a": slice(0, 2), "b": slice(2, 4), "c": slice(4, 6)}
    dataset = SimpleNamespace(patients=list(rows), labels={"tumour": 1}, prepared=lambda name:
                              Prepared(logits[rows[name]], targets[rows[name]], {}))
    scores = predict.prepared_dsc(nn.Identity(), dataset)
    assert list(scores) == ["a", "b", "c"]
    assert scores["a"] == pytest.approx(2 / 3) and scores["b"] == pytest.approx(0.8)
    assert math.isnan(scores["c"])
    whole = predict.prepared_dsc(nn.Identity(), dataset, postprocess=None)
    assert whole["a"] == pytest.approx(2 * 8 / (9 + 16)) and whole["b"] == pytest.approx(0.8)


# --- from numbers to labels ---

def test_one_channel_has_a_sigmoid_and_a_threshold_several_a_softmax_and_the_likeliest():
    logits = torch.tensor([[[-1.0, 0.0, 1.0]]])                            # (1, 1, 3)
    probabilities = predict.to_probabilities(logits)
    assert torch.allclose(probabilities, torch.sigmoid(logits))
    assert predict.to_labels(probabilities).tolist() == [[[0, 0, 1]]]
    logits = torch.tensor([[[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 5.0]]])   # (1, 3, 3)
    probabilities = predict.to_probabilities(logits)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(1, 3))
    decided = predict.to_labels(probabilities)
    assert decided.tolist() == [[[0, 1, 2]]] and decided.dtype == torch.uint8


@pytest.mark.parametrize("shape, names, fits", [
    ((2, 1, 4, 4), {"a": 1}, True), ((2, 2, 4, 4), {"a": 1}, False),
    ((2, 3, 4, 4), {"a": 1, "b": 2}, True), ((2, 2, 4, 4), {"a": 1, "b": 2}, False),
    ((2, 1), {"a": 1}, False)])
def test_channels_fit_the_labels_or_are_refused(shape, names, fits):
    if fits:
        labels.check_channels(torch.zeros(shape), names, "here")
    else:
        with pytest.raises(CourseError, match=r"here: the network returned \(2.*output channel"):
            labels.check_channels(torch.zeros(shape), names, "here")


def test_the_largest_piece_of_each_label_is_kept():
    mask = np.array([[1, 1, 0, 2], [0, 0, 0, 0], [1, 0, 2, 2]], np.uint8)
    assert labels.apply_postprocess(mask, "largest_component").tolist() == [
        [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 2, 2]]
    assert labels.apply_postprocess(mask, None) is mask
    full = np.ones((2, 2), np.uint8)
    assert labels.apply_postprocess(full, "largest_component").tolist() == full.tolist()


def test_the_deepest_piece_of_each_label_is_kept_where_it_is_asked_for():
    mask = np.zeros((4, 6, 6), np.uint8)
    mask[:3, :2, :2], mask[3, 2:6, 2:6] = 1, 1                   # 12 voxels, depth 4.2; 16, depth 2
    mask[:2, 5, 5], mask[0, 5, 0:4] = 2, 2                       # 2 voxels, depth 2; 4, depth 1.4
    kept = labels.apply_postprocess(mask, "deepest_component")
    assert (kept == 1).sum() == 12 and not kept[3].any()
    assert labels.apply_postprocess(mask, "largest_component")[3].sum() == 16


def test_a_predictor_whose_network_has_other_channels_is_refused(whole):
    two = predict.Predictor(models.UNet(3, 2, features=2), PREPARATION)
    with pytest.raises(CourseError, match="Predictor.predict: the network returned .*1 output"):
        predict.evaluate(two, whole)
    with pytest.raises(CourseError, match="data set's labels are .*, the predictor's"):
        predict.evaluate(predict.Predictor(Bright(), PREPARATION, {"x": 1}), whole)
    with pytest.raises(CourseError, match="postprocess='largest'"):
        predict.Predictor(Bright(), PREPARATION, postprocess="largest")


# --- one patient, on the original grid ---

def test_score_on_the_original_grid_by_hand(tmp_path):
    """Target 12·12 in slices 1-4: 576. Found 12·10 in slices 2-4: 360, all of it inside.

    DSC 2·360 / (576 + 360) = 0.769, IoU 360 / 576 = 0.625. The dropped slices 1 and 5 count as
    background, and the 3x3 part is not the largest.
    """
    found = bright().patient(square_patient(tmp_path))
    expected = np.zeros((5, 32, 32), np.uint8)
    expected[1:4, 4:16, 4:14] = 1
    assert found.mask.dtype == np.uint8 and np.array_equal(found.mask, expected)
    row, = predict.scores({"SQUARE": found})
    assert row == {"patient": "SQUARE", "label": "tumour", "dsc": pytest.approx(720 / 936),
                   "iou": 0.625, "target_voxels": 576, "predicted_voxels": 360}
    assert all(type(row[name]) is int for name in ("target_voxels", "predicted_voxels"))


def test_a_patient_comes_back_on_the_grid_of_its_files(whole):
    raw = read_patient(whole.folder / "TEST_1")
    found = bright().patient(whole.folder / "TEST_1")
    assert found.patient == "TEST_1" and found.slices == [1, 2, 3, 4, 5, 6]
    assert found.mask.shape == found.target.shape == (6, 48, 40)
    assert found.probabilities.shape == (1, 6, 48, 40)
    assert np.array_equal(found.image, raw.image) and np.array_equal(found.target, raw.target)
    assert found.probabilities.dtype == np.float32
    assert found.probabilities.min() >= 0 and found.probabilities.max() <= 1
    assert found.mask[1:-1].any() and set(np.unique(found.mask)) == {0, 1}
    assert not found.mask[[0, -1]].any() and not found.probabilities[0, [0, -1]].any()


def test_the_mask_is_probabilities_above_a_half_and_its_largest_part(tmp_path):
    found = bright().patient(square_patient(tmp_path))
    above = found.probabilities[0] > 0.5
    assert above[1:4, 24:27, 24:27].all() and not found.mask[:, 24:27, 24:27].any()
    assert above.sum() == found.mask.sum() + 27


def test_a_patient_without_masks_is_predicted_the_same(whole, tmp_path):
    folder = shutil.copytree(whole.folder / "TEST_1", tmp_path / "TEST_1")
    for path in folder.glob("*_mask.tif"):
        path.unlink()
    with pytest.raises(DataError, match="the mask is missing"):
        bright().patient(folder)
    found = bright().patient(folder, with_target=False)
    assert found.target is None
    assert np.array_equal(found.mask, bright().patient(whole.folder / "TEST_1").mask)
    with pytest.raises(CourseError, match="TEST_1: there is no target to score against. "
                                          "Predict it with its masks"):
        predict.scores({"TEST_1": found})


def test_all_slices_are_predicted_where_the_preparation_drops_none(tmp_path):
    predictor = predict.Predictor(Bright(), PREPARATION | {"drop_ends": False})
    found = predictor.patient(square_patient(tmp_path))
    assert found.mask[4].sum() == 120 and found.mask[0].sum() == 0      # slice 1 is not bright


# --- tables ---

def test_evaluate_writes_a_row_per_patient_and_nan_where_there_is_nothing(whole, tmp_path):
    table = predict.evaluate(bright(tmp_path, threshold=99.0), whole)       # finds nothing at all
    assert [row["patient"] for row in table] == whole.patients
    assert [row["dsc"] for row in table[:3]] == [0, 0, 0]
    assert math.isnan(table[3]["dsc"]) and math.isnan(table[3]["iou"])
    with open(tmp_path / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["patient", "label", "dsc", "iou", "target_voxels", "predicted_voxels"]
    assert [row["patient"] for row in rows] == whole.patients and rows[3]["dsc"] == "nan"
    assert [int(row["target_voxels"]) for row in rows] == [row["target_voxels"] for row in table]
    assert table[0]["target_voxels"] == 4 * 10 * 10                        # lesion of 10x10 px


def test_false_positives_in_a_patient_without_tumour_score_zero(whole):
    table = predict.evaluate(bright(threshold=-99.0), whole.subset(["TEST_4"]))
    assert table[0]["dsc"] == 0 and table[0]["predicted_voxels"] > 0


def test_evaluate_without_a_run_folder_writes_nothing(whole, monkeypatch):
    monkeypatch.setattr("course_lib.tables.write_atomically", lambda *_: pytest.fail("it writes"))
    assert len(predict.evaluate(bright(), whole)) == 4


def test_evaluate_scores_what_predict_all_predicts(whole):
    predictions = predict.predict_all(bright(), whole)
    assert list(predictions) == whole.patients
    table, expected = predict.evaluate(bright(), whole), predict.scores(predictions)
    assert repr(table) == repr(expected)


# --- a run, loaded from its folder ---

def test_load_needs_nothing_but_the_folder_and_predicts_as_by_hand(finished, whole, tmp_path):
    moved = shutil.copytree(finished, tmp_path / "elsewhere")
    found = predict.load(str(moved)).patient(whole.folder / "TEST_1")

    model = models.UNet(3, 1, features=2).eval()
    model.load_state_dict(torch.load(finished / "best.pt", weights_only=True)["model"])
    raw = read_patient(whole.folder / "TEST_1")
    box = geometry.find_box(raw.image, 32, True, "")
    with torch.no_grad():
        logits = model(torch.from_numpy(geometry.prepare_image(raw.image, box)).float())
    by_hand = geometry.restore(torch.sigmoid(logits).numpy(), box)
    assert np.allclose(found.probabilities, by_hand, atol=1e-5)
    assert 0.01 < by_hand[0, 1:-1].mean() < 0.99                              # it says something


def test_a_loaded_run_is_in_eval_mode_with_its_own_preparation_layout_and_folder(finished):
    predictor = predict.load(finished)
    assert not predictor.model.training and predictor.folder == finished
    assert predictor.preparation == PREPARATION and predictor.labels == {"tumour": 1}
    assert predictor.compute == Compute("channels_last", "float32", True)
    assert predictor.postprocess == "largest_component"
    weight = next(part for part in predictor.model.enc2.parameters() if part.ndim == 4)
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


def change_config(folder, **changes):
    config = stored.read_config(folder)
    write_config(folder, config | {name: config[name] | values if isinstance(values, dict)
                                   else values for name, values in changes.items()})
    return folder


def test_a_run_from_another_kind_of_device_is_predicted_in_float32(finished, tmp_path):
    folder = change_config(shutil.copytree(finished, tmp_path / "run"),
                           compute={"precision": "bfloat16"})
    assert predict.load(folder).compute.precision == "bfloat16"
    predictor = predict.load(change_config(folder, compute={"device": "cuda"}))
    assert predictor.compute.precision == "float32"


def test_what_is_done_afterwards_is_stored_with_the_run(finished, tmp_path):
    folder = change_config(shutil.copytree(finished, tmp_path / "run"), postprocess=None)
    found = predict.load(folder)
    assert found.postprocess is None
    changed = dataclasses.replace(found, model=Bright())
    assert changed.patient(square_patient(tmp_path)).mask[:, 24:27, 24:27].any()


def test_an_unknown_network_is_asked_for_and_taken(finished, tmp_path, whole):
    folder = change_config(shutil.copytree(finished, tmp_path / "run"),
                           model={"name": "UNet", "module": "homework"})
    with pytest.raises(CourseError, match=r"homework\.UNet is not one of .*UNet.*ass it: model="):
        predict.load(folder)
    mine = models.UNet(3, 1, features=2)
    predictor = predict.load(folder, model=mine)
    assert predictor.model is mine
    weights = torch.load(folder / "best.pt", weights_only=True)["model"]
    assert all(torch.equal(value, weights[name]) for name, value in mine.state_dict().items())


@pytest.mark.parametrize("name", ["config.json", "best.pt"])
def test_a_folder_without_a_whole_run_is_refused(finished, tmp_path, name):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / name).unlink()
    with pytest.raises(CourseError, match=f"there is no {name}"):
        predict.load(folder)


def test_weights_of_another_network_are_refused(finished):
    with pytest.raises(CourseError, match=r"best\.pt: these are the weights of another network. "
                                          "Pass the network that was trained"):
        predict.load(finished, model=models.UNet(3, 1, features=4))


def test_evaluate_of_a_loaded_run_puts_scores_csv_into_its_folder(finished, whole, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    predict.evaluate(predict.load(folder), whole.subset(["TEST_3"]))
    assert (folder / "scores.csv").read_text().startswith("patient,label,dsc,iou,")


# --- export ---

def test_export_writes_a_picture_and_a_mask_per_slice_and_one_zip(whole, tmp_path):
    predictions = predict.predict_all(bright(), whole.subset(["TEST_1", "TEST_4"]))
    archive = predict.export(predictions, tmp_path / "run")
    home = tmp_path / "run" / "predictions"
    assert archive == tmp_path / "run" / "predictions.zip"
    names = {path.relative_to(home).as_posix() for path in home.rglob("*.png")}
    assert names == {f"{name}/{name}_{number}_{kind}.png" for name, count in
                     (("TEST_1", 6), ("TEST_4", 5)) for number in range(1, count + 1)
                     for kind in ("outlined", "mask")}
    mask = np.asarray(Image.open(home / "TEST_1" / "TEST_1_3_mask.png"))
    assert np.array_equal(mask, predictions["TEST_1"].mask[2] * 255) and mask.max() == 255
    with Image.open(home / "TEST_1" / "TEST_1_3_outlined.png") as picture:
        assert picture.size == (80, 96) and picture.mode == "RGB"              # zoomed twofold
    with zipfile.ZipFile(archive) as packed:
        assert sorted(packed.namelist()) == sorted(names)
        assert packed.read("TEST_1/TEST_1_3_mask.png") == (
            home / "TEST_1" / "TEST_1_3_mask.png").read_bytes()


def test_outlines_are_those_of_the_prediction_and_of_the_target(tmp_path, monkeypatch):
    shown = []

    def overlay(image, prediction, target, window):
        shown.append((image, prediction, target, window))
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(exporting.show, "overlay", overlay)
    found = bright().patient(square_patient(tmp_path))
    predict.export({"SQUARE": found}, tmp_path)
    image, prediction, target, window = shown[2]
    assert window == show.find_window(found.image[..., 1]) == shown[0][-1]     # of all slices
    assert np.array_equal(image, found.image[2, :, :, 1])                      # FLAIR
    assert prediction.sum() == 120 and target.sum() == 144


def test_exporting_again_replaces_what_was_there(whole, tmp_path):
    predictions = predict.predict_all(bright(), whole.subset(["TEST_1", "TEST_2"]))
    predict.export(predictions, tmp_path)
    (tmp_path / "scores.csv").touch()
    raw = dataclasses.replace(predictions["TEST_1"].raw, slices=[1, 2])
    shorter = dataclasses.replace(predictions["TEST_1"], raw=raw)
    (tmp_path / "predictions" / "TEST_2" / "notes.txt").write_text("mine")
    archive = predict.export({"TEST_1": shorter}, tmp_path)
    names = {path.name for path in (tmp_path / "predictions").rglob("*.png")}
    assert names == {f"TEST_1_{number}_{kind}.png" for number in (1, 2)
                     for kind in ("outlined", "mask")}
    with zipfile.ZipFile(archive) as packed:
        assert len(packed.namelist()) == 4
    assert (tmp_path / "predictions" / "TEST_2" / "notes.txt").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"predictions", "predictions.zip",
                                                          "scores.csv"}


def test_export_leaves_alone_what_it_did_not_write(whole, tmp_path):
    """A folder of the reader's own that is called predictions, and a picture in the way."""
    predictions, home = predict.predict_all(bright(), whole.subset(["TEST_1"])), tmp_path
    (home / "predictions" / "TEST_1").mkdir(parents=True)
    (home / "predictions" / "thesis.txt").write_text("mine")
    predict.export(predictions, home)
    assert (home / "predictions" / "thesis.txt").read_text() == "mine"
    (home / "other" / "predictions" / "TEST_1").mkdir(parents=True)
    mine = home / "other" / "predictions" / "TEST_1" / "TEST_1_3_mask.png"
    mine.write_bytes(b"mine")
    with pytest.raises(CourseError, match="TEST_1_3_mask.png is there already, and no export"):
        predict.export(predictions, home / "other")
    assert mine.read_bytes() == b"mine"


def test_an_export_that_fails_leaves_the_old_zip_and_can_be_repeated(whole, tmp_path, monkeypatch):
    predictions = predict.predict_all(bright(), whole.subset(["TEST_1"]))
    archive = predict.export(predictions, tmp_path)
    before, calls = archive.read_bytes(), []

    def full(path, write, durable=True):
        calls.append(path)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")
        write_atomically(path, write, durable)

    write_atomically = exporting.write_atomically
    monkeypatch.setattr(exporting, "write_atomically", full)
    with pytest.raises(CourseError, match="predictions: predictions cannot be written"):
        predict.export(predictions, tmp_path)
    assert archive.read_bytes() == before
    monkeypatch.setattr(exporting, "write_atomically", write_atomically)
    predict.export(predictions, tmp_path)
    assert len(list((tmp_path / "predictions").rglob("*.png"))) == 12


def test_a_patient_without_target_is_exported_too(tmp_path):
    found = bright().patient(square_patient(tmp_path), with_target=False)
    predict.export({"SQUARE": found}, tmp_path / "run")
    assert len(list((tmp_path / "run" / "predictions" / "SQUARE").iterdir())) == 10


def test_another_checkpoint_in_the_place_of_the_best_is_refused(finished, tmp_path):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    shutil.copy(run / "last.pt", run / "best.pt")
    with pytest.raises(CourseError, match="best.pt is not of the best epoch. Delete it and call"):
        predict.load(run)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with a name")
@pytest.mark.parametrize("name", ["config.json", "best.pt"])
def test_a_pipe_in_a_run_folder_is_not_waited_for(finished, tmp_path, name):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    (run / name).unlink()
    os.mkfifo(run / name)
    with pytest.raises(CourseError, match="cannot be read|there is no best.pt"):
        predict.load(run)


@pytest.mark.parametrize("folder", [None, 3, b"run", "a\0b", "~no-such-user/run"])
def test_what_is_no_path_of_a_run_is_refused(folder):
    with pytest.raises(CourseError, match="predict.load: folder=.* Give the path of a run folder"):
        predict.load(folder)
