"""The README's five commonest things take five lines or fewer each, and run as they stand."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = TEXT.partition("## The five commonest things")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)


def test_there_are_five_of_five_lines_at_most():
    assert len(BLOCKS) == 5
    for block in BLOCKS:
        lines = [line for line in block.splitlines() if line and not line.startswith("import")]
        assert len(lines) <= 5, block


def test_they_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    names: dict = {}
    for block in BLOCKS:
        exec(block, names)
    assert names["gradient"].tau.shape == (100,) and len(names["history"]) == 20
    assert names["fit"].tau.shape == (5,)
    assert len(names["done"].load()) == 4 and any(row.effect.n == 2 for row in names["effects"])
