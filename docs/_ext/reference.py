"""Pages of the reference: one for each module, with the names of its ``__all__`` it defines."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

__all__ = ["write_reference"]


def write_reference(folder: Path) -> None:
    """Write ``index.rst`` and a page for each public module of tau_rnn."""
    import tau_rnn

    folder.mkdir(parents=True, exist_ok=True)
    names = [m.name for m in pkgutil.walk_packages(tau_rnn.__path__, "tau_rnn.")]
    public = [n for n in names if not any(part.startswith("_") for part in n.split("."))]
    pages = []
    for name in ["tau_rnn", *public]:
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
