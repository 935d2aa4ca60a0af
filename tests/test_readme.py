"""The README's five commonest things take five lines or fewer each, and run as they stand."""

import re
import sys
from pathlib import Path

import numpy as np
from test_rooms import FILES, imports, module_name

import tau_rnn

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = TEXT.partition("## The five commonest things")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)


def test_there_are_five_of_five_lines_at_most():
    assert len(BLOCKS) == 5
    for block in BLOCKS:
        lines = [line for line in block.splitlines() if line and not line.startswith("import")]
        assert len(lines) <= 5, block


def test_they_run_one_after_the_other(tmp_path, monkeypatch, few_measures):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    names: dict = {}
    for block in BLOCKS:
        exec(block, names)
    assert names["gradient"].tau.shape == (100,) and len(names["history"]) == 20
    assert names["fit"].tau.shape == (5,)
    assert np.all(np.abs(names["fit"].tau / 0.1 - 1) < 0.25)  # the comment beside it: tau = 0.1 s
    assert len(names["done"].load()) == 4 and any(row.effect.n == 2 for row in names["effects"])


def test_the_gradient_is_the_one_of_the_lines():
    rng = np.random.default_rng(0)
    params = tau_rnn.init_params(5, 2, 1, rng.uniform(0.3, 1, 5), rng)
    traj = tau_rnn.forward(params, rng.standard_normal((6, 1, 2)), 0.1)
    _, dy = tau_rnn.mse(traj.y, np.ones_like(traj.y))
    gradient = tau_rnn.backward(params, traj, dy)
    alpha, r, dy = 1 - np.exp(-0.1 / params.tau), np.tanh(traj.x[:, 0]), dy[:, 0]
    dx = np.zeros((8, 5))
    for t in range(6, -1, -1):
        back = alpha * dx[t + 1] @ params.W + (dy[t - 1] @ params.W_out if t else 0)
        dx[t] = (1 - alpha) * dx[t + 1] + (1 - r[t] ** 2) * back
    right = {
        "dW ": (alpha * dx[1:7]).T @ r[:6], "dW_out": dy.T @ r[1:],
        "db_out": dy.sum(axis=0), "dx0": dx[0],
    }  # fmt: skip
    lines = TEXT.partition("in a few lines")[2].partition("where")[0]
    for name, value in right.items():
        assert name in lines
        np.testing.assert_allclose(getattr(gradient, name.strip()[1:]), value, atol=1e-12)
    for line in ("sum_t (alpha dx[t+1]) r[t]^T", "dW_out = sum_t dy[t] r[t+1]^T,",
                 "db_out = sum_t dy[t],", "dx0 = dx[0]"):  # fmt: skip
        assert line in lines


def test_commands_name_files_as_they_are_seen_from_the_root():
    for name in re.findall(r"python (?:-m tau_rnn\.gradcheck )?(\w\S*\.py)", TEXT):
        assert (ROOT / name).exists(), name


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
