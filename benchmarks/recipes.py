"""Train a recipe and print its DSC per test patient: `python benchmarks/recipes.py --help`.

"reference" is the tutorial's recipe (brain-segmentation-pytorch): ends dropped, pooled soft Dice,
Adam 1e-4, constant; "course" is lesson 03's; "course 0.1" what that was before the trials in
docs/decisions.md. With `--split reference` the ten named patients choose the checkpoint and are
reported, as in the tutorial: optimistic, and only for comparison. With `--split folds` each patient
is reported once, by a network that did not see them (finished folds are not trained again).
"""

import argparse
import time

import numpy as np
import torch

from course_lib import augment, data, losses, models, predict, settings, stats, train
from course_lib.compute import Compute

COSINE = {"learning_rate": 3e-3, "optimizer": "adamw", "weight_decay": 1e-2,
          "schedule": "cosine"}
RECIPES = {
    "reference": {"loss": losses.SoftDice, "drop_ends": True, "augment": augment.Affine(),
                  "config": {"learning_rate": 1e-4, "optimizer": "adam"}},
    "course": {"loss": losses.BCEDice, "drop_ends": False,
               "augment": augment.Compose([augment.Affine(scale=0.3, angle=30),
                                           augment.Scanner()]),
               "config": {**COSINE, "keep": "last"}, "postprocess": "deepest_component"},
    "course 0.1": {"loss": losses.BCEDice, "drop_ends": False,
                   "augment": augment.Compose([augment.Affine(), augment.Scanner()]),
                   "config": COSINE},
}


def train_and_score(o: argparse.Namespace, split: data.Split, name: str) -> tuple[list, float]:
    """Train once; print and return the scores of the reported patients, and its seconds."""
    recipe = RECIPES[o.recipe]
    folder = data.fetch(o.data, patients=o.patients)
    start = time.perf_counter()
    training, validation, test = (
        data.SliceDataset(folder, size=o.size, patients=part, drop_ends=recipe["drop_ends"])
        for part in (split.training, split.validation, split.reported))
    print(f"{len(training.patients)} patients to train, {len(validation.patients)} to choose, "
          f"{len(test.patients)} reported ({split.note}); "
          f"prepared in {time.perf_counter() - start:.1f} s")
    settings_of_training = recipe["config"] | (
        {"learning_rate": o.learning_rate} if o.learning_rate else {})
    config = train.TrainConfig(epochs=o.epochs, steps_per_epoch=o.steps_per_epoch or None,
                               batch_size=o.batch_size, seed=o.seed, **settings_of_training)
    torch.manual_seed(o.seed)
    run = train.fit(models.UNet(3, 1, features=o.features), training, validation,
                    loss=recipe["loss"](), augment=recipe["augment"], config=config,
                    postprocess=recipe.get("postprocess", "largest_component"),
                    compute=Compute(o.layout, o.precision), folder=settings.runs_folder() / name)
    table = predict.evaluate(predict.load(run.folder), test)
    print(table)
    curve = " ".join(f"{row['prepared_dsc']:.2f}" for row in run.history)
    compute = run.config["compute"]
    print(f"{compute['layout']}, {compute['precision']}, {run.history[-1]['step']} steps, "
          f"{run.history[-1]['seconds']:.0f} s; validation DSC by epoch: {curve}")
    return table, run.history[-1]["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="lgg-phantom")
    parser.add_argument("--patients", type=int, default=32, help="of the twin")
    parser.add_argument("--recipe", choices=RECIPES, default="course")
    parser.add_argument("--split", choices=("patients", "reference", "folds"), default="patients")
    parser.add_argument("--folds", type=int, nargs="+", choices=range(1, 6),
                        default=[1, 2, 3, 4, 5], help="of five: which to train, with --split folds")
    parser.add_argument("--validation", type=int, default=4)
    parser.add_argument("--test", type=int, default=8)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--features", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--steps-per-epoch", type=int, default=50,
                        help="0: as many as there are whole batches of training slices")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--layout", default="auto")
    parser.add_argument("--seed", type=int, default=42, help="of training, not of the split")
    parser.add_argument("--name", default="recipe")
    o = parser.parse_args()

    names = [path.name for path in data.find_patients(data.fetch(o.data, patients=o.patients))]
    if o.split == "reference":
        splits = {o.name: data.reference_split(names)}
    elif o.split == "patients":
        splits = {o.name: data.split_patients(names, validation=o.validation, test=o.test)}
    else:
        every = data.folds(names, k=5)
        splits = {f"{o.name}-fold{number}": data.split_patients(
            every[number - 1].training, validation=o.validation, test=0)._replace(
                test=every[number - 1].test) for number in o.folds}
    results = [train_and_score(o, split, name) for name, split in splits.items()]
    scores = [row["dsc"] for table, _ in results for row in table]
    low, high = stats.bootstrap_interval(scores)
    print(f"{o.recipe} recipe, {o.size} px, {o.features} features, seed {o.seed}: mean DSC "
          f"{np.nanmean(scores):.3f}, 95 % interval {low:.3f} to {high:.3f}, median "
          f"{np.nanmedian(scores):.3f}, {len(scores)} patients, "
          f"{sum(seconds for _, seconds in results):.0f} s of training and validation")


if __name__ == "__main__":
    main()
