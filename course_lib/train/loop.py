"""One training loop: drawn slices, augmented on the device, exact to the bit when it goes on."""

import copy
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from course_lib import predict, settings
from course_lib.data import SliceDataset
from course_lib.data.cache import write_atomically
from course_lib.errors import CourseError
from course_lib.train import checkpoint, watch

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "bfloat16", "float16")
LAYOUTS = ("contiguous", "channels_last")


@dataclass(frozen=True)
class TrainConfig:
    """What a training is done with. Numbers and names only, stored in config.json.

    Attributes:
        epochs: how many; an epoch is as many draws as there are training slices, and the last
            incomplete batch is dropped.
        batch_size: slices per step.
        learning_rate: of the optimizer, at its highest.
        optimizer: "adam" or "adamw".
        weight_decay: of the optimizer.
        schedule: "constant", or "cosine": up over the first 5 % of the steps, then down to zero.
        seed: of everything random in the training.
        layout: "contiguous" or "channels_last"; "auto" takes what a short trial finds faster.
        precision: "float32", "bfloat16" or "float16"; "auto" likewise.
        resident: keep the data on the device; "auto" does so where they take less than half of
            its free memory, else they are streamed from main memory.
        deterministic: on a GPU, choose algorithms that repeat to the bit; slower.
    """

    epochs: int
    batch_size: int = 16
    learning_rate: float = 1e-4
    optimizer: str = "adam"
    weight_decay: float = 0.0
    schedule: str = "constant"
    seed: int = 42
    layout: str = "auto"
    precision: str = "auto"
    resident: bool | str = "auto"
    deterministic: bool = False

    def __post_init__(self):
        for field, value, choices in (("optimizer", self.optimizer, OPTIMIZERS),
                                      ("schedule", self.schedule, SCHEDULES),
                                      ("layout", self.layout, (*LAYOUTS, "auto")),
                                      ("precision", self.precision, (*PRECISIONS, "auto")),
                                      ("resident", self.resident, (True, False, "auto"))):
            if value not in choices:
                raise CourseError(what=f"{field}={value!r}", where="TrainConfig",
                                  cure=f"use one of {', '.join(map(str, choices))}")
        if self.epochs < 1 or self.batch_size < 1 or not self.learning_rate > 0:
            raise CourseError(what=f"epochs={self.epochs}, batch_size={self.batch_size}, "
                                   f"learning_rate={self.learning_rate}", where="TrainConfig",
                              cure="epochs and batch_size start at 1, the learning rate is above 0")


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
        return max(self.history, key=lambda row: _rank(row["prepared_dsc"]))


def _rank(score: float) -> float:
    """NaN (no validation patient had anything to measure) ranks below every score."""
    return -1.0 if math.isnan(score) else score


def describe(thing) -> dict:
    """Name and arguments of a model, a loss or an augmentation, as config.json keeps them."""
    if thing is None:
        return {"name": None}
    name = getattr(thing, "__name__", type(thing).__name__)
    return {"name": name, **getattr(thing, "arguments", {})}


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """The rate at a step of all steps: a function of nothing else, so resuming needs no state."""
    if config.schedule == "constant":
        return config.learning_rate
    warm = max(1, round(0.05 * steps))
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _check(training: SliceDataset, validation: SliceDataset, config: TrainConfig) -> None:
    shared = set(training.patients) & set(validation.patients)
    if shared:
        raise CourseError(what=f"{len(shared)} patients are in training and validation, "
                               f"the first is {min(shared)}", where="train.fit",
                          cure="split by patient: data.split_patients")
    if training.geometry != validation.geometry:
        raise CourseError(what=f"training was prepared with {training.geometry}, validation with "
                               f"{validation.geometry}", where="train.fit", cure="prepare both alike")
    for name, dataset in (("training", training), ("validation", validation)):
        if dataset.targets.max() > 1:
            raise CourseError(what=f"{name} targets go up to {int(dataset.targets.max())}, "
                                   "and overlap losses would turn negative", where="train.fit",
                              cure="bring masks to 0 and 1")
    if len(training) < config.batch_size:
        raise CourseError(what=f"batch_size={config.batch_size}, but only {len(training)} training "
                               "slices", where="train.fit", cure="take a smaller batch_size")


def choose_layout_and_precision(model: torch.nn.Module, images: torch.Tensor, config: TrainConfig,
                                device: torch.device, seconds: float = 1.0) -> tuple[str, str]:
    """Fill in "auto" by a short trial on a copy of the model; nothing else is touched.

    On a CPU the fastest of the candidates is taken: bfloat16 is several times faster where the
    processor has AMX or AVX512-bf16 and ten times slower where not. Elsewhere: channels_last for
    2D, contiguous for 3D (slower otherwise, pytorch issue 59168); bfloat16 on GPUs from Ampere on,
    float16 on older ones, float32 on mps.

    Args:
        images: a few prepared training images (n, C, H, W).
        seconds: a candidate that would go beyond this is not tried.
    """
    layouts = LAYOUTS if config.layout == "auto" else (config.layout,)
    precisions = PRECISIONS[:2] if config.precision == "auto" else (config.precision,)
    if device.type != "cpu":
        is_2d = all(weight.ndim != 5 for weight in model.parameters())
        if device.type == "cuda":
            half = "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float16"
        else:
            half = "float32"
        return (layouts[-1] if is_2d else layouts[0],
                half if config.precision == "auto" else config.precision)
    if len(layouts) == len(precisions) == 1:
        return layouts[0], precisions[0]
    took, begin = {}, time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        # Best guesses first; float32 before bfloat16, which may crawl.
        for layout in reversed(layouts):
            for precision in precisions:
                trial = copy.deepcopy(model).train()
                trial = trial.to(memory_format=predict.memory_format(trial, layout))
                for image in (images[:1], images):       # the first one warms up
                    start = time.perf_counter()
                    with predict.autocast(device, precision):
                        logits = trial(image.float())
                    logits.float().square().mean().backward()
                    took[layout, precision] = time.perf_counter() - start
                if time.perf_counter() - begin > seconds:
                    return min(took, key=took.get)
    return min(took, key=took.get)


def _fits(dataset: SliceDataset, device: torch.device) -> bool:
    """Whether the data take less than half of the device's free memory."""
    if device.type != "cuda":
        return True                                      # they are in main memory already
    free, _ = torch.cuda.mem_get_info(device)
    return dataset.images.nbytes + dataset.targets.nbytes < free / 2


def batches(dataset: SliceDataset, images: torch.Tensor, targets: torch.Tensor, batch_size: int,
            generator: torch.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch of drawn batches, on the generator's device; images float16, targets uint8.

    Args:
        images, targets: the data set's, on the device, or in main memory to be streamed.
    """
    device = generator.device
    steps = len(dataset) // batch_size
    weights = dataset.sampling_weights().float().to(device)
    drawn = torch.multinomial(weights, steps * batch_size, replacement=True, generator=generator)
    for rows in drawn.to(images.device).split(batch_size):
        yield images[rows].to(device), targets[rows].to(device)


def _begin(model, training, validation, loss, augment, config, folder, device) -> dict:
    """The run's config: a stored one that fits, or a new one, written to config.json."""
    wanted = {
        "data": {"geometry": training.geometry, "training": training.patients,
                 "validation": validation.patients},
        "model": describe(model), "loss": describe(loss), "augment": describe(augment),
        "training": asdict(config),
    }
    stored = checkpoint.stored_config(folder, wanted)
    if stored and stored["device"] == device.type:
        return stored
    layout, precision = choose_layout_and_precision(model, training.images[:4], config, device)
    resident = _fits(training, device) if config.resident == "auto" else config.resident
    versions = {name: version(name) for name in ("torch", "numpy", "scipy")}
    chosen = {**wanted, "device": device.type, "layout": layout, "precision": precision,
              "resident": resident, "threads": torch.get_num_threads(), "versions": versions}
    text = json.dumps(chosen, indent=1).encode()
    write_atomically(folder / "config.json", lambda file: file.write(text))
    return chosen


def fit(model: torch.nn.Module, training: SliceDataset, validation: SliceDataset, *,
        loss: torch.nn.Module, augment: Callable | None, config: TrainConfig,
        folder: str | Path) -> Run:
    """Train, watch, keep; or go on with a run that was interrupted; or show a finished one.

    After every epoch the validation patients are scored on the prepared grid, and last.pt (all that
    is needed to go on) and best.pt (the weights with the highest mean DSC) are written. Calling it
    again with the same settings goes on from the last whole epoch and ends with the same weights,
    to the bit on a CPU (same machine, versions and thread count, layout and precision).

    Args:
        model: returns logits; trained in place. It ends with the last epoch's weights; the best
            are in best.pt (predict.load).
        training, validation: data sets of different patients, prepared alike.
        loss: (logits, target) -> scalar.
        augment: (image, target, generator) -> (image, target), or None.
        config: numbers and names.
        folder: of the run; made where it does not exist.
    Raises:
        CourseError: settings changed since the run was begun; loss not a number; out of memory; see
            the message for the cure. What was done until then is kept.
    """
    folder, device, loss_fn = Path(folder), settings.device(), loss
    _check(training, validation, config)
    chosen = _begin(model, training, validation, loss, augment, config, folder, device)
    torch.manual_seed(config.seed), np.random.seed(config.seed), random.seed(config.seed)
    torch.use_deterministic_algorithms(config.deterministic, warn_only=True)
    torch.backends.cudnn.benchmark = device.type == "cuda" and not config.deterministic
    generator = torch.Generator(device).manual_seed(config.seed)
    model.to(device, memory_format=predict.memory_format(model, chosen["layout"]))
    optimizer = OPTIMIZERS[config.optimizer](model.parameters(), lr=config.learning_rate,
                                             weight_decay=config.weight_decay)
    scaler = torch.amp.GradScaler(device.type, enabled=chosen["precision"] == "float16")
    parts = {"model": model, "optimizer": optimizer, "scaler": scaler}
    if (folder / "last.pt").is_file():
        history = _restore(checkpoint.load(folder / "last.pt"), parts, generator)
    else:
        history = []
        _save(folder, parts, generator, history)         # also keeps the weights it began with
    run = Run(folder, chosen, history)
    watch.write_history(folder, history)
    if len(history) == config.epochs:
        return run

    home = device if chosen["resident"] else torch.device("cpu")
    images, targets = training.images.to(home), training.targets.to(home)
    per_epoch = len(training) // config.batch_size
    steps, step = config.epochs * per_epoch, len(history) * per_epoch
    board = watch.TensorBoard(folder, step)
    bar = watch.progress_bar(steps, step)
    before = history[-1]["seconds"] if history else 0.0
    start = time.perf_counter()
    try:
        for epoch in range(len(history) + 1, config.epochs + 1):
            model.train()
            losses = []
            for image, target in batches(training, images, targets, config.batch_size, generator):
                rate = learning_rate(config, step, steps)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                image, target = augment(image, target, generator) if augment else (image, target)
                with predict.autocast(device, chosen["precision"]):
                    logits = model(image.float())
                loss = loss_fn(logits, target)
                optimizer.zero_grad()
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
                losses.append(loss.detach())
                step += 1
                if step % 10 == 0 or len(losses) == per_epoch:
                    watch.advance(bar, step, _mean_loss(losses, step, rate), history)
            logits = predict.predict_logits(model, validation.images, precision=chosen["precision"])
            scored = predict.prepared_dsc(logits, validation)
            measured = [score for score in scored.values() if not math.isnan(score)]
            history.append({
                "epoch": epoch, "step": step, "training_loss": _mean_loss(losses, step, rate),
                "validation_loss": _validation_loss(loss_fn, logits, validation, config.batch_size),
                "prepared_dsc": float(np.mean(measured)) if measured else math.nan,
                "patients_scored": len(measured), "learning_rate": rate,
                "seconds": round(before + time.perf_counter() - start, 3)})
            if run.best is history[-1]:
                checkpoint.save(folder / "best.pt", {"model": model.state_dict(), **history[-1]})
            _save(folder, parts, generator, history)
            watch.write_history(folder, history)
            board.scalars(history[-1], step)
            if epoch % max(1, config.epochs // 5) == 0:
                board.overlays(validation, logits, step)
            watch.advance(bar, step, history[-1]["training_loss"], history)
    except RuntimeError as error:
        if "memory" not in str(error).lower():
            raise
        raise CourseError(what=f"out of memory on {device.type} with batch_size={config.batch_size}, "
                               f"size={training.geometry['size']}", where="train.fit",
                          cure=f"take batch_size={max(1, config.batch_size // 2)}, smaller slices or "
                               "fewer features; epochs so far are kept") from error
    finally:
        bar.close()
        board.close()
    return run


def _mean_loss(losses: list[torch.Tensor], step: int, rate: float) -> float:
    mean = torch.stack(losses).mean().item()
    if not math.isfinite(mean):
        raise CourseError(what=f"the loss is {mean} at step {step}, with learning rate {rate:g}",
                          where="train.fit",
                          cure="take a learning rate ten times smaller, or precision='float32'; "
                               "epochs so far are kept")
    return mean


@torch.no_grad()
def _validation_loss(loss_fn, logits: torch.Tensor, dataset: SliceDataset, batch_size: int) -> float:
    """Mean over batches of neighbouring slices."""
    parts = zip(logits.split(batch_size), dataset.targets.split(batch_size), strict=True)
    return float(np.mean([loss_fn(part, target).item() for part, target in parts]))


def _save(folder: Path, parts: dict, generator: torch.Generator, history: list[dict]) -> None:
    """last.pt: all that a run needs to go on as if it had not stopped."""
    checkpoint.save(folder / "last.pt", {
        **{name: part.state_dict() for name, part in parts.items()}, "history": history,
        "generator": generator.get_state(), "random": checkpoint.random_state()})


def _restore(state: dict, parts: dict, generator: torch.Generator) -> list[dict]:
    for name, part in parts.items():
        part.load_state_dict(state[name])
    generator.set_state(state["generator"])
    checkpoint.set_random_state(state["random"])
    return state["history"]
