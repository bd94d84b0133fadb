"""What a training is done with: settings, schedule, memory layout and precision."""

import math
from dataclasses import dataclass

import torch

from course_lib import settings
from course_lib.errors import CourseError

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "bfloat16", "float16")
LAYOUTS = ("contiguous", "channels_last")
KEPT_BYTES = 43        # what UNet keeps for its gradients, per pixel and feature, in 16 bits


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
        layout: "contiguous" or "channels_last"; "auto" takes what is faster on the device.
        precision: "float32", "bfloat16" or "float16"; "auto" likewise.
        resident: keep the data on the device; "auto" does so where they take less than half of
            its free memory, else they are streamed from main memory.
        deterministic: on a GPU, choose algorithms that repeat to the bit; slower. cuBLAS also
            wants CUBLAS_WORKSPACE_CONFIG=:4096:8 set before Python starts.
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
        if (self.epochs < 1 or self.batch_size < 1 or not self.learning_rate > 0
                or not self.weight_decay >= 0):
            raise CourseError(what=f"epochs={self.epochs}, batch_size={self.batch_size}, "
                                   f"learning_rate={self.learning_rate}, "
                                   f"weight_decay={self.weight_decay}", where="TrainConfig",
                              cure="epochs and batch_size start at 1, the learning rate is above "
                                   "0, weight decay at least 0")


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
    done = (step - warm) / max(1, steps - warm)                  # 0 after warming up, to 1
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def choose_layout_and_precision(model: torch.nn.Module, config: TrainConfig,
                                device: torch.device) -> tuple[str, str]:
    """Fill in "auto", by rules that were measured (benchmarks/README.md).

    Layout: channels_last in 2D on GPU and CPU; contiguous in 3D (channels_last is slower there,
    pytorch issue 59168) and on mps. Precision: on a GPU bfloat16 from Ampere on, float16 on older
    ones; on a CPU bfloat16 where the processor computes in it (AMX or AVX512-bf16), for where it
    only "is supported" it is ten times slower than float32; on mps float32.
    """
    is_3d = any(weight.ndim == 5 for weight in model.parameters())
    layout = "contiguous" if is_3d or device.type == "mps" else "channels_last"
    precision = "float32"
    if device.type == "cuda":
        half = torch.cuda.get_device_capability(device)[0] >= 8
        precision = "bfloat16" if half else "float16"
    elif device.type == "cpu":
        can = getattr(torch.cpu, "get_capabilities", dict)()          # not in every torch
        precision = "bfloat16" if can.get("amx_bf16") or can.get("avx512_bf16") else "float32"
    return (layout if config.layout == "auto" else config.layout,
            precision if config.precision == "auto" else config.precision)


def fitting_batch(features: int, size: int, batch_size: int = 16) -> tuple[int, int]:
    """Batch size and slice size with which a 2D UNet trains in a third of a GPU's free memory.

    The rest is for data, gradients on their way and cuDNN. First the batch is halved, down to 4,
    for batch normalisation needs a few slices; then the size, down to 64. Other devices than
    CUDA's do not say what is free: there both stay as they are.

    Args:
        features: of the network.
        size: of the slices, in pixels, at most.
        batch_size: at most.
    """
    device = settings.device()
    if device.type != "cuda":
        return batch_size, size
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)   # ours is free
    while KEPT_BYTES * features * batch_size * size ** 2 > free / 3:
        if batch_size > 4:
            batch_size = max(4, batch_size // 2)
        elif size > 64:
            size = max(64, size // 32 * 16)                      # a multiple of 16, as UNet wants
        else:
            break
    return batch_size, size
