"""Networks to ask a backward about, and what it answered, whatever that is."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tau_rnn.discretisation import DEFAULT_METHOD
from tau_rnn.gradcheck.recipe import FIELDS, gradient
from tau_rnn.model import Array, Nonlinearity, Params, Trajectory, forward

__all__: list[str] = []

# Two computations of one gradient differ by rounding, about 1e-14; two different ones by far more.
SAME = 1e-9
_SAME_IN_SINGLE_PRECISION = 1e-5


class Network(NamedTuple):
    """A random network, its input, and the derivative of a loss with respect to its outputs."""

    params: Params
    u: Array
    noise: Array | None
    dy: Array
    dt: float
    phi: str | Nonlinearity
    method: str

    def run(self, params: Params | None = None) -> Trajectory:
        """Simulate it, or the same with other parameters."""
        params = self.params if params is None else params
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # coarse Euler steps, on purpose
            return forward(
                params, self.u, self.dt, phi=self.phi, method=self.method, noise=self.noise
            )

    def loss(self, params: Params):
        """A loss whose derivative with respect to y is dy."""
        return (self.dy * self.run(params).y).sum()

    def exact(self) -> dict[str, Array]:
        """The right gradient of the loss, by field name."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return gradient(self.params, self.run(), self.dy)

    def last(self, steps: int) -> Network:
        """The last steps as a run of their own, of the first trial: it has the same adjoint."""
        start, one = len(self.u) - steps, slice(0, 1)
        return self._replace(
            params=self.params._replace(x0=self.run().x[start, 0]),
            u=self.u[start:, one],
            noise=None if self.noise is None else self.noise[start:, one],
            dy=self.dy[start:, one],
        )

    def __str__(self) -> str:
        (T, B, _), N = self.u.shape, len(self.params.b)
        return f"N = {N}, T = {T}, B = {B}, {'no noise' if self.noise is None else 'noise'}"


def draw_network(
    rng, N, T, B, *, n_in=2, n_out=3, phi: str | Nonlinearity = "tanh", method=DEFAULT_METHOD,
    noisy=True,
) -> Network:  # fmt: skip
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


def tolerance(given: Array) -> float:
    """The distance below which an array is taken for another: more in single precision."""
    single = given.dtype.kind == "f" and given.dtype.itemsize < 8
    return _SAME_IN_SINGLE_PRECISION if single else SAME


def agrees(given: Array, right: Array) -> bool:
    """Whether the two differ by rounding alone."""
    return distance(given, right) < tolerance(given)


class Problem(NamedTuple):
    """Why there is no array to judge."""

    words: str
    kind: str = "problem"  # or "unusable": what can't be made an array at all


class Answer(NamedTuple):
    """What a backward returned: arrays of the right shape, and what is the matter with the rest."""

    grads: dict[str, Array]
    problems: dict[str, Problem]
    changed: tuple[str, ...] = ()  # names of the arguments that it changed


def ask(backward: Callable, network: Network, right: Mapping[str, Array]) -> Answer:
    """Call a backward that may do anything: raise, change its arguments, return what it likes."""
    # All that it is given are copies: what it does to its arguments spoils no other call.
    copy = network._replace(
        params=Params(*map(np.copy, network.params)),
        u=network.u.copy(),
        noise=None if network.noise is None else network.noise.copy(),
        dy=network.dy.copy(),
    )
    traj = copy.run()
    before = {name: np.copy(a) for name, a in _arrays(copy, traj)}
    try:
        result = backward(copy.params, traj, copy.dy)
    except (Exception, SystemExit) as error:
        raised = Problem(f"raised {_described(error, backward)}", "unusable")
        return Answer({}, dict.fromkeys(FIELDS, raised))
    changed = tuple(
        name
        for name, a in _arrays(copy, traj)
        if not np.array_equal(a, before[name], equal_nan=True)
    )
    found = {name: _judged(name, value, right) for name, value in _by_field(result).items()}
    problems = {name: each for name, each in found.items() if isinstance(each, Problem)}
    grads = {name: each for name, each in found.items() if not isinstance(each, Problem)}
    return Answer(grads, problems, changed)


def _arrays(network: Network, traj: Trajectory) -> Iterator[tuple[str, Array]]:
    """The arrays that backward is given, by the names it knows them by."""
    yield from ((f"params.{name}", a) for name, a in network.params._asdict().items())
    yield from ((f"traj.{name}", getattr(traj, name)) for name in ("x", "r", "y", "u"))
    if traj.noise is not None:
        yield "traj.noise", traj.noise
    yield "dy", network.dy


def _by_field(result: Any) -> dict[str, Any]:
    """What was returned for each field, or a problem where nothing was."""
    names = getattr(result, "_fields", ())  # a NamedTuple of the reader's own, in any order
    if {str(name).removeprefix("d") for name in names} == set(FIELDS):
        result = dict(zip(names, result))
    if isinstance(result, Mapping):
        keys = {name: next((k for k in (name, f"d{name}") if k in result), None) for name in FIELDS}
        other = [str(key) for key in result if key not in keys.values()]
        return {
            name: _no_key(name, other) if key is None else result[key] for name, key in keys.items()
        }
    if isinstance(result, Sequence) and len(result) == len(FIELDS):
        return dict(zip(FIELDS, result))
    length = f" of {len(result)}" if isinstance(result, Sequence) else ""
    words = f"not returned: backward gave {type(result).__name__}{length}, not a Params"
    return dict.fromkeys(FIELDS, Problem(words, "unusable"))


def _no_key(name: str, other: Sequence[str]) -> Problem:
    near = [key for each in (f"d{name}", name) for key in get_close_matches(each, other, 1)]
    hint = f"; is it {near[0]!r}? Call it 'd{name}'" if near else ""
    return Problem(f"not returned: there is no key 'd{name}'{hint}")


def _judged(name: str, value, right: Mapping[str, Array]) -> Array | Problem:
    """An array of the right shape, or why there is none."""
    kind = type(value).__name__
    if value is None:
        return Problem("not returned: it is None")
    if isinstance(value, Problem):
        return value
    if getattr(value, "requires_grad", False):
        words = f"a {kind} that still requires grad: return d{name}.detach().numpy()"
        return Problem(words, "unusable")
    try:
        array = np.array(value)
    except (TypeError, ValueError):  # a ragged list, say
        array = np.array(None)
    except Exception as error:
        return Problem(f"a {kind} that can't be made an array: {error}", "unusable")
    if array.dtype.kind not in "fiub":
        return Problem("not an array of real numbers")
    return array if array.shape == right[name].shape else _wrong_shape(name, array, right)


def _described(error: BaseException, backward: Callable) -> str:
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    file = getattr(getattr(backward, "__code__", None), "co_filename", None)
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return f"{text} (line {lines[-1]} of {Path(file).name})" if file and lines else text


def _wrong_shape(name: str, value: Array, rights: Mapping[str, Array]) -> Problem:
    right, hint = rights[name], ""
    for other, its in rights.items():
        if value.shape == its.shape and agrees(value, its):
            hint = f"; it is the gradient of {other}: mind the order"
    if value.T.shape == right.shape and agrees(value.T, right):
        hint = "; its transpose is right"
    elif value.ndim == 0 and agrees(value, right.sum()):
        hint = "; it is the sum of the right one over its entries (summed over units?)"
    elif value.ndim > right.ndim and value.shape[value.ndim - right.ndim :] == right.shape:
        if agrees(value.sum(tuple(range(value.ndim - right.ndim))), right):
            hint = "; summed over its leading axes (time, trials) it is right"
    return Problem(f"has shape {value.shape}, must be {right.shape}{hint}")
