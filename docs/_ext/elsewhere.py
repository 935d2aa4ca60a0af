"""Names of other libraries that the reference mentions, and where each is documented.

Nothing is fetched when the site is built: `write_inventories` writes what Sphinx's intersphinx
reads, from the table below. A name that is missing here is a warning, and so an error.
"""

from __future__ import annotations

import zlib
from pathlib import Path

__all__ = ["NAMES", "write_inventories"]

#: By library: the address of its documentation, and the kind and page of each name in it.
LIBRARIES = {
    "numpy": ("https://numpy.org/doc/stable/", {
        "numpy.ndarray": ("class", "reference/generated/numpy.ndarray.html"),
        "numpy.random.Generator": ("class", "reference/random/generator.html"),
    }),
    "scipy": ("https://docs.scipy.org/doc/scipy/", {
        "scipy.stats": ("module", "reference/stats.html"),
        "scipy.stats.wilcoxon": ("function", "reference/generated/scipy.stats.wilcoxon.html"),
    }),
    "matplotlib": ("https://matplotlib.org/stable/", {
        "matplotlib.axes.Axes": ("class", "api/_as_gen/matplotlib.axes.Axes.html"),
        "matplotlib.figure.Figure": ("class", "api/_as_gen/matplotlib.figure.Figure.html"),
    }),
    "python": ("https://docs.python.org/3/", {
        "concurrent.futures.Executor": ("class", "library/concurrent.futures.html"),
        "pathlib.Path": ("class", "library/pathlib.html"),
    }),
}  # fmt: skip
NAMES = {name for _, names in LIBRARIES.values() for name in names}


def write_inventories(folder: Path) -> dict[str, tuple[str, str]]:
    """Write an objects.inv for each library, and return the setting intersphinx_mapping."""
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for library, (address, names) in LIBRARIES.items():
        head = f"# Sphinx inventory version 2\n# Project: {library}\n# Version: \n"
        lines = [
            f"{name} py:{kind} 1 {page}#{'module-' if kind == 'module' else ''}$ -\n"
            for name, (kind, page) in names.items()
        ]
        packed = zlib.compress("".join(lines).encode())
        file = folder / f"{library}.inv"
        file.write_bytes(f"{head}# The remainder is compressed using zlib.\n".encode() + packed)
        mapping[library] = (address, str(file))
    return mapping
