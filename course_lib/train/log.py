"""What can be watched while a training runs: a progress bar, and TensorBoard."""

import sys

import numpy as np
from tqdm import tqdm

from course_lib import settings, show
from course_lib.files import explain_disk

TAGS = {"training_loss": "loss/training", "validation_loss": "loss/validation",
        "prepared_dsc": "dsc/prepared", "learning_rate": "learning_rate"}


def progress_bar(total: int, done: int) -> tqdm:
    """Open a bar of plain text, which every front end and every saved page can show."""
    return tqdm(total=total, initial=done, file=sys.stdout, unit="step", ncols=100,
                mininterval=1.0, disable=settings.rank() > 0)


def advance(bar: tqdm, step: int, loss: float, history: list[dict]) -> None:
    """Bring the bar to a step, with the running loss and the last and best DSC."""
    scores = [row["prepared_dsc"] for row in history]
    note = f", DSC {scores[-1]:.3f} (best {np.fmax.reduce(scores):.3f})" if scores else ""
    bar.set_postfix_str(f"loss {loss:.3f}{note}", refresh=False)
    bar.update(step - bar.n)


def write_epoch(board: show.EventFile, row: dict, pictures: dict[str, np.ndarray]) -> None:
    """Write an epoch for TensorBoard: losses, DSC, learning rate, outlined slices by name."""
    if not settings.rank():
        with explain_disk(board.folder, "TensorBoard's file"):
            board.write(row["step"], {tag: row[column] for column, tag in TAGS.items()},
                        {f"overlay/{name}": picture for name, picture in pictures.items()})
