"""Charts of scores and of trainings, drawn without pyplot, so that widgets and threads are safe."""

import numpy as np

from course_lib.show.pictures import Picture, from_figure

BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"


def dsc_chart(table: list[dict], alt: str = "") -> Picture:
    """One bar per patient, sorted, with the mean (solid line) and the median (dashed line).

    Args:
        table: rows with patient and dsc; NaN (nothing to measure) is left out and counted.
        alt: what to see; the numbers are added to it.
    """
    from matplotlib.figure import Figure

    measured = sorted((row["dsc"], row["patient"]) for row in table if not np.isnan(row["dsc"]))
    left_out = len(table) - len(measured)
    scores = [score for score, _ in measured]
    figure = Figure(figsize=(7.5, 1.2 + 0.32 * len(measured)), layout="constrained")
    axis = figure.subplots()
    axis.barh([name for _, name in measured], scores, color="#56B4E9")
    for position, score in enumerate(scores):           # in the right margin, where no line crosses
        axis.text(1.01, position, f"{score:.3f}", va="center", fontsize=8)
    note = f"; {left_out} with nothing to measure" if left_out else ""
    axis.set(xlim=(0, 1), ylim=(-0.6, max(len(measured), 1) - 0.4), yticks=range(len(measured)),
             xlabel=f"DSC per patient, n = {len(measured)}{note}")
    numbers = ""
    if measured:
        mean, median = float(np.mean(scores)), float(np.median(scores))
        numbers = f", mean {mean:.3f}, median {median:.3f}"
        axis.axvline(mean, color=VERMILION, linestyle="-", label=f"mean {mean:.3f}")
        axis.axvline(median, color="black", linestyle="--", label=f"median {median:.3f}")
        figure.legend(loc="outside upper center", ncols=2, frameon=False)
    said = f"{alt} Bars: DSC of {len(measured)} patients{numbers}{note}."
    return from_figure(figure, said.strip())


def curves(history: list[dict], alt: str = "") -> Picture:
    """Losses and DSC over epochs, side by side: they share no axis.

    Args:
        history: rows of history.csv.
        alt: what to see; the last numbers are added to it.
    """
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    for name, colour, style in (("training_loss", BLUE, "-"), ("validation_loss", VERMILION, "--")):
        left.plot(epochs, [row[name] for row in history], style, color=colour, marker=".",
                  label=name.replace("_", " "))
    left.set(xlabel="epoch", ylabel="loss", title="Loss")
    left.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    left.legend(frameon=False)
    scores = [row["prepared_dsc"] for row in history]
    right.plot(epochs, scores, color=GREEN, marker=".")
    right.set(xlabel="epoch", ylabel="mean DSC", ylim=(0, 1), title="Validation, prepared grid")
    right.grid(alpha=0.3)
    last = history[-1]
    return from_figure(figure, f"{alt} Curves over {len(epochs)} epochs: training loss ends at "
                               f"{last['training_loss']:.3f}, validation loss at "
                               f"{last['validation_loss']:.3f}, DSC at {scores[-1]:.3f}.".strip())
