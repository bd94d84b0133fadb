"""What the doctor found: lines of OK, WARN and FIX, as text or as a table."""

import html
from dataclasses import dataclass
from textwrap import fill

# Each mark brings its own ground, so that it can be read on light and on dark pages: text, ground.
COLOURS = {"OK": ("#FFFFFF", "#0072B2"), "WARN": ("#000000", "#E69F00"),
           "FIX": ("#000000", "#D55E00")}
ADVICE = (
    "Why an environment of its own: other projects want other versions of the same packages.\n"
    "In a folder of its own nothing else can break, and deleting the folder undoes all of it.",
    "Where the package index is slow, take a mirror; your institution may have one. For one call:\n"
    "pip install --index-url <address of the mirror> …; for good: "
    "pip config set global.index-url <address>")


@dataclass(frozen=True)
class Line:
    """One thing that was looked at.

    Attributes:
        mark: "OK", "WARN" (the course runs, but look at it) or "FIX" (a part of it will not run).
        topic: what was looked at.
        text: what was found.
        command: to mend it; "" where there is nothing to do.
    """

    mark: str
    topic: str
    text: str
    command: str = ""


@dataclass(frozen=True, repr=False)
class Report:
    """All lines; shows as text or, in a notebook, as a table."""

    lines: list[Line]

    @property
    def fixes(self) -> list[Line]:
        """List the lines without which a part of the course will not run."""
        return [line for line in self.lines if line.mark == "FIX"]

    def summary(self) -> str:
        """Count the lines of each mark, in one sentence."""
        fix, warn, fine = (sum(line.mark == mark for line in self.lines)
                           for mark in ("FIX", "WARN", "OK"))
        return f"{fix} to fix, {warn} to look at, {fine} fine."

    def __repr__(self) -> str:
        blocks = []
        for line in self.lines:
            blocks.append(fill(f"{line.mark:4}  {line.topic:12} {line.text}", width=100,
                               subsequent_indent=" " * 19, break_long_words=False,
                               break_on_hyphens=False))
            if line.command:
                blocks.append(f"{'':17}> {line.command}")    # never broken: it is to be copied
        return "\n".join([*blocks, self.summary(), "", *ADVICE])

    def _repr_html_(self) -> str:
        rows = "".join(map(html_row, self.lines))
        advice = "".join(f"<p>{html.escape(text)}</p>" for text in ADVICE).replace("\n", "<br>")
        return f"<table>{rows}</table><p>{self.summary()}</p>{advice}"


def html_row(line: Line) -> str:
    """Write a line as a row of a table: mark, topic, text with the command below it."""
    text, ground = COLOURS[line.mark]
    style = f"color:{text};background:{ground};padding:0 .4em;white-space:nowrap"
    mark = f'<b style="{style}">{line.mark}</b>'
    command = f"<br><code>{html.escape(line.command)}</code>" if line.command else ""
    found = f'<span style="overflow-wrap:anywhere">{html.escape(line.text)}{command}</span>'
    cells = (mark, html.escape(line.topic), found)
    return "<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>"
