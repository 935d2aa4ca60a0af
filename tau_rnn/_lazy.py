"""Names of a package that are loaded when they are first used (PEP 562), as in SciPy."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from collections.abc import Callable
from typing import Any

__all__: list[str] = []


def lazy_names(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package.

    It offers every submodule, and the names that it imports ``if TYPE_CHECKING``, which are so
    stated once.

    Parameters
    ----------
    package : its ``__name__``
    """
    namespace: dict[str, Any] = vars(sys.modules[package])
    source = namespace["__loader__"].get_source(package)
    home = {
        name.name: node.module
        for block in ast.parse(source).body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    found = (module.name for module in pkgutil.iter_modules(namespace["__path__"]))
    submodules = {name for name in found if not name.startswith("_")}

    def get(name: str) -> Any:
        if name in home:
            value = getattr(importlib.import_module(str(home[name])), name)
            namespace[name] = value  # found without this function from now on
            return value
        if name in submodules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names_offered() -> list[str]:
        return sorted({*home, *submodules, *(n for n in namespace if n.startswith("__"))})

    return get, names_offered
