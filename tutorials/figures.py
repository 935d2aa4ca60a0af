"""The figures of the book, one function each: a chapter computes, and hands over what is drawn.

A function draws one figure from arrays and saves it under its name in ``figures/``. What a figure
shows is computed in the chapter, where you can read it; how it is drawn stands here.
"""

from __future__ import annotations

import numpy as np

from tau_rnn.plotting import color_of, new_figure, save

#: Greys for what is not a distribution of tau.
INK, GREY, PALE = "#222222", "#777777", "#eeeeee"
