"""From a trained network to masks on the original grid, and to scores per patient.

A predictor holds the network together with the preparation it was trained with, so that whoever
loads a run folder needs nothing else, and cannot normalise in another way by mistake.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from course_lib import data, metrics, settings
from course_lib.compute import PLAIN, Compute
from course_lib.errors import CourseError
from course_lib.models import MODELS
from course_lib.predict import labels as deciding
from course_lib.predict import stored
from course_lib.registry import build
from course_lib.tables import Table


@torch.no_grad()
def predict_logits(model: torch.nn.Module, images: torch.Tensor, *, compute: Compute = PLAIN,
                   batch_size: int = 32) -> torch.Tensor:
    """Compute logits (N, out_channels, …), float32 on the CPU, for prepared images (N, C, …).

    The model is put in eval mode, and back afterwards. What returns no tensor is refused.
    """
    device = next((weight.device for weight in model.parameters()), settings.device())
    was_training = model.training
    model.eval()
    logits = []
    for batch in images.split(batch_size):
        with compute.autocast(device):
            output = model(batch.to(device).float())
        if not isinstance(output, torch.Tensor):
            model.train(was_training)
            deciding.check_channels(output, {}, "predict_logits")
        logits.append(output.float().cpu())
    model.train(was_training)
    return torch.cat(logits)


def prepared_masks(logits: torch.Tensor, postprocess: str | None) -> np.ndarray:
    """Decide one patient's label map (N, …) on the prepared grid from logits (N, K, …)."""
    masks = deciding.to_labels(deciding.to_probabilities(logits))[:, 0].numpy()
    return deciding.apply_postprocess(masks, postprocess)


def mean_dsc(mask: np.ndarray, target: torch.Tensor, names: dict[str, int]) -> float:
    """Average a patient's DSC over the labels that are there; NaN where none is."""
    each = deciding.label_scores(metrics.dsc, mask, target[:, 0].numpy(), names)
    measured = [value for value in each.values() if not math.isnan(value)]
    return float(np.mean(measured)) if measured else math.nan


def prepared_dsc(model: torch.nn.Module, dataset, *, compute: Compute = PLAIN,
                 postprocess: str | None = "largest_component") -> dict[str, float]:
    """Score each patient on the prepared grid, the score that chooses best.pt while training.

    Returns:
        Patient to DSC, the mean over labels; NaN where neither target nor prediction is there.
    """
    dsc = {}
    for name in dataset.patients:
        ready = dataset.prepared(name)
        logits = predict_logits(model, ready.image, compute=compute)
        deciding.check_channels(logits, dataset.labels, "predict.prepared_dsc")
        dsc[name] = mean_dsc(prepared_masks(logits, postprocess), ready.target, dataset.labels)
    return dsc


@dataclass(frozen=True)
class Prediction:
    """One patient, predicted, on the grid of the raw files.

    Attributes:
        raw: the patient as read: name, image, target and what else the files have.
        probabilities: (K, S, H, W) float32; K = 1 for one label, else background first.
        mask: (S, H, W) uint8 label map.
    """

    raw: object
    probabilities: np.ndarray
    mask: np.ndarray

    @property
    def patient(self) -> str:
        """The patient's name."""
        return self.raw.name

    @property
    def image(self) -> np.ndarray:
        """The image as read, (S, H, W, C)."""
        return self.raw.image

    @property
    def target(self) -> np.ndarray | None:
        """The target as read, (S, H, W) label map, or None."""
        return self.raw.target

    @property
    def slices(self) -> list[int]:
        """The S slice numbers in the file names."""
        return self.raw.slices


@dataclass(frozen=True)
class Predictor:
    """A network with the preparation that belongs to it.

    Args:
        model: returns logits (B, K, …) for prepared images (B, C, …).
        preparation: that of its training data, `dataset.preparation`.
        labels: name to value.
        folder: the run folder, if there is one; scores.csv goes there.
        compute: resolved; how it is computed.
        postprocess: "largest_component", "deepest_component" or None.
    Raises:
        CourseError: `postprocess` is none of these.
    """

    model: torch.nn.Module
    preparation: dict
    labels: dict[str, int] = field(default_factory=lambda: {"tumour": 1})
    folder: Path | None = None
    compute: Compute = PLAIN
    postprocess: str | None = "largest_component"

    def __post_init__(self):
        check_postprocess(self.postprocess, "Predictor")

    def predict(self, raw) -> Prediction:
        """Predict one patient from raw arrays, such as read_patient and `dataset.read` return.

        Raises:
            CourseError: the network's channels do not fit the labels.
        """
        ready = data.prepare(raw, self.preparation)
        logits = predict_logits(self.model, ready.image, compute=self.compute)
        deciding.check_channels(logits, self.labels, "Predictor.predict")
        probabilities = data.restore(deciding.to_probabilities(logits).numpy(), ready.box)
        mask = deciding.to_labels(torch.from_numpy(probabilities[None]))[0, 0].numpy()
        return Prediction(raw, probabilities, deciding.apply_postprocess(mask, self.postprocess))

    def patient(self, folder: str | Path, with_target: bool = True) -> Prediction:
        """Read one patient's folder of tif files, and predict.

        Args:
            with_target: read masks as well; False where there are none.
        Raises:
            DataError: the files cannot be read; see data.read_patient.
        """
        return self.predict(data.read_patient(folder, with_target, self.labels))


def check_postprocess(rule, where: str) -> None:
    """Refuse a rule that is not known."""
    if rule not in deciding.POSTPROCESS:
        raise CourseError(what=f"postprocess={rule!r}", where=where,
                          cure=f"use one of {', '.join(map(repr, deciding.POSTPROCESS))}")


def load(folder: str | Path, model: torch.nn.Module | None = None) -> Predictor:
    """Load the best network of a run, from nothing but its folder.

    Args:
        folder: of a run that `train.fit` made.
        model: the network, where it is not one of course_lib's; its weights are filled in.
    Raises:
        CourseError: there is no run, nothing is trained yet, something is damaged, or the network
            is unknown or another.
    """
    folder = stored.find_folder(folder, "predict.load")
    config = stored.read_config(folder)
    if not (folder / "best.pt").is_file():
        raise CourseError(what="there is no best.pt", where=str(folder),
                          cure="call train.fit again with the same settings: it goes on, and makes "
                               "best.pt where last.pt holds the best epoch")
    if model is None:
        model = build(config["model"], MODELS)
    if "epoch" not in stored.load_weights(model, folder / "best.pt", config["id"]):
        raise stored.unusable(folder / "best.pt", "is not of the best epoch")
    device, facts = settings.device(), dict(config["compute"])
    same = facts.pop("device") == device.type        # a GPU's precision may crawl on a CPU
    facts.pop("threads")
    compute = Compute(**facts) if same else PLAIN
    model.to(device, memory_format=compute.memory_format(model))
    return Predictor(model.eval(), config["data"]["preparation"], config["data"]["labels"], folder,
                     compute, config["postprocess"])


def predict_all(predictor: Predictor, dataset) -> dict[str, Prediction]:
    """Predict all patients of a data set, from its raw files, on their original grid."""
    return {name: predictor.predict(dataset.read(name)) for name in dataset.patients}


def scores(predictions: dict[str, Prediction], labels: dict[str, int] | None = None) -> Table:
    """Score predictions: a row per patient and label, on the original grid with all slices.

    Where neither has any of a label, dsc and iou are NaN: a mean over patients leaves them out.

    Args:
        labels: name to value; None is {"tumour": 1}.
    Returns:
        Rows of patient, label, dsc, iou, target_voxels, predicted_voxels.
    Raises:
        CourseError: a patient was predicted without its masks.
    """
    for name, prediction in predictions.items():
        if prediction.target is None:
            raise CourseError(what="there is no target to score against", where=name,
                              cure="predict it with its masks: with_target=True")
    return Table(_score(name, prediction, label, value)
                 for name, prediction in predictions.items()
                 for label, value in (labels or {"tumour": 1}).items())


def _score(name: str, prediction: Prediction, label: str, value: int) -> dict:
    mask, target = prediction.mask == value, prediction.target == value
    return {"patient": name, "label": label, "dsc": metrics.dsc(mask, target),
            "iou": metrics.iou(mask, target), "target_voxels": int(target.sum()),
            "predicted_voxels": int(mask.sum())}


def evaluate(predictor: Predictor, dataset) -> Table:
    """Predict and score all patients of a data set; also written to the run's scores.csv.

    Returns:
        Rows as from `scores`.
    Raises:
        CourseError: the data set has other labels than the predictor.
    """
    if dataset.labels != predictor.labels:
        raise CourseError(what=f"the data set's labels are {dataset.labels}, the predictor's "
                               f"{predictor.labels}", where="predict.evaluate",
                          cure="score on a data set with the labels it was trained on")
    table = Table(row for name in dataset.patients       # one at a time: volumes are large
                  for row in scores({name: predictor.predict(dataset.read(name))},
                                    predictor.labels))
    if predictor.folder:
        table.save(predictor.folder / "scores.csv")
    return table
