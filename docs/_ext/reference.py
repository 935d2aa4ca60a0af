"""Pages of the reference: one for each module, with the names of its ``__all__`` it defines.

In a docstring, a name in single backticks is a link, and so is a class where a type is expected.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from functools import cache
from pathlib import Path

from docutils import nodes
from elsewhere import NAMES
from sphinx import addnodes

__all__ = ["setup", "write_reference"]

#: A type in a list of parameters: one of another library, or a class of ours.
TYPE = re.compile(
    r"\b(?:(?:numpy|scipy|pathlib|concurrent)\.[\w.]*\w|matplotlib (?:Figure|Axes)|[A-Z]\w+)"
)
FULL = {
    "matplotlib Figure": "matplotlib.figure.Figure",
    "matplotlib Axes": "matplotlib.axes.Axes",
}


@cache
def public_modules() -> list[str]:
    import tau_rnn

    names = [m.name for m in pkgutil.walk_packages(tau_rnn.__path__, "tau_rnn.")]
    public = [n for n in names if not any(part.startswith("_") for part in n.split("."))]
    return ["tau_rnn", *public]


def write_reference(folder: Path) -> None:
    """Write ``index.rst`` and a page for each public module of tau_rnn."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = []
    for name in public_modules():
        module = importlib.import_module(name)
        if getattr(module, "__all__", None):
            (folder / f"{name}.rst").write_text(page(module), encoding="utf-8")
            pages.append(name)
    text = f"{heading('Reference')}\n.. toctree::\n   :maxdepth: 1\n\n"
    (folder / "index.rst").write_text(text + "".join(f"   {n}\n" for n in pages), encoding="utf-8")


def heading(text: str) -> str:
    return f"{text}\n{'=' * len(text)}\n"


def home(module, name: str) -> str:
    """The module in which a name is documented: where it is defined."""
    thing = getattr(module, name)
    where = getattr(thing, "__module__", None) or module.__name__
    return where if callable(thing) and where.startswith("tau_rnn") else module.__name__


def page(module) -> str:
    """A module: what its docstring says, the names it offers from elsewhere, and its own."""
    name, text = module.__name__, ""
    text = f"{heading(name)}\n.. automodule:: {name}\n   :no-members:\n\n"
    places = {offered: home(module, offered) for offered in module.__all__}
    others = {offered: place for offered, place in places.items() if place != name}
    if others:
        text += "Offered here\n------------\n\n"
        text += "".join(f"- :py:obj:`{n} <{place}.{n}>`\n" for n, place in others.items()) + "\n"
    for own in [offered for offered in module.__all__ if offered not in others]:
        kind = "class" if isinstance(getattr(module, own), type) else (
            "function" if callable(getattr(module, own)) else "data")  # fmt: skip
        text += f".. auto{kind}:: {name}.{own}\n"
        text += "   :members:\n\n" if kind == "class" else "\n"
    return text


@cache
def homes() -> dict[str, str]:
    """The full name of each public name: ``forward`` is ``tau_rnn.model.forward``."""
    found = {}
    for where in reversed(public_modules()):
        module = importlib.import_module(where)
        found |= {n: f"{home(module, n)}.{n}" for n in getattr(module, "__all__", [])}
    return found


def find_name(app, env, node, contnode):
    """A name that Sphinx does not find: public, of a submodule, or shown by the source alone."""
    from book import relative, source_anchor

    if node.get("refdomain") != "py":
        return None
    target, here = node["reftarget"], node.get("py:module") or "tau_rnn"
    first, dot, rest = target.partition(".")
    is_package = hasattr(importlib.import_module(here), "__path__")
    package = here if is_package else here.rpartition(".")[0]
    candidates = [
        homes().get(first, first) + dot + rest, f"{package}.{target}", f"tau_rnn.{target}",
        homes().get(target.rpartition(".")[2], ""), homes().get(first, ""),
    ]  # fmt: skip
    for full in candidates:
        if entry := env.domains["py"].objects.get(full):
            address = app.builder.get_relative_uri(node["refdoc"], entry.docname)
            return nodes.reference("", "", contnode, refuri=f"{address}#{entry.node_id}")
    module, _, name = target.rpartition(".")
    for where in (module or here, f"{package}.{module}".rstrip(".")):
        if where in public_modules() and hasattr(importlib.import_module(where), name):
            thing = getattr(importlib.import_module(where), name)
            its = getattr(thing, "__name__" if inspect.ismodule(thing) else "__module__", where)
            address = source_anchor(its, name)
        elif f"{where}.{name}" in public_modules():
            address = source_anchor(f"{where}.{name}", "")
        else:
            continue
        address = relative(node["refdoc"], address.removeprefix("../"))
        return nodes.reference("", "", contnode, refuri=address)
    return None


def set_lists(app, doctree):
    """Lists of parameters and results: a name, and below it what it is, its classes as links.

    ``dt : time step (s)`` may go on in the next line. Numpydoc takes the first line for a type, and
    the rest for a description; here they are one paragraph.
    """
    if not app.env.docname.startswith("api/"):
        return
    for item in list(doctree.findall(nodes.definition_list_item)):
        about = item.parent.parent
        if not isinstance(about, nodes.field_body):
            continue
        term, *kinds, definition = item.children
        first = definition.next_node(nodes.paragraph)
        rest = first.children if first is not None else []
        said = [part for kind in kinds for part in (nodes.Text(" : "), *kind.children)][1:]
        unnamed = not term.next_node(nodes.strong) and about.parent[0].astext() != "Raises"
        if unnamed:
            said, term["classes"] = list(term), ["tau-unnamed"]
        if said and rest:
            said = [*said, nodes.Text(joint(said, rest)), *rest]
        for kind in kinds:
            item.remove(kind)
        if first is not None and said:
            definition.remove(first)
        parts = [part for text in said or term for part in with_links(text, app.env.docname)]
        if said and not unnamed:
            definition.insert(0, nodes.paragraph("", "", *parts))
        else:
            term.clear()
            term += parts


def joint(said, rest) -> str:
    """What comes between a first line and the next: after a type, they are not one sentence."""
    line, following = "".join(part.astext() for part in said), rest[0].astext()
    if re.fullmatch(r"(int|float|str|bool|tuple\[.*\]|\{.*\})", line):
        return ": "
    is_type = re.match(r"(array|bool|float|int|str|list|callable|generator)", line)
    return ". " if is_type and following[:1].isupper() and not line.endswith((".", ",")) else " "


def with_links(node, docname) -> list[nodes.Node]:
    """A text in pieces, its classes as links; other nodes are as they were."""
    if not isinstance(node, nodes.Text):
        return [node]
    parts: list[nodes.Node] = []
    end = 0
    for found in TYPE.finditer(node):
        target = FULL.get(found[0], found[0])
        if target in NAMES or isinstance(named(target), type):
            link = addnodes.pending_xref(
                "", nodes.Text(found[0]), refdomain="py", reftype="obj", reftarget=target,
                refdoc=docname, refexplicit=True, refwarn=True,
            )  # fmt: skip
            parts += [nodes.Text(node[end : found.start()]), link]
            end = found.end()
    return [*parts, nodes.Text(node[end:])]


def named(name: str):
    """A public object of the package by its name."""
    module, _, last = homes().get(name, "").rpartition(".")
    return getattr(importlib.import_module(module), last) if module else None


def skip_fields(app, what, name, thing, skip, options):
    """The fields of a tuple stand among its attributes."""
    return True if type(thing).__name__ == "_tuplegetter" else None


def setup(app):
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("missing-reference", find_name, priority=400)
    app.connect("doctree-read", set_lists)
    return {"parallel_read_safe": True}
