"""Sphinx's settings for the course site. lessons/pages.py gathers the pages and builds it."""

import html
import inspect

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

project = "Medical image segmentation"
html_title = project
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

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

# Pages: system fonts, the theme's own scripts, no copies of the sources.
html_theme = "furo"
html_favicon = "icon.svg"
html_show_copyright = False
html_use_index = False
html_domain_indices = False
html_static_path = ["style.css"]
html_css_files = ["style.css"]
html_extra_path = ["extra"]
html_copy_source = False
html_math_renderer = "mathml"


def visit_math(translator, node: nodes.Node) -> None:
    """A formula as MathML, which browsers draw by themselves: no script, no font, no network."""
    try:
        formula = tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block))
    except MathError as error:
        logging.getLogger(__name__).warning(f"{error} in the formula {node.astext()}: write it "
                                            "with what docutils' MathML knows", location=node)
        formula = f"<code>{html.escape(node.astext())}</code>"
    translator.body.append(formula)
    raise nodes.SkipNode


def plain_docstring(app, what, name, thing, options, lines: list[str]) -> None:
    """Our docstrings are plain text: |P| is a size, not reStructuredText's substitution.

    A property is said in a sentence, of which napoleon would take all before a colon for a type.
    """
    if what == "property":
        lines[:] = [*inspect.getdoc(thing).splitlines(), ""]
    lines[:] = [line.replace("|", r"\|") for line in lines]


def own_signature(app, what, name, thing, options, signature: str | None, returns: str | None):
    """A loss without __init__ takes nothing, where torch's Module would take anything."""
    if signature == "(*args: Any, **kwargs: Any)":
        return "()", returns


def setup(app) -> None:
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("autodoc-process-docstring", plain_docstring)
    app.connect("autodoc-process-signature", own_signature)
