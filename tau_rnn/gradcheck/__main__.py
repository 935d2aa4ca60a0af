"""``python -m tau_rnn.gradcheck FILE``."""

from tau_rnn.gradcheck.check import main

if __name__ == "__main__":
    raise SystemExit(main())
