"""The browser's side of Python: runs blocks of a page, sends what they print and draw.

``tau_page`` is the worker's own module of JavaScript functions (see tau-worker.js).
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import linecache
import os
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import tau_page
from pyodide.code import eval_code
from pyodide.ffi import can_run_sync, run_sync, to_js

BOOK = Path("/home/pyodide/book")
TYPES = {".svg": "image/svg+xml", ".png": "image/png"}
namespaces: dict[str, dict] = {}


class LoadOnImport(importlib.abc.MetaPathFinder):
    """Loads SciPy and Matplotlib when something imports them for the first time.

    An import cannot wait in a browser without stack switching: there, `load_all` comes first.
    """

    def __init__(self):
        self.packages = {"scipy", "matplotlib"}

    def find_spec(self, name, path=None, target=None):
        if name not in self.packages:
            return None
        run_sync(self.load(name))
        return importlib.util.find_spec(name)

    async def load(self, name):
        self.packages.discard(name)
        await tau_page.load(name)
        importlib.invalidate_caches()

    async def load_all(self):
        for name in [] if can_run_sync() else sorted(self.packages):
            await self.load(name)


class Stream:
    """A stream that sends what is written to the page, line by line."""

    def __init__(self, name):
        self.name, self.rest = name, ""

    def write(self, text):
        whole, newline, self.rest = (self.rest + text).rpartition("\n")
        if newline:
            tau_page.output(whole + newline, self.name)
        return len(text)

    def flush(self):
        if self.rest:
            tau_page.output(self.rest, self.name)
        self.rest = ""

    def isatty(self):
        return False


def figures() -> dict[Path, int]:
    """Files in figures/, and when each was written."""
    return {path: path.stat().st_mtime_ns for path in sorted(BOOK.glob("figures/*"))}


async def run(code: str, namespace: str, label: str) -> str:
    """Run statements in a namespace, new when first named; the traceback of an error, or ""."""
    scope = namespaces.setdefault(namespace, {"__name__": "__main__"})
    remember(code, label)
    await loader.load_all()
    before, out, err = figures(), Stream("out"), Stream("err")
    try:
        with redirect_stdout(out), redirect_stderr(err):
            value = eval_code(code, globals=scope, filename=label)
        if value is not None:
            tau_page.output(f"{value!r}\n", "value")
    except BaseException as error:
        return explain(error, label)
    finally:
        out.flush()
        err.flush()
        send_figures(before)
    return ""


def remember(code: str, label: str) -> None:
    """Let tracebacks show the lines of a text that is no file."""
    linecache.cache[label] = (len(code), None, code.splitlines(True), label)


def send_figures(before) -> None:
    """The files that a block wrote to figures/, and what pyplot still has open."""
    for path, written in figures().items():
        if before.get(path) != written and path.suffix in TYPES:
            tau_page.figure(path.name, TYPES[path.suffix], to_js(path.read_bytes()))
    if "matplotlib.pyplot" in sys.modules:
        import matplotlib.pyplot as plt

        for number in plt.get_fignums():
            path = BOOK / f"open-{number}.png"
            plt.figure(number).savefig(path, dpi=110)
            tau_page.figure(f"figure {number}", "image/png", to_js(path.read_bytes()))
        plt.close("all")


def explain(error: BaseException, label: str) -> str:
    """The traceback from the page's own code on; of an exit, which a message explains, one line."""
    if isinstance(error, SystemExit):
        return f"ended with exit status {error.code}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [k for k, frame in enumerate(frames) if frame.filename == label]
    shown = traceback.format_list(frames[own[0] :]) if own else []
    return "".join([*shown, *traceback.format_exception_only(error)]).rstrip()


async def call(target: str, args: dict):
    """The result of a function, called with keywords; those of the package need NumPy alone."""
    module, _, name = target.rpartition(".")
    if not module.startswith("tau_rnn"):
        await loader.load_all()
    return getattr(importlib.import_module(module), name)(**args)


def mark(code: str) -> dict:
    """What the marker says of a text that defines ``backward``, for the page to show."""
    from tau_rnn.gradcheck import check_backward

    scope, label = {"__name__": "my_bptt"}, "<my_bptt.py>"
    remember(code, label)
    try:
        exec(compile(code, label, "exec"), scope)
        report = check_backward(scope["backward"], method="euler")
    except KeyError:
        return {"ok": False, "verdict": "there is no function backward", "rows": [], "text": ""}
    except BaseException as error:
        text = explain(error, label)
        return {"ok": False, "verdict": "this cannot be run", "rows": [], "text": text}
    wrong = report.diagnosis
    rows = [{"name": name, "error": f"{error:.1e}", "right": name not in wrong}
            for name, error in report.errors.items()]  # fmt: skip
    said = str(report).partition("relative error\n")[2].partition("\n\n")[2]
    text = said or "Every gradient agrees with a derivative that knows no chain rule."
    return {"ok": report.ok, "verdict": report.verdict, "rows": rows, "text": text}


def forget(namespace: str) -> None:
    namespaces.pop(namespace, None)


BOOK.joinpath("figures").mkdir(parents=True, exist_ok=True)
os.chdir(BOOK)
os.environ["MPLBACKEND"] = "Agg"
sys.path.insert(0, str(BOOK))
loader = LoadOnImport()
sys.meta_path.append(loader)
