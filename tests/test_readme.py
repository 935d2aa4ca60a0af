"""The README's five commonest things take five lines or fewer each, and run as they stand."""

import re
import sys
from pathlib import Path

from test_rooms import FILES, imports, module_name

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


def test_the_map_names_every_part_behind_what_it_imports():
    text = re.search(r"```text\ntau_rnn/\n(.*?)```", TEXT, re.DOTALL)[1]
    places = {}
    for k, line in enumerate(text.splitlines()):
        names = re.match(r"  (\S+(?:  \S+)*)  ", line)[1].split()
        places |= {name.removesuffix("/").removesuffix(".py"): k for name in names}
    package = ROOT / "tau_rnn"
    there = {path.stem for path in package.iterdir() if path.suffix == ".py" or path.is_dir()}
    hidden = {name for name in there if name.startswith("_")} - {"__main__"}
    assert places.keys() == there - hidden

    def place(module):
        return places.get(module.split(".")[1]) if "." in module else None

    low = ("tau_rnn.experiment.files", "tau_rnn.cli.progress")  # on floors of their own
    for path in FILES:
        here = place(module_name(path))
        for module, line, _ in imports(path):
            above = module.startswith("tau_rnn.") and not module.startswith(low) and place(module)
            if here is not None and above not in (False, None):
                assert above <= here, f"{path.name}:{line}: {module}"
