"""fit trains, keeps what it should, goes on, and refuses what cannot work."""

import copy
import itertools
import json
import math
import re
import shutil
import time
import warnings

import numpy as np
import pytest
import torch
from conftest import write_patient
from torch import nn
from writing import write_config

from course_lib import augment, losses, models, predict, settings, train
from course_lib.compute import Compute
from course_lib.data import Prepared, SliceDataset
from course_lib.errors import CourseError
from course_lib.predict import stored as run_files
from course_lib.registry import build
from course_lib.train import loop
from course_lib.train.config import learning_rate

EXACT = {"batch_size": 2, "learning_rate": 0.01}
PLAIN = Compute("contiguous", "float32")
CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("on_the_cpu")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Four patients of 4, 3, 4, 3 slices of 32 px."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(1, 5):
        write_patient(folder, f"TEST_{number}", slices=5 + number % 2, seed=number)
    return SliceDataset(folder, size=32)


@pytest.fixture(scope="module")
def parts(whole):
    """11 training slices (5 steps of 2 an epoch), 3 validation slices."""
    return whole.subset(whole.patients[:3]), whole.subset(whole.patients[3:])


def small_unet(seed=0, features=2):
    torch.manual_seed(seed)
    return models.UNet(3, 1, features=features)


def fit(folder, parts, *, model=None, loss=None, change=None, epochs=2, compute=PLAIN,
        postprocess="largest_component", **config):
    config = train.TrainConfig(epochs=epochs, **(EXACT | config))
    return train.fit(model or small_unet(), *parts, loss=loss or losses.BCEDice(), augment=change,
                     config=config, folder=folder, compute=compute, postprocess=postprocess)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, parts):
    """A finished run of six epochs, and its model. Only looked at; tests that change it copy it."""
    model = small_unet()
    return fit(tmp_path_factory.mktemp("runs") / "run", parts, model=model, epochs=6,
               change=augment.Affine(angle=5.0), schedule="cosine"), model


def stored(path):
    return torch.load(path, weights_only=True)


def same_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# --- what a run leaves ---

def test_the_loss_falls_and_the_network_finds_the_square(tmp_path, parts):
    run = fit(tmp_path / "run", parts, model=small_unet(features=4), epochs=10, learning_rate=0.03)
    assert run.history[-1]["training_loss"] < 0.5 * run.history[0]["training_loss"]
    assert run.history[-1]["validation_loss"] < 0.5 * run.history[0]["validation_loss"]
    assert run.best["prepared_dsc"] > 0.8


def test_history_has_a_row_an_epoch_with_all_columns(finished):
    run, _ = finished
    rows = train.read_history(run.folder)
    assert list(rows[0]) == ["epoch", "step", "training_loss", "validation_loss", "prepared_dsc",
                             "patients_scored", "learning_rate", "seconds"]
    assert rows == run.history
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows] == [5, 10, 15, 20, 25, 30]        # 11 slices, batches of 2
    assert [row["patients_scored"] for row in rows] == [1] * 6
    assert all(0 <= row["prepared_dsc"] <= 1 and row["validation_loss"] > 0 for row in rows)
    assert rows[0]["seconds"] > 0 and all(later["seconds"] > earlier["seconds"]
                                          for earlier, later in itertools.pairwise(rows))


def test_the_run_folder_holds_what_the_design_names(finished):
    names = {path.name for path in finished[0].folder.iterdir()}
    assert names == {"config.json", "history.csv", "last.pt", "best.pt", "tensorboard"}


def test_config_json_holds_all_that_the_run_was_done_with(finished, parts):
    run, _ = finished
    config = json.loads((run.folder / "config.json").read_text())
    assert config.pop("checksum") and config == {**run.config, "layout": 2}
    assert config["data"]["preparation"] == {"kind": "slices", "size": 32, "drop_ends": True}
    assert config["data"]["labels"] == {"tumour": 1}
    assert config["data"]["training"] == ["TEST_1", "TEST_2", "TEST_3"]
    assert config["data"]["validation"] == ["TEST_4"]
    assert config["data"]["digests"] == {**parts[0].digests, **parts[1].digests}
    assert config["model"] == {"name": "UNet", "module": "course_lib.models.unet", "arguments": {
        "in_channels": 3, "out_channels": 1, "dim": 2, "features": 2, "norm": "batch",
        "padding": "same"}}
    assert config["loss"] == {"name": "BCEDice", "module": "course_lib.losses",
                              "arguments": {"smooth": 1.0, "bce_weight": None}}
    assert config["augment"] == {"name": "Affine", "module": "course_lib.augment.spatial",
                                 "arguments": {"scale": 0.05, "angle": 5.0, "flip": 0.5}}
    assert config["training"] == {
        "epochs": 6, "batch_size": 2, "learning_rate": 0.01, "optimizer": "adam",
        "weight_decay": 0.0, "schedule": "cosine", "seed": 42, "steps_per_epoch": None,
        "clip_norm": None, "validate_every": 1, "keep": "best"}
    assert config["compute"] == {"device": "cpu", "threads": 1, "layout": "contiguous",
                                 "precision": "float32", "resident": True, "deterministic": False}
    assert config["postprocess"] == "largest_component" and len(config["id"]) == 32
    assert set(config["versions"]) == {"course-lib", "torch", "numpy", "scipy"}
    assert config["versions"]["numpy"] == np.__version__


def test_loss_and_augmentation_are_rebuilt_from_config_json(finished):
    config = finished[0].config
    assert build(config["loss"], losses.LOSSES).smooth == 1.0
    assert build(config["augment"], augment.AUGMENTS) == augment.Affine(angle=5.0)


def test_best_is_the_epoch_with_the_highest_dsc_and_last_the_last(finished):
    run, model = finished
    best, last = stored(run.folder / "best.pt"), stored(run.folder / "last.pt")
    highest = max(row["prepared_dsc"] for row in run.history)
    first = next(row for row in run.history if row["prepared_dsc"] == highest)
    assert run.best == first
    assert {name: best[name] for name in first} == first
    assert last["history"] == run.history and same_weights(last["model"], model.state_dict())


def test_best_has_the_weights_that_score_what_its_row_says(finished, parts):
    run, _ = finished
    model = small_unet(seed=9)
    model.load_state_dict(stored(run.folder / "best.pt")["model"])
    score = predict.prepared_dsc(model, parts[1])
    assert score["TEST_4"] == pytest.approx(run.best["prepared_dsc"], abs=1e-6)


def test_best_stays_with_the_earlier_epoch_when_later_ones_are_worse(tmp_path, parts, monkeypatch):
    scores = iter([0.2, 0.7, math.nan, 0.7, 0.1])
    monkeypatch.setattr(loop.predictor, "mean_dsc", lambda *_: next(scores))
    run = fit(tmp_path / "run", parts, epochs=5)
    assert run.best["epoch"] == 2 and stored(run.folder / "best.pt")["epoch"] == 2
    assert [row["patients_scored"] for row in run.history] == [1, 1, 0, 1, 1]
    assert math.isnan(train.read_history(run.folder)[2]["prepared_dsc"])


def test_keep_last_predicts_with_the_last_epoch_however_it_scores(tmp_path, parts, monkeypatch):
    scores = iter([0.7, 0.2])
    monkeypatch.setattr(loop.predictor, "mean_dsc", lambda *_: next(scores))
    run = fit(tmp_path / "run", parts, epochs=2, keep="last")
    best, last = stored(run.folder / "best.pt"), stored(run.folder / "last.pt")
    assert run.best["epoch"] == best["epoch"] == 2 and same_weights(best["model"], last["model"])


def test_validation_is_the_mean_over_patients_and_over_batches(whole, parts):
    """Two validation patients of 4 and 3 slices; a network that says no everywhere, logit -10."""
    class No(nn.Module):
        def forward(self, image):
            return torch.full_like(image[:, :1], -10.0)

    validation = whole.subset(["TEST_3", "TEST_4"])
    config = train.TrainConfig(epochs=1, batch_size=2)
    row, pictures = loop._validate(No(), validation, losses.BCE(), config, PLAIN, None, True)
    assert list(pictures) == ["TEST_3", "TEST_4"]
    assert row["prepared_dsc"] == 0 and row["patients_scored"] == 2
    # BCE is 10 at a tumour pixel, 0 elsewhere, to 5e-5; batches of 2, 2, then of 2, 1 slices.
    shares = [batch.float().mean().item() for batch in validation.targets.split(2)]
    assert row["validation_loss"] == pytest.approx(10 * sum(shares) / 4, abs=1e-4)


def test_tensorboard_tells_the_same_as_history_and_has_pictures(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, _ = finished
    events = EventAccumulator(str(run.folder / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    for column, tag in (("training_loss", "loss/training"), ("prepared_dsc", "dsc/prepared"),
                        ("validation_loss", "loss/validation"), ("learning_rate", "learning_rate")):
        read = [(event.step, event.value) for event in events.Scalars(tag)]
        assert read == [(row["step"], pytest.approx(row[column])) for row in run.history]
    assert events.Tags()["images"] == ["overlay/TEST_4"]
    picture = events.Images("overlay/TEST_4")[-1]
    assert (picture.step, picture.width, picture.height) == (30, 64, 64)         # zoomed twofold


def test_fit_prints_a_bar_and_nothing_else(tmp_path, parts, capsys):
    fit(tmp_path / "run", parts, epochs=1)
    printed = capsys.readouterr()
    assert "5/5" in printed.out and "DSC" in printed.out
    assert all("step" in line for line in printed.out.replace("\r", "\n").splitlines() if line)


# --- calling again ---

def files(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes())
            for path in folder.rglob("*") if path.is_file()}


def test_a_finished_run_is_shown_at_once_with_its_last_weights_and_untouched(finished, parts,
                                                                            monkeypatch):
    run, trained = finished
    before = files(run.folder)

    def never(*_, **__):
        raise AssertionError("it trains")

    monkeypatch.setattr(SliceDataset, "batches", never)
    fresh = small_unet(seed=5)
    again = fit(run.folder, parts, model=fresh, epochs=6, change=augment.Affine(angle=5.0),
                schedule="cosine")
    assert again.history == run.history and again.config == run.config
    assert same_weights(fresh.state_dict(), trained.state_dict())
    assert files(run.folder) == before


@pytest.mark.parametrize("change, words", [
    ({"learning_rate": 0.02}, r"training\.learning_rate was 0\.01, is 0\.02"),
    ({"epochs": 7}, r"training\.epochs was 6, is 7"),
    ({"loss": losses.BCEDice(smooth=2.0)}, r"loss\.arguments\.smooth was 1\.0, is 2\.0"),
    ({"loss": losses.BCE()}, r"loss\.arguments\.smooth was 1\.0, is not set; loss\.name was "
                             "BCEDice, is BCE"),
    ({"change": augment.Affine(angle=6.0)}, r"augment\.arguments\.angle was 5\.0, is 6\.0"),
    ({"change": None}, r"augment was .*Affine.*, is None"),
    ({"model": small_unet(features=4)}, r"model\.arguments\.features was 2, is 4"),
    ({"postprocess": None}, "postprocess was largest_component, is None"),
])
def test_a_changed_setting_is_named_and_a_fresh_run_offered(finished, parts, change, words):
    run, _ = finished
    before = files(run.folder)
    settings_then = {"change": augment.Affine(angle=5.0), "schedule": "cosine", "epochs": 6}
    with pytest.raises(CourseError, match=f"begun with other settings: .*{words}.*'run-2'"):
        fit(run.folder, parts, **(settings_then | change))
    assert files(run.folder) == before


def test_changed_patients_are_named_and_the_next_free_name_offered(tmp_path, finished, whole):
    folder = shutil.copytree(finished[0].folder, tmp_path / "run")
    (tmp_path / "run-2").mkdir()
    fewer = whole.subset(["TEST_1", "TEST_2"]), whole.subset(["TEST_3", "TEST_4"])
    with pytest.raises(CourseError, match=r"data\.training lost \['TEST_3'\], gained \[\]; "
                                          r"data\.validation lost \[\], gained \['TEST_3'\]"
                                          r".*'run-3'"):
        fit(folder, fewer, change=augment.Affine(angle=5.0), schedule="cosine", epochs=6)


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path, parts):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(CourseError, match="holds files, but is not a run.*'run-2'"):
        fit(tmp_path / "run", parts)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


# --- damaged and lost files ---

@pytest.fixture
def copied(tmp_path, finished):
    return shutil.copytree(finished[0].folder, tmp_path / "run")


def again(folder, parts, **changed):
    return fit(folder, parts, **({"epochs": 6, "change": augment.Affine(angle=5.0),
                                  "schedule": "cosine"} | changed))


@pytest.mark.parametrize("damage", [
    lambda text: text[:-30], lambda text: text.replace(",", ";"), lambda text: "",
    lambda text: text.replace("epoch", "Epoche")])
def test_a_damaged_history_is_refused_by_itself_and_written_again_from_last_pt(copied, parts,
                                                                               damage):
    path = copied / "history.csv"
    whole = path.read_text()
    path.write_text(damage(whole), encoding="utf-16")
    with pytest.raises(CourseError, match=r"history\.csv is damaged.*written again from last\.pt"):
        train.read_history(copied)
    assert len(again(copied, parts).history) == 6 and path.read_text() == whole


@pytest.mark.parametrize("text", ["", "[1]", "{}", "{\"id\"", "null", "[" * 100_000])
def test_a_damaged_config_is_one_sentence(copied, parts, text):
    (copied / "config.json").write_text(text)
    for call in (lambda: predict.load(copied), lambda: again(copied, parts)):
        with pytest.raises(CourseError, match=r"config\.json (holds|cannot|is not as)"):
            call()


def test_a_config_that_was_edited_is_refused(copied, parts):
    path = copied / "config.json"
    path.write_text(path.read_text().replace('"size": 32', '"size": 48'))
    with pytest.raises(CourseError, match="not as it was written"):
        predict.load(copied)


def test_a_run_of_version_0_1_is_one_sentence_that_names_it(copied, parts):
    (copied / "config.json").write_text(json.dumps(
        {"data": {"geometry": {"size": 32}}, "model": {"name": "UNet"},
         "versions": {"course-lib": "0.1.0", "torch": "2.14.1"}}))
    for call in (lambda: predict.load(copied), lambda: again(copied, parts)):
        with pytest.raises(CourseError, match="made by course_lib 0.1.0"):
            call()


@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
@pytest.mark.parametrize("damage", [
    lambda content: b"", lambda content: content[:len(content) // 2],
    lambda content: content[:-1], lambda content: content + b"\n",
    lambda content: b"<html>quota exceeded</html>",
    lambda content: content.replace(b"sha256 ", b"sha256_")])
def test_a_damaged_checkpoint_is_one_sentence_and_never_used(copied, parts, name, damage):
    (copied / name).write_bytes(damage((copied / name).read_bytes()))
    with pytest.raises(CourseError, match=rf"{name} is damaged, or was not written") as error:
        predict.load(copied) if name == "best.pt" else again(copied, parts)
    assert "weights_only" not in str(error.value)


@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
def test_a_checkpoint_of_another_run_is_refused(tmp_path, copied, parts, name):
    other = fit(tmp_path / "other", parts, epochs=1).folder
    shutil.copy(other / name, copied / name)
    with pytest.raises(CourseError, match=f"{name} belongs to another run"):
        predict.load(copied) if name == "best.pt" else again(copied, parts)


class Harmful:
    def __reduce__(self):
        return print, ("harm",)


@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
def test_a_checkpoint_made_to_harm_is_not_loaded(copied, parts, capsys, name):
    (copied / name).write_bytes(run_files.pack({"model": Harmful()}))
    with pytest.raises(CourseError, match="something else than tensors") as error:
        predict.load(copied) if name == "best.pt" else again(copied, parts)
    assert "harm" not in capsys.readouterr().out and "weights_only" not in str(error.value)


def test_a_finished_run_without_last_pt_is_shown_and_nothing_trains_over_it(copied, parts):
    best = (copied / "best.pt").read_bytes()
    (copied / "last.pt").unlink()
    with pytest.warns(match=r"last\.pt is lost.*shown from history\.csv"):
        run = again(copied, parts)
    assert len(run.history) == 6 and (copied / "best.pt").read_bytes() == best
    assert not (copied / "last.pt").exists()


def test_an_unfinished_run_without_last_pt_cannot_go_on(copied, parts):
    (copied / "last.pt").unlink()
    lines = (copied / "history.csv").read_text().splitlines(keepends=True)
    (copied / "history.csv").write_text("".join(lines[:4]))
    with pytest.raises(CourseError, match=r"last\.pt is not there, .* cannot go on.*'run-2'"):
        again(copied, parts)


@pytest.mark.parametrize("damage", ["deleted", "damaged"])
def test_best_pt_is_made_again_from_last_pt_where_that_is_the_best_epoch(tmp_path, parts, damage):
    folder = fit(tmp_path / "run", parts, epochs=1).folder
    best = (folder / "best.pt").read_bytes()
    (folder / "best.pt").write_bytes(best[:100])
    if damage == "deleted":
        (folder / "best.pt").unlink()
    fit(folder, parts, epochs=1)
    assert same_weights(stored(folder / "best.pt")["model"], stored(folder / "last.pt")["model"])
    assert stored(folder / "best.pt")["epoch"] == 1


def test_a_lost_best_pt_of_an_earlier_epoch_is_said_to_be_lost(tmp_path, parts, monkeypatch):
    scores = iter([0.7, 0.2])
    monkeypatch.setattr(loop.predictor, "mean_dsc", lambda *_: next(scores))
    folder = fit(tmp_path / "run", parts).folder
    (folder / "best.pt").unlink()
    with pytest.warns(match=r"best\.pt cannot be read.*The best epoch, 1, is lost"):
        fit(folder, parts)
    with pytest.raises(CourseError, match=r"there is no best\.pt"):
        predict.load(folder)


def test_no_single_flipped_bit_is_used(copied, parts):
    """Each is found, or leaves equal values; here 60 of each file, drawn."""
    dice, config = np.random.default_rng(0), run_files.read_config(copied)
    for name in ("last.pt", "best.pt", "config.json"):
        whole = (copied / name).read_bytes()
        for bit in dice.integers(0, 8 * len(whole), 60):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            (copied / name).write_bytes(flipped)
            try:
                if name == "config.json":
                    assert run_files.read_config(copied) == config
                else:
                    run_files.unpack(copied / name, config["id"])
                    raise AssertionError(f"bit {bit} of {name} was not noticed")
            except CourseError:
                pass
        (copied / name).write_bytes(whole)


# --- a run knows its data ---

@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "own"
    for number in (1, 2):
        write_patient(folder, f"P_{number}", seed=number)
    return folder


def halves(folder):
    whole = SliceDataset(folder, size=32)
    return whole.subset(["P_1"]), whole.subset(["P_2"])


@pytest.mark.parametrize("file, part", [("P_1_3.tif", "image"), ("P_2_3_mask.tif", "target")])
def test_an_edited_file_is_named_on_resume(tmp_path, own, file, part):
    import os

    import tifffile

    fit(tmp_path / "run", halves(own), epochs=1)
    path = own / file[:3] / file
    times = path.stat()
    pixels = tifffile.imread(path)
    tifffile.imwrite(path, np.roll(pixels, 2, axis=1), photometric="rgb" if pixels.ndim == 3
                     else "minisblack")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(CourseError, match=rf"patient {file[:3]}: {file} \({part}\) has changed"):
        fit(tmp_path / "run", halves(own), epochs=1)


# --- a run exists from its first step on ---

@pytest.mark.parametrize("slip", [{"model": models.UNet(1, 1, features=2)},
                                  {"model": models.UNet(3, 2, features=2)},
                                  {"loss": losses.BCE}, {"change": augment.Affine},
                                  {"loss": lambda logits, target: logits.mean() * math.nan}])
def test_a_try_that_fails_before_its_first_step_leaves_nothing(tmp_path, parts, slip):
    with pytest.raises(CourseError):
        fit(tmp_path / "run", parts, **slip)
    assert not (tmp_path / "run").exists()
    assert len(fit(tmp_path / "run", parts, epochs=1).history) == 1


def test_two_channels_for_one_label_are_refused_before_training(tmp_path, parts):
    with pytest.raises(CourseError, match="for the labels tumour. Give it 1 output channel"):
        fit(tmp_path / "run", parts, model=models.UNet(3, 2, features=2))


def test_a_batch_of_one_value_a_channel_is_one_sentence(tmp_path, parts):
    small = [SliceDataset(part.folder, size=16, patients=part.patients) for part in parts]
    with pytest.raises(CourseError, match="batch_size=1 leaves a single value.*at least 2"):
        fit(tmp_path / "run", small, batch_size=1)
    assert not (tmp_path / "run").exists()


def test_only_the_first_of_several_ranks_writes(tmp_path, parts, monkeypatch):
    monkeypatch.setattr(settings, "rank", lambda: 1)
    assert len(fit(tmp_path / "run", parts).history) == 2
    assert not list(tmp_path.iterdir())


# --- several labels ---

@pytest.fixture(scope="module")
def two_labels(tmp_path_factory):
    """Two patients; FLAIR is bright in label 1, post-contrast in label 2."""
    import tifffile

    folder = tmp_path_factory.mktemp("labels")
    dice = np.random.default_rng(0)
    for name in ("A", "B"):
        (folder / name).mkdir()
        for number in range(1, 5):
            target = np.zeros((32, 32), np.uint8)
            target[8:16, 8:20], target[18:24, 8 + number:20] = 1, 2
            image = np.full((32, 32, 3), 60) + dice.integers(0, 9, (32, 32, 3))
            image[..., 1] += 100 * (target == 1)
            image[..., 2] += 100 * (target == 2)
            tifffile.imwrite(folder / name / f"{name}_{number}.tif", image.astype(np.uint8),
                             photometric="rgb")
            tifffile.imwrite(folder / name / f"{name}_{number}_mask.tif", target)
    whole = SliceDataset(folder, size=32, drop_ends=False, labels={"oedema": 1, "core": 2})
    return whole.subset(["A"]), whole.subset(["B"])


class Perfect(nn.Module):
    def forward(self, image):
        other = torch.full_like(image[:, :1], 1.0)
        return 20 * torch.cat([other, image[:, 1:2], image[:, 2:3]], dim=1)


def multi_class(logits, target):
    return nn.functional.cross_entropy(logits.float(), target[:, 0].long())


def test_a_perfect_two_label_network_scores_one_per_label(two_labels):
    predictor = predict.Predictor(Perfect(), two_labels[0].preparation, two_labels[0].labels)
    table = predict.evaluate(predictor, two_labels[1])
    assert [(row["patient"], row["label"], row["dsc"]) for row in table] == [
        ("B", "oedema", 1.0), ("B", "core", 1.0)]
    assert predict.prepared_dsc(Perfect(), two_labels[1]) == {"B": 1.0}


def test_several_labels_train_and_come_back_from_the_run_folder(tmp_path, two_labels):
    torch.manual_seed(0)
    run = fit(tmp_path / "run", two_labels, model=models.UNet(3, 3, features=4), loss=multi_class,
              epochs=12, learning_rate=0.03, steps_per_epoch=4)
    assert run.best["prepared_dsc"] > 0.9
    predictor = predict.load(run.folder)
    assert predictor.labels == {"oedema": 1, "core": 2}
    assert min(predict.evaluate(predictor, two_labels[1]).column("dsc")) > 0.9


def test_a_target_with_a_value_that_is_no_label_is_refused(tmp_path, two_labels):
    wrong = [part.subset(part.patients) for part in two_labels]
    wrong[1].targets = wrong[1].targets * 2
    with pytest.raises(CourseError, match="B: validation targets go up to 4, the labels to 2"):
        fit(tmp_path / "run", wrong, model=models.UNet(3, 3, features=2), loss=multi_class)


class TwoHeads(nn.Module):
    """Logits at full and at half size while training."""

    def __init__(self):
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 1, 1), nn.Conv2d(3, 1, 2, stride=2)

    def forward(self, image):
        return [self.fine(image), self.coarse(image)] if self.training else self.fine(image)


def test_lists_of_logits_are_weighed_while_training_only(tmp_path, parts):
    model = TwoHeads()
    before = copy.deepcopy(model.coarse.weight)
    assert len(fit(tmp_path / "run", parts, model=model, epochs=1).history) == 1
    assert not torch.equal(model.coarse.weight, before)
    fine, coarse = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)
    target = torch.ones(1, 1, 4, 4, dtype=torch.uint8)
    # BCE of logit 0 is ln 2 on both levels: (1·ln 2 + ½·ln 2) / (1 + ½) = ln 2
    assert losses.weigh_levels(losses.BCE(), [fine, coarse], target) == pytest.approx(math.log(2))


def test_a_network_that_returns_a_list_in_eval_mode_is_refused(tmp_path, parts):
    class Always(TwoHeads):
        def forward(self, image):
            return [self.fine(image)]

    with pytest.raises(CourseError, match="returned a list.*only while training"):
        fit(tmp_path / "run", parts, model=Always())


class Volumes:
    """Two 3D patients with nothing but the contract's names."""

    labels, preparation = {"lesion": 1}, {"kind": "volumes"}

    def __init__(self, patients):
        self.patients = patients
        self.digests = {name: {"image": f"i{name}", "target": f"t{name}"} for name in patients}

    def prepared(self, patient):
        torch.manual_seed(len(patient))
        image = torch.randn(1, 1, 16, 16, 16)
        return Prepared(image.half(), (image > 1).to(torch.uint8), {})

    def batches(self, batch_size, steps, generator, *, compute):
        for _ in range(steps):
            ready = [self.prepared(self.patients[0])] * batch_size
            yield torch.cat([p.image for p in ready]), torch.cat([p.target for p in ready])


def test_fit_needs_nothing_of_a_data_set_but_the_contract_also_in_3d(tmp_path):
    run = fit(tmp_path / "run", (Volumes(["a"]), Volumes(["bb"])), epochs=2, steps_per_epoch=2,
              model=models.UNet(1, 1, dim=3, features=2))
    assert len(run.history) == 2 and run.config["compute"]["layout"] == "contiguous"


# --- a student's own code ---

def test_changed_code_of_an_own_class_is_noticed_when_a_run_goes_on(tmp_path, parts, monkeypatch):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 1, 1)

        def forward(self, image):
            return self.layer(image)

    fit(tmp_path / "run", parts, model=Own(), epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(tmp_path / "run", parts, model=Own(), epochs=1)
    monkeypatch.setattr("course_lib.registry.source_checksum", lambda of: "another")
    with pytest.warns(match=r"the code of .*Own \(model\) was changed"):
        fit(tmp_path / "run", parts, model=Own(), epochs=1)
    with pytest.raises(CourseError, match="is not one of course_lib's.*Pass it: model="):
        predict.load(tmp_path / "run")
    assert predict.load(tmp_path / "run", model=Own()).preparation["size"] == 32


# --- refused at the door ---

def test_a_patient_in_training_and_validation_is_refused(tmp_path, whole):
    with pytest.raises(CourseError, match="1 patients are in .*, the first is TEST_2.*split_pat"):
        fit(tmp_path / "run", (whole.subset(["TEST_1", "TEST_2"]), whole.subset(["TEST_2"])))
    assert not (tmp_path / "run").exists()


def test_one_patient_under_two_names_in_training_and_validation_is_refused(tmp_path, parts):
    training, validation = parts[0], parts[1].subset(parts[1].patients)
    one, other = training.patients[1], validation.patients[0]
    validation.digests[other] = training.digests[one]
    with pytest.raises(CourseError, match=f"{other} has the same images as {one}, in training "
                                          "and validation.*[Kk]eep one of"):
        fit(tmp_path / "run", (training, validation))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("which, name", [(0, "training"), (1, "validation")])
def test_masks_left_at_0_and_255_are_refused(tmp_path, whole, parts, which, name):
    parts = [part.subset(part.patients) for part in parts]
    parts[which].targets = parts[which].targets * 255
    with pytest.raises(CourseError, match=f"{name} targets go up to 255.*such as 0 and 1"):
        fit(tmp_path / "run", parts)
    assert not (tmp_path / "run").exists()


def test_a_batch_larger_than_the_data_is_refused(tmp_path, parts):
    with pytest.raises(CourseError, match="batch_size=12, but only 11 training slices"):
        fit(tmp_path / "run", parts, batch_size=12)
    assert fit(tmp_path / "run", parts, batch_size=11, epochs=1).history[0]["step"] == 1


def test_data_prepared_in_different_ways_are_refused(tmp_path, parts):
    other = SliceDataset(parts[0].folder, size=32, patients=["TEST_4"], drop_ends=False)
    with pytest.raises(CourseError, match="'drop_ends': True}, validation .*False}"):
        fit(tmp_path / "run", (parts[0], other))


@pytest.mark.parametrize("bad", [
    {"optimizer": "sgdd"}, {"optimizer": []}, {"schedule": "step"}, {"epochs": 0}, {"epochs": "3"},
    {"epochs": 2.5}, {"epochs": True}, {"batch_size": 0}, {"batch_size": 4.0},
    {"learning_rate": 0.0}, {"learning_rate": "1e-3"}, {"learning_rate": float("nan")},
    {"learning_rate": float("inf")}, {"learning_rate": None}, {"weight_decay": -0.1},
    {"seed": -1}, {"seed": 2**32}, {"seed": "a"}, {"steps_per_epoch": 0}, {"clip_norm": 0},
    {"validate_every": 0}, {"keep": "first"}, {"keep": None}])
def test_bad_settings_are_refused_with_their_value(bad):
    (name, value), = bad.items()
    with pytest.raises(CourseError, match=f"TrainConfig: {name}={re.escape(repr(value))}"):
        train.TrainConfig(**({"epochs": 1} | bad))


def test_numbers_of_numpy_become_python_numbers():
    config = train.TrainConfig(epochs=np.int64(3), learning_rate=np.float32(0.5), seed=np.int8(7))
    assert (config.epochs, config.learning_rate, config.seed) == (3, 0.5, 7)
    assert json.dumps([config.epochs, config.learning_rate, config.seed]) == "[3, 0.5, 7]"


# --- the rate ---

def test_a_constant_rate_is_constant():
    config = train.TrainConfig(epochs=1, learning_rate=0.3)
    assert {learning_rate(config, step, 10) for step in range(10)} == {0.3}


@pytest.mark.parametrize("step, share", [
    (0, 1 / 5), (1, 2 / 5), (4, 1.0),            # 105 steps: 5 of warming up
    (5, 1.0),                                    # cos 0
    (30, 0.5 * (1 + math.sqrt(0.5))),            # a quarter of the 100 that follow: cos 45°
    (55, 0.5),                                   # half of them: cos 90°
    (104, 0.5 * (1 - math.cos(math.pi / 100))),  # one step before zero
])
def test_cosine_warms_up_and_falls(step, share):
    config = train.TrainConfig(epochs=1, learning_rate=0.3, schedule="cosine")
    assert learning_rate(config, step, 105) == pytest.approx(0.3 * share)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_cosine_works_with_very_few_steps(steps):
    config = train.TrainConfig(epochs=1, learning_rate=0.3, schedule="cosine")
    assert learning_rate(config, 0, steps) == 0.3
    assert all(0 < learning_rate(config, step, steps) <= 0.3 for step in range(steps))


def test_the_optimizer_steps_with_the_scheduled_rate(finished):
    run, _ = finished
    config = train.TrainConfig(epochs=6, learning_rate=0.01, schedule="cosine")
    assert [row["learning_rate"] for row in run.history] == [
        learning_rate(config, step, 30) for step in (4, 9, 14, 19, 24, 29)]
    optimizer = stored(run.folder / "last.pt")["optimizer"]
    assert optimizer["param_groups"][0]["lr"] == run.history[-1]["learning_rate"]


def test_the_first_step_of_adam_is_the_one_by_hand(tmp_path, parts):
    """Adam's first step: every weight moves by rate·g / (|g| + 1e-8), against its gradient g."""
    model, seen = nn.Conv2d(3, 1, 1), []
    before = copy.deepcopy(model)

    def watched(image, target, generator):
        seen.append((image.float(), target))
        return image, target

    fit(tmp_path / "run", parts, model=model, loss=losses.BCE(), change=watched, epochs=1,
        batch_size=11)
    image, target = seen[0]
    losses.BCE()(before(image), target).backward()
    slope = before.weight.grad
    assert torch.allclose(model.weight, before.weight - 0.01 * slope / (slope.abs() + 1e-8))


def test_a_network_handed_over_in_eval_mode_is_trained_in_training_mode(tmp_path, parts):
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 1, 1)).eval()
    fit(tmp_path / "run", parts, model=model, epochs=2)
    assert model[0].num_batches_tracked == 10                              # 2 epochs of 5 steps


def test_adamw_decays_the_weights(tmp_path, parts):
    """Without a gradient Adam stands still and AdamW shrinks by rate·decay a step: 5 steps."""
    class Nothing(nn.Module):
        def forward(self, logits, target):
            return 0 * logits.sum()

    model = nn.Conv2d(3, 1, 1)
    before = model.weight.detach().clone()
    fit(tmp_path / "run", parts, model=model, loss=Nothing(), epochs=1, optimizer="adamw",
        weight_decay=0.5)
    assert torch.allclose(model.weight, before * (1 - 0.01 * 0.5) ** 5, rtol=1e-6)


# --- which slices ---

def test_an_epoch_draws_as_many_whole_batches_as_there_are_slices(tmp_path, parts):
    seen = []

    def watched(image, target, generator):
        seen.append((len(image), len(target), image.dtype, target.dtype))
        return image, target

    fit(tmp_path / "run", parts, change=watched, epochs=1, batch_size=4)
    assert seen == [(4, 4, torch.float16, torch.uint8)] * 2                # of 11 slices


def test_fit_draws_by_the_sampling_weights_of_the_training_data(tmp_path, parts):
    seen = []

    def watched(image, target, generator):
        seen.append(image)
        return image, target

    fit(tmp_path / "run", parts, change=watched, epochs=1)
    generator = torch.Generator().manual_seed(42)
    weights = parts[0].sampling_weights().float()
    rows = torch.multinomial(weights, 10, replacement=True, generator=generator)
    assert torch.equal(torch.cat(seen), parts[0].images[rows])


def test_streamed_data_train_to_the_same_weights_as_resident_ones(tmp_path, parts):
    ends = [fit(tmp_path / str(resident), parts, change=augment.Affine(),
                compute=Compute("contiguous", "float32", resident)) for resident in (True, False)]
    assert [end.config["compute"]["resident"] for end in ends] == [True, False]
    assert same_weights(*(stored(end.folder / "last.pt")["model"] for end in ends))


# --- layout and precision ---

def test_what_auto_found_is_stored_and_not_tried_again(tmp_path, parts, monkeypatch):
    def pressed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("course_lib.compute.fast_precision", lambda device: "bfloat16")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "_validate", pressed)
        fit(tmp_path / "run", parts, compute=Compute())
    facts = run_files.read_config(tmp_path / "run")["compute"]
    assert (facts["layout"], facts["precision"]) == ("channels_last", "bfloat16")
    monkeypatch.setattr("course_lib.compute.fast_precision", lambda device: "float16")
    model, seen = small_unet(), []
    model.enc1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    fit(tmp_path / "run", parts, model=model, epochs=2, compute=Compute())
    assert {output.dtype for output in seen} == {torch.bfloat16}
    weights = [weight for weight in model.enc2.parameters() if weight.ndim == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_trains_and_goes_on(tmp_path, parts, precision):
    run = fit(tmp_path / "run", parts, epochs=1, compute=Compute("contiguous", precision))
    state = stored(run.folder / "last.pt")
    assert all(weight.dtype == torch.float32 for name, weight in state["model"].items()
               if not name.endswith("tracked"))
    assert bool(state["scaler"]) == (precision == "float16")
    assert math.isfinite(run.history[0]["training_loss"])


def test_deterministic_algorithms_are_asked_for_only_where_wanted(tmp_path, parts, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms",
                        lambda wanted, warn_only: asked.append(wanted))
    fit(tmp_path / "one", parts, epochs=1)
    assert asked == [False]
    fit(tmp_path / "two", parts, epochs=1, compute=Compute(deterministic=True))
    assert asked == [False, True]


# --- when training cannot go on ---

class NanAt(losses.BCEDice):
    """Not a number at one training step, counted from 1."""

    def __init__(self, step):
        super().__init__()
        self.step, self.count = step, 0

    def forward(self, logits, target):
        self.count += logits.requires_grad           # validation does not count
        value = super().forward(logits, target)
        return value * math.nan if self.count == self.step and logits.requires_grad else value


@pytest.mark.parametrize("step, kept", [(7, 1), (3, 0), (20, 3)])    # in the last step, too
def test_a_loss_that_is_no_number_stops_with_step_rate_and_cure(tmp_path, parts, step, kept):
    with pytest.raises(CourseError, match=f"loss is nan at step {step}, with learning rate 0.01. "
                                          "Take a learning rate ten times smaller"):
        fit(tmp_path / "run", parts, loss=NanAt(step), epochs=5)
    history = stored(tmp_path / "run" / "last.pt")["history"]
    assert [row["epoch"] for row in history] == list(range(1, kept + 1))
    assert (tmp_path / "run" / "history.csv").exists() == (kept > 0)
    if kept:
        assert train.read_history(tmp_path / "run") == history


def test_a_loss_that_is_no_number_is_found_long_before_the_epoch_ends(tmp_path, whole, parts):
    many = whole.subset(["TEST_1"])
    many.images, many.targets = many.images.repeat(10, 1, 1, 1), many.targets.repeat(10, 1, 1, 1)
    many.index = many.index * 10
    loss = NanAt(2)
    with pytest.raises(CourseError, match="at step 2,"):
        fit(tmp_path / "run", (many, parts[1]), loss=loss)
    assert loss.count == 10                                      # of 20


class NanGradient(losses.BCEDice):
    """A loss that is a number, with a gradient that is none, at one training step."""

    def __init__(self, step):
        super().__init__()
        self.nan_at, self.count = step, 0           # no attribute `step`: to the run all are alike

    def forward(self, logits, target):
        self.count += logits.requires_grad
        value = super().forward(logits, target)
        if self.count == self.nan_at and logits.requires_grad:
            value.register_hook(lambda gradient: gradient * math.nan)
        return value


def test_a_gradient_that_is_no_number_in_an_epochs_last_step_is_found_before_it_is_saved(
        tmp_path, parts):
    with pytest.raises(CourseError, match="(weights|output is) .*not (a )?number"):
        fit(tmp_path / "run", parts, loss=NanGradient(10), epochs=3)
    assert [row["epoch"] for row in stored(tmp_path / "run" / "last.pt")["history"]] == [1]
    config = run_files.read_config(tmp_path / "run")
    assert run_files.all_finite(
        run_files.unpack(tmp_path / "run" / "last.pt", config["id"])["model"].values())
    assert len(fit(tmp_path / "run", parts, loss=NanGradient(99), epochs=3).history) == 3


def test_an_output_that_is_no_number_in_validation_is_found_before_it_is_saved(tmp_path, parts):
    class Brittle(nn.Conv2d):
        calls = 0

        def forward(self, image):
            self.calls += not self.training
            return super().forward(image) * (math.nan if self.calls > 3 else 1)

    with pytest.raises(CourseError, match="TEST_4: the network's output is not a number"):
        fit(tmp_path / "run", parts, model=Brittle(3, 1, 1), epochs=3)
    assert len(stored(tmp_path / "run" / "last.pt")["history"]) == 1


def test_stored_weights_that_are_no_numbers_are_refused(copied, parts):
    config = run_files.read_config(copied)
    for name in ("last.pt", "best.pt"):
        state = run_files.unpack(copied / name, config["id"])
        next(iter(state["model"].values())).fill_(math.nan)
        (copied / name).write_bytes(run_files.pack(state))
    with pytest.raises(CourseError, match=r"last\.pt holds weights that are not numbers"):
        again(copied, parts)
    with pytest.raises(CourseError, match=r"best\.pt holds weights that are not numbers"):
        predict.load(copied)


def out_of_memory(words, kind=RuntimeError):
    class Greedy(nn.Conv2d):
        def forward(self, image):
            if self.training:
                raise kind(words)
            return super().forward(image)

    return Greedy(3, 1, 1)


@pytest.mark.parametrize("error", [
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: "
                 "can't allocate memory: you tried to allocate 9 bytes."),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB."),
])
def test_running_out_of_memory_names_a_smaller_batch(tmp_path, parts, error):
    with pytest.raises(CourseError, match="out of memory on cpu with batch_size=8, size=32. "
                                          "Take batch_size=4") as found:
        fit(tmp_path / "run", parts, model=out_of_memory(str(error), type(error)), batch_size=8)
    assert found.value.__cause__.args == error.args


@pytest.mark.parametrize("words", ["CUDA error: an illegal memory access was encountered",
                                   "required rank 4 tensor to use channels_last memory format",
                                   "mat1 and mat2 shapes cannot be multiplied"])
def test_other_errors_pass_unchanged(tmp_path, parts, words):
    with pytest.raises(RuntimeError, match=words) as found:
        fit(tmp_path / "run", parts, model=out_of_memory(words))
    assert not isinstance(found.value, CourseError)


@pytest.mark.parametrize("change", [{"history": ["x"]}, {"history": [{}]}, {"optimizer": None},
                                    {"random": None}, {"generator": 3}])
def test_a_sealed_checkpoint_with_other_content_is_refused(copied, parts, change):
    state = run_files.unpack(copied / "last.pt", run_files.read_config(copied)["id"])
    (copied / "last.pt").write_bytes(run_files.pack(state | change))
    with pytest.raises(CourseError, match="last.pt does not hold what it takes to go on. Bring it"):
        again(copied, parts)


# --- parts that do not work together ---

class Frozen(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 1, 1)
        self.requires_grad_(False)


@pytest.mark.parametrize("part, wrong, says", [
    ("loss", lambda logits, target: (logits - target) ** 2, "the loss fails with TypeError: it"),
    ("loss", lambda logits, target: 0.5, "the loss fails with TypeError: it returns 0.5"),
    ("loss", lambda logits, target: None, "the loss fails with TypeError: it returns None"),
    ("loss", lambda logits, target: logits.detach().mean(), "the loss fails with TypeError"),
    ("loss", lambda logits: logits.mean(), "the loss fails with TypeError"),
    ("loss", nn.CrossEntropyLoss(), "the loss fails with RuntimeError: .*Give one that does"),
    ("loss", lambda logits, target: logits.mean() * math.nan, "loss is nan at the first step"),
    ("change", lambda image, target, generator: image, "the augmentation fails with TypeError"),
    ("change", lambda image, target, generator: None, "the augmentation fails with TypeError"),
    ("change", lambda image, target: (image, target), "the augmentation fails with TypeError: .*"),
    ("model", nn.Conv2d(1, 1, 1), "the network fails with RuntimeError: .*Give one that does imag"),
    ("model", nn.Identity(), "the network has no weights that can be trained"),
    ("model", Frozen(), "the network has no weights that can be trained"),
    ("model", nn.Conv2d(3, 1, 1).double(), "the network fails with RuntimeError")])
def test_a_part_that_does_not_work_is_named_and_leaves_nothing(tmp_path, parts, part, wrong, says):
    with pytest.raises(CourseError, match=f"train.fit: {says}"):
        fit(tmp_path / "run", parts, **{part: wrong})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("wrong", [None, [], "a folder", torch.utils.data.TensorDataset()])
def test_what_is_no_data_set_is_refused_by_name(tmp_path, parts, wrong):
    for both, name in (((wrong, parts[1]), "training"), ((parts[0], wrong), "validation")):
        with pytest.raises(CourseError, match=f"{name} is a .*Give a data set with patients"):
            fit(tmp_path / "run", both)


@pytest.mark.parametrize("folder", [None, 3, b"run", "~no-such-user/run"])
def test_what_is_no_path_is_refused(parts, folder):
    with pytest.raises(CourseError, match="train.fit: folder=.*Give the path of a run folder"):
        fit(folder, parts)


def test_a_link_to_a_disk_that_is_not_there_makes_no_folder(tmp_path, parts):
    (tmp_path / "run").symlink_to(tmp_path / "usb" / "run")
    with pytest.raises(CourseError, match="this is a file, or a link to nothing"):
        fit(tmp_path / "run", parts)
    assert not (tmp_path / "usb").exists()


# --- the clock ---

def test_seconds_go_on_counting_after_a_stop(tmp_path, parts, monkeypatch):
    folder = fit(tmp_path / "run", parts, epochs=1).folder
    config = run_files.read_config(folder)
    state = run_files.unpack(folder / "last.pt", config["id"])
    state["history"][0]["seconds"] = 1000.0
    (folder / "last.pt").write_bytes(run_files.pack(state))
    write_config(folder, config | {"training": config["training"] | {"epochs": 2}})
    begin = time.perf_counter()
    run = fit(folder, parts, epochs=2)
    assert 1000 < run.history[1]["seconds"] < 1000 + time.perf_counter() - begin
