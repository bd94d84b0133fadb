"""Sphinx's settings for the course site. lessons/pages.py gathers the pages and builds it."""

import importlib.util
import inspect
import json
import re
from pathlib import Path

project = "Medical image segmentation"
html_title = project
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]

# Lessons: as they were executed; without a kernel there is nothing to load widget scripts for.
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

# Reference: what a package exports, in the order in which it stands in the file.
autodoc_default_options = {"members": True, "member-order": "bysource"}
default_role = "code"
autodoc_inherit_docstrings = False       # torch's words on forward are not ours
napoleon_use_ivar = True

# Formulas: MathJax from a package, the one file that has all commands and letters in itself. Pages
# without a formula do not load it.
MATHJAX = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent.joinpath(
    "static", "mathjax", "tex-svg-full.js")
mathjax_path = MATHJAX.name

# Pages: system fonts, the theme's own scripts, no copies of the sources.
html_theme = "furo"
html_favicon = "icon.svg"
html_show_copyright = False
html_use_index = False
html_domain_indices = False
html_static_path = ["style.css", "search.js", str(MATHJAX)]
html_css_files = ["style.css"]
html_extra_path = ["extra"]
html_copy_source = False


def plain_docstring(app, what, name, thing, options, lines: list[str]) -> None:
    """Our docstrings are plain text: |P| is a size, not reStructuredText's substitution.

    A property is described by a sentence, of which napoleon would take a colon for a type's end.
    """
    if what == "property":
        lines[:] = [*inspect.getdoc(thing).splitlines(), ""]
    lines[:] = [line.replace("|", r"\|") for line in lines]


def own_signature(app, what, name, thing, options, signature: str | None, returns: str | None):
    """A loss without __init__ takes nothing, where torch's Module would take anything."""
    if signature == "(*args: Any, **kwargs: Any)":
        return "()", returns


SECTIONS: dict[str, list[tuple[str, str, str]]] = {}     # page to (id, title, own text in small)


def is_section(node) -> bool:
    return node.tagname == "section"


def note_sections(app, doctree, name: str) -> None:
    """Note what stands in each section of a page: search.js takes the reader there."""
    SECTIONS[name] = []
    for section in doctree.findall(is_section):
        title, *parts = section.children
        own = " ".join(part.astext() for part in parts if not is_section(part))
        text = re.sub(r"<[^>]*>|\s+", " ", f"{title.astext()} {own}").lower()
        SECTIONS[name].append((section["ids"][0], title.astext(), text))


def write_sections(app, error) -> None:
    """Write down all sections, as a script: a page that is opened as a file may fetch nothing."""
    if error is None:
        (Path(app.outdir) / "_static" / "sections.js").write_text(
            f"const SECTIONS = {json.dumps(SECTIONS)};\n", "utf-8")


def add_scripts(app, name: str, template, context, doctree) -> None:
    """Load what the search needs where it is needed."""
    if name == "search":
        app.add_js_file("sections.js")
        app.add_js_file("search.js")


def setup(app) -> None:
    app.connect("doctree-resolved", note_sections)
    app.connect("build-finished", write_sections)
    app.connect("html-page-context", add_scripts)
    app.connect("autodoc-process-docstring", plain_docstring)
    app.connect("autodoc-process-signature", own_signature)
