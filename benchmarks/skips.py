"""What skips bring: no skips, addition, concatenation; lesson 02 shows the scores.

`python benchmarks/skips.py` trains each network with each seed on the twin and writes
course_lib/saved/lesson_02_skips.csv: a line that says how, then network, seed, patient, dsc
(original grid, all slices). The networks and their training are the lesson's own code, taken from
its text, so the two cannot drift apart. `--help` says what can be chosen.
"""

import argparse
import ast
import importlib.metadata
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from course_lib import augment, data, losses, predict, settings, stats
from course_lib.files import write_atomically
from course_lib.tables import Table

CHECKOUT = Path(__file__).resolve().parent.parent
LESSON = CHECKOUT / "lessons" / "02_unet_block_by_block.py"
SAVED = CHECKOUT / "course_lib" / "saved" / "lesson_02_skips.csv"
JOINS = ("nothing", "add", "concatenate")
WANTED = {"conv_norm_act", "double_conv", *JOINS, "make_blocks", "wire", "Net", "train_net"}


def from_lesson() -> dict:
    """Take the functions and classes of WANTED out of the lesson, by name."""
    tree = ast.parse(LESSON.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if getattr(node, "name", None) in WANTED]
    names = {"torch": torch, "nn": nn, "functional": functional, "augment": augment,
             "losses": losses, "DEVICE": settings.device()}
    exec(compile(tree, LESSON, "exec"), names)
    missing = WANTED - names.keys()
    assert not missing, f"{LESSON.name} no longer defines {', '.join(sorted(missing))}"
    return names


def score(patients: int, size: int, steps: int, seeds: list[int]) -> tuple[str, list[dict]]:
    """Train and score: how it was made, and a row for each network, seed and test patient."""
    lesson = from_lesson()
    folder = data.fetch("lgg-phantom", patients=patients)
    names = [path.name for path in data.find_patients(folder)]
    split = data.split_patients(names, validation=0, test=0.375, seed=42)
    training, test = (data.SliceDataset(folder, size=size, patients=part, drop_ends=False)
                      for part in (split.training, split.test))
    rows = []
    for seed in seeds:
        for join in JOINS:
            start = time.perf_counter()
            net = lesson["train_net"](lesson[join], training, steps, seed)
            scores = predict.evaluate(predict.Predictor(net, training.preparation), test)
            rows += [{"network": join, "seed": seed, "patient": row["patient"],
                      "dsc": round(row["dsc"], 4)} for row in scores]
            print(f"{join:12} seed {seed}: mean DSC {np.nanmean(scores.column('dsc')):.3f}, "
                  f"{time.perf_counter() - start:.0f} s", flush=True)
    how = (f"# benchmarks/skips.py: lgg-phantom, {len(split.training)} patients to train, "
           f"{len(split.test)} to test, {size} px, 8 features, {steps} steps of 16 slices, "
           f"float32, {settings.device().type}, {torch.get_num_threads()} threads, torch "
           f"{torch.__version__}, course_lib {importlib.metadata.version('course-lib')}")
    return how, rows


def report(rows: list[dict]) -> None:
    """Print paired differences to concatenation, each patient's mean over the seeds."""
    patients = sorted({row["patient"] for row in rows})

    def means(join):
        return np.array([np.mean([row["dsc"] for row in rows
                                  if (row["network"], row["patient"]) == (join, name)])
                         for name in patients])

    for join in JOINS[:2]:
        differences = means("concatenate") - means(join)
        low, high = stats.bootstrap_interval(differences)
        print(f"concatenate - {join}: {np.nanmean(differences):+.3f} "
              f"({low:+.3f} to {high:+.3f}, {len(patients)} patients)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=32, help="three eighths of them to test")
    parser.add_argument("--size", type=int, default=96, help="pixels, divisible by 16")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=SAVED)
    o = parser.parse_args()
    start = time.perf_counter()
    how, rows = score(o.patients, o.size, o.steps, o.seeds)
    report(rows)
    text = f"{how}\n{Table(rows).to_csv()}".encode()
    write_atomically(o.output, lambda file: file.write(text))
    print(f"{o.output}, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
