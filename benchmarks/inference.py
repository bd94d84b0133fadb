"""Prediction on the CPU as a Predictor does it, beside eager float32: `python inference.py`.

The plain way is the network in float32 and PyTorch's usual layout, batch by batch.
"""

import argparse
import copy

import torch
from timing import fastest

from course_lib import models, predict
from course_lib.compute import Compute

WANTED = 1.4                                     # times as fast
CPU = torch.device("cpu")


def compare(size: int, features: int, slices: int, rounds: int) -> None:
    """Print milliseconds a slice of every way, and how much faster the chosen one is."""
    torch.manual_seed(0)
    plain = models.UNet(3, 1, features=features).eval()
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    images = torch.randn(slices, 3, size, size).half()
    compute = Compute().resolve(plain, CPU, size=0)
    chosen = copy.deepcopy(plain).to(memory_format=compute.memory_format(plain))
    half = Compute("channels_last", "bfloat16", False)
    ways = {
        "float32 contiguous": lambda: predict.predict_logits(plain, images),
        "float32 channels_last": lambda: predict.predict_logits(last, images),
        "bfloat16 channels_last": lambda: predict.predict_logits(last, images, compute=half),
        "chosen": lambda: predict.predict_logits(chosen, images, compute=compute),
    }
    if compute.precision == "float32":
        del ways["bfloat16 channels_last"]       # slower, perhaps 20 times
    took = fastest(ways, rounds)
    eager = took["float32 contiguous"]
    name = f"{size} px, {features} features"
    print(f"{name}, ms a slice: " + ", ".join(f"{way} {1000 * seconds / slices:.2f}"
                                              for way, seconds in took.items()))
    print(f"inference at {name}: float32 channels_last "
          f"{eager / took['float32 channels_last']:.2f}, chosen ({compute.layout}, "
          f"{compute.precision}) {eager / took['chosen']:.2f} times as fast as eager "
          f"float32 (target {WANTED})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    o = parser.parse_args()
    for size in (128, 256):
        for features in (8, 16, 32):
            compare(size, features, o.slices * 128 // size, o.rounds)


if __name__ == "__main__":
    main()
