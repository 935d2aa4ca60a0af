"""Build the site into docs/_build/html; `make site` calls this.

    python docs/build.py                       Python for the browser comes from its CDN
    python docs/build.py --pyodide FOLDER      it comes with the site, from a folder (offline)

The pages are collected in docs/_build/source, laid out as in the repository, and given to Sphinx
with warnings as errors. The wheel of tau_rnn and what the chapters import are built from the tree.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = HERE / "_build"
SOURCE, HTML, CACHE = BUILD / "source", BUILD / "html", BUILD / "cache"
sys.path[:0] = [str(ROOT), str(HERE / "_ext")]

#: One version of Pyodide for the site and its tests.
PYODIDE = "0.27.7"
#: What sets the formulas: a package of npm, as sphinxcontrib.katex expects it, and its checksum.
KATEX = "0.16.22"
KATEX_SHA512 = (
    "XCHRdUw4lf3SKBaJe4EvgqIuWwkPSo9XoeO8GjQW94Bp7TWv9hNhzZjZ+OH9yf1UmLygb7DIT5GSFQiyt16zYg=="
)

#: What the tests check contrast and names with.
AXE = "4.10.3"
AXE_SHA512 = (
    "Xm7bpRXnDSX2YE2YFfBk2FnF0ep6tmG7xPh8iHee8MIcrgq762Nkce856dYtJYLkuIoYZvGfTs/PbZhideTcEg=="
)

#: Pages from elsewhere in the repository, and what they show.
PAGES = (
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "tutorials/*.md", "tutorials/figures/*",
    "validation/*.md", "validation/figures/*",
    "benchmarks/README.md", "benchmarks/figures/*",
)  # fmt: skip


def collect() -> None:
    """Copy the pages to where Sphinx reads them, and write those of the reference."""
    from reference import write_reference

    for folder in (SOURCE, HTML):  # no page of an earlier build is left
        shutil.rmtree(folder, ignore_errors=True)
    found = [path for pattern in PAGES for path in ROOT.glob(pattern)]
    own = [p for p in HERE.glob("*.md") if p.name != "README.md"] + [*HERE.glob("explore/*.md")]
    for path in found + own:
        target = SOURCE / path.relative_to(HERE if path in own else ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    tutorials = SOURCE / "tutorials"
    chapters = "".join(f"{path.stem}\n" for path in sorted(tutorials.glob("[0-9]*.md")))
    with open(tutorials / "README.md", "a", encoding="utf-8") as book:
        book.write(f"\n```{{toctree}}\n:hidden:\n{chapters}glossary\ncheatsheet\n```\n")
    write_reference(SOURCE / "api")


def npm_package(name: str, version: str, sha512: str) -> Path:
    """A package of npm, fetched once and checked: the path of its archive."""
    CACHE.mkdir(parents=True, exist_ok=True)
    archive = CACHE / f"{name}-{version}.tgz"
    if not archive.exists():
        subprocess.run(["npm", "pack", "--silent", f"{name}@{version}"], cwd=CACHE, check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != sha512:
        archive.unlink()
        raise SystemExit(f"{archive.name}: sha512 is {found}, and must be {sha512}")
    return archive


def npm_file(name: str, version: str, sha512: str, path: str) -> bytes:
    """A file of a package of npm."""
    with tarfile.open(npm_package(name, version, sha512)) as archive:
        return archive.extractfile(f"package/{path}").read()


def add_katex() -> None:
    """The style and the fonts of the formulas, which are set when the site is built."""
    target = HTML / "_static" / "katex"
    (target / "fonts").mkdir(parents=True, exist_ok=True)
    with tarfile.open(npm_package("katex", KATEX, KATEX_SHA512)) as archive:
        for member in archive:
            name = member.name.removeprefix("package/dist/")
            if name == "katex.min.css" or (name.startswith("fonts/") and name.endswith(".woff2")):
                (target / name).write_bytes(archive.extractfile(member).read())


def add_python(folder: Path | None) -> None:
    """What the browser loads: the wheel of tau_rnn, the chapters' modules, and where Python is."""
    live = HTML / "_static" / "live"
    shutil.rmtree(live, ignore_errors=True)
    live.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as clean:  # no leftovers of earlier builds
        for name in ("tau_rnn", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, Path(clean) / name)
        wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
        subprocess.run([*wheel, "--wheel-dir", live, clean], check=True)
    (wheel,) = live.glob("*.whl")
    book = [p for p in (ROOT / "tutorials").rglob("*") if p.suffix in (".py", ".csv", ".npz")]
    with zipfile.ZipFile(live / "book.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(book):
            if path.name != "run.py":
                archive.write(path, path.relative_to(ROOT / "tutorials"))
    shutil.copy2(ROOT / "tutorials" / "my_bptt.py", live)
    with zipfile.ZipFile(live / "bridge.zip", "w") as archive:
        archive.write(HERE / "live" / "tau_bridge.py", "tau_bridge.py")
    if folder is not None:
        shutil.copytree(folder, HTML / "_static" / "pyodide", dirs_exist_ok=True)
    address = "../pyodide/" if folder else f"https://cdn.jsdelivr.net/pyodide/v{PYODIDE}/full/"
    settings = {"pyodide": address, "wheel": wheel.name, "book": "book.zip"}
    (live / "settings.json").write_text(json.dumps(settings), encoding="utf-8")


def add_explorer() -> None:
    """The explorer's own files, and a picture of where its sliders start."""
    from tau_rnn.explore.window import Window

    for path in (HERE / "explore").glob("*.[cj]s*"):
        shutil.copy2(path, HTML / "explore" / path.name)
    window = Window()
    for widget in (*window.sliders.values(), *window.choices.values()):
        widget.ax.set_visible(False)
    window.figure.savefig(HTML / "explore" / "window.png", dpi=80)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description="Build the site.")
    parser.add_argument("--pyodide", type=Path, help="folder with Pyodide, to be served offline")
    options = parser.parse_args(arguments)
    collect()
    sphinx = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-E",
              "-d", BUILD / "doctrees", "-c", HERE, SOURCE, HTML]  # fmt: skip
    done = subprocess.run(sphinx)
    if done.returncode:
        return done.returncode
    add_katex()
    add_explorer()
    add_python(options.pyodide)
    print(f"built {HTML}: serve it with  python -m http.server -d {HTML.relative_to(Path.cwd())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
