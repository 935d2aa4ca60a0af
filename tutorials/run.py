"""Run the tutorials: every ``python`` block of a chapter, in order, in one namespace.

    python tutorials/run.py              all chapters
    python tutorials/run.py 03           one chapter; its figures go to tutorials/figures
    python tutorials/run.py 03 --into /some/folder      figures go to /some/folder/figures
    python tutorials/run.py 03 --update  write what the blocks print into the text blocks
    python tutorials/run.py 03 --notebook               write 03_title.ipynb, to run in Jupyter

A block of solutions, in a <details>, runs like any other. A block marked ``py`` quotes code from
the package and is not run. One that begins with ``# needs torch`` is skipped where torch is not
installed. An error points to the line of the chapter.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import sys
import time
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent


class Block(NamedTuple):
    """A fenced block of a chapter: its language, its text, and the number of its first line."""

    language: str
    text: str
    line: int

    @property
    def end(self) -> int:
        """Number of the line of the closing fence."""
        return self.line + self.text.count("\n")


def chapters() -> list[Path]:
    """The chapters, NN_title.md, in order."""
    return sorted(HERE.glob("[0-9][0-9]_*.md"))


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a Markdown text, all that begin at the start of a line."""
    found, start, ticks, language = [], None, "", ""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if start is None:
            fence = re.match(r"(`{3,})([^`\s]*)", line)
            if fence:
                start, ticks, language = number + 1, fence[1], fence[2]
        elif line.rstrip() == ticks:
            code = "".join(f"{each}\n" for each in lines[start - 1 : number - 1])
            found.append(Block(language, code, start))
            start = None
    if start is not None:
        raise ValueError(f"the block that opens on line {start - 1} is never closed")
    return found


class _Tee(io.StringIO):
    """Keeps what is printed and passes it on."""

    def __init__(self, stream):
        super().__init__()
        self.stream = stream

    def write(self, text):
        self.stream.write(text)
        return super().write(text)


def missing(block: Block) -> str:
    """The package that a block says it needs and that is not installed, or ""."""
    needs = re.match(r"# needs (\w+)", block.text)
    return needs[1] if needs and find_spec(needs[1]) is None else ""


def run(path: Path) -> dict[int, str]:
    """Run a chapter's blocks here, in the book's style; what each printed, by its first line.

    A block whose package is missing is not run, and is not in the result.
    """
    from tau_rnn.plotting import in_style

    namespace = {"__name__": "__main__", "__file__": str(path)}
    printed = {}
    for block in blocks(path.read_text(encoding="utf-8")):
        if block.language != "python":
            continue
        if package := missing(block):
            print(f"{path.name}:{block.line}: skipped, since {package} is not installed")
            continue
        # Empty lines before the code give every statement the line number it has in the chapter.
        code = compile("\n" * (block.line - 1) + block.text, str(path), "exec")
        with contextlib.redirect_stdout(_Tee(sys.stdout)) as output, in_style():
            exec(code, namespace)
        printed[block.line] = output.getvalue()
    return printed


def update(path: Path, printed: dict[int, str]) -> None:
    """Write what each block printed into the ``text`` block below it, added where missing."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = blocks(path.read_text(encoding="utf-8"))
    for block, below in reversed(list(zip(found, [*found[1:], None]))):
        output = printed.get(block.line, "")
        if block.language != "python" or not output:
            continue
        new = output.rstrip("\n").splitlines()
        between = lines[block.end : below.line - 2] if below else ["no block follows"]
        if below and below.language == "text" and not any(map(str.strip, between)):
            lines[below.line - 1 : below.end - 1] = new
        else:
            lines[block.end : block.end] = ["", "```text", *new, "```"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def notebook(path: Path) -> dict[str, Any]:
    """A chapter as a Jupyter notebook: a cell for each Python block and for the text between them.

    What a block printed is left out, since the cell prints it; the code of a solution is folded.
    """
    text = path.read_text(encoding="utf-8")
    lines, cells, start = text.splitlines(), [], 0
    chosen = [b for b in blocks(text) if b.language in ("python", "text")]
    for block in [*chosen, Block("", "", len(lines) + 2)]:
        between = "\n".join(lines[start : block.line - 2])
        before = "\n".join(lines[: block.line - 1])
        solution = before.count("<details>") > before.count("</details>")
        between = re.sub(r"</?details>|<!--.*?-->", "", between, flags=re.DOTALL)
        between = re.sub(r"<summary>(.*?)</summary>", r"*\1* (folded below)", between).strip()
        if between:
            cells.append({"cell_type": "markdown", "metadata": {}, "source": between})
        if block.language == "python":
            folded = {"jupyter": {"source_hidden": True}} if solution else {}
            cells.append({"cell_type": "code", "metadata": folded, "source": block.text.rstrip(),
                          "execution_count": None, "outputs": []})  # fmt: skip
        start = block.end
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": [{"id": f"cell-{k}", **cell} for k, cell in enumerate(cells)],
            "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}  # fmt: skip


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description="Run the code of the tutorials.")
    parser.add_argument("chapter", nargs="*", help="two digits, as in 03 (all if none is given)")
    parser.add_argument("--into", type=Path, default=HERE, help="folder for figures/")
    parser.add_argument("--record", type=Path, help="write what each block prints to a JSON file")
    parser.add_argument("--update", action="store_true", help="refresh the text blocks")
    parser.add_argument("--notebook", action="store_true", help="write notebooks, run nothing")
    options = parser.parse_args(arguments)
    known = {path.name[:2]: path for path in chapters()}
    wrong = [name for name in options.chapter if name not in known]
    if wrong:
        parser.error(f"no chapter {', '.join(wrong)}; there are {', '.join(known)}")
    if options.notebook:
        for name in options.chapter or known:
            place = options.into / f"{known[name].stem}.ipynb"
            place.write_text(json.dumps(notebook(known[name]), indent=1) + "\n", encoding="utf-8")
            print(f"wrote {place}")
        return 0
    os.environ.setdefault("MPLBACKEND", "Agg")
    sys.path[:0] = [str(HERE.parent), str(HERE)]  # the package, and figures.py
    record = options.record and options.record.resolve()
    (options.into / "figures").mkdir(parents=True, exist_ok=True)
    os.chdir(options.into)
    outputs = {}
    for name in options.chapter or known:
        path, start = known[name], time.perf_counter()
        print(f"--- {path.name}", flush=True)
        try:
            outputs[path.name] = run(path)
        except BaseException as error:
            frames = traceback.extract_tb(error.__traceback__)
            here = [k for k, frame in enumerate(frames) if frame.filename == str(path)]
            shown = frames[here[0] :] if here else []
            print("Traceback (most recent call last):", file=sys.stderr)
            print("".join(traceback.format_list(shown)), end="", file=sys.stderr)
            print("".join(traceback.format_exception_only(error)), end="", file=sys.stderr)
            return 1
        if options.update:
            update(path, outputs[path.name])
        print(f"--- {path.name}: {time.perf_counter() - start:.1f} s", flush=True)
    if record:
        record.write_text(json.dumps(outputs), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
