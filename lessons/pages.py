"""Render what `make course` executed as a static site: `python lessons/pages.py --help`.

The sources are gathered in a temporary folder: the executed notebooks without what needs a kernel,
a front page with the lesson map, a page of pictures, and a page for each package of the library.
Sphinx makes the site from them (site/conf.py has its settings), without a network.
"""

import argparse
import base64
import hashlib
import html
import io
import json
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from string import Template

import nbformat
import numpy as np
from PIL import Image

import course_lib
from build import work_minutes
from course_lib.check.lessons import LESSONS, Lesson
from course_lib.errors import CourseError
from course_lib.files import write_atomically
from course_lib.show.pictures import PREDICTION, TARGET
from course_lib.tables import read_csv

CHECKOUT = Path(__file__).resolve().parent.parent
RECORD = "run.json"                 # what run.py leaves beside the notebooks it executed
PICTURES_MB = 12                    # on the page of pictures; lessons have theirs besides
LEGEND = ("Patients that the network has not seen, the best first: "
          f'<b style="border-bottom:3px solid {TARGET}">target</b>, outlined solid, and '
          f'<b style="border-bottom:3px dashed {PREDICTION}">prediction</b>, dashed. DSC is 1 for '
          "a perfect match, 0 for no overlap.")
PIECE = 620                         # pixels of a sheet that a phone still shows readably
INLINE = re.compile(r'<img src="data:image/(png|gif);base64,([^"]+)" alt="([^"]*)"[^>]*>')
IN_MARKDOWN = re.compile(r"!\[([^\]]*)\]\(data:image/(\w+);base64,([^)]+)\)")


def write_record(output: Path, record: dict) -> None:
    """Write down beside the executed notebooks what was run: the lesson map is made from it.

    Args:
        output: build/course-<date>-<time>.
        record: plan (profile, lessons, code), date, lessons (stem of the notebook to seconds and
            error: a line, or None), finished.
    """
    text = json.dumps(record, indent=1) + "\n"
    write_atomically(output / RECORD, lambda file: file.write(text.encode()))


def read_record(output: Path) -> dict | None:
    """Read what was run; None where there is no record, or it is another version's."""
    try:
        record = json.loads((output / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return record if {"plan", "date", "lessons", "finished"} <= record.keys() else None


def make_still(node: nbformat.NotebookNode) -> None:
    """Replace what needs a kernel or a server: widgets by still pictures, TensorBoard by a word."""
    for cell in node.cells:
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            if "text/html" in data:
                data.pop("application/vnd.jupyter.widget-view+json", None)
                if "tensorboard-frame" in data["text/html"]:
                    data["text/html"] = ("<p>TensorBoard runs here while the notebook does; a "
                                         "saved page has no server.</p>")
    node.metadata.pop("widgets", None)


def gutters(page: np.ndarray) -> list[int]:
    """Find the middles of a picture's white gutters from top to bottom, a legend below apart.

    Of two with only a label between them, the first counts: the label belongs to what follows.

    Args:
        page: (H, W) grey values.
    """
    blank = (page[:-40] > 240).all(axis=0)                     # JPEG's white is not quite white
    ends = np.flatnonzero(np.diff(blank, prepend=False, append=False)).reshape(-1, 2)
    strips = [(int(start), int(end)) for start, end in ends if end - start > 7]
    return [(start + end) // 2 for (_, before), (start, end) in pairwise(strips)
            if start - before > 40 and end < len(blank)]


def pieces(page: np.ndarray) -> list[tuple[int, int]]:
    """Cut a wide picture at its gutters: (left, right) of pieces of at most PIECE pixels.

    Args:
        page: (H, W) grey values.
    Returns:
        One piece, the whole, where it is narrow enough or has no gutter in the right place.
    """
    width, edges = page.shape[1], [0]
    while width - edges[-1] > PIECE:
        fitting = [cut for cut in gutters(page) if edges[-1] + 150 < cut <= edges[-1] + PIECE]
        if not fitting:
            return [(0, width)]
        edges.append(fitting[-1])
    return list(pairwise([*edges, width]))


def show_piece(source: str, alt: str, left: int, right: int, size: tuple[int, int]) -> str:
    """Show the part of a picture between two columns, in the same scale as the others."""
    place = 100 * left / max(1, size[0] - (right - left))
    return (f'<img loading="lazy" src="{source}" alt="{alt}" style="width:'
            f"{100 * (right - left) / PIECE:.1f}%;aspect-ratio:{right - left}/{size[1]};"
            f'object-fit:cover;object-position:{place:.2f}% 0">')


def picture(data: bytes, kind: str, alt: str, images: Path) -> str:
    """Write a picture under the name of its content, once, and return what shows it.

    A wide one is there whole and, for a phone, in pieces below each other, or else it is marked as
    wide; style.css chooses. alt comes as HTML has it.
    """
    path = images / f"{hashlib.sha256(data).hexdigest()[:16]}.{kind}"
    path.write_bytes(data)
    page, source = np.asarray(Image.open(io.BytesIO(data)).convert("L")), f"images/{path.name}"
    size, parts = page.shape[::-1], pieces(page)
    wide = ' class="wide"' if size[0] > PIECE and len(parts) == 1 else ""
    whole = (f'<img loading="lazy" width="{size[0]}" height="{size[1]}" src="{source}" '
             f'alt="{alt}"{wide}>')
    if len(parts) == 1:
        return whole
    small = "".join(show_piece(source, f"{alt} (Part {number} of {len(parts)}.)", *part, size)
                    for number, part in enumerate(parts, start=1))
    return f'<span class="whole">{whole}</span><span class="pieces">{small}</span>'


def make_light(node: nbformat.NotebookNode, images: Path) -> None:
    """Make files of the pictures inside cells: a page opens before they are loaded. Names in tables
    may break after an underscore."""
    for cell in node.cells:
        if cell.cell_type == "markdown":
            cell.source = IN_MARKDOWN.sub(
                lambda match: picture(base64.b64decode(match[3]), match[2],
                                      html.escape(match[1], quote=True), images), cell.source)
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            if "text/html" in data:
                data["text/html"] = INLINE.sub(
                    lambda match: picture(base64.b64decode(match[2]), match[1], match[3], images),
                    re.sub(r"(?<=_)(?=[^<>]*</t[dh]>)", "<wbr>", data["text/html"]))


def keep_inside(node: nbformat.NotebookNode, there: set[str]) -> None:
    """Replace links to lessons that were not run, and pictures from the web (badges), by words."""
    for cell in node.cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"!\[([^\]]*)\]\(https?:[^)]*\)", r"\1", cell.source)
            cell.source = re.sub(
                r"\[([^\]]+)\]\((\w+\.ipynb)\)",
                lambda link: link[0] if link[2] in there else link[1], text)


def map_row(lesson: Lesson, record: dict) -> str:
    """Write a lesson's line in the map: title, goal, expected minutes, and what this run took."""
    title = f"{lesson.number} · {lesson.title}"
    minutes = (f"{work_minutes(lesson)} | "
               f"{lesson.minutes['tiny']:g} / {lesson.minutes['cpu']:g}")
    row = record["lessons"].get(lesson.stem)
    if row is None:
        return f"| {title} | {lesson.goal} | {minutes} | not run |"
    took = f"{row['seconds'] / 60:.1f}" + (", **failed**" if row["error"] else "")
    return f"| [{title}]({lesson.stem}.ipynb) | {lesson.goal} | {minutes} | {took} |"


def lesson_map(record: dict) -> str:
    """Write the table of all lessons, in Markdown."""
    head = ("| lesson | afterwards you can | minutes to work through | "
            "to run: tiny / laptop CPU | this run |\n|---|---|---|---|---|\n")
    return head + "\n".join(map_row(lesson, record) for lesson in LESSONS)


def descriptions(notebooks: list[Path]) -> dict[bytes, str]:
    """Map the content of each picture that lessons show to its description."""
    texts = {}
    for notebook in notebooks:
        for text in re.findall(r'<img src=\\"data:image/.*?>', notebook.read_text("utf-8")):
            tag = json.loads(f'"{text}"')
            texts[base64.b64decode(INLINE.match(tag)[2])] = html.unescape(
                re.search(r'alt="([^"]*)"', tag)[1])
    return texts


def readme_picture(picture_line: str, caption: str, images: Path) -> str:
    """Write README's picture, with its caption, for the front page."""
    alt, path = re.fullmatch(r"!\[(.+)\]\((.+)\)", picture_line).groups()
    shown = picture((CHECKOUT / path).read_bytes(), "png", html.escape(alt, quote=True), images)
    words = html.escape(" ".join(caption.strip("*").split()))
    return f"<figure>{shown}<figcaption>{words}</figcaption></figure>"


def scores_of(run: Path) -> dict[str, float]:
    """Map the patients of a run folder to their DSC; empty where it holds no scores."""
    try:
        return {row["patient"]: row["dsc"] for row in read_csv(run / "scores.csv")}
    except (OSError, ValueError, KeyError):
        return {}


def pictures_of(run: Path, described: dict[bytes, str]) -> list[tuple[bytes, str, str, str]]:
    """List a run folder's pictures as (bytes, kind, description, caption): patients by DSC, the
    best first, then charts and sheets, which take the page's whole width."""
    scores, found = scores_of(run), []
    for path in sorted((run / "pictures").glob("*.[pg][ni][gf]")):
        data, dsc = path.read_bytes(), scores.get(path.stem, float("nan"))
        alt = described.get(data, f"{path.stem} of the run {run.name}")
        caption = f"{path.stem} · DSC {dsc:.3f}" if dsc == dsc else alt
        found.append((path.suffix != ".gif", -dsc if dsc == dsc else 1, data, path.suffix[1:], alt,
                      caption))
    return [row[2:] for row in sorted(found, key=lambda row: row[:2])]


def pictures_page(output: Path, images: Path) -> str:
    """Write the page of all run folders' pictures, in Markdown, as many as PICTURES_MB holds."""
    described = descriptions(list(output.glob("*.ipynb")))
    lines, left_out, room = [], 0, PICTURES_MB * 1e6
    for run in sorted(path.parent for path in (output / "runs").glob("*/pictures")):
        figures = []
        for data, kind, alt, caption in pictures_of(run, described):
            room -= len(data)
            if room < 0:
                left_out += 1
                continue
            shown = picture(data, kind, html.escape(alt, quote=True), images)
            figures.append(f'<figure class="{kind}">{shown}<figcaption>{html.escape(caption)}'
                           "</figcaption></figure>")
        if figures:
            lines += [f"## {run.name}",
                      "\n".join(['<div class="pictures">', *figures, "</div>"])]
    if left_out:
        lines.append(f"{left_out} more lie in the run folders: beyond {PICTURES_MB} MB this page "
                     "would be slow.")
    return "\n\n".join(["# Pictures", LEGEND, *(lines or ["No run saved any."])])


def write_reference(folder: Path) -> None:
    """Write a page for each package and each single file of the library, from their docstrings."""
    folder.mkdir()
    modules = [module for module in pkgutil.iter_modules(course_lib.__path__)
               if not module.name.startswith("_")]              # __main__ runs when it is imported
    for module in modules:
        exported = "   :imported-members:\n" if module.ispkg else ""
        (folder / f"{module.name}.md").write_text(
            f"# {module.name}\n\n```{{eval-rst}}\n.. automodule:: course_lib.{module.name}\n"
            f"{exported}```\n", "utf-8")
    names = "\n".join(module.name for module in modules)
    (folder / "index.md").write_text(
        "# Reference\n\nWhat the library offers, from its docstrings.\n\n"
        f"```{{toctree}}\n{names}\n```\n", "utf-8")


def build(output: Path, strict: bool = False) -> Path:
    """Make output/site from output's notebooks, run folders and record; an older one is replaced.

    Args:
        output: build/course-<date>-<time>, as lessons/run.py left it.
        strict: fail where Sphinx only warns.
    Returns:
        The site's index.html.
    Raises:
        CourseError: Sphinx failed.
    """
    record = read_record(output)
    if record is None:
        raise CourseError(what=f"there is no {RECORD} that says what was run", where=str(output),
                          cure="run `make course` again")
    readme = (CHECKOUT / "README.md").read_text("utf-8").split("\n\n")
    notebooks = sorted(output.glob("*.ipynb"))
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(shutil.copytree(CHECKOUT / "site", Path(temporary) / "source"))
        images = source / "extra" / "images"
        images.mkdir(parents=True)
        for notebook in notebooks:
            node = nbformat.read(notebook, as_version=4)
            make_still(node)
            make_light(node, images)
            keep_inside(node, {path.name for path in notebooks})
            nbformat.write(node, source / notebook.name)
        (source / "pictures.md").write_text(pictures_page(output, images), "utf-8")
        index = Template((source / "index.md").read_text("utf-8")).substitute(
            title=readme[0].removeprefix("# "), about=readme[1], lessons=lesson_map(record),
            picture=readme_picture(*readme[2:4], images),
            run=f"Run in the profile {record['plan']['profile']}, {record['date']}.")
        (source / "index.md").write_text(index, "utf-8")
        write_reference(source / "reference")
        options = ["--quiet", "--doctree-dir", f"{temporary}/doctrees",
                   *(["--fail-on-warning"] if strict else [])]
        made = Path(temporary) / "site"            # there, for myst-nb leaves a folder beside it
        if subprocess.run([sys.executable, "-m", "sphinx", *options, source, made]).returncode:
            raise CourseError(what="Sphinx could not make the site", where=str(output),
                              cure="its message stands above; mend that, then `make site`")
        shutil.rmtree(output / "site", ignore_errors=True)
        shutil.copytree(made, output / "site")
    return output / "site" / "index.html"


def describe_site(index: Path) -> str:
    """Say where the site lies and how large it is."""
    size = sum(path.stat().st_size for path in index.parent.rglob("*") if path.is_file())
    return f"The course site ({size / 1e6:.0f} MB), to open in a browser: {index}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="else the newest build/course-*")
    folder = parser.parse_args().folder
    made = sorted(path.parent for path in (CHECKOUT / "build").glob(f"course-*/{RECORD}"))
    if folder is None and not made:
        sys.exit("there is no build/course-* to make a site from: run `make course` first")
    try:
        print(describe_site(build(folder or made[-1])))
    except CourseError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
