"""What is shown while a run or a sweep is under way; Ctrl-C between two steps; lost output."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TextIO

__all__: list[str] = []


class Progress:
    """Shows how far something is: one line that is rewritten on a terminal, lines elsewhere.

    Parameters
    ----------
    total, unit : of what is counted: 400, "step"
    say : is given lines of text; only `print` writes to a terminal. None: nothing is shown
    """

    def __init__(self, total: int, unit: str, say: Callable[[str], object] | None = print):
        self.total, self.unit, self.say = total, unit, say
        # A closed standard output is None.
        self.terminal = say is print and sys.stdout is not None and sys.stdout.isatty()
        self.line, self.width, self.phases = "", 0, 0

    def show(self, done: int, text: str, rate: str = "", *, due: bool = True) -> None:
        """Show how much is done; ``due``: it is time for a line where lines are not rewritten."""
        count = f"{self.unit} {done:>{len(str(self.total))}}/{self.total}"
        line = "  ".join(filter(None, (count, text, rate)))
        self.line = line
        if self.terminal:
            self._rewrite(line)
        elif self.say and due:
            self.say(line)

    def note(self, text: str) -> None:
        """Say something in a line of its own."""
        if self.terminal:
            self._rewrite("")
            print("\r", end="")
        if self.say:
            self.say(text)

    def phase(self, name: str) -> None:
        """Name something that is being done and is not counted."""
        if self.terminal:
            self._rewrite(f"{name} ...")
        elif self.say:
            print(f"{', ' if self.phases else 'then: '}{name}", end="", flush=True)
            self.phases += 1

    def doing(self, name: str) -> None:
        """Add to the line what is being done before the next one, where it can be rewritten."""
        if self.terminal:
            self._rewrite(f"{self.line}  {name} ...".lstrip())

    def close(self) -> None:
        """Leave the line."""
        if self.width or self.phases:
            print()
        self.width = self.phases = 0

    def _rewrite(self, line: str) -> None:
        print("\r" + line.ljust(self.width), end="", flush=True)
        self.width = len(line)


def duration(seconds: float) -> str:
    """A time in words.

    >>> duration(75)
    '1 min 15 s'
    """
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


@contextlib.contextmanager
def interruptions() -> Iterator[list[int]]:
    """Collect Ctrl-C in a list instead of raising it; the second one is raised.

    A step updates its arrays in place and draws from its generators. So a run must stop between
    two steps: in the middle of one there is no state to save.
    """
    signals: list[int] = []

    def note(number, frame):
        if signals:
            raise KeyboardInterrupt
        signals.append(number)

    ours = False
    with contextlib.suppress(ImportError, ValueError):  # no signals here, or not in this thread
        import signal

        ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if ours:
            signal.signal(signal.SIGINT, note)
    try:
        yield signals
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Each warning once, and as one line: it is about the settings, not about a line of code."""
    said: set[str] = set()

    def say(message, category, filename, lineno, file=None, line=None):
        if str(message) not in said:
            said.add(str(message))
            print(f"tau_rnn.run: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = say
        yield


class _Lasting:
    """A text stream that goes nowhere once it cannot be written to."""

    def __init__(self, stream: TextIO):
        self.stream, self.lost, self.error = stream, False, ""

    def write(self, text: str) -> int:
        self._try(self.stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self.stream.flush)

    def _try(self, action: Callable, *text: str) -> None:
        try:
            if not self.lost:
                action(*text)
        except OSError as error:
            self.lost = True
            if error.errno not in (errno.EPIPE, errno.EINVAL):  # of a pipe; EINVAL on Windows
                self.error = error.strerror or str(error)
            with contextlib.suppress(OSError, ValueError):  # what is buffered goes nowhere as well
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.stream.fileno())
                os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def lasting_output() -> Iterator[list[str]]:
    """Let work go on quietly where its output cannot be written to.

    A reader that is gone, as in ``... | head -3``, is not an error. At the end the yielded list
    says what else was wrong, such as a disk that is full.
    """
    before = sys.stdout, sys.stderr
    lasting: list[Any] = [stream and _Lasting(stream) for stream in before]
    sys.stdout, sys.stderr = lasting
    lost: list[str] = []
    try:
        yield lost
    finally:
        sys.stdout, sys.stderr = before
        for stream in filter(None, lasting):
            stream.flush()
            lost.extend([stream.error] if stream.error else [])
