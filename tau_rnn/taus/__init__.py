"""Where tau comes from: the distributions of the neurons' time constants.

Every distribution is a small frozen dataclass with the quantile function ``ppf(q)`` (the inverse
of its cumulative distribution), its exact ``mean`` (s), coefficient of variation ``cv`` and
``mean_rate`` = E[1/tau] (1/s), and a text form that :func:`parse_tau` reads back::

    vanilla        every unit 1 s                                             (poster)
    normal         mean 1 s, sd 0.2 s, truncated to [0.1, 1.9] s (that is our choice)  (poster)
    uniform        on [0.1, 1.9] s                                            (poster)
    bimodal        0.5 s or 1.5 s, in equal halves                            (poster)
    lognormal      mean 1 s, CV 0.5 before truncation to [0.1, 10] s          (our choice)
    gamma          shape 3 [1]_, mean 1 s, truncated to [0.1, 10] s           (our choice)
    constant:0.61  every unit 0.61 s
    values:0.5,1   the values themselves, one per unit
    file:PATH      the values in a .npy or text file, one per unit

Parameters follow the name: ``normal:mean=1,sd=0.3``, ``bimodal:low=0.2,high=1.8``.

All of them have mean 1 s by default, and yet they differ in more than their spread: the mean
*rate* E[1/tau], which sets how fast the average unit answers an input, grows with it.

=========  ====  =====  ============
name       mean  CV     E[1/tau]
=========  ====  =====  ============
vanilla    1.00  0.000  1.00
normal     1.00  0.200  1.05
uniform    1.00  0.520  1.64
bimodal    1.00  0.500  1.33
lognormal  1.00  0.500  1.25
gamma      1.00  0.574  1.45
=========  ====  =====  ============

Truncation is a condition on the quantile, never a clip: a clipped sample piles up at its bounds.
``mean`` is the mean *after* truncation: the median of the untruncated parent is placed so that it
holds exactly (for the symmetric default of ``normal`` it stays at 1 s).

References
----------
.. [1] Perez-Nieves, N., Leung, V. C. H., Dragotti, P. L. & Goodman, D. F. M. (2021). Neural
   heterogeneity promotes robust learning. Nature Communications 12, 5791.
"""

from __future__ import annotations

from tau_rnn.taus.families import Bimodal, Constant, Fixed, TauDistribution, Uniform
from tau_rnn.taus.sampling import (
    DISTRIBUTIONS,
    Summary,
    describe,
    parse_tau,
    sample_tau,
    stratified_quantiles,
)
from tau_rnn.taus.truncated import Gamma, LogNormal, Normal

__all__ = [
    "DISTRIBUTIONS",
    "Bimodal",
    "Constant",
    "Fixed",
    "Gamma",
    "LogNormal",
    "Normal",
    "Summary",
    "TauDistribution",
    "Uniform",
    "describe",
    "parse_tau",
    "sample_tau",
    "stratified_quantiles",
]
