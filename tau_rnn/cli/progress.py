"""How a run goes: its progress on the screen, and Ctrl-C between two steps."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
import warnings
from importlib.util import find_spec

LINES_EVERY = 25  # steps between two lines where the output is not a terminal


def on_terminal() -> bool:
    """Whether what is printed is seen on a terminal. A closed standard output is None."""
    return sys.stdout is not None and sys.stdout.isatty()


class Progress:
    """Shows a run while it goes: one line on a terminal, a line every 25 steps elsewhere.

    With tqdm installed (the extra ``progress``) a terminal gets its bar.
    """

    def __init__(self, steps: int, *, quiet: bool = False):
        self.steps, self.quiet = steps, quiet
        self.terminal = on_terminal()
        self.began, self.first, self.width, self.bar = time.monotonic(), None, 0, None
        if self.terminal and not quiet and find_spec("tqdm"):
            from tqdm import tqdm

            self.bar = tqdm(total=steps, unit="step")

    def show(self, state) -> None:
        """Show the state after a step."""
        if self.quiet:
            return
        step = state.training.step
        if self.first is None:
            self.first = step
        if self.bar is not None:
            self.bar.set_postfix_str(self._numbers(state))
            self.bar.update(step - self.bar.n)
        elif self.terminal:
            line = self._line(state)
            print("\r" + line.ljust(self.width), end="", flush=True)
            self.width = len(line)
        elif step % LINES_EVERY == 0 or step == self.steps:
            print(self._line(state), flush=True)

    def close(self) -> None:
        """Leave the line."""
        if self.bar is not None:
            self.bar.close()
        elif self.terminal and not self.quiet:
            print()

    def _numbers(self, state) -> str:
        loss = state.training.loss
        if loss != loss:  # before the first step there is no training loss
            loss = state.history[-1]["loss"]
        accuracy = state.history[-1].get("accuracy")
        shown = "" if accuracy is None else f"  accuracy {accuracy:.3f}"
        return f"loss {loss:.4f}{shown}"

    def _line(self, state) -> str:
        step = state.training.step
        elapsed, done = time.monotonic() - self.began, step - self.first
        text = f"step {step:>{len(str(self.steps))}}/{self.steps}  {self._numbers(state)}"
        if done and elapsed > 0:
            rate = done / elapsed
            text += f"  {rate:.0f} steps/s  {(self.steps - step) / rate:.0f} s left"
        return text


@contextlib.contextmanager
def interruptions():
    """Collect Ctrl-C in a list instead of raising it; the second one is raised.

    A step updates its arrays in place and draws from its generators. So a run must stop between
    two steps, for in the middle of one there is no state to save.
    """
    signals: list[int] = []

    def note(number, frame):
        if signals:
            raise KeyboardInterrupt
        signals.append(number)

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not (ours and threading.current_thread() is threading.main_thread()):
        yield signals
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield signals
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def plain_warnings():
    """Each warning once, and as one line: it is about the settings, not about a line of code."""
    said: set[str] = set()

    def say(message, category, filename, lineno, file=None, line=None):
        if str(message) not in said:
            said.add(str(message))
            print(f"tau_rnn.run: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = say
        yield
