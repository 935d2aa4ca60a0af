"""What is trained, as one flat vector theta of unbounded numbers.

The chosen fields of `Params` are laid out one after another; an unbounded s takes the place of tau.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from tau_rnn.checks import check_array, nearest, shown
from tau_rnn.model import Array, Params

__all__ = ["constrain", "flatten", "unconstrain", "unflatten"]

TAU_MAX = 10.0  # s, upper bound of a trained time constant
#: What is trained unless something else is asked for.
DEFAULT_FIELDS = ("W", "W_in", "b", "W_out", "b_out")
#: Names that stand for several fields in ``train=``.
FIELD_GROUPS = {
    "default": DEFAULT_FIELDS,
    "recurrent": ("W",),
    "readout": ("W_out", "b_out"),
    "all": Params._fields,
}


def parse_fields(train) -> tuple[str, ...]:
    """Fields of Params that are trained, in the order of Params, from names and group names.

    ``"W,b"`` is these two; ``"recurrent"``, ``"readout"``, ``"default"`` and ``"all"`` are groups;
    a name with a plus is added to the default: ``"+tau"``.

    Raises
    ------
    ValueError
        If a name is unknown, or none is given.
    """
    names = train.split(",") if isinstance(train, str) else train
    if not isinstance(names, (list, tuple, set)) or not all(isinstance(n, str) for n in names):
        raise ValueError(f"train: must be names of parameters, got {shown(train)}")
    chosen: set[str] = set()
    for name in (n.strip() for n in names):
        if name.startswith("+"):
            chosen.update(DEFAULT_FIELDS)
            name = name[1:]
        allowed = (*Params._fields, *FIELD_GROUPS)
        if name not in allowed:
            raise ValueError(f"train: unknown parameter {name!r}; {nearest(name, allowed)}")
        chosen.update(FIELD_GROUPS.get(name, (name,)))
    if not chosen:
        raise ValueError(f"train: names no parameter; allowed: {', '.join(Params._fields)}")
    return tuple(f for f in Params._fields if f in chosen)


def constrain(s: Array, dt: float) -> tuple[Array, Array]:
    r"""Time constants from their unbounded variable s, and dtau/ds.

    .. math:: \log\tau = c + h \tanh(s / h), \qquad c \pm h = \log 10\,\mathrm{s},\; \log dt

    so that s is log tau up to a constant where tau is well inside (dt, 10 s), and no finite s
    reaches the bounds: where rounding would, tau is the nearest number inside. dtau/ds =
    tau (1 - tanh^2(s / h)) does not vanish as a clamp's would, but for rounding far out.

    Parameters
    ----------
    s : (N,) unbounded variables
    dt : time step in seconds, the lower bound of tau

    Returns
    -------
    tau : (N,) in seconds
    slope : (N,) dtau/ds in seconds

    Examples
    --------
    >>> s = unconstrain([0.2, 1.0], dt=0.05)
    >>> constrain(s, dt=0.05)[0].round(9)
    array([0.2, 1. ])
    """
    centre, half = _log_range(dt)
    z = np.tanh(s / half)
    tau = np.exp(centre + half * z)
    slope = tau * (1 - z * z)
    if not np.iscomplexobj(tau):
        low, high = np.array([dt, TAU_MAX], tau.dtype)
        tau = tau.clip(np.nextafter(low, high), np.nextafter(high, low))
    return tau, slope


def unconstrain(tau: ArrayLike, dt: float) -> Array:
    """The inverse of `constrain`.

    Parameters
    ----------
    tau : (N,) time constants in seconds
    dt : time step in seconds

    Returns
    -------
    (N,) unbounded variables s

    Raises
    ------
    ValueError
        Unless dt < tau < 10 s for every unit.

    Examples
    --------
    >>> bool(abs(unconstrain([(0.1 * 10) ** 0.5], dt=0.1)[0]) < 1e-9)  # the middle of ln tau
    True
    """
    tau = check_array("tau", tau, finite=False)
    if not ((tau > dt) & (tau < TAU_MAX)).all():
        raise ValueError(
            f"tau: to be trained, every time constant must lie between dt = {dt:g} s and "
            f"{TAU_MAX:g} s, got {tau.min():g} .. {tau.max():g} s"
        )
    centre, half = _log_range(dt)
    z = (np.log(tau) - centre) / half
    one = z.dtype.type(1)
    largest = np.nextafter(one, 0 * one)  # within rounding of a bound z may come out as 1
    return half * np.arctanh(np.clip(z, -largest, largest))


def _log_range(dt):
    low, high = float(np.log(dt)), float(np.log(TAU_MAX))
    return (low + high) / 2, (high - low) / 2


def flatten(params: Params, fields: Iterable[str]) -> Array:
    """The given fields of params, one after another, as one new vector.

    Parameters
    ----------
    params : Params
    fields : names of its fields, in the order of the vector

    Returns
    -------
    (n,) vector, n the number of all their entries

    Examples
    --------
    >>> params = Params(*([k] for k in range(7)))
    >>> flatten(params, ("b", "tau"))
    array([2, 6])
    """
    return np.concatenate([np.ravel(getattr(params, f)) for f in fields])


def unflatten(vector: Array, like: Params, fields: Iterable[str]) -> Params:
    """Params whose given fields are views into the vector, and whose others are those of like.

    Parameters
    ----------
    vector : (n,) as `flatten` makes it
    like : Params that gives the shapes, and the fields that are not in the vector
    fields : names of the fields, in the order of the vector

    Returns
    -------
    Params

    Examples
    --------
    >>> like = Params(*(np.zeros(2) for _ in range(7)))
    >>> unflatten(np.arange(4.0), like, ("b", "tau")).tau
    array([2., 3.])
    """
    views, start = {}, 0
    for f in fields:
        value = getattr(like, f)
        stop = start + value.size
        views[f] = vector[start:stop].reshape(value.shape)
        start = stop
    return like._replace(**views)
