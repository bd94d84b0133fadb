"""A network drawn as in the U-Net paper: boxes, a row for each level, and arrows between them."""

from collections.abc import Mapping, Sequence

import numpy as np

from course_lib.show.charts import BLUE, VERMILION
from course_lib.show.pictures import Picture, from_figure, new_figure
from course_lib.show.tracing import Arrow, trace_network

# In widths of a box: to the next box of a row, to a box of another row; height of two lines.
STEP, DENT, WORDS = 1.5, 0.15, 0.42
KINDS = {"down": (VERMILION, "-", "down: smaller sides"), "up": (BLUE, "-.", "up: larger sides"),
         "skip": ("#777777", "--", "skip: joined at the same level"),
         "on": ("black", "-", "on, at the same level")}


def topology(model, shape: Sequence[int], *, maps: Mapping[str, np.ndarray] | None = None,
             alt: str = "") -> Picture:
    """Draw a network from itself: its blocks with channels and sides, and what feeds them.

    Args:
        model: a torch module; it is run once, without numbers, and stays as it is.
        shape: of its image, (B, C, …), such as image.shape.
        maps: block (or "image") to (h, w), shown in its box, black to white from the map's own
            least value to its greatest.
        alt: what to see; the blocks and arrows are added to it.
    """
    return draw_network(*trace_network(model, shape), maps=maps, alt=alt)


def draw_network(boxes: Mapping[str, Sequence[int]], arrows: Sequence[Arrow], *,
                 maps: Mapping[str, np.ndarray] | None = None, alt: str = "") -> Picture:
    """Draw boxes and arrows as trace_network finds them, or as they were written by hand.

    Args:
        boxes, arrows: see `trace_network`.
        maps, alt: see `topology`.
    """
    from matplotlib.lines import Line2D

    height = WORDS + bool(maps)
    places = _place(boxes, arrows, height + 0.4)
    (left, bottom), (right, top) = (choose(list(places.values()), axis=0)
                                    for choose in (np.min, np.max))
    figure = new_figure(1.1 * (right - left + 1.1), 1.1 * (top - bottom + height + 0.1) + 0.6)
    axis = figure.subplots()
    shapes = {name: " × ".join(map(str, shape)) for name, shape in boxes.items()}
    for name, shape in shapes.items():
        _draw_box(axis, *places[name], height, f"{name}\n{shape}", (maps or {}).get(name))
    kinds = [_kind(halvings, [each for each in arrows if each[1] == end])
             for _, end, halvings in arrows]
    for (start, end, _), kind in zip(arrows, kinds, strict=True):
        _draw_arrow(axis, places[start], places[end], height, kind, list(places.values()))
    axis.axis("off")
    axis.set(xlim=(left - 0.55, right + 0.55), aspect="equal",
             ylim=(bottom - height / 2 - 0.05, top + height / 2 + 0.05))
    lines = [Line2D([], [], color=colour, linestyle=line, label=label)
             for kind, (colour, line, label) in KINDS.items() if kind in kinds]
    figure.legend(handles=lines, loc="outside lower center", ncols=2, frameon=False, fontsize=8.5,
                  title="in each box: channels × sides", title_fontsize=8.5)
    return from_figure(figure, _put_in_words(shapes, arrows, kinds, alt))


def _place(boxes: Mapping, arrows: Sequence[Arrow], row: float) -> dict[str, tuple[float, float]]:
    """Place a box below or above what feeds it, right of it where the level is the same: (x, y)."""
    levels, places, last = {}, {}, {}
    for name in boxes:
        before = [(start, halvings) for start, end, halvings in arrows if end == name]
        levels[name] = level = levels[before[0][0]] + before[0][1] if before else 0
        free = [places[start][0] + (STEP if levels[start] == level else DENT)
                for start, _ in before] + [last[level] + STEP if level in last else 0]
        last[level] = max(free)
        places[name] = last[level], -row * level
    for name, (_, y) in list(places.items()):                    # a bottleneck: in the middle
        beside = [places[start if end == name else end][0] for start, end, _ in arrows
                  if name in (start, end)]
        if list(levels.values()).count(levels[name]) == 1:
            places[name] = (min(beside) + max(beside)) / 2, y
    return places


def _kind(halvings: int, others: Sequence[Arrow]) -> str:
    """Name an arrow; one that stays on its level is a skip where another level joins it."""
    if halvings:
        return "down" if halvings > 0 else "up"
    return "skip" if any(other[2] for other in others) else "on"


def _draw_box(axis, x: float, y: float, height: float, words: str, values) -> None:
    from matplotlib.patches import Rectangle

    axis.add_patch(Rectangle((x - 0.5, y - height / 2), 1, height, facecolor="#EEF3F8",
                             edgecolor="#333333"))
    if values is not None:
        top = y + height / 2
        axis.imshow(values, cmap="gray", extent=(x - 0.5, x + 0.5, top - 1, top), zorder=2)
    axis.text(x, y - height / 2 + WORDS / 2, words, ha="center", va="center",
              fontsize=min(8.5, 120 / max(map(len, words.split("\n")))))


def _draw_arrow(axis, start: tuple, end: tuple, height: float, kind: str, places: list) -> None:
    """Draw an arrow from side to side in a row, in a bow over boxes between, or from row to row."""
    from matplotlib.patches import FancyArrowPatch

    (x, y), (to_x, to_y), bow = start, end, 0.0
    if y != to_y:
        edge = height / 2 if to_y > y else -height / 2
        y, to_y = y + edge, to_y - edge
    elif any(other_y == y and x < other_x < to_x for other_x, other_y in places):
        y, to_y, bow = y + height / 2, to_y + height / 2, -0.16
    else:
        x, to_x = x + 0.5, to_x - 0.5
    colour, line, _ = KINDS[kind]
    axis.add_patch(FancyArrowPatch(
        (x, y), (to_x, to_y), connectionstyle=f"arc3,rad={bow}", arrowstyle="-|>", color=colour,
        linestyle=line, linewidth=1.4, mutation_scale=12, shrinkA=0, shrinkB=0, zorder=0.5,
        clip_on=False))


def _put_in_words(shapes: Mapping, arrows: Sequence[Arrow], kinds: list[str], alt: str) -> str:
    """Say what is drawn: every box with its shape, every arrow by its kind."""
    ways = {kind: [] for kind in KINDS if kind in kinds}
    for (start, end, _), kind in zip(arrows, kinds, strict=True):
        ways[kind].append(f"{start} to {end}")
    words = [alt, f"Boxes, channels × sides: {', '.join(map(' '.join, shapes.items()))}."]
    return " ".join(words + [f"Arrows {kind}: {', '.join(ways[kind])}." for kind in ways]).strip()
