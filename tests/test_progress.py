"""Progress: one line that is rewritten on a terminal, lines elsewhere, and every phase named."""

import os
import sys
from collections import namedtuple
from itertools import pairwise

import pytest
from stored import fork, status_of

from tau_rnn import run
from tau_rnn.cli import progress
from tau_rnn.cli.single import show_step

RUN = ["--units", "8", "--dt", "0.1", "--batch", "4", "--steps", "3", "--no-figure"]


def states(n):
    row = {"loss": 0.5, "accuracy": 0.75}
    for step in range(n + 1):
        loss = {0: float("nan"), 1: 1e15}.get(step, 1 / max(step, 1))  # one line is very long
        yield namedtuple("State", "training history")(
            namedtuple("Training", "step loss")(step, loss), [row]
        )


def shown(monkeypatch, capsys, *, terminal, quiet=False, phases=()):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    bar = progress.Progress(60, "step", None if quiet else print)
    for state in states(60):
        show_step(bar, state, state.training.step, 0.1)
    for name in phases:
        bar.phase(name)
    bar.close()
    return capsys.readouterr()


def test_a_terminal_gets_one_line_that_is_rewritten(monkeypatch, capsys):
    out = shown(monkeypatch, capsys, terminal=True).out
    lines = out.removesuffix("\n").split("\r")
    assert "\n" not in out[:-1] and out.endswith("\n") and lines[0] == ""
    assert len(lines) == 62 and lines[1].startswith("step  0/60  loss 0.5000  accuracy 0.750")
    assert lines[-1].startswith("step 60/60  loss 0.0167  accuracy 0.750")
    for before, after in pairwise(lines[1:]):  # nothing of the old line is left standing
        assert len(after) >= len(before.rstrip())


def test_elsewhere_there_is_a_line_every_25_steps(monkeypatch, capsys):
    out = shown(monkeypatch, capsys, terminal=False).out
    assert "\r" not in out
    steps = [line.split()[1] for line in out.splitlines()]
    assert steps == ["0/60", "25/60", "50/60", "60/60"]


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_shows_no_progress(monkeypatch, capsys, terminal):
    assert shown(monkeypatch, capsys, terminal=terminal, quiet=True) == ("", "")


PHASES = ["lesions", "decoding"]


def test_what_follows_the_steps_is_named(monkeypatch, capsys):
    out = shown(monkeypatch, capsys, terminal=False, phases=PHASES).out
    assert out.splitlines()[-1] == "then: lesions, decoding" and out.endswith("\n")
    out = shown(monkeypatch, capsys, terminal=True, phases=PHASES).out
    assert [line.strip() for line in out.split("\r")[-2:]] == ["lesions ...", "decoding ..."]
    assert out.endswith("\n")
    for terminal in (True, False):
        assert shown(monkeypatch, capsys, terminal=terminal, quiet=True, phases=PHASES).out == ""


def test_what_is_done_between_two_steps_is_named_where_lines_are_rewritten(monkeypatch, capsys):
    for terminal in (True, False):
        monkeypatch.setattr(sys.stdout, "isatty", lambda there=terminal: there, raising=False)
        line = progress.Progress(60, "step")
        line.show(20, "loss 0.5", due=False)
        line.doing("evaluation")
        line.close()
        out = capsys.readouterr().out
        assert out == ("\rstep 20/60  loss 0.5\rstep 20/60  loss 0.5  evaluation ...\n"
                       if terminal else "")  # fmt: skip


def test_a_note_has_a_line_of_its_own(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    line = progress.Progress(3, "run")
    line.show(1, "a")
    line.note("seed 4: failed")
    line.show(2, "b")
    line.close()
    out = capsys.readouterr().out
    assert "\rseed 4: failed\n" in out and out.endswith("\rrun 2/3  b\n")


def test_speed_and_time_left_are_plain():
    said = []
    line = progress.Progress(400, "step", said.append)
    *_, state = states(100)
    show_step(line, state, 100, 10.0)
    show_step(line, state, 20, 100.0)
    assert said == [
        "step 100/400  loss 0.0100  accuracy 0.750  10 steps/s  30 s left",
        "step 100/400  loss 0.0100  accuracy 0.750  0.2 steps/s  25 min 00 s left",
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="pseudo-terminals of POSIX")
def test_a_real_terminal(tmp_path, monkeypatch):
    import pty

    monkeypatch.chdir(tmp_path)
    ours, theirs = pty.openpty()

    def child():
        for number in (1, 2):
            os.dup2(theirs, number)
        sys.stdout, sys.stderr = open(1, "w"), open(2, "w")
        return run.main(RUN)

    process = fork(child)
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 4096):
            text += part
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    assert status_of(process) == 0
    assert b"\rstep 3/3" in text and b"Traceback" not in text
