"""Names of a package that are loaded when they are first used (PEP 562), as in SciPy."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__: list[str] = []


def lazy_names(
    package: str, names: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package.

    Parameters
    ----------
    package : its ``__name__``
    names : the names that each submodule gives to the package, ``{"bptt": ["backward"]}``; every
        submodule itself is an attribute as well
    """
    home = {name: module for module, group in names.items() for name in group}
    namespace = vars(sys.modules[package])
    found = (module.name for module in pkgutil.iter_modules(namespace["__path__"]))
    submodules = {name for name in found if not name.startswith("_")}

    def get(name: str) -> Any:
        if name in home:
            value = getattr(importlib.import_module(f"{package}.{home[name]}"), name)
            namespace[name] = value  # found without this function from now on
            return value
        if name in submodules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names_offered() -> list[str]:
        return sorted({*home, *submodules, *(n for n in namespace if n.startswith("__"))})

    return get, names_offered
