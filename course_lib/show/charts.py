"""Charts of scores and of trainings; narrow, so that a phone shows their words, too."""

import numpy as np

from course_lib.show.pictures import Picture, from_figure, new_figure

BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
WIDTH = 6                                                        # inches


def dsc_chart(table: list[dict], alt: str = "") -> Picture:
    """Draw one bar per patient, sorted, with the mean (solid line) and the median (dashed line).

    Args:
        table: rows with patient and dsc; NaN (nothing to measure) is left out and counted.
        alt: what to see; the numbers are added to it.
    """
    measured = sorted((row["dsc"], row["patient"]) for row in table if not np.isnan(row["dsc"]))
    left_out = len(table) - len(measured)
    scores = [score for score, _ in measured]
    figure = new_figure(WIDTH, 1.2 + 0.32 * len(measured))
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
    alt = f"{alt} Bars: DSC of {len(measured)} patients{numbers}{note}."
    return from_figure(figure, alt.strip())


def curves(history: list[dict], alt: str = "") -> Picture:
    """Draw losses over epochs and below them the DSC: they share no axis but the epochs.

    Args:
        history: rows of history.csv.
        alt: what to see; the last numbers are added to it.
    """
    epochs = [row["epoch"] for row in history]
    figure = new_figure(WIDTH, 5.2)
    above, below = figure.subplots(2, 1, sharex=True)
    for name, colour, style in (("training_loss", BLUE, "-"), ("validation_loss", VERMILION, "--")):
        above.plot(epochs, [row[name] for row in history], style, color=colour, marker=".",
                   label=name.replace("_", " "))
    above.set(ylabel="loss", title="Loss")
    above.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    above.legend(frameon=False)
    scores = [row["prepared_dsc"] for row in history]
    below.plot(epochs, scores, color=GREEN, marker=".")
    below.set(xlabel="epoch", ylabel="mean DSC", ylim=(0, 1), title="Validation, prepared grid")
    below.grid(alpha=0.3)
    last = history[-1]
    return from_figure(figure, f"{alt} Curves over {len(epochs)} epochs: training loss ends at "
                               f"{last['training_loss']:.3f}, validation loss at "
                               f"{last['validation_loss']:.3f}, DSC at {scores[-1]:.3f}.".strip())


LINES = [(BLUE, "-"), (VERMILION, "--"), (GREEN, "-."), ("#CC79A7", ":"), ("#E69F00", (0, (5, 1)))]


def histograms(panels: dict[str, dict[str, np.ndarray]], xlabel: str, alt: str) -> Picture:
    """Draw distributions as lines, one panel below the other; each line has its colour and style.

    Args:
        panels: title to {label: values}; the same labels in each panel, at most five.
        xlabel: what the values are, with unit.
        alt: what to see; medians are added to it.
    """
    figure = new_figure(WIDTH, 2.8 * len(panels))
    medians = []
    for axis, (title, groups) in zip(np.atleast_1d(figure.subplots(len(panels))),
                                     panels.items(), strict=True):
        pooled = np.concatenate(list(groups.values()))
        edges = np.linspace(*np.percentile(pooled, (0.1, 99.5)), 61)
        for (label, values), (colour, style) in zip(groups.items(), LINES, strict=False):
            share, _ = np.histogram(values, edges, density=True)
            axis.plot((edges[1:] + edges[:-1]) / 2, share, color=colour, linestyle=style,
                      label=label)
            medians.append(f"{label} {title} {np.median(values):.2f}")
        axis.set(title=title, xlabel=xlabel, ylabel="share per unit")
    axis.legend(frameon=False, fontsize=7)
    return from_figure(figure, f"{alt} Medians: {'; '.join(medians)}.")


def dots(groups: dict[str, list[float]], xlabel: str, alt: str, log: bool = False) -> Picture:
    """Draw one dot a patient in a row for each group, with the median as a bar.

    Args:
        groups: label to values.
        xlabel: what the values are, with unit.
        alt: what to see; range and median are added to it.
        log: a logarithmic axis.
    """
    figure = new_figure(WIDTH, 0.9 + 0.6 * len(groups))
    axis = figure.subplots()
    notes = []
    for row, (label, values) in enumerate(groups.items()):
        values = np.asarray(values, dtype=float)
        values = values[~np.isnan(values)]
        if not len(values):
            notes.append(f"{label}: 0 patients")
            continue
        spread = np.random.default_rng(0).uniform(-0.15, 0.15, len(values))
        axis.plot(values, row + spread, "o", color=BLUE, alpha=0.6, markersize=5)
        axis.plot([np.median(values)] * 2, [row - 0.3, row + 0.3], color="black")
        notes.append(f"{label}: {len(values)} patients, {values.min():.3g} to {values.max():.3g}, "
                    f"median {np.median(values):.3g}")
    axis.set(yticks=range(len(groups)), yticklabels=list(groups), xlabel=xlabel,
             ylim=(-0.6, len(groups) - 0.4), xscale="log" if log else "linear")
    return from_figure(figure, f"{alt} {'; '.join(notes)}.")
