"""What every validation script prints: versions, a table of checks, PASS or FAIL."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
from pathlib import Path

FIGURES = Path(__file__).resolve().parent / "figures"
WIDTH = 80


def versions(*packages: str) -> str:
    """Python and the given packages with their versions, on one line."""
    found = [f"Python {platform.python_version()}"]
    for package in packages:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{package} (not installed)")
    return ", ".join(found)


def is_quick(doc: str, argv=None) -> bool:
    """Read the command line of a script: its only option is --quick."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller cases, no figure")
    return parser.parse_args(argv).quick


class Report:
    """Prints one line for each check and remembers whether all passed."""

    def __init__(self, title: str, *packages: str):
        self.failed = 0
        print(f"{title}\n{versions('numpy', 'scipy', *packages)}\n")
        print(f"{'compared':<{WIDTH}} {'measured':>12} {'bar':>9}")

    def at_most(self, compared: str, worst: float, bar: float) -> None:
        """A check that an error, the worst of all that were compared, is at most the bar."""
        self._line(compared, f"{worst:12.1e} {bar:9.0e}", worst <= bar)

    def near(self, compared: str, value: float, expected: float, within: float) -> None:
        """A check that a value is what theory expects, within a margin."""
        text = f"{value:12.3f} {f'{expected:g}±{within:g}':>9}"
        self._line(compared, text, abs(value - expected) <= within)

    def all_of(self, compared: str, good: int, of: int) -> None:
        """A check that something holds in every case."""
        self._line(compared, f"{f'{good} of {of}':>12} {'all':>9}", good == of > 0)

    def _line(self, compared: str, numbers: str, passed: bool) -> None:
        self.failed += not passed
        print(f"{compared:<{WIDTH}} {numbers}  {'PASS' if passed else 'FAIL'}", flush=True)

    def finish(self) -> int:
        """Print the verdict; the exit status, 0 if all checks passed, else 1."""
        print(f"\n{f'FAIL ({self.failed} checks)' if self.failed else 'PASS'}")
        return int(self.failed > 0)
