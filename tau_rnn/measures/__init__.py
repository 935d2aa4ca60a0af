"""What training changed, and which units carry it.

How far and along how many directions the weights moved (`weights`), whether representations and
the tangent kernel were rebuilt (`alignment`), where the network rests (`dynamics`), what it loses
without its slow or fast units (`lesions`), what they hold over time (`decoding`), and whether the
activity's time constants follow the intrinsic ones (`effective_tau`). `measure_run` measures all
of it for one training run, and `summarise` makes a row of numbers of that. What a network has
before any training is in `untrained`.
"""

from tau_rnn.measures.alignment import (
    kernel_alignment,
    output_gradients,
    representation_alignment,
)
from tau_rnn.measures.decoding import DecodingByTau, aligned, decode, decode_by_tau
from tau_rnn.measures.dynamics import FixedPoints, fixed_points, jacobian
from tau_rnn.measures.effective_tau import (
    EffectiveTau,
    Estimate,
    TauSpread,
    compare_effective,
    effective_tau,
    spontaneous_rates,
    spread_change,
    tau_spread,
)
from tau_rnn.measures.lesions import LesionCurve, accuracy_on, lesion, lesion_by_tau
from tau_rnn.measures.run import (
    LONGEST,
    NEEDS,
    PARTS,
    Decoding,
    TrainingMeasures,
    measurable,
    measure_run,
)
from tau_rnn.measures.summary import summarise
from tau_rnn.measures.untrained import (
    LinearDistance,
    RidgeReadout,
    SlowModes,
    Untrained,
    linear_distance,
    measure_untrained,
    ridge_readout,
    slow_modes,
)
from tau_rnn.measures.weights import (
    ChangeSpectrum,
    InputOutputOverlap,
    OutlierEigenvalues,
    RankCurve,
    WeightChange,
    accuracy_by_rank,
    input_output_overlap,
    outlier_eigenvalues,
    spectrum_of_change,
    weight_change,
    weight_change_by_group,
    with_change_of_rank,
)

__all__ = [
    "LONGEST",
    "NEEDS",
    "PARTS",
    "ChangeSpectrum",
    "Decoding",
    "DecodingByTau",
    "EffectiveTau",
    "Estimate",
    "FixedPoints",
    "InputOutputOverlap",
    "LesionCurve",
    "LinearDistance",
    "OutlierEigenvalues",
    "RankCurve",
    "RidgeReadout",
    "SlowModes",
    "TauSpread",
    "TrainingMeasures",
    "Untrained",
    "WeightChange",
    "accuracy_by_rank",
    "accuracy_on",
    "aligned",
    "compare_effective",
    "decode",
    "decode_by_tau",
    "effective_tau",
    "fixed_points",
    "input_output_overlap",
    "jacobian",
    "kernel_alignment",
    "lesion",
    "lesion_by_tau",
    "linear_distance",
    "measurable",
    "measure_run",
    "measure_untrained",
    "outlier_eigenvalues",
    "output_gradients",
    "representation_alignment",
    "ridge_readout",
    "slow_modes",
    "spectrum_of_change",
    "spontaneous_rates",
    "spread_change",
    "summarise",
    "tau_spread",
    "weight_change",
    "weight_change_by_group",
    "with_change_of_rank",
]
