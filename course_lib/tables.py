"""Rows with equal keys: what scores, findings and comparisons are returned as."""

import csv
import html
import io
from pathlib import Path

from course_lib.files import write_atomically


def cell(value) -> str:
    """Write a value as a table shows it: floats with three decimals."""
    return f"{value:.3f}" if isinstance(value, float) else f"{value}"     # numpy's float64 is one


class Table(list):
    """A list of rows (dicts with the same keys); a notebook shows it as a table.

    >>> Table([{"patient": "a", "dsc": 0.5}]).column("dsc")
    [0.5]
    """

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return list(self[0]) if self else []

    def column(self, name: str) -> list:
        """List one column's values."""
        return [row[name] for row in self]

    def to_csv(self) -> str:
        """Write the table as text with commas, a header first; nothing for no rows."""
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=self.names, lineterminator="\n")
        if self:
            writer.writeheader()
            writer.writerows(self)
        return text.getvalue()

    def save(self, path: str | Path) -> None:
        """Write a csv file, whole or not at all."""
        text = self.to_csv().encode()
        write_atomically(Path(path), lambda file: file.write(text))

    def __repr__(self) -> str:
        if not self:
            return "no rows"
        rows = [self.names, *([cell(value) for value in row.values()] for row in self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)

    def _repr_html_(self) -> str:
        if not self:
            return "<p>no rows</p>"
        sides = ["left" if any(isinstance(value, str) for value in self.column(name)) else "right"
                 for name in self.names]

        def line(kind: str, texts) -> str:
            return "".join(f'<{kind} style="text-align:{side}">{html.escape(text)}</{kind}>'
                           for side, text in zip(sides, texts, strict=True))

        body = "".join(f"<tr>{line('td', map(cell, row.values()))}</tr>" for row in self)
        return (f"<table><thead><tr>{line('th', self.names)}</tr></thead><tbody>{body}</tbody>"
                "</table>")


def read_csv(path: str | Path) -> Table:
    """Read what `Table.save` wrote; numbers come back as float.

    Raises:
        ValueError: the file is not such a table.
    """
    text = Path(path).read_text(encoding="utf-8")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    names, *body = rows or [[]]
    if any(len(row) != len(names) for row in body) or len(set(names)) < len(names):
        raise ValueError("rows of different length")
    return Table({name: _number(value) for name, value in zip(names, row, strict=True)}
                 for row in body)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
