"""CPU time of `augment.Affine` beside the tutorial's augmentation: `python augmentation.py`.

The tutorial (brain-segmentation-pytorch, `transform.py`) works sample by sample on float64 arrays:
skimage's rescale, pad or crop, rotate, flip. The distribution is the same.
"""

import argparse
import time

import numpy as np
import torch
from skimage.transform import rescale, rotate
from timing import fastest

from course_lib import augment

BATCH, ROUND = 16, 4      # samples in a batch, batches in a turn
TARGETS = {128: 10, 256: 20}                     # times less CPU time
HOW = {"preserve_range": True, "mode": "constant"}


def tutorial_sample(image: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> tuple:
    """Turn image (S, S, 3) and mask (S, S, 1), float64, into (3, S, S) and (1, S, S), float32."""
    size, zoom, angle = len(image), random.uniform(0.95, 1.05), random.uniform(-15, 15)
    moved = []
    for array, order in ((image, 1), (mask, 0)):
        array = rescale(array, (zoom, zoom), order=order, channel_axis=-1, anti_aliasing=False,
                        **HOW)
        spare = size - len(array)
        if spare > 0:
            array = np.pad(array, ((spare // 2, spare - spare // 2),) * 2 + ((0, 0),))
        else:
            array = array[-spare // 2 :][:size, -spare // 2 :][:, :size]
        moved.append(rotate(array, angle, order=order, **HOW))
    if random.random() < 0.5:
        moved = [np.fliplr(array).copy() for array in moved]
    return tuple(torch.from_numpy(array.transpose(2, 0, 1).astype(np.float32)) for array in moved)


def compare(size: int, repeats: int) -> dict[str, float]:
    """Measure CPU seconds a sample, of the tutorial's augmentation and of ours."""
    generator, random = torch.Generator().manual_seed(0), np.random.default_rng(0)
    images = torch.randn(BATCH, 3, size, size).half()
    targets = (torch.rand(BATCH, 1, size, size) > 0.95).to(torch.uint8)
    pairs = [(image.permute(1, 2, 0).double().numpy(), target.permute(1, 2, 0).double().numpy())
             for image, target in zip(images, targets, strict=True)]
    affine, scanner = augment.Affine(), augment.Scanner()
    took = fastest({
        "tutorial": lambda: [tutorial_sample(*pair, random) for pair in ROUND * pairs],
        "affine": lambda: [affine(images, targets, generator) for _ in range(ROUND)],
        "scanner": lambda: [scanner(images, targets, generator) for _ in range(ROUND)],
    }, repeats, time.process_time)
    return {name: seconds / (ROUND * BATCH) for name, seconds in took.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, help="of torch; else its own choice")
    o = parser.parse_args()
    if o.threads:
        torch.set_num_threads(o.threads)
    for size, wanted in TARGETS.items():
        took = compare(size, o.repeats)
        each = ", ".join(f"{name} {1000 * took[name]:.3f} ms" for name in took)
        print(f"{size} px, CPU time a sample, {torch.get_num_threads()} threads: {each}")
        print(f"augmentation at {size} px: {took['tutorial'] / took['affine']:.1f} times less CPU "
              f"time a sample (target {wanted})")


if __name__ == "__main__":
    main()
