"""One training loop: drawn slices, augmented on the device, exact to the bit when it goes on."""

import json
import math
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from course_lib import predict, settings
from course_lib.data import SliceDataset
from course_lib.data.cache import write_atomically
from course_lib.errors import CourseError
from course_lib.train import checkpoint, keep, watch
from course_lib.train.config import (
    OPTIMIZERS,
    TrainConfig,
    choose_layout_and_precision,
    describe,
    learning_rate,
)

# As cuda, mps, cuDNN, and the CPU on Linux and on Windows say it; not "illegal memory access".
OUT_OF_MEMORY = ("out of memory", "alloc_failed", "allocate memory", "not enough memory")


@dataclass(frozen=True)
class Run:
    """A run folder, and what is known of it.

    Attributes:
        folder: where it lies.
        config: config.json.
        history: a row per epoch: epoch, step, training_loss, validation_loss, prepared_dsc,
            patients_scored, learning_rate, seconds (of training and validation, so far).
    """

    folder: Path
    config: dict
    history: list[dict]

    @property
    def best(self) -> dict:
        """The row of the epoch that best.pt is from: the first with the highest prepared DSC."""
        return checkpoint.best(self.history)


def _check(training: SliceDataset, validation: SliceDataset, config: TrainConfig) -> None:
    shared = set(training.patients) & set(validation.patients)
    if shared:
        raise CourseError(what=f"{len(shared)} patients are in training and validation, "
                               f"the first is {min(shared)}", where="train.fit",
                          cure="split by patient: data.split_patients")
    twins = set(training.digests.values()) & set(validation.digests.values())
    if twins:
        names = [next(name for name, found in part.digests.items() if found == min(twins))
                 for part in (training, validation)]
        raise CourseError(what=f"{names[0]} in training and {names[1]} in validation have the "
                               "same images", where="train.fit",
                          cure="it is one patient under two names: keep one of them")
    if training.geometry != validation.geometry:
        raise CourseError(what=f"training was prepared with {training.geometry}, validation "
                               f"with {validation.geometry}", where="train.fit",
                          cure="prepare both alike")
    for name, dataset in (("training", training), ("validation", validation)):
        if dataset.targets.max() > 1:
            raise CourseError(what=f"{name} targets go up to {int(dataset.targets.max())}, "
                                   "and overlap losses would turn negative", where="train.fit",
                              cure="bring masks to 0 and 1")
    if len(training) < config.batch_size:
        raise CourseError(what=f"batch_size={config.batch_size}, but only {len(training)} training "
                               "slices", where="train.fit", cure="take a smaller batch_size")


def _fits(dataset: SliceDataset, device: torch.device) -> bool:
    """Whether the data take less than half of the device's free memory."""
    if device.type != "cuda":
        return True                                      # they are in main memory already
    free, _ = torch.cuda.mem_get_info(device)
    return dataset.images.nbytes + dataset.targets.nbytes < free / 2


def _place(dataset: SliceDataset, device: torch.device,
           resident: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images and targets, where they stay while training, and sampling weights, on the device."""
    home = device if resident else torch.device("cpu")
    weights = dataset.sampling_weights().float()
    return dataset.images.to(home), dataset.targets.to(home), weights.to(device)


def batches(images: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, batch_size: int,
            generator: torch.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch of drawn batches, on the generator's device; images float16, targets uint8.

    Args:
        images, targets: the data set's, on the device, or in main memory to be streamed.
        weights: (N,), the data set's sampling_weights, on the device.
    """
    device = generator.device
    steps = len(images) // batch_size
    drawn = torch.multinomial(weights, steps * batch_size, replacement=True, generator=generator)
    for rows in drawn.to(images.device).split(batch_size):
        yield images[rows].to(device), targets[rows].to(device)


def _begin(model, training, validation, loss, augment, config, folder, device) -> dict:
    """The run's config: a stored one that fits, or a new one, written to config.json."""
    wanted = {
        "data": {"geometry": training.geometry, "training": training.patients,
                 "validation": validation.patients,
                 "targets": [zlib.crc32(part.targets.numpy()) for part in (training, validation)]},
        "model": describe(model), "loss": describe(loss), "augment": describe(augment),
        "training": asdict(config),
    }
    stored = checkpoint.stored_config(folder, wanted)
    if stored and (stored["device"] == device.type
                   or len(watch.read_history(folder)) == config.epochs):
        return stored
    layout, precision = choose_layout_and_precision(model, config, device)
    resident = _fits(training, device) if config.resident == "auto" else config.resident
    versions = {name: version(name)
                for name in ("course-lib", "torch", "numpy", "scipy")}
    chosen = {**wanted, "device": device.type, "layout": layout, "precision": precision,
              "resident": resident, "threads": torch.get_num_threads(), "versions": versions}
    text = json.dumps(chosen, indent=1).encode()
    with watch.explain_disk(folder / "config.json", "the settings"):
        write_atomically(folder / "config.json", lambda file: file.write(text))
    return chosen


def _start(model: torch.nn.Module, config: TrainConfig, chosen: dict, folder: Path,
           device: torch.device, keeper: keep.Keeper) -> checkpoint.State:
    """The state a new run begins with, or an interrupted one goes on from."""
    checkpoint.seed(config.seed)
    torch.use_deterministic_algorithms(config.deterministic, warn_only=True)
    torch.backends.cudnn.benchmark = not config.deterministic
    model.to(device, memory_format=predict.memory_format(model, chosen["layout"]))
    optimizer = OPTIMIZERS[config.optimizer](model.parameters(), lr=config.learning_rate,
                                             weight_decay=config.weight_decay)
    scaler = torch.amp.GradScaler(device.type, enabled=chosen["precision"] == "float16")
    generator = torch.Generator(device).manual_seed(config.seed)
    state = checkpoint.State(folder, model, optimizer, scaler, generator, [], keeper)
    if (folder / "last.pt").is_file():
        state.restore()
    else:
        state.save()                                     # the weights that the run began with
    return state


@contextmanager
def _explain_memory(device: torch.device, config: TrainConfig, size: int) -> Iterator[None]:
    """Turn torch's out-of-memory errors (a RuntimeError on every device) into a sentence."""
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error).lower() for words in OUT_OF_MEMORY):
            raise
        raise CourseError(what=f"out of memory on {device.type} with "
                               f"batch_size={config.batch_size}, size={size}", where="train.fit",
                          cure=f"take batch_size={max(1, config.batch_size // 2)}, smaller slices "
                               "or fewer features, in a new run; the epochs so far are kept"
                          ) from error


def _finite_mean(losses: list[torch.Tensor], step: int, rate: float) -> float:
    """Mean of an epoch's losses so far, the last of them from this step (counted from 1)."""
    values = torch.stack(losses).cpu()
    bad = (~values.isfinite()).nonzero()
    if len(bad):
        first = int(bad[0])
        raise CourseError(what=f"the loss is {values[first].item()} at step "
                               f"{step - len(losses) + 1 + first}, with learning rate {rate:g}",
                          where="train.fit",
                          cure="take a learning rate ten times smaller, or precision='float32', "
                               "in a new run; the epochs so far are kept")
    return values.mean().item()


@torch.no_grad()
def _validate(model: torch.nn.Module, dataset: SliceDataset, loss_fn, config: TrainConfig,
              precision: str) -> tuple[torch.Tensor, dict]:
    """Logits of all slices; loss as mean over batches of neighbours, DSC as mean over patients."""
    logits = predict.predict_logits(model, dataset.images, precision=precision,
                                    batch_size=config.batch_size)
    parts = zip(*(whole.split(config.batch_size) for whole in (logits, dataset.targets)),
                strict=True)
    losses = [loss_fn(part, target).item() for part, target in parts]
    scores = [score for score in predict.prepared_dsc(logits, dataset).values()
              if not math.isnan(score)]
    return logits, {"validation_loss": float(np.mean(losses)),
                    "prepared_dsc": float(np.mean(scores)) if scores else math.nan,
                    "patients_scored": len(scores)}


def fit(model: torch.nn.Module, training: SliceDataset, validation: SliceDataset, *,
        loss: torch.nn.Module, augment: Callable | None, config: TrainConfig,
        folder: str | Path) -> Run:
    """Train, watch, keep; or go on with a run that was interrupted; or show a finished one.

    After each epoch validation patients are scored on the prepared grid; last.pt (all it takes to
    go on) and best.pt (highest mean DSC) are written. Called again it goes on after the last whole
    epoch, and ends the same, on a CPU to the bit (same machine, versions, threads, layout and
    precision). Where COURSE_KEEP names a folder, the run is kept there, and brought back, as well.

    Args:
        model: returns logits; ends with the last epoch's weights (predict.load has the best).
        training, validation: data sets of different patients, prepared alike.
        loss: (logits, target) -> scalar.
        augment: (image, target, generator) -> (image, target), or None.
        config: numbers and names.
        folder: of the run; made where it does not exist.
    Raises:
        CourseError: settings changed, the loss is not a number, or memory ran out; see its cure.
    """
    folder, device, loss_fn = Path(folder), settings.device(), loss
    _check(training, validation, config)
    keeper = keep.Keeper(folder)
    keeper.restore()
    chosen = _begin(model, training, validation, loss, augment, config, folder, device)
    state = _start(model, config, chosen, folder, device, keeper)
    run = Run(folder, chosen, state.history)
    if len(run.history) == config.epochs:
        return run

    per_epoch = len(training) // config.batch_size
    steps, step = config.epochs * per_epoch, len(run.history) * per_epoch
    clock = time.perf_counter() - (run.history[-1]["seconds"] if run.history else 0)
    with (_explain_memory(device, config, training.geometry["size"]),
          watch.TensorBoard(folder, step) as board, watch.progress_bar(steps, step) as bar):
        source = _place(training, device, chosen["resident"])
        for epoch in range(len(run.history) + 1, config.epochs + 1):
            model.train()
            losses = []
            for image, target in batches(*source, config.batch_size, state.generator):
                rate = learning_rate(config, step, steps)
                state.optimizer.param_groups[0]["lr"] = rate
                if augment:
                    image, target = augment(image, target, state.generator)
                with predict.autocast(device, chosen["precision"]):
                    logits = model(image.float())            # (B, 1, H, W)
                batch_loss = loss_fn(logits, target)
                state.optimizer.zero_grad()
                state.scaler.scale(batch_loss).backward()    # scales in float16 only
                state.scaler.step(state.optimizer)
                state.scaler.update()
                losses.append(batch_loss.detach())
                step += 1
                if step % 10 == 0:                           # looking at a loss waits for a GPU
                    watch.advance(bar, step, _finite_mean(losses, step, rate), run.history)
            row = {"epoch": epoch, "step": step, "training_loss": _finite_mean(losses, step, rate)}
            logits, scores = _validate(model, validation, loss_fn, config, chosen["precision"])
            row |= scores | {"learning_rate": rate, "seconds": time.perf_counter() - clock}
            board.epoch(row, validation, logits, pictures=epoch % max(1, config.epochs // 5) == 0)
            state.keep(row)
            watch.advance(bar, step, row["training_loss"], run.history)
    return run
