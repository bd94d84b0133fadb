"""One training loop: drawn batches, augmented on the device, exact to the bit when it goes on."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch

from course_lib import losses, settings, show
from course_lib.augment import spatial as augmenting
from course_lib.compute import AUTO, Compute
from course_lib.errors import CourseError
from course_lib.predict import predictor, stored
from course_lib.train import checkpoint, door, log
from course_lib.train import folder as run_folder
from course_lib.train.backup import Backup
from course_lib.train.config import OPTIMIZERS, TrainConfig, learning_rate


@dataclass(frozen=True)
class Run:
    """A run folder, its config.json, and its history: a row per epoch (epoch, step, training_loss,
    validation_loss, prepared_dsc, patients_scored, learning_rate, seconds so far)."""

    folder: Path
    config: dict
    history: list[dict]

    @property
    def best(self) -> dict:
        """The row of the epoch that best.pt is from (TrainConfig's `keep`)."""
        return checkpoint.kept(self.history, self.config["training"]["keep"])


def training_step(model: torch.nn.Module, image: torch.Tensor, target: torch.Tensor, *,
                  loss_fn: Callable, optimizer: torch.optim.Optimizer,
                  scaler: torch.amp.GradScaler, compute: Compute,
                  clip_norm: float | None = None) -> torch.Tensor:
    """Take one step: forward, loss, backward, clip, step.

    Args:
        image, target: (B, C, …) and (B, 1, …), a label map; both on the model's device.
        scaler: scales the loss in float16, where small gradients would vanish; else disabled.
    Returns:
        The loss before the step, a scalar without gradient.
    """
    with compute.autocast(image.device):
        logits = model(image.float())                        # (B, out_channels, …)
    loss = losses.weigh_levels(loss_fn, logits, target)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    if clip_norm is not None:
        scaler.unscale_(optimizer)                           # the norm is of the true gradient
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    scaler.step(optimizer)
    scaler.update()
    return loss.detach()


@contextmanager
def _explain_limits(device: torch.device, config: TrainConfig, preparation: dict) -> Iterator[None]:
    """Turn torch's errors for too little memory, and for too small a batch, into sentences."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if "more than 1 value per channel" in str(error):    # as batch normalisation says it
            raise CourseError(what=f"batch_size={config.batch_size} leaves a single value to "
                                   "normalise", where="train.fit",
                              cure="take a batch_size of at least 2, or larger slices") from error
        if not any(words in str(error).lower() for words in door.OUT_OF_MEMORY):
            raise
        raise CourseError(what=f"out of memory on {device.type} with batch_size="
                               f"{config.batch_size}, size={preparation.get('size', preparation)}",
                          where="train.fit", cure=f"take batch_size="
                          f"{max(1, config.batch_size // 2)}, smaller slices or fewer features, in "
                          "a new run; the epochs so far are kept") from error


def _finite_mean(values: list[torch.Tensor], step: int, rate: float) -> float:
    """Average an epoch's losses so far, the last of them from this step (counted from 1)."""
    losses = torch.stack(values).cpu()
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        first = int(bad[0])
        if step - len(losses) + first == 0:              # the rate cannot be the reason
            raise CourseError(what=f"loss is {losses[0].item()} at the first step",
                              where="train.fit", cure="look at images, augmentation, loss and the "
                                                      "network's weights: something is no number")
        raise checkpoint.diverged(f"loss is {losses[first].item()} at step "
                                  f"{step - len(losses) + first + 1}", rate)
    return losses.mean().item()


@torch.no_grad()
def _validate(model: torch.nn.Module, dataset, loss_fn: Callable, config: TrainConfig,
              compute: Compute, postprocess: str | None,
              pictures: bool) -> tuple[dict, dict[str, np.ndarray]]:
    """Score each validation patient, one in memory at a time; a logit that is no number is refused.

    Returns:
        validation_loss; prepared_dsc, over patients with something to measure, and how many these
        are; pictures of up to four.
    """
    each_loss, scores, drawn = [], [], {}
    for name in dataset.patients:
        ready = dataset.prepared(name)
        logits = predictor.predict_logits(model, ready.image, compute=compute,
                                          batch_size=config.batch_size)
        each_loss += [loss_fn(part, target).item() for part, target in zip(
            logits.split(config.batch_size), ready.target.split(config.batch_size), strict=True)]
        if not (stored.all_finite([logits]) and math.isfinite(each_loss[-1])):
            raise checkpoint.diverged("the network's output is not a number",
                                      config.learning_rate, where=name)
        mask = predictor.prepared_masks(logits, postprocess)
        scores.append(predictor.mean_dsc(mask, ready.target, dataset.labels))
        if pictures and ready.image.ndim == 4 and len(drawn) < 4:        # of 2D slices
            drawn[name] = show.outline_most_marked(ready.image, mask, ready.target)
    measured = [score for score in scores if not math.isnan(score)]
    return {"validation_loss": float(np.mean(each_loss)),
            "prepared_dsc": float(np.mean(measured)) if measured else math.nan,
            "patients_scored": len(measured)}, drawn


NOT_VALIDATED = {"validation_loss": math.nan, "prepared_dsc": math.nan, "patients_scored": 0}


def _choose_compute(config: dict | None, wanted: Compute, model: torch.nn.Module, training,
                    device: torch.device) -> Compute:
    """Resolve "auto": as the run was begun, where it goes on on the same kind of device."""
    if config and config["compute"]["device"] == device.type:
        wanted = replace(wanted, **{field.name: config["compute"][field.name] for field
                                    in fields(Compute) if getattr(wanted, field.name) == AUTO})
    parts = map(training.prepared, training.patients)
    size = sum(part.image.nbytes + part.target.nbytes for part in parts)
    return wanted.resolve(model, device, size)


def _warn_of_other_bits(config: dict, facts: dict) -> dict:
    """Warn where a run goes on on another machine or in another way; returns the new config."""
    now = facts | run_folder.versions()
    before = config["compute"] | config["versions"]
    changed = [f"{name} {before.get(name)} → {value}" for name, value in now.items()
               if before.get(name) != value]
    if changed:
        warnings.warn(f"this run goes on in another way ({', '.join(changed)}): bits may differ "
                      "from an unbroken one", stacklevel=4)
    return {**config, "compute": facts, "versions": run_folder.versions()}


def _make_state(model: torch.nn.Module, config: TrainConfig, compute: Compute, folder: Path,
                run: str, device: torch.device, backup: Backup) -> checkpoint.State:
    """Make the state that a new run begins with."""
    checkpoint.seed(config.seed)
    torch.use_deterministic_algorithms(compute.deterministic, warn_only=True)
    torch.backends.cudnn.benchmark = not compute.deterministic
    optimizer = OPTIMIZERS[config.optimizer](model.parameters(), lr=config.learning_rate,
                                             weight_decay=config.weight_decay)
    scaler = torch.amp.GradScaler(device.type, enabled=compute.precision == "float16")
    generator = torch.Generator(device).manual_seed(config.seed)
    return checkpoint.State(folder, run, config.keep, model, optimizer, scaler, generator, [],
                            backup)


def _show_finished(folder: Path, config: dict, model: torch.nn.Module) -> Run | None:
    """Show a finished run whose last.pt is lost, from what is left; None where last.pt is there."""
    if (folder / "last.pt").is_file():
        return None
    try:
        history = stored.read_history(folder)
        finished = len(history) == config["training"]["epochs"]
        stored.load_weights(model, folder / "best.pt", config["id"])
    except CourseError:                                  # its cure would lead back here
        finished = False
    if not finished:
        raise CourseError(what="last.pt is not there, and without it the run cannot go on",
                          where=str(folder), cure="bring it back from a backup, or begin a new "
                          f"run, such as {run_folder.fresh_name(folder)!r}")
    warnings.warn(f"{settings.show_path(folder)}: last.pt is lost. The run is finished, and shown "
                  "from history.csv; the model has the weights of best.pt", stacklevel=3)
    return Run(folder, config, history)


def _train(state: checkpoint.State, training, validation, loss_fn: Callable,
           augment: Callable | None, config: TrainConfig, compute: Compute, *,
           steps_per_epoch: int, chosen: dict) -> None:
    """Train from a state to the last epoch; `chosen` is written to config.json after a step."""
    model, generator, history = state.model, state.generator, state.history
    steps, step = config.epochs * steps_per_epoch, len(history) * steps_per_epoch
    clock = time.perf_counter() - (history[-1]["seconds"] if history else 0)
    beginning = None if history or (state.folder / "last.pt").is_file() else state.pack()
    first = step + 1
    events = show.EventFile(state.folder / "tensorboard", step)
    with events as board, log.progress_bar(steps, step) as bar:
        for epoch in range(len(history) + 1, config.epochs + 1):
            model.train()
            each_loss = []
            for image, target in training.batches(config.batch_size, steps_per_epoch, generator,
                                                  compute=compute):
                rate = learning_rate(config, step, steps)
                state.optimizer.param_groups[0]["lr"] = rate
                if augment:
                    image, target = augment(image, target, generator)
                each_loss.append(training_step(
                    model, image, target, loss_fn=loss_fn, optimizer=state.optimizer,
                    scaler=state.scaler, compute=compute, clip_norm=config.clip_norm))
                step += 1
                if step == first:
                    _finite_mean(each_loss, step, rate)
                    state.begin(chosen, beginning)
                if step % 10 == 0:                           # looking at a loss waits for a GPU
                    log.advance(bar, step, _finite_mean(each_loss, step, rate), history)
            loss, scores, pictures = _finite_mean(each_loss, step, rate), NOT_VALIDATED, {}
            if epoch % config.validate_every == 0 or epoch == config.epochs:
                scores, pictures = _validate(
                    model, validation, loss_fn, config, compute, chosen["postprocess"],
                    pictures=epoch % max(1, config.epochs // 5) == 0)
            row = {"epoch": epoch, "step": step, "training_loss": loss, **scores,
                   "learning_rate": rate, "seconds": time.perf_counter() - clock}
            log.write_epoch(board, row, pictures)
            state.keep(row)
            log.advance(bar, step, loss, history)


def fit(model: torch.nn.Module, training, validation, *, loss: Callable, augment: Callable | None,
        config: TrainConfig, folder: str | Path, compute: Compute | None = None,
        postprocess: str | None = "largest_component") -> Run:
    """Train, watch, keep; or go on with a run that was interrupted; or show a finished one.

    After each epoch validation patients are scored on the prepared grid; last.pt (all it takes to
    go on) and best.pt (what predicts) are written. Called again it goes on after the last whole
    epoch, and ends the same, on a CPU to the bit (same machine, versions, threads, layout and
    precision). What fails before the first step leaves nothing. COURSE_KEEP keeps backups.

    Args:
        model: returns logits (while it trains also a list, finest first); ends with the last
            epoch's weights (predict.load has the best).
        training, validation: data sets of different patients, prepared alike.
        loss: (logits, target) -> scalar.
        augment: (image, target, generator) -> (image, target), or None.
        config, folder: what it is trained with, and where the run is kept.
        compute: how it is computed; None chooses for the device.
        postprocess: "largest_component" of each label, "deepest_component" (of slices; see
            metrics) or None: used to score and to predict.
    Raises:
        CourseError: something cannot work, has changed, is damaged or ran out; see its cure.
    """
    compute = Compute() if compute is None else compute
    door.check_arguments(model, loss, augment, config, compute, postprocess)
    folder, device = stored.find_folder(folder, "train.fit"), settings.device()
    slices = door.check_data(training, validation, config)
    wanted = run_folder.wanted_config(model, training, validation, loss, augment, config,
                                      postprocess)
    with run_folder.hold(folder), _explain_limits(device, config, training.preparation):
        backup = Backup(folder)
        backup.bring_back()
        begun = run_folder.stored_config(folder, wanted)
        if begun and (shown := _show_finished(folder, begun, model)):
            return shown
        run_folder.clear_leftovers(folder)
        compute = _choose_compute(begun, compute, model, training, device)
        chosen = begun or run_folder.new_config(wanted, compute.facts(device))
        model.to(device, memory_format=compute.memory_format(model))
        if not begun:
            door.rehearse(model, training, device, compute)
        state = _make_state(model, config, compute, folder, chosen["id"], device, backup)
        if begun:
            state.restore()
            if len(state.history) == config.epochs:
                return Run(folder, begun, state.history)
            chosen = _warn_of_other_bits(begun, compute.facts(device))
        _train(state, training, validation, door.checked("loss", loss, losses.is_loss),
               augment and door.checked("augmentation", augment, augmenting.is_pair), config,
               compute, chosen=chosen,
               steps_per_epoch=config.steps_per_epoch or slices // config.batch_size)
    return Run(folder, chosen, state.history)
