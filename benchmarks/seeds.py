"""How equal are the twins of a class? `python benchmarks/seeds.py [--run RUN]`, a row per seed.

Makes 12 patients of each of 12 seeds and compares them in what makes a tumour hard to find; the
last lines say how much the twins differ. With `--run` one trained network is scored on all.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from course_lib import data, predict
from course_lib.data import phantom, twin_names
from course_lib.tables import Table

SIZE = 128
THRESHOLDS = np.arange(0.5, 4.01, 0.25)                 # lesson 03's


class FlairThreshold(torch.nn.Module):
    """Logits that are positive where FLAIR (z-scored) is above a value."""

    def __init__(self, value: float):
        super().__init__()
        self.value = value

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image[:, 1:2] - self.value


def make(number: int, seed: int) -> data.Patient:
    """Make a patient of a twin without writing it."""
    name, image, mask = phantom.make_patient(number, seed)
    return data.Patient(name, image, (mask > 0).astype(np.uint8), list(range(1, len(image) + 1)))


def contrast(patient: data.Patient) -> float:
    """Divide FLAIR inside the tumour by that in the healthy head around it."""
    flair = patient.image[..., 1].astype(float)
    head = (flair > 0.1 * flair.max()) & (patient.target == 0)
    return flair[patient.target > 0].mean() / flair[head].mean()


def measure(patient: data.Patient, predictor: predict.Predictor | None) -> dict:
    """Measure one patient; "thresholds" holds the DSC of each of THRESHOLDS."""
    preparation = {"kind": "slices", "size": SIZE, "drop_ends": False}
    tries = [predict.Predictor(FlairThreshold(value), preparation) for value in THRESHOLDS]
    ready = data.prepare(patient, preparation)
    dsc = [predict.predictor.mean_dsc(
        predict.predictor.prepared_masks(one.model(ready.image.float()), "largest_component"),
        ready.target, one.labels) for one in tries]
    network = predict.scores({"": predictor.predict(patient)})[0]["dsc"] if predictor else np.nan
    return {"patient": patient.name, "slices": len(patient.slices),
            "voxels": int(patient.target.sum()), "contrast": contrast(patient),
            "pieces": ndimage.label(patient.target, np.ones((3, 3, 3)))[1],
            "network": network, "thresholds": dsc}


def summarise(seed: str, rows: list[dict]) -> dict:
    """Make a seed's row of the table from its patients' rows."""
    each = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    threshold = each["thresholds"].mean(axis=0)
    return {"seed": seed, "slices": each["slices"].mean(),
            "tumour voxels, median": float(np.median(each["voxels"])),
            "below 8,000": int((each["voxels"] < 8000).sum()),
            "FLAIR contrast, median": float(np.median(each["contrast"])),
            "lowest": each["contrast"].min(),
            "more than one piece": int((each["pieces"] > 1).sum()),
            "best threshold": threshold.max(), "one network": each["network"].mean(),
            "missed": int((each["network"] < 0.1).sum())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12, help="42, and those of student 1, 2 …")
    parser.add_argument("--patients", type=int, default=12, help="of each")
    parser.add_argument("--run", type=Path, help="run folder of a network to score on all")
    options = parser.parse_args()

    predictor = predict.load(options.run) if options.run else None
    table = Table()
    for student in range(options.seeds):
        seed = twin_names.name_to_seed(f"student {student}") if student else 42
        rows = [measure(make(number, seed), predictor) for number in range(options.patients)]
        table.append(summarise(f"{seed}", rows))
        print(Table(table[-1:]), flush=True)
    print(table)
    for name in table.names[1:]:
        values = np.array(table.column(name), dtype=float)
        print(f"{name}: {values.min():.3f} to {values.max():.3f}, mean {values.mean():.3f}, "
              f"standard deviation {values.std(ddof=1):.3f}")


if __name__ == "__main__":
    main()
