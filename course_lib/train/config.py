"""What a training is done with: settings, schedule, memory layout and precision."""

import itertools
import math
import time
from dataclasses import dataclass

import torch

from course_lib import predict
from course_lib.errors import CourseError
from course_lib.models.blocks import DoubleConv

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


def _step_seconds(block: torch.nn.Module, image: torch.Tensor, device: torch.device,
                  precision: str) -> float:
    """The fastest of a few steps, forward and backward; the first ones, which warm up, included."""
    took = []
    for _ in range(6):
        start = time.perf_counter()
        with predict.autocast(device, precision):
            features = block(image)
        features.float().sum().backward()
        took.append(time.perf_counter() - start)
    return min(took)


def choose_layout_and_precision(model: torch.nn.Module, config: TrainConfig,
                                device: torch.device) -> tuple[str, str]:
    """Fill in "auto": on a CPU by a trial of a fraction of a second, elsewhere by rule.

    The trial times one double convolution in every candidate, 2D or 3D as the model is. That
    bfloat16 "is supported" says nothing: it is several times faster where the processor has AMX or
    AVX512-bf16, and ten times slower where not. Rules: on a GPU channels_last for 2D, contiguous
    for 3D (slower otherwise, pytorch issue 59168), bfloat16 from Ampere on, float16 on older ones;
    on mps the plain way, contiguous and float32.
    """
    layouts = LAYOUTS if config.layout == "auto" else (config.layout,)
    precisions = PRECISIONS[:2] if config.precision == "auto" else (config.precision,)
    dim = 3 if any(weight.ndim == 5 for weight in model.parameters()) else 2
    if device.type == "cuda":
        half = "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float16"
        return (layouts[-1] if dim == 2 else layouts[0],
                half if config.precision == "auto" else config.precision)
    if device.type != "cpu":
        return layouts[0], precisions[0]
    took = {}
    with torch.random.fork_rng(devices=[]):
        image = torch.rand(2, 32, *{2: (64, 64), 3: (16, 16, 16)}[dim])
        for layout, precision in itertools.product(layouts, precisions):
            block = DoubleConv(32, 32, dim=dim)
            block.to(memory_format=predict.memory_format(block, layout))
            took[layout, precision] = _step_seconds(block, image, device, precision)
    return min(took, key=took.get)
