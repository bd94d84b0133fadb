"""How a training is computed: device, memory layout, precision. None of it is what is computed."""

from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace

import torch

from course_lib.errors import one_of

PRECISIONS = ("float32", "bfloat16", "float16")
LAYOUTS = ("contiguous", "channels_last")
AUTO = "auto"


@dataclass(frozen=True)
class Compute:
    """How it is computed. "auto" is resolved once, when a run begins, and stored with it.

    Attributes:
        layout: "contiguous" or "channels_last".
        precision: "float32", "bfloat16" or "float16".
        resident: keep the data on the device; else they are streamed from main memory. "auto"
            keeps them where they take less than half of its free memory.
        deterministic: on a GPU, choose algorithms that repeat to the bit; slower. cuBLAS also
            wants CUBLAS_WORKSPACE_CONFIG=:4096:8 set before Python starts.
    """

    layout: str = AUTO
    precision: str = AUTO
    resident: bool | str = AUTO
    deterministic: bool = False

    def __post_init__(self):
        for field, choices in (("layout", (*LAYOUTS, AUTO)), ("precision", (*PRECISIONS, AUTO)),
                               ("resident", (True, False, AUTO)), ("deterministic", (True, False))):
            choice = one_of(getattr(self, field), field, "Compute", choices)
            object.__setattr__(self, field, choice)

    def resolve(self, model: torch.nn.Module, device: torch.device, size: int) -> "Compute":
        """Fill in "auto", by rules that were measured (benchmarks/README.md).

        channels_last in 2D; contiguous in 3D (channels_last is slower, pytorch issue 59168), on
        mps. On a GPU bfloat16 from Ampere on, else float16; on a CPU bfloat16 with AMX or
        AVX512-bf16 (elsewhere it is ten times slower than float32).

        Args:
            size: bytes of the training data.
        """
        chosen = {"layout": "contiguous" if is_3d(model) or device.type == "mps"
                  else "channels_last",
                  "precision": fast_precision(device),
                  "resident": device.type != "cuda"       # else they are in main memory already
                  or size < torch.cuda.mem_get_info(device)[0] / 2}
        return replace(self, **{field: value for field, value in chosen.items()
                                if getattr(self, field) == AUTO})

    def autocast(self, device: torch.device):
        """Open mixed precision for "bfloat16" and "float16", nothing for "float32"."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(device.type, dtype=getattr(torch, self.precision))

    def memory_format(self, model: torch.nn.Module) -> torch.memory_format:
        """Give torch's name for the layout, which differs in 3D."""
        if self.layout == "contiguous":
            return torch.contiguous_format
        return torch.channels_last_3d if is_3d(model) else torch.channels_last

    def facts(self, device: torch.device) -> dict:
        """List what config.json keeps: the settings, the device and the number of threads."""
        return {"device": device.type, "threads": torch.get_num_threads(), **asdict(self)}


PLAIN = Compute("contiguous", "float32", False)      # what works everywhere


def is_3d(model: torch.nn.Module) -> bool:
    """Tell whether a network has kernels with three spatial axes."""
    return any(weight.ndim == 5 for weight in model.parameters())


def fast_precision(device: torch.device) -> str:
    """Name the fastest precision that a device computes in."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float16"
    if device.type == "cpu":
        can = getattr(torch.cpu, "get_capabilities", dict)()          # not in every torch
        return "bfloat16" if can.get("amx_bf16") or can.get("avx512_bf16") else "float32"
    return "float32"
