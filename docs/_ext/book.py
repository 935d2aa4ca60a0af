"""What the site adds to Sphinx: links to source files and to equations, and the source pages.

The chapters stay plain GitHub Markdown. A link to a file that is no page of the site leads to one
that shows the file; a citation such as "Eq. 3.4" leads to the equation.
"""

from __future__ import annotations

import ast
import html
import re
from functools import cache
from pathlib import Path, PurePosixPath

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.util import logging

__all__ = ["setup", "source_anchor"]

logger = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
TAG = re.compile(r"\\tag\{(\d+\.\d+)\}")


def relative(docname: str, target: str) -> str:
    """The address of a file of the site, seen from a page."""
    return "../" * docname.count("/") + target


# Source pages


@cache
def lines_of(file: Path) -> dict[str, int]:
    """The line on which each function, class, method or constant of a module begins."""
    found = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = node.lineno
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.FunctionDef):
                    found[f"{node.name}.{part.name}"] = part.lineno
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            for name in getattr(target, "elts", [target]):
                if isinstance(name, ast.Name):
                    found[name.id] = node.lineno
    return found


def source_page(file: Path, name: str = "") -> str:
    """The address of the page that shows a file, at the definition of a name."""
    page = f"source/{file.relative_to(ROOT).as_posix()}.html"
    line = lines_of(file).get(name) if file.suffix == ".py" else None
    return f"{page}#L-{line}" if line else page


def source_anchor(module: str, name: str) -> str | None:
    """The same for an object of the package, seen from a page of the reference."""
    place = ROOT / module.replace(".", "/")
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return f"../{source_page(file, name)}" if file.exists() else None


def shown(file: Path) -> str:
    """A file as HTML: a folder as a list of links, a text with its lines numbered."""
    if file.is_dir():
        items = "".join(
            f'<li><a href="{entry.name}.html">{html.escape(entry.name)}</a></li>'
            for entry in sorted(file.iterdir()) if entry.is_file()
        )  # fmt: skip
        return f"<ul>{items}</ul>"
    try:
        lexer = get_lexer_for_filename(file.name)
    except ClassNotFound:
        lexer = get_lexer_for_filename("a.txt")
    formatter = HtmlFormatter(linenos="inline", lineanchors="L", anchorlinenos=True)
    return highlight(file.read_text(encoding="utf-8"), lexer, formatter)


def source_pages(app):
    """Pages for all of the package, and for each file that a page of the site links to."""
    package = {path for path in (ROOT / "tau_rnn").rglob("*.py")}
    linked = {ROOT / path for path in getattr(app.env, "linked_files", set())}
    files = package | linked
    files |= {entry for folder in files if folder.is_dir() for entry in folder.iterdir()
              if entry.is_file()}  # fmt: skip
    for file in sorted(files):
        path = file.relative_to(ROOT).as_posix()
        name = f"source/{path}" + ("/index" if file.is_dir() else "")
        body = f'<h1>{html.escape(path)}</h1><div class="source">{shown(file)}</div>'
        yield name, {"title": path, "body": body}, "page.html"


# Links


def link_source_files(app, doctree):
    """Links to files of the repository that are no pages."""
    docname = app.env.docname
    for node in list(doctree.findall(addnodes.pending_xref)):
        if node.get("reftype") != "myst":
            continue
        target = node["reftarget"].partition("#")[0]
        file = (ROOT / PurePosixPath(docname).parent / target).resolve()
        if not target or not file.exists() or not file.is_relative_to(ROOT):
            continue
        page = source_page(file, node.astext().removesuffix("()"))
        if file.is_dir():
            page = page.removesuffix(".html") + "/index.html"
        link = nodes.reference("", "", *node.children, refuri=relative(docname, page))
        node.replace_self(link)
        app.env.linked_files.add(file.relative_to(ROOT).as_posix())


def number_equations(app, doctree):
    """An equation with a number is a target, and a citation of it is a link."""
    docname, where = app.env.docname, app.env.equations
    for node in doctree.findall(nodes.math_block):
        formula = node.astext()
        if "&" in formula and "\\begin" not in formula:  # as Sphinx's own mathematics has it
            node.clear()
            node.append(nodes.Text(f"\\begin{{aligned}}{formula}\\end{{aligned}}"))
        if tag := TAG.search(formula):
            node["ids"].append(f"eq-{tag[1].replace('.', '-')}")
    unlinked = (nodes.literal, nodes.literal_block, nodes.reference, nodes.math, nodes.math_block,
                nodes.title, nodes.raw, addnodes.pending_xref)  # fmt: skip
    for text in list(doctree.findall(nodes.Text)):
        above = text.parent
        while above is not None and not isinstance(above, unlinked):
            above = above.parent
        if above is None and re.search(r"\bEqs?\.\s", text):
            parts = citations(str(text), docname, where)
            text.parent.replace(text, parts)


def find_torn_equations(app, doctree):
    """An indented text that no "::" announces is set as prose; in docstrings it is an equation."""
    for quote in doctree.findall(nodes.block_quote) if app.env.docname.startswith("api/") else ():
        logger.warning("indented, without ::  %s", quote.astext()[:60], location=quote)


def citations(text: str, docname: str, where: dict[str, str]) -> list[nodes.Node]:
    """A text in pieces, the numbers that follow "Eq." or "Eqs." as links."""
    parts: list[nodes.Node] = []
    end = 0
    for found in re.finditer(r"\bEqs?\.\s\d+\.\d+(?:(?:, | and | to |, and )\d+\.\d+)*", text):
        for number in re.finditer(r"(Eqs?\.\s)?(\d+\.\d+)", found[0]):
            if number[2] not in where:
                continue
            start = found.start() + number.start()
            page = f"{where[number[2]]}.html#eq-{number[2].replace('.', '-')}"
            parts += [
                nodes.Text(text[end:start]),
                nodes.reference("", number[0], refuri=relative(docname, page)),
            ]
            end = start + len(number[0])
    return [*parts, nodes.Text(text[end:])]


def find_equations(app, env, docnames):
    """Which chapter has which equation."""
    env.linked_files = getattr(env, "linked_files", set())
    env.equations = {
        number: f"tutorials/{path.stem}"
        for path in sorted((ROOT / "tutorials").glob("[0-9][0-9]_*.md"))
        for number in TAG.findall(path.read_text(encoding="utf-8"))
    }


def add_scripts(app, pagename, templatename, context, doctree):
    """Python where it is used: in chapters, and in the explorer."""
    chapter = re.match(r"tutorials/\d\d_", pagename)
    if chapter or pagename.startswith("explore/"):
        app.add_js_file("tau-python.js", loading_method="defer")
    if chapter:
        app.add_js_file("tau-cells.js", loading_method="defer")


def setup(app):
    app.connect("html-page-context", add_scripts)
    app.connect("env-before-read-docs", find_equations)
    app.connect("doctree-read", link_source_files)
    app.connect("doctree-read", number_equations)
    app.connect("doctree-read", find_torn_equations)
    app.connect("html-collect-pages", source_pages)
    return {"parallel_read_safe": True, "env_version": 1}
