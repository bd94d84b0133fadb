"""What is refused at the door, before a training starts: arguments, data, parts that do not fit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from textwrap import shorten

import torch

from course_lib.compute import Compute
from course_lib.data.checking import shared_images
from course_lib.errors import CourseError
from course_lib.predict.labels import check_channels
from course_lib.predict.predictor import check_postprocess
from course_lib.train.config import TrainConfig

# As cuda, mps, cuDNN, and the CPU on Linux and on Windows say it; not "illegal memory access".
OUT_OF_MEMORY = ("out of memory", "alloc_failed", "allocate memory", "not enough memory")
DATA_SET = ("patients", "labels", "preparation", "digests", "batches", "prepared")
PARTS = {"augmentation": "(image, target, generator) -> (image, target), as augment.Affine()",
         "network": "image (B, C, …) -> logits (B, K, …), as models.UNet(3, 1)",
         "loss": "(logits, target) -> one number with a gradient, as losses.BCEDice()"}


def check_arguments(model, loss, augment, config, compute, postprocess) -> None:
    """Refuse a class in place of an object, and what is no config, by the argument's name."""
    for name, value, example in (("loss", loss, "losses.BCEDice()"),
                                 ("augment", augment, "augment.Affine()"),
                                 ("model", model, "models.UNet(3, 1)")):
        if isinstance(value, type) or not callable(value) and (value, name) != (None, "augment"):
            shown = value.__name__ if isinstance(value, type) else repr(value)
            raise CourseError(what=f"{name}={shown}", where="train.fit",
                              cure=f"give an object that can be called, such as {example}")
    for name, value, kind in (("model", model, torch.nn.Module), ("config", config, TrainConfig),
                              ("compute", compute, Compute)):
        if not isinstance(value, kind):
            raise CourseError(what=f"{name} is a {type(value).__name__}", where="train.fit",
                              cure=f"give a {kind.__name__}(…)")
    if not any(weight.requires_grad for weight in model.parameters()):
        raise CourseError(what="the network has no weights that can be trained", where="train.fit",
                          cure="set requires_grad, or give another network")
    check_postprocess(postprocess, "train.fit")


def check_data(training, validation, config: TrainConfig) -> int:
    """Refuse data that would train or score wrongly; count the slices (volumes) to train on."""
    for part, dataset in (("training", training), ("validation", validation)):
        if not all(hasattr(dataset, name) for name in DATA_SET) or not dataset.patients:
            raise CourseError(what=f"{part} is a {type(dataset).__name__}", where="train.fit",
                              cure="give a data set with patients, such as data.SliceDataset")
    shared = set(training.patients) & set(validation.patients)
    if shared:
        raise CourseError(what=f"{len(shared)} patients are in training and validation, the "
                               f"first is {min(shared)}", where="train.fit",
                          cure="split by patient: data.split_patients")
    for problem in shared_images({**training.digests, **validation.digests}):    # under other names
        raise CourseError(what=f"{problem.patient} {problem.what}, in training and validation",
                          where="train.fit", cure=problem.cure)
    for name in ("preparation", "labels"):
        first, second = getattr(training, name), getattr(validation, name)
        if first != second:
            raise CourseError(what=f"training has the {name} {first}, validation {second}",
                              where="train.fit", cure="prepare both alike")
    slices = sum(_check_target(training, name, "training") for name in training.patients)
    for name in validation.patients:
        _check_target(validation, name, "validation")
    if not slices or (slices < config.batch_size and config.steps_per_epoch is None):
        raise CourseError(what=f"batch_size={config.batch_size}, but only {slices} training "
                               "slices", where="train.fit", cure="take a smaller batch_size")
    return slices


def _check_target(dataset, patient: str, part: str) -> int:
    """Refuse a target with values beyond the labels; returns the number of its slices."""
    target, highest = dataset.prepared(patient).target, max(dataset.labels.values())
    if target is None:
        raise CourseError(what=f"there is no target to train on ({part})", where=patient,
                          cure="leave this patient out, or restore the masks")
    if target.max() > highest:
        raise CourseError(what=f"{part} targets go up to {int(target.max())}, the labels to "
                               f"{highest}, and overlap losses would turn negative", where=patient,
                          cure="bring masks to the values of the labels, such as 0 and 1")
    return len(target)


@contextmanager
def _blame(part: str) -> Iterator[None]:
    """Say which of the caller's parts failed; a lack of memory is explained in loop.py."""
    try:
        yield
    except CourseError:
        raise
    except Exception as error:
        if any(words in str(error).lower() for words in OUT_OF_MEMORY):
            raise
        text = shorten(f"{type(error).__name__}: {error}", 250)
        raise CourseError(what=f"the {part} fails with {text}", where="train.fit",
                          cure=f"give one that does {PARTS[part]}") from error


def checked(part: str, function: Callable, fits: Callable) -> Callable:
    """Wrap a loss or an augmentation: what it raises, or returns amiss, becomes a sentence."""
    def call(*arguments):
        with _blame(part):
            result = function(*arguments)
            if not fits(result):
                raise TypeError(f"it returns {result!r:.60}")
        return result
    return call


@torch.no_grad()
def rehearse(model: torch.nn.Module, training, device: torch.device, compute: Compute) -> None:
    """Refuse a network that takes other images, or whose output does not fit labels and size."""
    image, _ = next(iter(training.batches(1, 1, torch.Generator(device), compute=compute)))
    was_training = model.training
    model.eval()
    with _blame("network"), compute.autocast(device):
        logits = model(image.float())
    model.train(was_training)
    check_channels(logits, training.labels, "train.fit")
    if logits.shape[2:] != image.shape[2:]:
        raise CourseError(what=f"the network makes {tuple(logits.shape[2:])} of an image of "
                               f"{tuple(image.shape[2:])}", where="train.fit",
                          cure="give a network whose output is as large as its input, such as "
                               "padding='same'")
