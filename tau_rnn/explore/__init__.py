"""Sliders over one network: how tau, gain, delay and dt shape its activity and its gradient.

``python -m tau_rnn.explore`` opens a window with Matplotlib's own widgets; the site has a page with
the same sliders. Both draw the numbers of `explore`, which needs NumPy alone.
"""

from typing import TYPE_CHECKING

from tau_rnn._lazy import lazy_names

if TYPE_CHECKING:
    from tau_rnn.explore.view import Sliders, explore

__all__ = ["Sliders", "explore"]

__getattr__, __dir__ = lazy_names(__name__)
