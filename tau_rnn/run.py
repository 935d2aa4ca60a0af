"""The door to the command line: ``python -m tau_rnn.run --dist normal``."""

import atexit
import gc
import sys
from collections.abc import Sequence

from tau_rnn._threads import one_blas_thread

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, with one BLAS thread by default; returns the exit status.

    Parameters
    ----------
    argv : list of options; None for those of the command line

    Returns
    -------
    int : exit status, 0 if all runs are complete

    Raises
    ------
    SystemExit
        For options that cannot be.

    Examples
    --------
    >>> main(["--units", "0"])  # it says what is wrong
    Traceback (most recent call last):
        ...
    SystemExit: 2
    """
    one_blas_thread()
    atexit.register(gc.freeze)  # or the collector looks through all that was loaded, for 0.2 s
    try:  # loading its parts takes a second, in which Ctrl-C may come
        from tau_rnn.cli.single import main as command

        return command(argv)
    except KeyboardInterrupt:
        print("\ntau_rnn.run: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
