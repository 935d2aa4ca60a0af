"""The validation's own machinery: a failed check fails the script, and the script the whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "validation"
sys.path.insert(0, str(FOLDER))

import _report  # noqa: E402
import run_all  # noqa: E402


def test_a_report_passes_only_if_every_check_does(capsys):
    report = _report.Report("title")
    report.at_most("small", 1e-12, 1e-10)
    report.near("order", 1.02, 1, 0.05)
    report.all_of("cases", 3, 3)
    assert report.finish() == 0
    for check in (
        lambda: report.at_most("large", 1e-9, 1e-10),
        lambda: report.at_most("nan", float("nan"), 1e-10),
        lambda: report.near("order", 1.06, 1, 0.05),
        lambda: report.all_of("cases", 2, 3),
        lambda: report.all_of("none at all", 0, 0),
    ):
        before = report.failed
        check()
        assert report.failed == before + 1
    assert report.finish() == 1
    out = capsys.readouterr().out
    assert out.count("PASS") == 4
    assert "FAIL (5 checks)" in out


def test_versions_name_what_is_missing():
    assert "numpy " in _report.versions("numpy")
    assert "no_such_package (not installed)" in _report.versions("no_such_package")


def test_run_all_finds_every_script():
    names = [p.name for p in run_all.scripts()]
    assert {"gradients_vs_torch.py", "ode_vs_solve_ivp.py", "linear_theory.py"} <= set(names)
    assert "run_all.py" not in names
    assert not any(name.startswith("_") for name in names)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("print('PASS')", "PASS"),
        ("print('SKIPPED: torch is not installed')", "SKIPPED"),
        ("print('FAIL'); raise SystemExit(1)", "FAIL"),
        ("1 / 0", "FAIL"),
    ],
)
def test_run_all_tells_pass_skip_and_fail(source, expected, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f'"""A question?"""\n{source}\n')
    result, output = run_all.run(script, quick=True)
    assert result == expected
    assert ("ZeroDivisionError" in output) == (source == "1 / 0")
    text = run_all.markdown({script: (result, output)})
    assert f"A question? | {expected} |" in text


def test_the_report_leaves_out_how_far_a_sweep_is():
    output = "run  1/68  9 s left  vanilla\nrun 68/68  0 s left\nok    all 68 runs are complete\n"
    assert run_all.settled(output) == "ok    all 68 runs are complete"


def test_without_torch_the_script_says_so(tmp_path):
    # A module of that name which cannot be imported stands for torch not being installed.
    (tmp_path / "torch.py").write_text("raise ImportError('hidden')\n")
    path = os.pathsep.join([str(tmp_path), str(FOLDER.parent)])
    done = subprocess.run(
        [sys.executable, str(FOLDER / "gradients_vs_torch.py"), "--quick"],
        capture_output=True, text=True, env={"PYTHONPATH": path, "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout == 'SKIPPED: torch is not installed (pip install "tau_rnn[torch]")\n'


def test_linear_theory_passes_in_its_short_form():
    import linear_theory

    assert linear_theory.main(["--quick"]) == 0
