"""How near is the simulated twin to the real LGG set? `python benchmarks/twin.py [--transfer]`

Prints a table of the two beside each other and writes docs/pictures/twin_histograms.png and
twin_slices.png. The distances of the histograms have a yardstick: one half of the real patients
against the other. With `--transfer`, networks trained on one are scored on the other, too.
"""

import argparse
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageColor
from recipes import RECIPES
from scipy import stats as scipy_stats

from course_lib import data, models, predict, settings, show, train
from course_lib.show.pictures import TARGET, from_figure
from course_lib.tables import Table

CHANNELS = ("T1", "FLAIR", "post-contrast")
SIZE = 128
PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"


@dataclass(frozen=True)
class Measured:
    """What is compared of a data set; a row of an array is a patient."""

    prepared: data.SliceDataset
    slices: np.ndarray          # (patients,) in the files
    empty: float                # share of the files' slices without tumour
    volume: np.ndarray          # (patients,) tumour voxels in the files
    lacking: np.ndarray         # (patients,) sequences that are a copy of FLAIR, 0 to 2
    in_tumour: np.ndarray          # (patients, 3) mean z-score inside the tumour
    healthy: np.ndarray         # (patients,) 95th percentile of FLAIR's z-score in the healthy head
    head: list[np.ndarray]      # (3, n) z-scores of some voxels of each patient's head


def measure(folder: Path) -> Measured:
    """Read and prepare all patients of a folder."""
    prepared = data.SliceDataset(folder, size=SIZE, drop_ends=False)
    random = np.random.default_rng(0)
    slices, empty, volume, lacking, in_tumour, healthy, head = [], [], [], [], [], [], []
    for name in prepared.patients:
        raw = data.read_patient(prepared.folder / name)
        slices.append(len(raw.slices))
        volume.append(raw.target.sum())
        empty.append(~raw.target.any(axis=(1, 2)))
        lacking.append(sum(np.array_equal(raw.image[..., channel], raw.image[..., 1])
                           for channel in (0, 2)))
        rows = prepared.rows(name)
        image = prepared.images[rows].float().numpy().swapaxes(0, 1)       # (3, S, H, W)
        target = prepared.targets[rows].numpy()[:, 0] > 0
        tissue = image[1] > image[1].min() + 0.05                          # not air, not bone
        in_tumour.append(image[:, target].mean(axis=1))
        healthy.append(np.percentile(image[1][tissue & ~target], 95))
        voxels = image[:, tissue]
        head.append(voxels[:, random.integers(voxels.shape[1], size=4000)])
    return Measured(prepared, np.array(slices), float(np.concatenate(empty).mean()),
                    np.array(volume), np.array(lacking), np.array(in_tumour), np.array(healthy),
                    head)


def compare(real: Measured, twin: Measured) -> list[dict]:
    """Make the rows of the table: what, real, twin."""
    def numbers(values, form="{:,.0f}"):
        return " / ".join(form.format(value) for value in values)

    def spread(measured, values, form="{:.2f}"):
        each = values(measured)
        return numbers((each.min(), np.median(each), each.max()), form)

    lines = {
        "patients": lambda m: len(m.slices),
        "slices a patient, min / median / max": lambda m: spread(m, lambda m: m.slices, "{:.0f}"),
        "slices a patient, mean": lambda m: f"{m.slices.mean():.1f}",
        "share of slices without tumour": lambda m: f"{m.empty:.2f}",
        "patients lacking one / two sequences": lambda m: numbers(
            ((m.lacking == 1).sum(), (m.lacking == 2).sum())),
        "tumour, raw voxels, quartiles": lambda m: numbers(np.percentile(m.volume, (25, 50, 75))),
        "tumour, raw voxels, min / max": lambda m: numbers((m.volume.min(), m.volume.max())),
        "tumour, prepared voxels, median": lambda m: numbers([np.median(
            [m.prepared.targets[m.prepared.rows(name)].sum() for name in m.prepared.patients])]),
        **{f"{title} z inside tumour, min / median / max":
           lambda m, channel=channel: spread(m, lambda m: m.in_tumour[:, channel])
           for channel, title in enumerate(CHANNELS)},
        "FLAIR z inside tumour, quartiles": lambda m: numbers(
            np.percentile(m.in_tumour[:, 1], (25, 75)), "{:.2f}"),
        "healthy head, 95th percentile of FLAIR z, mean": lambda m: f"{m.healthy.mean():.2f}",
    }
    return [{"what": what, "real": line(real), "twin": line(twin)} for what, line in lines.items()]


def distances(real: Measured, twin: Measured) -> list[dict]:
    """Compute Wasserstein-1 distances of z-scores in the head: twin to real, half to half."""
    halves = np.random.default_rng(0).permutation(len(real.head))
    pooled = {"real": real.head, "twin": twin.head,
              "one half": [real.head[i] for i in halves[::2]],
              "other half": [real.head[i] for i in halves[1::2]]}
    pooled = {name: np.concatenate(parts, axis=1) for name, parts in pooled.items()}
    return [{"channel": title,
             "twin to real": scipy_stats.wasserstein_distance(pooled["twin"][channel],
                                                              pooled["real"][channel]),
             "real half to real half": scipy_stats.wasserstein_distance(
                 pooled["one half"][channel], pooled["other half"][channel])}
            for channel, title in enumerate(CHANNELS)]


def draw_histograms(real: Measured, twin: Measured) -> show.Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.8), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    edges = np.linspace(-1, 6, 71)
    for channel, axis in enumerate(axes):
        for measured, label, colour, style in ((real, "real", "#0072B2", "-"),
                                            (twin, "twin", "#D55E00", "--")):
            values = np.concatenate([part[channel] for part in measured.head])
            share, _ = np.histogram(values, edges, density=True)
            axis.plot((edges[1:] + edges[:-1]) / 2, share, style, color=colour, label=label)
        axis.set(title=CHANNELS[channel], xlabel="z-score of prepared slices")
    axes[0].set(ylabel="share of the head per unit of z")
    axes[0].legend(frameon=False)
    return from_figure(figure, "Histograms of the z-scores inside the head in three sequences, "
                               "real patients (solid) and the twin (dashed).")


def save_small(picture: show.Picture, path: Path, width: int = 1560) -> None:
    """Write a picture with fewer pixels and colours: a repository keeps every version.

    40 greys, and 8 shades of the outline's colour, 0.45 to 1 times its brightness.
    """
    image = Image.open(io.BytesIO(picture.data)).convert("RGB")
    image = image.resize((width, round(width * image.height / image.width)))
    shades = np.linspace(0.45, 1, 8)[:, None] * ImageColor.getrgb(TARGET)
    greys = np.linspace(0, 255, 40)[:, None].repeat(3, axis=1)
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([greys, shades]).round().astype(np.uint8).tobytes())
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


def draw_slices(real: Measured, twin: Measured, seed: int = 1) -> show.Picture:
    """Draw two patients of each, four slices from the skull's base upwards; FLAIR, tumour outlined.

    Two of the eight whose tumour is nearest to the median in volume and brightness.
    """
    images, targets, titles, windows = [], [], [], []
    for measured, label in ((real, "real"), (twin, "twin")):
        unusual = (np.abs(np.log(measured.volume / np.median(measured.volume)))
                   + np.abs(measured.in_tumour[:, 1] - np.median(measured.in_tumour[:, 1])))
        typical = np.argsort(unusual)[:8]
        for row in np.random.default_rng(seed).choice(typical, 2, replace=False):
            patient = data.read_patient(measured.prepared.folder / measured.prepared.patients[row])
            marked = np.flatnonzero(patient.target.any(axis=(1, 2)))
            count = len(patient.slices)
            for position in (count // 8, count * 3 // 8, marked[len(marked) // 2], count * 4 // 5):
                images.append(patient.image[position, :, :, 1])
                targets.append(patient.target[position])
                windows.append(show.find_window(patient.image[..., 1]))
                titles.append(f"{label}, slice {position + 1} of {count}")
    return show.contact_sheet(
        images, targets=targets, titles=titles, columns=8, window=windows,
        alt="FLAIR slices of two real patients (above) and of two simulated ones (below), from the "
            "base of the skull upwards, tumours outlined.")


def transfer(real: Measured, twin: Measured, options: argparse.Namespace) -> list[dict]:
    """Train lesson 03's recipe on each, score both networks on the test patients of both."""
    recipe, rows, tests, predictors = RECIPES["course"], [], {}, {}
    for title, measured in (("real", real), ("twin", twin)):
        split = data.split_patients(measured.prepared.patients, validation=4, test=8)
        tests[title] = measured.prepared.subset(split.test)
        config = train.TrainConfig(epochs=options.epochs, batch_size=16, seed=options.seed,
                                   **recipe["config"])
        torch.manual_seed(options.seed)
        run = train.fit(models.UNet(3, 1, features=options.features),
                        measured.prepared.subset(split.training),
                        measured.prepared.subset(split.validation), loss=recipe["loss"](),
                        augment=recipe["augment"], config=config,
                        postprocess=recipe["postprocess"],
                        folder=settings.runs_folder() / f"twin-benchmark-{title}")
        predictors[title] = predict.load(run.folder)
    for trained, predictor in predictors.items():
        for scored, test in tests.items():
            scores = predict.evaluate(predictor, test).column("dsc")
            rows.append({"trained on": trained, "scored on": scored, "mean DSC": np.mean(scores),
                         "median": np.median(scores),
                         "patients": " ".join(f"{score:.2f}" for score in scores)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=40, help="of the twin")
    parser.add_argument("--transfer", action="store_true", help="train on each, score on both")
    parser.add_argument("--features", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--seed", type=int, default=42, help="of training, not of the split")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="folder to write them to")
    options = parser.parse_args()

    real = measure(data.fetch("lgg-mri"))
    twin = measure(data.fetch("lgg-phantom", patients=options.patients))
    print(Table(compare(real, twin)))
    print(Table(distances(real, twin)))
    draw_histograms(real, twin).save(options.pictures / "twin_histograms.png")
    save_small(draw_slices(real, twin), options.pictures / "twin_slices.png")
    if options.transfer:
        print(Table(transfer(real, twin, options)))


if __name__ == "__main__":
    main()
