"""How long until the data are ready: `python benchmarks/preparation.py`.

The twin is made, and the real patients are prepared, in processes of their own with an empty cache;
their clocks start after the imports. Beside them the reference recipe (brain-segmentation-pytorch,
`dataset.py` and `utils.py`), written down anew with skimage, prepares a few of the same patients.
Peak memory is the whole process's, with PyTorch's own share; it is read as Linux gives it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from skimage.exposure import rescale_intensity
from skimage.transform import resize

from course_lib import data
from course_lib.data import tif

CHILD = """
import json, resource, sys, time
from course_lib import data
from course_lib.data import phantom
imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
start, cpu = time.perf_counter(), time.process_time()
{work}
print(json.dumps({{"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu,
                   "imported": imported,
                   "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10}}))
"""


def timed(work: str, cache: str) -> dict[str, float]:
    """Measure seconds, CPU seconds and MiB of a process that runs one line of work."""
    child = subprocess.run([sys.executable, "-c", CHILD.format(work=work)], check=True, text=True,
                           stdout=subprocess.PIPE, env={**os.environ, "COURSE_CACHE": cache})
    return json.loads(child.stdout.splitlines()[-1])


def reference(folder: Path, size: int) -> np.ndarray:
    """Prepare one patient by the reference recipe, as it works: whole volumes in float64."""
    stem = folder.name
    numbers = sorted(int(path.stem.split("_")[-1]) for path in folder.glob("*[0-9].tif"))
    image = np.stack([tifffile.imread(folder / f"{stem}_{n}.tif") for n in numbers[1:-1]])
    mask = np.stack([tifffile.imread(folder / f"{stem}_{n}_mask.tif") for n in numbers[1:-1]])
    image = np.where(image < 0.1 * image.max(), 0, image)
    box = tuple(slice(axis.min(), axis.max() + 1) for axis in np.nonzero(image.max(axis=-1)))
    image, mask = image[box], mask[box]
    spare = max(mask.shape[1:]) - np.array(mask.shape[1:])
    around = [(0, 0), *((part // 2, part - part // 2) for part in spare)]
    image, mask = np.pad(image, [*around, (0, 0)]), np.pad(mask, around)
    shape = (len(mask), size, size)
    mask = resize(mask, shape, order=0, mode="constant", cval=0, anti_aliasing=False)
    image = resize(image, (*shape, 3), order=2, mode="constant", cval=0, anti_aliasing=False)
    image = rescale_intensity(image, in_range=tuple(np.percentile(image, (10, 99))))
    return (image - image.mean(axis=(0, 1, 2))) / image.std(axis=(0, 1, 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--reference", type=int, default=4, help="patients by the reference recipe")
    parser.add_argument("--repeats", type=int, default=3)
    o = parser.parse_args()
    folder = data.fetch("lgg-mri")
    folders = data.find_patients(folder)
    work = f"data.SliceDataset({str(folder)!r}, size={o.size})"
    kinds = {"24 twin patients": [], f"{len(folders)} patients, cold": [],
             f"{len(folders)} patients, from the cache": []}
    for _ in range(o.repeats):
        with tempfile.TemporaryDirectory() as cache:
            for kind, line in zip(kinds, ("phantom.make_twin(24)", work, work), strict=True):
                kinds[kind].append(timed(line, cache))
    for kind, runs in kinds.items():
        best = min(runs, key=lambda run: run["seconds"])
        each = ", ".join(f"{run['seconds']:.2f}" for run in runs)
        peak = max(run["peak"] for run in runs)
        print(f"{kind}: {best['seconds']:.2f} s ({each}), {best['cpu']:.1f} CPU s, peak "
              f"{peak:.0f} MiB, of which {best['imported']:.0f} MiB after the imports")
    chosen = folders[:: max(1, len(folders) // o.reference)][: o.reference]
    slices = sum(len(tif.list_slices(path)) for path in chosen)
    start = time.process_time()
    for path in chosen:
        reference(path, o.size)
    theirs = (time.process_time() - start) / slices
    every = sum(len(tif.list_slices(path)) for path in folders)
    ours = min(run["cpu"] for run in list(kinds.values())[1]) / every
    print(f"preparation at {o.size} px: {theirs / ours:.1f} times less CPU time a slice than the "
          f"reference recipe ({1000 * ours:.1f} ms against {1000 * theirs:.0f} ms; target 25)")


if __name__ == "__main__":
    main()
