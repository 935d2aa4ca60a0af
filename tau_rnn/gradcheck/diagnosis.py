"""What is wrong with a gradient, found by test.

Three kinds of evidence, from outside, without reading the code under test:

1. *Which slip reproduces it?* Every slip of `slips`, and every two, is carried out; the one that
   gives the wrong gradient to rounding, on networks drawn at random, is the diagnosis.
2. *How far back is it right?* The last k steps of a run are a run of their own with the same
   adjoint. The smallest k whose gradient is wrong is where the adjoint leaves the right one.
3. *When is it right?* Failing the first, the gradient is tried where a term cannot matter: equal
   time constants, a symmetric W, no noise, and so on.
"""

from __future__ import annotations

import itertools
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tau_rnn.discretisation import DEFAULT_METHOD
from tau_rnn.gradcheck.known_errors import (
    OWN,
    RECIPE,
    SHARED,
    SUMS,
    Slip,
    gradient,
    recipe_with,
    scene,
)
from tau_rnn.model import Array, Params, Trajectory, forward

# Two computations of one gradient differ by rounding, about 1e-14; two different ones by far more.
SAME = 1e-9
ADJOINT_FIELDS = ("W", "W_in", "b", "x0", "tau")  # those whose gradient needs the adjoint


class Network(NamedTuple):
    """A random network, its input, and the derivative of a loss with respect to its outputs."""

    params: Params
    u: Array
    noise: Array | None
    dy: Array
    dt: float
    phi: object
    method: str

    def run(self, params: Params | None = None) -> Trajectory:
        """Simulate it, or the same with other parameters."""
        params = self.params if params is None else params
        return forward(params, self.u, self.dt, phi=self.phi, method=self.method, noise=self.noise)

    def loss(self, params: Params):
        """A loss whose derivative with respect to y is dy."""
        return (self.dy * self.run(params).y).sum()

    def exact(self) -> dict[str, Array]:
        """The right gradient of the loss, by field name."""
        return gradient(self.params, self.run(), self.dy)

    def __str__(self) -> str:
        (T, B, _), N = self.u.shape, len(self.params.b)
        return f"N = {N}, T = {T}, B = {B}, {'no noise' if self.noise is None else 'noise'}"


def draw_network(rng, N, T, B, *, n_in=2, n_out=3, phi="tanh", method=DEFAULT_METHOD, noisy=True):
    """A network in which every term of every gradient counts: nothing in it is zero or equal."""
    dt = 0.05
    params = Params(
        W=rng.standard_normal((N, N)) / np.sqrt(N),
        W_in=rng.standard_normal((N, n_in)),
        b=0.3 * rng.standard_normal(N),
        W_out=rng.standard_normal((n_out, N)),
        b_out=rng.standard_normal(n_out),
        x0=rng.standard_normal(N),
        tau=dt / rng.uniform(0.1, 0.45, N),
    )
    u, dy = rng.standard_normal((T, B, n_in)), rng.standard_normal((T, B, n_out))
    noise = rng.standard_normal((T, B, N)) if noisy else None
    return Network(params, u, noise, dy, dt, phi, method)


def distance(given: Array, right: Array) -> float:
    """``sum(abs(given - right)) / sum(abs(right))``: the scaled error of all entries at once."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference, scale = np.abs(given - right).sum(), np.abs(right).sum()
    if difference == 0:
        return 0.0
    return float(difference / scale) if scale > 0 and np.isfinite(difference) else np.inf


class Answer(NamedTuple):
    """What a backward returned: arrays of the right shape, and what is the matter with the rest."""

    grads: dict[str, Array]
    problems: dict[str, str]


def ask(backward: Callable, network: Network, right: Mapping[str, Array]) -> Answer:
    """Call a backward that may do anything: raise, return None, or arrays of any shape."""
    # All that it is given are copies: what it does to its arguments stays its own affair.
    params = Params(*map(np.copy, network.params))
    noise = None if network.noise is None else network.noise.copy()
    traj = network._replace(u=network.u.copy(), noise=noise).run()
    try:
        result = backward(params, traj, network.dy.copy())
    except (Exception, SystemExit) as error:
        return Answer({}, dict.fromkeys(right, f"raised {_described(error, backward)}"))
    if isinstance(result, Mapping):
        values = {name: result.get(name, result.get(f"d{name}")) for name in right}
    elif isinstance(result, Sequence) and len(result) == len(right):
        values = dict(zip(right, result))
    else:
        what = f"{type(result).__name__} of {len(result)}" if isinstance(result, Sequence) else None
        problem = f"not returned: backward gave {what or type(result).__name__}, not a Params"
        return Answer({}, dict.fromkeys(right, problem))
    grads, problems = {}, {}
    for name, value in values.items():
        if value is None:
            problems[name] = "not returned: it is None"
            continue
        try:
            value = np.asarray(value)
            if value.dtype.kind not in "fiub":
                raise TypeError
        except (TypeError, ValueError):
            problems[name] = "not an array of real numbers"
            continue
        if value.shape != right[name].shape:
            problems[name] = _wrong_shape(value, right[name])
        else:
            grads[name] = value
    return Answer(grads, problems)


def _described(error: BaseException, backward: Callable) -> str:
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    file = getattr(getattr(backward, "__code__", None), "co_filename", None)
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return f"{text} (line {lines[-1]} of {Path(file).name})" if file and lines else text


def _wrong_shape(value: Array, right: Array) -> str:
    hint = ""
    if value.T.shape == right.shape and distance(value.T, right) < SAME:
        hint = "; its transpose is right"
    elif value.ndim == 0 and distance(value, right.sum()) < SAME:
        hint = "; it is the sum of the right one over its entries (summed over units?)"
    elif value.ndim > right.ndim and value.shape[value.ndim - right.ndim :] == right.shape:
        if distance(value.sum(tuple(range(value.ndim - right.ndim))), right) < SAME:
            hint = "; summed over its leading axes (time, trials) it is right"
    return f"has shape {value.shape}, must be {right.shape}{hint}"


# The order of the search: how many shared slips, and how many of a field's own, at most.
ROUNDS = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (2, 1))


class Explanation(NamedTuple):
    """The slips that together reproduce a wrong gradient: shared ones, and those of one field."""

    shared: tuple[Slip, ...]
    own: dict[str, tuple[str, ...]]  # field -> words; a field that is absent is not explained


def explain(networks, answers: Sequence[Answer], wrong: Sequence[str]) -> list[Explanation]:
    """The fewest slips that reproduce the wrong fields, each to rounding on every network.

    Parameters
    ----------
    networks, answers : what was asked, and what was answered
    wrong : names of the fields to explain

    Returns
    -------
    list of Explanation
        Usually one. A second or third where no one set of shared slips explains every field.
    """
    asked = [(n, n.run(), a.grads, n.exact()) for n, a in zip(networks, answers)]
    found: list[Explanation] = []
    left = [name for name in wrong if any(name in a.grads for a in answers)]
    while left:
        best = None
        for size, limit in ROUNDS:
            for shared in itertools.combinations(SHARED, size):
                if size == 2 and set(shared[0].edits) & set(shared[1].edits):
                    continue
                recipe = recipe_with(shared)
                own = _own_slips(recipe, asked, left, limit)
                if not own:
                    continue
                # Fields that are right, although these slips would make them wrong, count against.
                against = 0 if found else _contradictions(recipe, asked, wrong)
                cost = size + sum(map(len, own.values())) + 4 * (len(left) - len(own) + against)
                if best is None or cost < best[0]:
                    best = cost, Explanation(shared, own)
            if best is not None and best[0] <= size + limit * len(left):
                break
        if best is None:
            break
        found.append(best[1])
        left = [name for name in left if name not in best[1].own]
    return found


def _own_slips(recipe, asked, names, limit) -> dict[str, tuple[str, ...]]:
    """For each field that this recipe reproduces, the slips of its own it needs to do so."""
    scenes: list = [None] * len(asked)

    def reproduced(name: str, formula: Callable, total: Callable) -> bool:
        compared = 0
        for k, (network, traj, grads, _) in enumerate(asked):
            if name in grads:
                if scenes[k] is None:
                    scenes[k] = scene(network.params, traj, network.dy, recipe)
                if not distance(grads[name], total(formula(scenes[k]))) < SAME:
                    return False
                compared += 1
        return compared > 0

    own: dict[str, tuple[str, ...]] = {}
    for name in names:
        formulas = [((), recipe[name])] + [((s.words,), s.edits[name]) for s in OWN[name]]
        totals = [((), _total)] + [((words,), function) for words, function in SUMS]
        choices = sorted(itertools.product(formulas, totals), key=lambda c: len(c[0][0] + c[1][0]))
        for (slip, formula), (sums, total) in choices:
            if len(slip + sums) <= limit and reproduced(name, formula, total):
                own[name] = slip + sums
                break
    return own


def _total(terms: Array) -> Array:
    return terms.sum((0, 1))


def _contradictions(recipe, asked, wrong) -> int:
    """Number of fields that are right, and would not be with the slips of this recipe."""
    network, traj, _, exact = asked[0]
    s = scene(network.params, traj, network.dy, recipe)
    right = [name for name in exact if name not in wrong]
    return sum(distance(_total(recipe[name](s)), exact[name]) > SAME for name in right)


class Reach(NamedTuple):
    """The smallest number of last steps at which the gradient of a field goes wrong."""

    wrong: dict[str, int]  # fields that are wrong then, or not finite
    nonfinite: dict[str, int]  # fields that are not finite then


def reach(backward: Callable, network: Network, names: Sequence[str]) -> Reach:
    """Try the last 1, 2, 3, ... steps of a run of one trial, until all the names have gone wrong.

    dW, dW_in, db and dtau of the last k steps contain dx[T], ..., dx[T-k+1], and dx0 is dx[T-k]:
    what is right at k - 1 and wrong at k is wrong in what comes from k - 1 steps before the last.
    """
    x, T = network.run().x, len(network.u)
    found = Reach({}, {})
    for k in range(1, T + 1):
        last = slice(T - k, T)
        part = network._replace(
            params=network.params._replace(x0=x[T - k, 0]),
            u=network.u[last],
            noise=None if network.noise is None else network.noise[last],
            dy=network.dy[last],
        )
        right = part.exact()
        for name, g in ask(backward, part, right).grads.items():
            if not np.isfinite(g).all():
                found.nonfinite.setdefault(name, k)
            if not distance(g, right[name]) < SAME:
                found.wrong.setdefault(name, k)
        if found.wrong.keys() >= set(names):
            break
    return found


class Departure(NamedTuple):
    """Where the adjoint leaves the right one: at dx[T - steps]."""

    steps: int | None
    cut_off: bool = False  # it carries nothing further back than there


def departure(backward: Callable, network: Network, dW_in_is_right: bool) -> Departure:
    """Find where, counted back from the end, the adjoint of one long trial goes wrong.

    The adjoint is read step by step from dW_in: where the input is zero but for a pulse at step
    t, dW_in = alpha dx[t+1]. If the formula of dW_in is itself wrong, `reach` has to do.
    """
    T = len(network.u)
    if not dW_in_is_right:
        k = reach(backward, network, ADJOINT_FIELDS).wrong
        k = {name: k[name] for name in ADJOINT_FIELDS if name in k}
        later = [n if name == "x0" else n - 1 for name, n in k.items() if n > 1]
        return Departure(min(later, default=0 if len(k) == len(ADJOINT_FIELDS) else None))
    for n in range(T):
        given, right = _read_adjoint(backward, network, n)
        if not distance(given, right) < SAME:
            last_output = network.dy * (np.arange(T) == T - 1)[:, np.newaxis, np.newaxis]
            further = network._replace(dy=last_output)
            rest = [_read_adjoint(backward, further, m)[0] for m in range(n, min(n + 5, T))]
            return Departure(n, cut_off=not np.any(rest))
    return Departure(None)


def departure_of(slips: Sequence[Slip], network: Network) -> int | None:
    """Where the adjoint with these slips leaves the right one, counted back from the end."""
    traj, T = network.run(), len(network.u)
    given, right = (
        scene(network.params, traj, network.dy, recipe_with(made)).dx for made in (slips, ())
    )
    differ = (n for n in range(T + 1) if not distance(given[T - n], right[T - n]) < SAME)
    return next(differ, None)


def last_adjoint_is_wrong(backward: Callable, network: Network) -> bool:
    """Whether dW_in, db and dtau of the last step alone tell of the same wrong dx[T].

    With an input of 1, dW_in and db are both alpha dx[T]. Where they differ, or where dtau is
    right, which holds dx[T] without alpha, a formula is wrong, whatever dx[T] is.
    """
    last = network._replace(
        params=network.params._replace(x0=network.run().x[-2, 0]),
        u=np.ones_like(network.u[-1:]),
        noise=None if network.noise is None else network.noise[-1:],
        dy=network.dy[-1:],
    )
    right = last.exact()
    grads = ask(backward, last, right).grads
    return (
        {"W_in", "b", "tau"} <= grads.keys()
        and distance(grads["W_in"][:, 0], grads["b"]) < SAME
        and not distance(grads["tau"], right["tau"]) < SAME
    )


def _read_adjoint(backward: Callable, network: Network, n: int) -> tuple[Array, Array]:
    """alpha dx[T-n] of the backward (nan if it gives none), and the right one."""
    pulse = np.zeros_like(network.u)
    pulse[-1 - n] = 1
    probe = network._replace(u=pulse)
    right = probe.exact()
    given = ask(backward, probe, right).grads.get("W_in", np.full_like(right["W_in"], np.nan))
    return given[:, 0], right["W_in"][:, 0]


def conditions(backward: Callable, draw: Callable[..., Network]) -> dict[str, set[str]]:
    """For each field, the special networks on which it is right: evidence where no slip fits."""
    base = draw(N=4, T=6, B=3)
    p = base.params
    tried = {
        "a single step": draw(N=4, T=1, B=3),
        "a single trial": draw(N=4, T=6, B=1),
        "a single unit": draw(N=1, T=6, B=3),
        "a symmetric W": base._replace(params=p._replace(W=p.W + p.W.T)),
        "W = 0": base._replace(params=p._replace(W=0 * p.W)),
        "equal time constants": base._replace(params=p._replace(tau=0 * p.tau + p.tau.mean())),
        "dt = tau": base._replace(params=p._replace(tau=0 * p.tau + base.dt)),
        "a linear phi": base._replace(phi="linear"),
        "no noise": base._replace(noise=None),
        "no input": base._replace(u=0 * base.u),
        "x0 = 0": base._replace(params=p._replace(x0=0 * p.x0)),
        "b = 0": base._replace(params=p._replace(b=0 * p.b)),
    }
    where: dict[str, set[str]] = {name: set() for name in RECIPE if name in Params._fields}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # dt = tau is a coarse step, on purpose
        for words, network in tried.items():
            right = network.exact()
            for name, g in ask(backward, network, right).grads.items():
                if right[name].any() and distance(g, right[name]) < SAME:
                    where[name].add(words)
    return where
