"""All measures of one training run: from the network before and after it to numbers and arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from tau_rnn._threads import beside
from tau_rnn.checks import check_callable, check_choice, check_integer, generator_of, shown
from tau_rnn.discretisation import DEFAULT_METHOD
from tau_rnn.measures._shared import MOST_DRAWS, Array, double_params, params_pair
from tau_rnn.measures.alignment import kernel_alignment, representation_alignment
from tau_rnn.measures.decoding import Decoding, aligned, both_networks, decode_epochs
from tau_rnn.measures.dynamics import FixedPoints, delay_points
from tau_rnn.measures.effective_tau import EffectiveTau, compare_effective, effective_tau
from tau_rnn.measures.lesions import LesionCurve, accuracy_on, lesion_by_tau
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
    weight_change_by_group,
)
from tau_rnn.model import Nonlinearity, Params, ParamsLike, forward
from tau_rnn.noise import private_noise
from tau_rnn.tasks import Trials, check_task

__all__ = ["TrainingMeasures", "measure_run"]

#: What `measure_run` can measure.
PARTS = ("weights", "alignment", "rank", "lesions", "decoding", "effective", "fixed_points")

#: What the parts need of a task of your own; a part that lacks something is left out.
_NEEDS = {
    "alignment": ("task.decision_window", "trials.epochs.stimulus", "trials.epochs.response"),
    "rank": ("task.accuracy",),
    "lesions": ("task.accuracy",),
    "decoding": (
        "task.remembered", "trials.labels", "trials.epochs.stimulus", "trials.epochs.response",
        "task.stimulus", "task.delay_min", "task.response",
    ),
    "effective": ("task.noise",),
    "fixed_points": ("trials.epochs.delay", "task.delay_max"),
}  # fmt: skip

#: Trials of alignments, test trials, steps of the tangent kernel in each trial, and trials from
#: whose delays fixed points are sought; and the same for more than `LARGE` units.
_SIZES = {"n_trials": 64, "n_test": 256, "n_times": 8, "n_starts": 16}
LARGE, _LARGE_SIZES = 500, {"n_trials": 16, "n_test": 64, "n_times": 4, "n_starts": 4}

#: Units beyond which a part takes minutes, growing with their cube: a run leaves it out.
MOST_UNITS = {
    "alignment": 500, "fixed_points": 500, "rank": 1000, "lesions": 1000, "decoding": 1000,
}  # fmt: skip

#: Parts of long calls to NumPy, which take little of a second core's time away from the first.
_SECOND_CORE = ("decoding", "alignment")

#: Runs of this many seconds give the effective time constants, and none longer than a third of it.
RUN = 20.0
LONGEST = RUN / 3


class TrainingMeasures(NamedTuple):
    """What training changed, as `measure_run` returns it; None for what was not measured.

    Attributes
    ----------
    tau_before, tau_after : (N,) intrinsic time constants in seconds
    weights : the change of each field of Params, by name
    spectrum, overlap, outliers : of the recurrent change
    representation_alignment, kernel_alignment : numbers from 0 to 1
    rank, lesions, decoding, effective : see their types
    fixed_points_before, fixed_points_after : of the delay
    left_out : parts that were asked for, each with what it needs and the task does not have
    note : what was measured on fewer trials than usual, for a large network; "" if nothing was

    Examples
    --------
    >>> measures = TrainingMeasures(np.ones(3), np.ones(3), kernel_alignment=0.9)
    >>> measures.kernel_alignment, measures.rank is None
    (0.9, True)
    """

    tau_before: Array
    tau_after: Array
    weights: dict[str, WeightChange] | None = None
    spectrum: ChangeSpectrum | None = None
    overlap: InputOutputOverlap | None = None
    outliers: OutlierEigenvalues | None = None
    representation_alignment: float | None = None
    kernel_alignment: float | None = None
    rank: RankCurve | None = None
    lesions: LesionCurve | None = None
    decoding: Decoding | None = None
    effective: EffectiveTau | None = None
    fixed_points_before: FixedPoints | None = None
    fixed_points_after: FixedPoints | None = None
    left_out: Mapping[str, str] = MappingProxyType({})
    note: str = ""

    def __repr__(self) -> str:
        measured = [name for name in self._fields[2:-2] if getattr(self, name) is not None]
        return f"TrainingMeasures({len(self.tau_after)} units: {', '.join(measured) or 'none'})"


def check_parts(parts) -> tuple[str, ...]:
    """Names of `PARTS`: one, or a sequence of them."""
    parts = (parts,) if isinstance(parts, str) else parts
    if not isinstance(parts, (tuple, list)):
        raise ValueError(f"parts: must be names among {', '.join(PARTS)}, got {shown(parts)}")
    return tuple(check_choice("parts", part, PARTS) for part in parts)


def within_bounds(n_units: int, parts=PARTS) -> tuple[tuple[str, ...], ...]:
    """The parts that a run measures, and those it leaves out since its network is too large.

    It depends on the network alone: a run has the same metrics on every machine.
    """
    left_out = tuple(p for p in parts if n_units > MOST_UNITS.get(p, n_units))
    return tuple(p for p in parts if p not in left_out), left_out


def measurable(tau_eff, flag) -> tuple[Array, Array]:
    """Timescales (N,) in s, too long ones set to `LONGEST`; and which these were."""
    exceeds = np.char.find(np.asarray(flag, str), "exceeds_trial") >= 0
    too_long = exceeds | (np.nan_to_num(tau_eff) > LONGEST)
    return np.where(too_long, LONGEST, tau_eff), too_long


def measure_run(
    initial: ParamsLike, final: ParamsLike, task: Any, *, rng: np.random.Generator | int,
    phi: str | Nonlinearity = "tanh", method: str = DEFAULT_METHOD, n_trials: int | None = None,
    n_test: int | None = None, n_times: int | None = None, parts: Sequence[str] = PARTS,
    progress: Callable[[str], object] | None = None,
) -> TrainingMeasures:  # fmt: skip
    """Measure what training changed.

    Both networks see the same trials and the same noise. Alignments and fixed points are those of
    the deterministic network (inputs as drawn, no private noise), all else is with the task's
    noise on, as in training. Each part draws from a stream of its own: leaving one out does not
    change the others.

    - *alignment*: the representation is the mean rate over the decision window, which is what the
      decision reads; the tangent kernel is over ``n_times`` steps of each trial, evenly spaced
      from the start of the stimulus to the last step of the response, that one included.
    - *overlap*: of the leading directions of dW with W_in before and W_out after training.
    - *rank*, *lesions*: accuracies, of networks simulated in single precision.
    - *decoding*: of the quantities that the task names as ``remembered``, from half of the units
      each.
    - *fixed_points*: under zero input, from the states of some trials at the end of their delay
      (the first half of the starts) and after 30 s more of it (the second half, the same trials);
      modes slower than the longest delay are called slow.

    Parameters
    ----------
    initial, final : Params before and after training
    task : a task of `tau_rnn.tasks`, or one of your own: what needs something that it does not
        have is left out
    rng : numpy.random.Generator, or a seed for one
    phi, method : as the network was trained
    n_trials : trials of the alignments, >= 1. None, here and below: as many as `_SIZES` says, or
        `_LARGE_SIZES` for more than `LARGE` units, see ``note``
    n_test : trials of accuracies and decoding, >= 20
    n_times : steps of each trial in the tangent kernel
    parts : which of `PARTS` to measure
    progress : called with a few words on what is measured next, ``progress("lesions")``

    Returns
    -------
    TrainingMeasures

    Raises
    ------
    ValueError
        If the networks have different sizes, do not fit the task, or a part is unknown.

    Notes
    -----
    CPU seconds for N = 100, dt = 0.05 s and multi_timescale: weights 0.02, alignment 0.3, rank 0.3,
    lesions 0.6 (more where units share a tau), decoding 1.2, effective 0.4, fixed_points 0.1; up to
    four times that for integrate_and_remember. Decoding and alignment run beside the rest, on a
    second core.

    Examples
    --------
    >>> from tau_rnn import init_params, make_task
    >>> task, rng = make_task("multi_timescale", dt=0.1), np.random.default_rng(0)
    >>> before = init_params(6, task.n_in, task.n_out, 1.0, rng)
    >>> after = before._replace(W=before.W + np.outer(rng.standard_normal(6), np.ones(6)))
    >>> m = measure_run(before, after, task, rng=0, parts="weights")
    >>> m
    TrainingMeasures(6 units: weights, spectrum, overlap, outliers)
    >>> round(m.spectrum.effective_rank, 6)
    1.0
    """
    initial, final = params_pair("initial", initial, "final", final)
    trained = begin_measures(
        initial, task, rng=rng, phi=phi, method=method, parts=parts, progress=progress,
        n_trials=n_trials, n_test=n_test, n_times=n_times,
    )  # fmt: skip
    return trained(final)()


def begin_measures(
    initial, task, *, rng, phi, method, parts, progress=None, **sizes
) -> Callable[[Params], Callable[[], TrainingMeasures]]:
    """`measure_run` in three stages, between which there is time for other work.

    Each begins on a second core what it can. This one, which may be called before training, decodes
    from the untrained network. The function returned takes the trained network; the one that it
    returns waits for what was begun, does all else, and gives the TrainingMeasures.
    """
    initial, task = double_params("initial", initial), check_task(task)
    if initial.W_in.shape[1] != task.n_in or len(initial.b_out) != task.n_out:
        raise ValueError(
            f"initial: {initial.W_in.shape[1]} inputs and {len(initial.b_out)} outputs do not fit "
            f"the task {task.name}, which has {task.n_in} and {task.n_out}"
        )
    parts = check_parts(parts)
    if progress is not None:
        check_callable("progress", progress)
    sizes, note = _sizes(len(initial.b), **sizes)
    m = _material(task, {"phi": phi, "method": method}, sizes, generator_of(rng))
    left_out = {part: what for part in parts if (what := _missing(part, task, m.test))}
    todo = [part for part in PARTS if part in parts and part not in left_out]
    second = [part for part in _SECOND_CORE if part in todo]
    tell = progress or (lambda words: None)
    decoded = beside(lambda: m.decoded(initial)) if "decoding" in todo else None

    def trained(final: Params) -> Callable[[], TrainingMeasures]:
        final = double_params("final", final)
        compute = _computations(m, initial, final, decoded)
        measured = beside(lambda: [compute[part]() for part in second]) if second else list

        def collected() -> TrainingMeasures:
            found: dict[str, Any] = {}
            for part in todo:
                if part not in second:
                    tell(part.replace("_", " "))
                    found |= compute[part]()
            if second:
                tell(" and ".join(second))
            for some in measured():
                found |= some
            return TrainingMeasures(initial.tau, final.tau, **found, left_out=left_out, note=note)

        return collected

    return trained


class _Material(NamedTuple):
    """What is measured on, the same for both networks; each part draws from a seed of its own."""

    task: Any
    run: dict[str, Any]
    sizes: dict[str, int]
    seeds: dict[str, int]
    probe: Trials
    test: Trials

    def rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng(self.seeds[name])

    def noise(self, params) -> Array:
        """The same draws for each network, scaled to its tau."""
        (T, B), task = self.test.u.shape[:2], self.task
        rng, method = self.rng("noise"), self.run["method"]
        return private_noise(params, task.dt, task.noise, T, B, rng, method=method)

    def decoded(self, params):
        seed = int(self.rng("decoding").integers(2**63))
        return decode_epochs(params, self.task, self.test, self.noise(params), seed, self.run)


def _material(task, run, sizes, rng) -> _Material:
    names: tuple[str, ...] = (*PARTS, "probe", "test", "noise")
    seeds: dict[str, int] = dict(zip(names, rng.integers(2**63, size=len(names)).tolist()))
    probe, test = (
        task.trials(sizes[n], np.random.default_rng(seeds[name]))
        for n, name in (("n_trials", "probe"), ("n_test", "test"))
    )
    return _Material(task, run, sizes, seeds, probe, test)


def _computations(m: _Material, initial, final, decoded) -> dict[str, Callable[[], dict]]:
    """What computes each part: a dict of fields of TrainingMeasures."""
    task, run, probe = m.task, m.run, m.probe
    score = cache(lambda: accuracy_on(task, m.test, noise=m.noise(final), dtype=np.float32, **run))
    return {
        "weights": lambda: _weights(initial, final),
        "alignment": lambda: _alignment(initial, final, task, probe, m.sizes["n_times"], run),
        "rank": lambda: {"rank": accuracy_by_rank(initial, final, score())},
        "lesions": lambda: {"lesions": lesion_by_tau(final, score(), m.rng("lesions"))},
        "decoding": lambda: {"decoding": both_networks(task, decoded(), m.decoded(final))},
        "effective": lambda: {
            "effective": _effective(initial, final, task, m.rng("effective"), run)
        },
        "fixed_points": lambda: {
            f"fixed_points_{when}": delay_points(params, task, probe, m.sizes["n_starts"], run)
            for when, params in (("before", initial), ("after", final))
        },
    }


def _sizes(n_units: int, **given) -> tuple[dict[str, int], str]:
    """How many trials and steps of each kind, and what was made smaller."""
    large = n_units > LARGE
    least = {"n_trials": 1, "n_test": 20, "n_times": 1}
    sizes = dict(_LARGE_SIZES if large else _SIZES)
    for name, value in given.items():
        if value is not None:
            sizes[name] = check_integer(name, value, least[name], MOST_DRAWS)
    smaller = [f"{name} {sizes[name]} instead of {_SIZES[name]}"
               for name in sizes if large and given.get(name) is None]  # fmt: skip
    return sizes, f"more than {LARGE} units: {', '.join(smaller)}" if smaller else ""


def _missing(part: str, task, trials) -> str:
    """The first thing that a part needs and the task does not have; "" if it has all."""
    remembered = [f"trials.labels.{name}" for name in task.remembered]
    for name in (*_NEEDS.get(part, ()), *(remembered if part == "decoding" else ())):
        owner, *attributes = name.split(".")
        value = {"task": task, "trials": trials}[owner]
        for attribute in attributes:
            value = getattr(value, attribute, None)
        nothing = isinstance(value, tuple) and not value
        if value is None or nothing or (part == "effective" and value == 0):
            return ".".join(attributes)
    return ""


def _weights(initial, final) -> dict[str, Any]:
    spectrum = spectrum_of_change(initial.W, final.W)
    k = min(5, len(final.b))
    return {
        "weights": weight_change_by_group(initial, final),
        "spectrum": spectrum,
        "overlap": input_output_overlap(spectrum, initial.W_in, final.W_out, k=k),
        "outliers": outlier_eigenvalues(initial.W, final.W),
    }


def _alignment(initial, final, task, probe, n_times, run) -> dict[str, Any]:
    H = [_decision_rates(params, task, probe, run) for params in (initial, final)]
    times = _kernel_times(probe, n_times)
    return {
        "representation_alignment": representation_alignment(*H),
        "kernel_alignment": kernel_alignment(initial, final, probe.u, task.dt, times=times, **run),
    }


def _decision_rates(params, task, trials, run) -> Array:
    r = forward(params, trials.u, task.dt, **run).r[1:]
    steps = round(task.decision_window / task.dt)
    return aligned(r, trials.epochs.response[:, 1] - steps, steps).mean(axis=0)


def _kernel_times(trials, n_times) -> Array:
    """(n, B) steps, evenly spaced and distinct; the last is the last of the response."""
    start, last = trials.epochs.stimulus[:, 0], trials.epochs.response[:, 1] - 1
    n = min(n_times, int((last - start).min()) + 1)
    steps_back = np.arange(n)[::-1, np.newaxis] * ((last - start) / max(n - 1, 1))
    return last - np.rint(steps_back).astype(int)


def _effective(initial, final, task, rng, run) -> EffectiveTau:
    seeds = rng.integers(2**63, size=2)
    fits = [
        effective_tau(
            p, task.dt, np.random.default_rng(seeds[0]), sigma=task.noise, duration=RUN, **run
        )
        for p in (initial, final)
    ]
    flags = [np.asarray(fit.flag, str) for fit in fits]
    taus = [measurable(fit.tau, flag)[0] for fit, flag in zip(fits, flags)]
    return compare_effective((initial.tau, final.tau), taus, flags, seeds[1])
