"""fit trains, keeps what it should, goes on, and refuses what cannot work."""

import copy
import itertools
import json
import math
import shutil
import time
import zlib

import numpy as np
import pytest
import torch
from conftest import write_patient
from scipy import stats
from torch import nn

from course_lib import augment, losses, models, predict, settings, train
from course_lib.data import SliceDataset
from course_lib.errors import CourseError
from course_lib.train import loop
from course_lib.train.config import (
    KEPT_BYTES,
    choose_layout_and_precision,
    describe,
    learning_rate,
)

EXACT = {"batch_size": 2, "learning_rate": 0.01, "layout": "contiguous", "precision": "float32"}
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


def fit(folder, parts, *, model=None, loss=None, change=None, epochs=2, **config):
    config = train.TrainConfig(epochs=epochs, **(EXACT | config))
    return train.fit(model or small_unet(), *parts, loss=loss or losses.BCEDice(), augment=change,
                     config=config, folder=folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, parts):
    """A finished run of six epochs, and its model. Only looked at; tests that change it copy it."""
    model = small_unet()
    return fit(tmp_path_factory.mktemp("runs") / "run", parts, model=model, epochs=6,
               change=augment.affine(angle=5), schedule="cosine"), model


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
    assert config == run.config
    assert config["data"] == {"geometry": {"size": 32, "drop_ends": True},
                              "training": ["TEST_1", "TEST_2", "TEST_3"],
                              "validation": ["TEST_4"],
                              "targets": [zlib.crc32(part.targets.numpy()) for part in parts]}
    assert config["model"] == {"name": "UNet", "in_channels": 3, "out_channels": 1, "dim": 2,
                               "features": 2, "norm": "batch", "padding": "same"}
    assert config["loss"] == {"name": "BCEDice", "smooth": 1.0}
    assert config["augment"] == {"name": "affine", "scale": 0.05, "angle": 5, "flip": 0.5}
    assert config["training"] == {
        "epochs": 6, "batch_size": 2, "learning_rate": 0.01, "optimizer": "adam",
        "weight_decay": 0.0, "schedule": "cosine", "seed": 42, "layout": "contiguous",
        "precision": "float32", "resident": "auto", "deterministic": False}
    assert (config["device"], config["layout"], config["precision"]) == ("cpu", "contiguous",
                                                                         "float32")
    assert config["resident"] is True and config["threads"] == 1
    assert set(config["versions"]) == {"course-lib", "torch", "numpy", "scipy"}
    assert config["versions"]["numpy"] == np.__version__


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
    score = predict.prepared_dsc(predict.predict_logits(model, parts[1].images), parts[1])
    assert score["TEST_4"] == pytest.approx(run.best["prepared_dsc"], abs=1e-6)


def test_best_stays_with_the_earlier_epoch_when_later_ones_are_worse(tmp_path, parts, monkeypatch):
    scores = iter([0.2, 0.7, math.nan, 0.7, 0.1])
    monkeypatch.setattr(predict, "prepared_dsc", lambda logits, dataset: {"TEST_4": next(scores)})
    run = fit(tmp_path / "run", parts, epochs=5)
    assert run.best["epoch"] == 2 and stored(run.folder / "best.pt")["epoch"] == 2
    assert [row["patients_scored"] for row in run.history] == [1, 1, 0, 1, 1]
    assert math.isnan(train.read_history(run.folder)[2]["prepared_dsc"])


def test_validation_is_the_mean_over_patients_and_over_batches(whole, parts):
    """Two validation patients of 4 and 3 slices; a network that says no everywhere, logit -10."""
    class No(nn.Module):
        def forward(self, image):
            return torch.full_like(image[:, :1], -10.0)

    validation = whole.subset(["TEST_3", "TEST_4"])
    config = train.TrainConfig(epochs=1, batch_size=2)
    logits, row = loop._validate(No(), validation, losses.BCE(), config, "float32")
    assert logits.shape == (7, 1, 32, 32)
    assert row["prepared_dsc"] == 0 and row["patients_scored"] == 2
    # BCE is 10 at a tumour pixel, 0 elsewhere, to 5e-5; batches of 2, 2, 2, 1 slices.
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

    def never(*_):
        raise AssertionError("it trains")

    monkeypatch.setattr(loop, "batches", never)
    fresh = small_unet(seed=5)
    again = fit(run.folder, parts, model=fresh, epochs=6, change=augment.affine(angle=5),
                schedule="cosine")
    assert again.history == run.history and again.config == run.config
    assert same_weights(fresh.state_dict(), trained.state_dict())
    assert files(run.folder) == before


@pytest.mark.parametrize("change, words", [
    ({"learning_rate": 0.02}, r"training\.learning_rate was 0\.01, is 0\.02"),
    ({"epochs": 7}, r"training\.epochs was 6, is 7"),
    ({"loss": losses.BCEDice(smooth=2.0)}, r"loss\.smooth was 1\.0, is 2\.0"),
    ({"loss": losses.BCE()}, r"loss\.name was BCEDice, is BCE; loss\.smooth was 1\.0, is not set"),
    ({"change": augment.affine(angle=6)}, r"augment\.angle was 5, is 6"),
    ({"change": None}, r"augment\.name was affine, is None"),
    ({"model": small_unet(features=4)}, r"model\.features was 2, is 4"),
])
def test_a_changed_setting_is_named_and_a_fresh_run_offered(finished, parts, change, words):
    run, _ = finished
    before = files(run.folder)
    settings_then = {"change": augment.affine(angle=5), "schedule": "cosine", "epochs": 6}
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
        fit(folder, fewer, change=augment.affine(angle=5), schedule="cosine", epochs=6)


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path, parts):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(CourseError, match="holds files, but is not a run.*'run-2'"):
        fit(tmp_path / "run", parts)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


# --- refused at the door ---

def test_a_patient_in_training_and_validation_is_refused(tmp_path, whole):
    with pytest.raises(CourseError, match="1 patients are in .*, the first is TEST_2.*split_pat"):
        fit(tmp_path / "run", (whole.subset(["TEST_1", "TEST_2"]), whole.subset(["TEST_2"])))
    assert not (tmp_path / "run").exists()


def test_one_patient_under_two_names_in_training_and_validation_is_refused(tmp_path, parts):
    training, validation = parts[0], parts[1].subset(parts[1].patients)
    one, other = training.patients[1], validation.patients[0]
    validation.digests[other] = training.digests[one]
    with pytest.raises(CourseError, match=f"{one} in training and {other} in validation have the "
                                          "same images.*keep one of them"):
        fit(tmp_path / "run", (training, validation))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("which, name", [(0, "training"), (1, "validation")])
def test_masks_left_at_0_and_255_are_refused(tmp_path, whole, parts, which, name):
    parts = [part.subset(part.patients) for part in parts]
    parts[which].targets = parts[which].targets * 255
    with pytest.raises(CourseError, match=f"{name} targets go up to 255.*Bring masks to 0 and 1"):
        fit(tmp_path / "run", parts)
    assert not (tmp_path / "run").exists()


def test_a_batch_larger_than_the_data_is_refused(tmp_path, parts):
    with pytest.raises(CourseError, match="batch_size=12, but only 11 training slices"):
        fit(tmp_path / "run", parts, batch_size=12)
    assert fit(tmp_path / "run", parts, batch_size=11, epochs=1).history[0]["step"] == 1


def test_data_prepared_in_different_ways_are_refused(tmp_path, parts):
    other = SliceDataset(parts[0].folder, size=32, patients=["TEST_4"], drop_ends=False)
    with pytest.raises(CourseError, match="'drop_ends': True}, validation with .*False}"):
        fit(tmp_path / "run", (parts[0], other))


@pytest.mark.parametrize("bad", [
    {"optimizer": "sgdd"}, {"schedule": "step"}, {"layout": "nhwc"}, {"precision": "float64"},
    {"resident": "yes"}, {"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0},
    {"learning_rate": float("nan")}, {"weight_decay": -0.1}])
def test_bad_settings_are_refused_with_their_value(bad):
    (name, value), = bad.items()
    with pytest.raises(CourseError, match=f"TrainConfig: .*{name}={value!r}"):
        train.TrainConfig(**({"epochs": 1} | bad))


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

def test_an_epoch_draws_as_many_whole_batches_as_there_are_slices():
    images, targets = torch.zeros(11, 3, 4, 4).half(), torch.zeros(11, 1, 4, 4, dtype=torch.uint8)
    drawn = list(loop.batches(images, targets, torch.ones(11), 4, torch.Generator()))
    assert [(len(image), len(target)) for image, target in drawn] == [(4, 4), (4, 4)]
    assert drawn[0][0].dtype == torch.float16 and drawn[0][1].dtype == torch.uint8


def test_slices_are_drawn_in_proportion_to_their_weights_image_and_target_together():
    number = torch.arange(5).view(5, 1, 1, 1)
    weights = torch.tensor([0.05, 0.1, 0.15, 0.3, 0.4])
    generator, counts = torch.Generator().manual_seed(0), torch.zeros(5)
    for _ in range(2000):
        for image, target in loop.batches(number.half(), number, weights, 5, generator):
            assert torch.equal(image.long(), target)
            counts += torch.bincount(target.flatten(), minlength=5)
    expected = (10_000 * weights).numpy()
    assert counts.sum() == 10_000 and stats.chisquare(counts.numpy(), expected).pvalue > 0.01


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
    ends = [fit(tmp_path / str(resident), parts, resident=resident, change=augment.affine())
            for resident in (True, False)]
    assert [end.config["resident"] for end in ends] == [True, False]
    assert same_weights(*(stored(end.folder / "last.pt")["model"] for end in ends))


# --- layout and precision ---

def auto(**fixed):
    return train.TrainConfig(epochs=1, **fixed)


def test_what_auto_found_is_stored_and_not_tried_again(tmp_path, parts, monkeypatch):
    def pressed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "choose_layout_and_precision",
                        lambda *_: ("channels_last", "bfloat16"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "batches", pressed)
        fit(tmp_path / "run", parts, layout="auto", precision="auto")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["layout"], config["precision"]) == ("channels_last", "bfloat16")
    assert config["training"]["layout"] == config["training"]["precision"] == "auto"
    monkeypatch.setattr(loop, "choose_layout_and_precision", pressed)
    model, seen = small_unet(), []
    model.enc1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    fit(tmp_path / "run", parts, model=model, epochs=2, layout="auto", precision="auto")
    assert {output.dtype for output in seen} == {torch.bfloat16}
    assert model.enc2[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind, capability, dim, found", [
    ("cuda", (8, 0), 2, ("channels_last", "bfloat16")),
    ("cuda", (7, 5), 2, ("channels_last", "float16")),
    ("cuda", (9, 0), 3, ("contiguous", "bfloat16")),
    ("mps", None, 2, ("contiguous", "float32"))])
def test_on_a_gpu_kind_and_generation_decide(monkeypatch, kind, capability, dim, found):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    model = models.UNet(1, 1, dim=dim, features=2)
    assert choose_layout_and_precision(model, auto(), torch.device(kind)) == found


@pytest.mark.parametrize("can, precision", [
    ({"amx_bf16": True, "avx512_bf16": True}, "bfloat16"), ({"avx512_bf16": True}, "bfloat16"),
    ({"amx_bf16": False, "avx512_bf16": False, "avx2": True}, "float32"), ({}, "float32")])
def test_on_a_cpu_the_processor_decides(monkeypatch, can, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can, raising=False)
    flat, solid = (models.UNet(1, 1, dim=dim, features=2) for dim in (2, 3))
    assert choose_layout_and_precision(flat, auto(), CPU) == ("channels_last", precision)
    assert choose_layout_and_precision(solid, auto(), CPU) == ("contiguous", precision)


def test_a_torch_that_does_not_know_the_processor_gets_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert choose_layout_and_precision(small_unet(), auto(), CPU)[1] == "float32"


@pytest.mark.parametrize("fixed", [{"layout": "contiguous"}, {"precision": "float16"},
                                   {"layout": "contiguous", "precision": "float16"}])
def test_what_is_not_auto_is_kept(fixed):
    assert set(fixed.values()) <= set(choose_layout_and_precision(small_unet(), auto(**fixed), CPU))


def test_layouts_have_the_names_that_torch_gives_them_in_2d_and_3d():
    flat, solid = models.UNet(1, 1, features=2), models.UNet(1, 1, dim=3, features=2)
    assert predict.memory_format(flat, "contiguous") == torch.contiguous_format
    assert predict.memory_format(flat, "channels_last") == torch.channels_last
    assert predict.memory_format(solid, "contiguous") == torch.contiguous_format
    assert predict.memory_format(solid, "channels_last") == torch.channels_last_3d


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_trains_and_goes_on(tmp_path, parts, precision):
    run = fit(tmp_path / "run", parts, epochs=1, precision=precision)
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
    fit(tmp_path / "two", parts, epochs=1, deterministic=True)
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


@pytest.mark.parametrize("step, kept", [(7, 1), (3, 0), (20, 3)])
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


def out_of_memory(words, kind=RuntimeError):
    class Greedy(nn.Conv2d):
        def forward(self, image):
            raise kind(words)

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


# --- what fits into a GPU ---

# A third of the free memory over 43 bytes · features · size²: how many slices fit.
@pytest.mark.parametrize("free_gib, features, size, found", [
    (14.5, 32, 256, (16, 256)),        # a T4: 5.19e9 / 90.2e6 = 57, more than 16
    (4.1, 32, 256, (16, 256)),         # 1.467e9 / 90.2e6 = 16.3
    (4.0, 32, 256, (8, 256)),          # 15.9
    (1.05, 32, 256, (4, 256)),         # 4.2
    (1.0, 32, 256, (4, 128)),          # 3.97 of 256 px
    (1.0, 32, 240, (4, 240)),          # 4.5
    (0.8, 32, 240, (4, 112)),          # 3.6 of 240 px
    (0, 32, 256, (4, 64))])            # as small as it gets
def test_batch_and_size_follow_the_free_memory(monkeypatch, free_gib, features, size, found):
    monkeypatch.setattr(settings, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free_gib * 2**30), 0))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    assert train.fitting_batch(features, size) == found
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))     # an earlier training
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: int(free_gib * 2**30))
    assert train.fitting_batch(features, size) == found
    assert train.fitting_batch(features, 64, batch_size=2) == (2, 64)


def test_without_a_gpu_batch_and_size_stay():
    assert train.fitting_batch(512, 2048, batch_size=99) == (99, 2048)


@pytest.mark.parametrize("features", [4, 8])
def test_what_a_unet_keeps_for_its_gradients_is_what_the_estimate_says(features):
    """Counted on the CPU, by how much more two more slices take: weights do not count."""
    kept = {1: {}, 3: {}}
    for batch_size, found in kept.items():
        def keep(tensor, found=found):
            found[tensor.untyped_storage().data_ptr()] = tensor      # held: addresses stay taken
            return tensor

        model = small_unet(features=features)
        with (torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
              torch.autocast("cpu", dtype=torch.bfloat16)):
            model(torch.randn(batch_size, 3, 64, 64))
    one, three = (sum(tensor.untyped_storage().nbytes() for tensor in found.values())
                  for found in kept.values())
    assert (three - one) / (2 * 64 * 64 * features) == pytest.approx(KEPT_BYTES, rel=0.05)


# --- names in config.json ---

def test_things_are_described_by_name_and_arguments():
    def own_loss(logits, target):
        return logits.sum()

    assert describe(None) == {"name": None}
    assert describe(own_loss) == {"name": "own_loss"}
    assert describe(losses.SoftDice(2.0)) == {"name": "SoftDice", "smooth": 2.0}
    assert describe(nn.BCEWithLogitsLoss()) == {"name": "BCEWithLogitsLoss"}
    assert describe(augment.affine(flip=0))["flip"] == 0


def test_seconds_go_on_counting_after_a_stop(tmp_path, parts, monkeypatch):
    folder = fit(tmp_path / "run", parts, epochs=1).folder
    state = stored(folder / "last.pt")
    state["history"][0]["seconds"] = 1000.0
    torch.save(state, folder / "last.pt")
    config = json.loads((folder / "config.json").read_text())
    config["training"]["epochs"] = 2
    (folder / "config.json").write_text(json.dumps(config))
    begin = time.perf_counter()
    run = fit(folder, parts, epochs=2)
    assert 1000 < run.history[1]["seconds"] < 1000 + time.perf_counter() - begin
