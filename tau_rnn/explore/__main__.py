"""``python -m tau_rnn.explore``: open the window."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

__all__: list[str] = []


def main(argv: Sequence[str] | None = None) -> int:
    """Open the window; exit status 1 where Matplotlib has none."""
    about = "Open a window with sliders over a network of 50 units; there are no options."
    argparse.ArgumentParser("python -m tau_rnn.explore", description=about).parse_args(argv)
    import matplotlib
    import matplotlib.pyplot as plt

    from tau_rnn.explore.window import Window

    window = Window()
    if matplotlib.get_backend().lower() == "agg":
        print("tau_rnn.explore: Matplotlib found no display to open a window on", file=sys.stderr)
        return 1
    plt.show()
    del window  # its widgets live as long as it does
    return 0


if __name__ == "__main__":
    sys.exit(main())
