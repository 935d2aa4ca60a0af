"""The door to the command line: ``python -m tau_rnn.run --dist normal``."""

from tau_rnn.cli.single import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
