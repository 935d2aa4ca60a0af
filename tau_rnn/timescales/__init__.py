"""Effective timescales: the decay time of the autocorrelation of each unit's firing rate."""

from __future__ import annotations

from tau_rnn.timescales.acf import (
    autocovariance,
    expected_acf,
    linear_network_acf,
    timescale_of_decay,
)
from tau_rnn.timescales.fit import fit_timescales
from tau_rnn.timescales.moments import timescale_of_acf
from tau_rnn.timescales.recordings import bin_spikes
from tau_rnn.timescales.result import TimescaleResult

__all__ = [
    "TimescaleResult",
    "autocovariance",
    "bin_spikes",
    "expected_acf",
    "fit_timescales",
    "linear_network_acf",
    "timescale_of_acf",
    "timescale_of_decay",
]
