"""Settings of the site; `make site` calls build.py, which calls Sphinx with them."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]

from elsewhere import write_inventories  # noqa: E402
from sphinxcontrib import katex  # noqa: E402

import tau_rnn  # noqa: E402

project = "tau_rnn"
author = "The tau_rnn developers"
copyright = author
version = release = tau_rnn.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.linkcode",
    "sphinxcontrib.katex",
    "book",
    "reference",
]
root_doc = "index"
suppress_warnings = ["config.cache"]

# Chapters: GitHub's Markdown, with its dollars, its slugs and raw HTML for folded solutions.
myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 4
myst_dmath_double_inline = False
pygments_style = "a11y-high-contrast-light"
highlight_language = "none"

# Formulas are set when the site is built: a page shows them without JavaScript.
katex_prerender = True
katex_css_path = "katex/katex.min.css"
# On a busy machine its server is asked before it listens; only the start on a port asks again.
katex.STARTUP_TIMEOUT = 60.0
katex.KaTeXServer.start_server_process = katex.KaTeXServer.start_network_socket

# API reference: public names only, in the order of __all__; `a name` is a link.
default_role = "py:obj"
nitpicky = True
intersphinx_mapping = write_inventories(ROOT / "docs" / "_build" / "inventories")
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = "tau_rnn"
html_context = {"default_mode": "auto"}
html_favicon = "_static/tau.svg"
html_static_path = ["_static"]
html_css_files = ["tau.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def linkcode_resolve(domain, info):
    """Where the source page of a documented object is, seen from a page in api/."""
    from book import source_anchor

    return source_anchor(info["module"], info["fullname"]) if domain == "py" else None
