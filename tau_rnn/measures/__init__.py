"""What training changed, and which units carry it.

How far and along how many directions the weights moved (`weights`), whether representations and
the tangent kernel were rebuilt (`alignment`), where the network rests (`dynamics`), what it loses
without its slow or fast units (`lesions`), what they hold over time (`decoding`), and whether the
activity's time constants follow the intrinsic ones (`effective_tau`). `measure_run` measures all
of it for one training run. What a network has before any training is in `untrained`, and how far
it is from a solution in `distance`.
"""

from tau_rnn.measures.alignment import kernel_alignment, representation_alignment
from tau_rnn.measures.decoding import DecodingByTau, decode, decode_by_tau
from tau_rnn.measures.dynamics import FixedPoints, fixed_points
from tau_rnn.measures.effective_tau import TauSpread, effective_tau, spontaneous_rates, tau_spread
from tau_rnn.measures.lesions import LesionCurve, accuracy_on, lesion_by_tau
from tau_rnn.measures.run import TrainingMeasures, measure_run
from tau_rnn.measures.untrained import Untrained, measure_untrained
from tau_rnn.measures.weights import (
    ChangeSpectrum,
    OutlierEigenvalues,
    WeightChange,
    outlier_eigenvalues,
    spectrum_of_change,
    weight_change,
)

__all__ = [
    "ChangeSpectrum",
    "DecodingByTau",
    "FixedPoints",
    "LesionCurve",
    "OutlierEigenvalues",
    "TauSpread",
    "TrainingMeasures",
    "Untrained",
    "WeightChange",
    "accuracy_on",
    "decode",
    "decode_by_tau",
    "effective_tau",
    "fixed_points",
    "kernel_alignment",
    "lesion_by_tau",
    "measure_run",
    "measure_untrained",
    "outlier_eigenvalues",
    "representation_alignment",
    "spectrum_of_change",
    "spontaneous_rates",
    "tau_spread",
    "weight_change",
]
