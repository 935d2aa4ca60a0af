"""Two processes that share the tests: each test is run once, and what it says is shown once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="needs a second core"
)
#: The first waits for the last, so that they do not run in one process.
FIRST = """
def test_it_waits():
    assert open("pipe").read() == "go on"

def test_wrong():
    assert 1 == 2
"""
LAST = """
import os, warnings

def test_wrong():
    os.system("echo a child speaks")
    warnings.warn("with care")
    assert 3 == 4

def test_it_is_awaited():
    with open("pipe", "w") as pipe:
        pipe.write("go on")
"""
DIES = LAST + "    os.kill(os.getpid(), 9)\n"


@pytest.fixture
def run(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    shutil.copy(Path(__file__).with_name("second_process.py"), tmp_path)
    (tmp_path / "conftest.py").write_text("from second_process import pytest_runtestloop\n")
    (tmp_path / "test_a.py").write_text(FIRST)
    (tmp_path / "test_b.py").write_text("def test_right():\n    pass\n")

    def run(last):
        (tmp_path / "test_c.py").write_text(last)
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider"],
            cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    return run


def test_what_both_processes_find_is_shown_once(run):
    done = run(LAST)
    assert done.returncode == 1 and done.stderr == ""
    assert "2 failed, 3 passed, 1 warning" in done.stdout
    for name in ("a.py::test_it_waits PASSED", "b.py::test_right PASSED", "a.py::test_wrong FAILED",
                 "c.py::test_it_is_awaited PASSED", "c.py::test_wrong FAILED"):  # fmt: skip
        assert done.stdout.count(f"test_{name}") == 1
    assert "assert 1 == 2" in done.stdout and "assert 3 == 4" in done.stdout
    assert "a child speaks" in done.stdout and "UserWarning: with care" in done.stdout


def test_tests_that_are_lost_are_no_success(run):
    done = run(DIES)
    assert done.returncode == 3
    assert "second process: exit status -9, " in done.stdout + done.stderr
