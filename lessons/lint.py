"""What a lesson must be, checked by build.py before anything is written.

A lesson that breaks a rule is refused in words: exercises and forecasts are those of the table in
course_lib/check/lessons.py, no line of code is wider than the site's pages, and no forecast is
given away. Its limits of length are only listed.
"""

import ast
import re
from collections.abc import Iterable, Iterator

import nbformat

from course_lib.check.lessons import Lesson

COLUMNS = 88                                    # of code: what a page of the site shows uncut
WORDS, CODE_CELLS, LINES = (1500, 3000), (25, 40), 15
READING_SPEED = 150                             # words a minute
EXERCISE = re.compile(r"### Exercise (\d+) · (.+)\n\n"
                      r"Difficulty [1-5]/5 · (\d+) minutes( · no code)?\n")
Cells = list[nbformat.NotebookNode]


def tagged(cells: Cells, tag: str) -> list[str]:
    """List the texts of the cells that bear a tag."""
    return [cell.source for cell in cells if tag in cell.metadata.get("tags", [])]


def read_exercises(cells: Cells, stem: str) -> list[re.Match]:
    """Read number, title and minutes at the head of each exercise.

    Raises:
        ValueError: one has another form.
    """
    found = []
    for text in tagged(cells, "exercise"):
        found.append(EXERCISE.match(text))
        if found[-1] is None or found[-1][1] != str(len(found)):
            raise ValueError(f"{stem}: an exercise begins with '### Exercise {len(found)} · Title' "
                             "and, after an empty line, 'Difficulty 2/5 · 10 minutes' (' · no "
                             f"code' where there is none), not\n{text[:120]}")
    return found


def check_exercises(cells: Cells, row: Lesson) -> None:
    """Check that the exercises in a lesson are those of the table, in its order.

    Raises:
        ValueError: they are not.
    """
    titles = [match[2] for match in read_exercises(cells, row.stem)]
    names = [re.search(r"check\.(\w+)\(.*\Z", text)[1] for text in tagged(cells, "solution")]
    if list(zip(names, titles, strict=True)) != list(row.exercises.items()):
        raise ValueError(f"{row.stem}: the exercises {titles} are not those of the table in "
                         "course_lib/check/lessons.py")


# --- forecasts ---

def parse(source: str) -> ast.Module:
    """Parse a cell; a notebook's magics are no Python."""
    return ast.parse(re.sub(r"^%.*$", "", source, flags=re.MULTILINE))


def calls_of(tree: ast.AST, function: str) -> list[ast.Call]:
    """List the calls of check.forecast, say, in a cell."""
    return [node for node in ast.walk(tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == function]


def shown(tree: ast.Module) -> list[ast.AST]:
    """List what a cell shows: what it prints or displays, and the expression that it ends with."""
    parts = [part for name in ("print", "display") for call in calls_of(tree, name)
             for part in [*call.args, *(keyword.value for keyword in call.keywords)]]
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr) and (last.value not in calls_of(last, "print")):
        parts.append(last.value)
    return parts


def names_in(node: ast.AST) -> set[str]:
    """Name the variables whose values an expression gives.

    Functions that it calls by their names, what a comprehension runs over by its own name, and
    what only counts (in `len`) are left out.
    """
    counted = {part for call in calls_of(node, "len") for part in ast.walk(call)}
    called = {part.func for part in ast.walk(node) if isinstance(part, ast.Call)}
    bound = {name.id for part in ast.walk(node) if isinstance(part, ast.comprehension)
             for name in ast.walk(part.target) if isinstance(name, ast.Name)}
    return {part.id for part in ast.walk(node)
            if isinstance(part, ast.Name) and part not in counted | called} - bound


def imported(trees: Iterable[ast.AST]) -> set[str]:
    """Name what is imported: no values."""
    return {(alias.asname or alias.name).split(".")[0] for tree in trees for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}


def find_calls(trees: list[ast.Module], function: str, stem: str) -> dict[str, tuple]:
    """Find the calls of check.forecast or check.outcome: name to number of the cell and call.

    Raises:
        ValueError: a name is computed or comes twice, or what the call gives is not shown.
    """
    found = {}
    for number, tree in enumerate(trees):
        for call in calls_of(tree, function):
            if len(call.args) < 2 or not isinstance(call.args[0], ast.Constant):
                raise ValueError(f"{stem}: {function} takes a name, written out, and values: "
                                 f"{ast.unparse(call)}")
            name = call.args[0].value
            if name in found:
                raise ValueError(f"{stem}: there are two {function} of {name}")
            if call not in shown(tree):
                raise ValueError(f"{stem}: what {function} gives for {name} is not shown: let the "
                                 "cell end with it, or display it")
            found[name] = number, call
    return found


def check_forecasts(cells: Cells, row: Lesson) -> None:
    """Check that each forecast is one of the table, empty, and followed by its outcome, and that
    nothing above the outcome shows what goes into it.

    That is looked for by the names of variables: a number that is computed a second time, or drawn,
    is not found.

    Raises:
        ValueError: one of these is not so.
    """
    trees = [parse(cell.source) for cell in cells if cell.cell_type == "code"]
    forecasts = find_calls(trees, "check.forecast", row.stem)
    outcomes = find_calls(trees, "check.outcome", row.stem)
    asked = {name: _template(call, row.stem) for name, (_, call) in forecasts.items()}
    if list(asked.items()) != [(name, list(units)) for name, units in row.forecasts.items()]:
        raise ValueError(f"{row.stem}: the forecasts {asked} are not those of the table in "
                         "course_lib/check/lessons.py")
    if outcomes.keys() != forecasts.keys():
        raise ValueError(f"{row.stem}: without outcome, or without forecast: "
                         f"{', '.join(sorted(outcomes.keys() ^ forecasts.keys()))}")
    for name, (number, call) in outcomes.items():
        if number <= forecasts[name][0]:
            raise ValueError(f"{row.stem}: the outcome of {name} is not in a cell below its "
                             "forecast")
        _check_hidden(name, call, trees[: number + 1], row.stem)


def _template(call: ast.Call, stem: str) -> list[str]:
    """Give the keys of a forecast's template."""
    values = call.args[1]
    if not isinstance(values, ast.Dict) or any(ast.unparse(value) != "None"
                                               for value in values.values):
        raise ValueError(f"{stem}: a forecast's template has None for each thing that is asked "
                         f"for: {ast.unparse(call)}")
    return [key.value for key in values.keys]


def _check_hidden(name: str, outcome: ast.Call, above: list[ast.Module], stem: str) -> None:
    """Check that no cell, down to the outcome's own, shows what goes into an outcome."""
    secret = names_in(outcome.args[1]) - imported(above)
    seen = {part for tree in above for node in shown(tree) if node is not outcome
            for part in names_in(node)}
    if secret & seen:
        raise ValueError(f"{stem}: {', '.join(sorted(secret & seen))}: shown above the outcome of "
                         f"{name} or beside it, so that it is given away. Show it in a cell below")


# --- sizes ---

def check_columns(cells: Cells, stem: str) -> None:
    """Check that no line of code is cut off on the site.

    Raises:
        ValueError: with all lines that are too wide.
    """
    wide = [line for cell in cells if cell.cell_type == "code" for line in cell.source.splitlines()
            if len(line) > COLUMNS]
    if wide:
        raise ValueError(f"{stem}: lines of code are wider than {COLUMNS} columns:\n"
                         + "\n".join(f"{len(line)}: {line}" for line in wide))


def count_words(cells: Cells) -> int:
    """Count the words to read; hints and solutions are folded away."""
    return sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown"
               and "hints" not in cell.metadata.get("tags", [])
               and not cell.source.startswith("<details>"))


def minutes_to_work(cells: Cells, stem: str) -> tuple[int, int]:
    """Reckon the minutes of a lesson: to read it, and for its exercises as they say themselves."""
    return (round(count_words(cells) / READING_SPEED),
            sum(int(match[3]) for match in read_exercises(cells, stem)))


def beyond_limits(cells: Cells, row: Lesson) -> Iterator[str]:
    """List where a notebook's cells are beyond the limits of length, in words.

    Lesson 00 is short by nature: for it the limits are upper ones.
    """
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    for count, what, (least, most) in ((count_words(cells), "words", WORDS),
                                       (len(code), "code cells", CODE_CELLS)):
        least = 0 if row.number == "00" else least
        if not least <= count <= most:
            yield f"{count:,} {what}, expected {least:,} to {most:,}"
    for source in code:
        lines = [line for line in source.splitlines() if line.strip()]
        if len(lines) > LINES:
            yield f"a cell of {len(lines)} lines, expected {LINES} at most: {lines[0]}"
