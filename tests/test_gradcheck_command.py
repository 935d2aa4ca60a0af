"""``python -m tau_rnn.gradcheck FILE``: what it prints, and its exit status."""

import atexit
import os
import subprocess
import sys
import traceback
from types import SimpleNamespace

import pytest
from mistakes import MISTAKES, RIGHT
from stored import printed

from tau_rnn.gradcheck import __main__ as command_line
from tau_rnn.gradcheck.__main__ import main


def fork_python(command, env):
    """`subprocess.run` for Python code, in a copy of this process, which has NumPy loaded."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return SimpleNamespace(returncode=status)
    status = 1
    try:
        atexit._clear()  # what is registered is not the copy's to do
        _, option, code, *arguments = command
        sys.argv = [option, *arguments]
        exec(code, {})
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(status)


@pytest.fixture(autouse=True, scope="module")
def judged_in_a_copy():
    """The reader's file is judged in a copy of this process; two tests below start Python."""
    with pytest.MonkeyPatch.context() as patch:
        if hasattr(os, "fork"):
            patch.setattr(command_line, "subprocess", SimpleNamespace(run=fork_python))
        yield


def test_command_line_on_a_right_and_a_wrong_file(tmp_path, capsys):
    file = tmp_path / "my_bptt.py"
    file.write_text(RIGHT)
    assert main([str(file)]) == 0
    assert "all 7 gradients are right" in capsys.readouterr().out
    file.write_text(MISTAKES["W untransposed"].source)
    assert main([str(file), "--phi", "softplus", "--method", "exponential", "--seed", "3"]) == 1
    out = capsys.readouterr().out
    assert "5 of 7 gradients wrong  (phi = softplus, method = exponential)" in out
    assert "W is not transposed" in out
    assert "is right at dx[T] and leaves the right one at dx[T-1]" in out


def test_command_line_as_a_process(tmp_path):
    (tmp_path / "helper.py").write_text("sign = -1\n")
    file = tmp_path / "my_bptt.py"
    file.write_text("from helper import sign\n" + RIGHT.replace("db += dc", "db += sign * dc"))
    command = [sys.executable, "-m", "tau_rnn.gradcheck", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "in db itself, it has the wrong sign" in done.stdout
    assert done.stderr == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_command_line_with_a_name_that_the_terminal_cannot_show(tmp_path):
    file = tmp_path / "größe.py"
    file.write_text(RIGHT)
    status, out, err = printed(main, [str(file)], encoding="ascii")
    assert (status, err) == (0, "")
    assert "gr\\xf6\\xdfe.py: all 7 gradients are right" in out


@pytest.mark.skipif(os.name != "posix", reason="pipes that end early are a matter of POSIX")
def test_command_line_into_a_pipe_that_is_closed(tmp_path):
    file = tmp_path / "my_bptt.py"
    file.write_text(RIGHT.replace("db += dc", "db -= dc"))
    end, pipe = os.pipe()
    os.close(end)
    command = [sys.executable, "-m", "tau_rnn.gradcheck", str(file)]
    done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True)
    os.close(pipe)
    assert (done.returncode, done.stderr) == (1, "")


def test_command_line_reads_the_file_as_it_is_now(tmp_path, capsys, monkeypatch):
    # Bytecode is cached by size and by second: an edit of one sign would pass for no edit.
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "my_bptt.py"
    for sign, status in (("+", 0), ("-", 1)):
        file.write_text(RIGHT.replace("db += dc", f"db {sign}= dc"))
        os.utime(file, (1e9, 1e9))
        assert main([str(file)]) == status
    assert list(tmp_path.iterdir()) == [file]


def test_command_line_gives_the_file_its_name(tmp_path, capsys):
    file = tmp_path / "my_bptt.py"
    file.write_text("from pathlib import Path\nassert Path(__file__).exists()\n" + RIGHT)
    assert main([str(file)]) == 0


@pytest.mark.parametrize(
    ("source", "options", "says"),
    [
        (None, [], "there is no such file"),
        ("def backward(:\n", [], "cannot be imported: SyntaxError"),
        ("import no_such_module\n", [], "cannot be imported: ModuleNotFoundError"),
        ("import sys\nsys.exit(0)\n", [], "cannot be imported: SystemExit: 0"),
        ("def backwards(): pass\n", [], "defines no function 'backward' (see --function)"),
        (RIGHT, ["--function", "back"], "defines no function 'back'"),
        (RIGHT, ["--phi", "tahn"], "did you mean 'tanh'"),
        (RIGHT, ["--rtol", "-1"], "rtol: must be a finite number > 0"),
        (RIGHT, ["--seed", "-1"], "rng: must be a numpy.random.Generator or a seed >= 0, got -1"),
    ],
)
def test_command_line_on_unusable_input(source, options, says, tmp_path, capsys):
    file = tmp_path / "my_bptt.py"
    if source is not None:
        file.write_text(source)
    assert main([str(file), *options]) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.out == ""


def test_command_line_usage_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert "usage: python -m tau_rnn.gradcheck" in capsys.readouterr().err


AROUND = "from tau_rnn.bptt import backward as right\n"
TENSOR = """
class Tensor:
    requires_grad = True
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
"""


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import os\nos._exit(0)\n", "ended with status 0 before it could be judged"),
        ("import os\ndef backward(params, traj, dy):\n    os._exit(0)\n", "ended with status 0"),
        ("import os\nos.kill(os.getpid(), 9)\n", "before it could be judged"),
        (
            "import atexit, os\natexit.register(os._exit, 0)\nraise OSError",
            "cannot be imported: OSE",
        ),
    ],
)
def test_no_report_is_no_verdict(source, says, tmp_path, capfd):
    file = tmp_path / "my_bptt.py"
    file.write_text(source)
    assert main([str(file)]) == 2
    captured = capfd.readouterr()
    assert says in captured.err and captured.out == ""


def test_how_the_process_of_the_file_ends_does_not_matter_once_it_is_judged(tmp_path, capfd):
    file = tmp_path / "my_bptt.py"
    file.write_text(
        "import atexit, os, sys\natexit.register(os._exit, 0)\nprint('hello')\n"
        + RIGHT.replace("db += dc", "db -= dc")
    )
    assert main([str(file)]) == 1
    assert "1 of 7 gradients wrong" in capfd.readouterr().out


# The timer that runs beside the reader's code, as if it were time already.
NOW = """
import threading
timer, = (t for t in threading.enumerate() if isinstance(t, threading.Timer))
def ring():
    timer.cancel(), timer.function(*timer.args)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("rest", "where"),
    [
        ("backward = lambda *args: ring() or right(*args)\n",
         "in line 5 (network with N = 5, T = 5, B = 3, noise)"),
        ("backward = ring() or right\n", "in line 5"),
    ],
)  # fmt: skip
def test_a_run_that_may_never_end_says_where_it_is(rest, where, tmp_path, capfd):
    file = tmp_path / "my_bptt.py"
    file.write_text(AROUND.strip() + NOW + rest)
    assert main([str(file)]) == 0
    captured = capfd.readouterr()
    assert captured.err.startswith(f"{file}: still {where} after 10 s; Ctrl-C ends it\n")
    assert "all 7 gradients are right" in captured.out


@pytest.mark.parametrize(
    ("source", "status", "says"),
    [
        (
            AROUND + TENSOR + "def backward(*args): return right(*args)._replace(W=Tensor())",
            2,
            "a Tensor that still requires grad: return dW.detach().numpy()",
        ),
        (
            AROUND + TENSOR + "def backward(*args): return [Tensor()] * 7",
            2,
            "dtau:\n  a Tensor that still requires grad",
        ),
        ("def backward(params, traj, dy): return None", 2, "not returned: backward gave NoneType"),
        ("def backward(params, traj, dy): return 1 / 0", 2, "raised ZeroDivisionError"),
        (
            AROUND + "def backward(*args): return right(*args)._replace(W=None)",
            1,
            "not returned: it is None",
        ),
        (
            AROUND + "def backward(p, traj, dy):\n    g = right(p, traj, dy)\n    p.W[...] *= .5\n"
            "    return g",
            1,
            "it changes its arguments: params.W",
        ),
    ],
)
def test_exit_status_tells_wrong_from_unusable(source, status, says, tmp_path, capsys):
    file = tmp_path / "my_bptt.py"
    file.write_text(source)
    assert main([str(file)]) == status
    said = capsys.readouterr()
    assert says in said.out and said.err == ""


def test_explain_adds_equation_and_chapter(tmp_path, capsys):
    file = tmp_path / "my_bptt.py"
    file.write_text(MISTAKES["W untransposed"].source.replace("dtau += (dx", "dtau -= (dx"))
    assert main([str(file)]) == 1
    plain = capsys.readouterr().out
    assert main([str(file), "--explain"]) == 1
    explained = capsys.readouterr().out
    assert explained.startswith(plain.rstrip()) and "Eq." not in plain
    more = explained[len(plain.rstrip()) :]
    assert "derived in chapter 3, tutorials/03_bptt_by_hand.md" in more
    assert "Eq. 3.4" in more and "dr_j[t] = sum_i W_ij alpha_i dx_i[t+1]" in more
    assert "Eq. 3.11" in more and "Eq. 3.7" not in more
    file.write_text(RIGHT)
    assert main([str(file), "--explain"]) == 0
    assert "Eq." not in capsys.readouterr().out
