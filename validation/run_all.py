"""Run every validation script and write what they print into REPORT.md.

    python validation/run_all.py            all of it, minutes; writes validation/REPORT.md
    python validation/run_all.py --quick    a short form of each, nothing is written

Exit status 0 if every script passed or was skipped for want of an optional package, else 1.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

from _report import versions

HERE = Path(__file__).resolve().parent
# Scripts of which only the short form is run here, and why.
SHORT = {
    "poster_claims.py": "The runs themselves take hours; their results are in "
    "[poster_claims.md](poster_claims.md). This is a check of the machinery.",
    "structure.py": "The runs themselves take a quarter of an hour; their rows are in "
    "tau_rnn/evidence/structure.csv. This is a check of the machinery.",
    "time_step.py": "It simulates the networks of poster_claims.py again; the result is in "
    "[time_step.md](time_step.md). This is a check of the machinery.",
}


def scripts() -> list[Path]:
    """The scripts of this folder, but this one and what starts with an underscore."""
    return [
        p for p in sorted(HERE.glob("*.py")) if p.name[0] != "_" and p != Path(__file__).resolve()
    ]


def verdict(status: int, output: str) -> str:
    if status:
        return "FAIL"
    return "SKIPPED" if output.lstrip().startswith("SKIPPED") else "PASS"


def run(script: Path, quick: bool) -> tuple[str, str]:
    """Run one script in a process of its own; the verdict and all that it printed."""
    command = [sys.executable, str(script)]
    if quick or script.name in SHORT:
        command.append("--quick")
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=HERE.parent
    )
    return verdict(done.returncode, done.stdout), done.stdout


def title_of(script: Path) -> str:
    """The first line of a script's docstring."""
    return script.read_text(encoding="utf-8").lstrip('r"').split("\n")[0].rstrip('"')


def figures_of(script: Path) -> list[Path]:
    """The figures that a script draws: those whose file names stand in its source."""
    source = script.read_text(encoding="utf-8")
    return [p for p in sorted((HERE / "figures").glob("*.png")) if p.name in source]


def settled(output: str) -> str:
    """What a script printed, without the lines that only tell how far a sweep is."""
    return re.sub(r"^run +\d+/\d+ .*\n", "", output, flags=re.MULTILINE).strip()


def markdown(results: dict[Path, tuple[str, str]]) -> str:
    lines = [
        "# Validation",
        "",
        "What `python validation/run_all.py` printed, with "
        f"{versions('numpy', 'scipy', 'matplotlib', 'torch')}. Every reference is a second "
        "way to the same numbers: automatic differentiation, an ODE solver, or theory.",
        "",
        "| script | question | verdict |",
        "| --- | --- | --- |",
    ]
    for script, (result, _) in results.items():
        result += " (short form)" if script.name in SHORT else ""
        lines.append(f"| [{script.name}]({script.name}) | {title_of(script)} | {result} |")
    for script, (_, output) in results.items():
        lines += ["", f"## {script.name}", ""]
        if script.name in SHORT:
            lines += [SHORT[script.name], ""]
        lines += ["```text", settled(output), "```"]
        if script.name not in SHORT:
            for figure in figures_of(script):
                lines += ["", f"![{figure.stem}](figures/{figure.name})"]
    return "\n".join(lines) + "\n"


def main(argv=None) -> int:
    """Run all scripts; 0 if none failed, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a short form of each, writes nothing")
    quick = parser.parse_args(argv).quick
    results = {}
    for script in scripts():
        begun = time.perf_counter()
        results[script] = run(script, quick)
        result, output = results[script]
        print(f"{result:<8} {script.name}  ({time.perf_counter() - begun:.0f} s)", flush=True)
        if result != "PASS":
            print("\n".join(f"    {line}" for line in output.strip().split("\n")[-30:]))
    if not quick:
        (HERE / "REPORT.md").write_text(markdown(results), encoding="utf-8")
        print("written: validation/REPORT.md")
    return int(any(result == "FAIL" for result, _ in results.values()))


if __name__ == "__main__":
    raise SystemExit(main())
