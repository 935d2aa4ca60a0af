"""``python -m tau_rnn``: the same as ``python -m tau_rnn.run``."""

from tau_rnn.cli.single import main

if __name__ == "__main__":
    raise SystemExit(main())
