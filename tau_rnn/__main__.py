"""``python -m tau_rnn``: the same as ``python -m tau_rnn.run``."""

from tau_rnn.run import main

__all__: list[str] = []

if __name__ == "__main__":
    raise SystemExit(main())
