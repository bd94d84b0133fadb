"""From a trained network to masks on the original grid, and to scores per patient.

A predictor holds the network together with the preparation it was trained with, so that whoever
loads a run folder needs nothing else, and cannot normalise in another way by mistake.
"""

import csv
import io
import json
import shutil
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from course_lib import metrics, settings, show
from course_lib.data import SliceDataset, geometry, read_patient
from course_lib.data.cache import write_atomically
from course_lib.errors import CourseError
from course_lib.models import MODELS

THRESHOLD = 0.5      # on probabilities; the largest component is kept afterwards


def autocast(device: torch.device, precision: str):
    """Mixed precision for "bfloat16" and "float16", nothing for "float32"."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


def memory_format(model: torch.nn.Module, layout: str) -> torch.memory_format:
    """torch's name for a layout: "contiguous" or "channels_last" (which differs in 3D)."""
    if layout == "contiguous":
        return torch.contiguous_format
    is_3d = any(weight.ndim == 5 for weight in model.parameters())
    return torch.channels_last_3d if is_3d else torch.channels_last


@torch.no_grad()
def predict_logits(model: torch.nn.Module, images: torch.Tensor, *, precision: str = "float32",
                   batch_size: int = 32) -> torch.Tensor:
    """Logits (N, out_channels, H, W), float32 on the CPU, for prepared images (N, C, H, W).

    The model is put in eval mode, and back afterwards.
    """
    device = next((weight.device for weight in model.parameters()), settings.device())
    was_training = model.training
    model.eval()
    logits = []
    for batch in images.split(batch_size):
        with autocast(device, precision):
            logits.append(model(batch.to(device).float()).float().cpu())
    model.train(was_training)
    return torch.cat(logits)


def prepared_dsc(logits: torch.Tensor, dataset: SliceDataset) -> dict[str, float]:
    """DSC per patient on the prepared grid, largest component kept: what chooses best.pt.

    Args:
        logits: (N, 1, size, size), of all slices of the data set, in its order.
    Returns:
        Patient to DSC; NaN where neither tumour nor prediction is there.
    """
    masks = (torch.sigmoid(logits) > THRESHOLD).numpy()[:, 0]
    found = {}
    for name in dataset.patients:
        rows = dataset.rows(name)
        target = dataset.targets[rows].numpy()[:, 0]
        found[name] = metrics.dsc(metrics.largest_component(masks[rows]), target)
    return found


@dataclass(frozen=True)
class Prediction:
    """One patient, predicted, on the grid of the raw files.

    Attributes:
        patient: name.
        image: (S, H, W, 3), as read.
        probabilities: (S, H, W) float32.
        mask: (S, H, W) uint8 of 0 and 1: probabilities above 0.5, largest component.
        target: (S, H, W) uint8 of 0 and 1, or None.
        slices: the S slice numbers in the file names.
    """

    patient: str
    image: np.ndarray
    probabilities: np.ndarray
    mask: np.ndarray
    target: np.ndarray | None
    slices: list[int]


@dataclass(frozen=True)
class Predictor:
    """A network with the preparation that belongs to it.

    Args:
        model: returns logits (B, 1, H, W) for prepared images (B, 3, H, W).
        geometry: `SliceDataset.geometry` of its training data.
        folder: the run folder, if there is one; scores.csv and predictions/ go there.
        precision: "float32", "bfloat16" or "float16".
    """

    model: torch.nn.Module
    geometry: dict
    folder: Path | None = None
    precision: str = "float32"

    def patient(self, folder: str | Path, with_target: bool = True) -> Prediction:
        """Predict one patient from a folder of raw tif files.

        Args:
            with_target: read masks as well; False where there are none.
        Raises:
            DataError: the files cannot be read; see data.read_patient.
        """
        raw = read_patient(folder, with_target)
        box = geometry.find_box(raw.image, where=raw.name, **self.geometry)
        images = torch.from_numpy(geometry.prepare_image(raw.image, box))
        logits = predict_logits(self.model, images, precision=self.precision)
        probabilities = geometry.restore(torch.sigmoid(logits)[:, 0].numpy(), box)
        mask = metrics.largest_component((probabilities > THRESHOLD).astype(np.uint8))
        return Prediction(raw.name, raw.image, probabilities, mask, raw.target, raw.slices)


def load_weights(model: torch.nn.Module, path: Path) -> dict:
    """Fill a network from a checkpoint, and return all that the file holds, on the CPU.

    Only tensors, numbers, strings and their containers are loaded.

    Raises:
        CourseError: the weights are another network's.
    """
    stored = torch.load(path, map_location="cpu", weights_only=True)
    try:
        model.load_state_dict(stored["model"])
    except RuntimeError as error:
        raise CourseError(what="these are the weights of another network", where=str(path),
                          cure="pass the network that was trained, or begin a new run") from error
    return stored


def load(folder: str | Path, model: torch.nn.Module | None = None) -> Predictor:
    """The best network of a run, from nothing but its folder.

    Args:
        folder: of a run that `train.fit` made.
        model: the network, where it is not one of course_lib's; its weights are filled in.
    Raises:
        CourseError: there is no run, nothing is trained yet, or the network is unknown or another.
    """
    folder = Path(folder)
    for name in ("config.json", "best.pt"):
        if not (folder / name).is_file():
            raise CourseError(what=f"there is no {name}", where=str(folder),
                              cure="point to a folder that train.fit made, after its first epoch")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if model is None:
        described = dict(config["model"])
        kind = described.pop("name")
        if kind not in MODELS:
            raise CourseError(what=f"the network {kind!r} is not one of {', '.join(MODELS)}",
                              where=str(folder), cure="pass it: predict.load(folder, model=…)")
        model = MODELS[kind](**described)
    load_weights(model, folder / "best.pt")
    device = settings.device()
    same = config["device"] == device.type           # a GPU's precision may crawl on a CPU
    layout = config["layout"] if same or device.type == "cpu" else "contiguous"
    model.to(device, memory_format=memory_format(model, layout))
    return Predictor(model.eval(), config["data"]["geometry"], folder,
                     config["precision"] if same else "float32")


def patients(predictor: Predictor, dataset: SliceDataset) -> dict[str, Prediction]:
    """Predict all patients of a data set, from its raw files, on their original grid."""
    return {name: predictor.patient(dataset.folder / name) for name in dataset.patients}


def scores(predictions: dict[str, Prediction]) -> list[dict]:
    """A row per patient: dsc, iou, target and prediction in voxels; original grid, all slices.

    Where neither is any tumour, dsc and iou are NaN: a mean over patients leaves them out.

    Raises:
        CourseError: a patient was predicted without its masks.
    """
    for name, found in predictions.items():
        if found.target is None:
            raise CourseError(what="there is no target to score against", where=name,
                              cure="predict it with its masks: with_target=True")
    return [{"patient": name, "dsc": metrics.dsc(found.mask, found.target),
             "iou": metrics.iou(found.mask, found.target),
             "target_voxels": int(found.target.sum()), "predicted_voxels": int(found.mask.sum())}
            for name, found in predictions.items()]


def evaluate(predictor: Predictor, dataset: SliceDataset) -> list[dict]:
    """Predict and score all patients of a data set; also written to the run's scores.csv.

    Returns:
        Rows as from `scores`.
    """
    table = [row for name in dataset.patients       # one at a time: volumes are large
             for row in scores({name: predictor.patient(dataset.folder / name)})]
    if predictor.folder:
        write_table(predictor.folder / "scores.csv", table)
    return table


def write_table(path: Path, table: list[dict]) -> None:
    """Rows of equal keys as a csv file, written whole."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))


def export(predictions: dict[str, Prediction], folder: str | Path) -> Path:
    """Write predictions/<patient>/, an outlined picture and a mask per slice, and one zip of all.

    Args:
        folder: of the run; what an earlier export left there is replaced, other patients too.
    Returns:
        The zip, predictions.zip in the run folder.
    """
    home = Path(folder) / "predictions"
    if home.exists():
        shutil.rmtree(home)
    for name, found in predictions.items():
        (home / name).mkdir(parents=True)
        for position, number in enumerate(found.slices):
            target = None if found.target is None else found.target[position]
            mask, start = found.mask[position], f"{name}_{number}"
            outlined = show.overlay(found.image[position, :, :, 1], mask, target)
            Image.fromarray(outlined).save(home / name / f"{start}_outlined.png",
                                           compress_level=1)
            Image.fromarray(mask * 255).save(home / name / f"{start}_mask.png")
    return Path(shutil.make_archive(str(home), "zip", root_dir=home))
