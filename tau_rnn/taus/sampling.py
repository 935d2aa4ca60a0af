"""From a specification to one tau per unit: parse_tau, sample_tau, describe."""

from __future__ import annotations

import operator
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tau_rnn.checks import check_generator, nearest
from tau_rnn.taus.families import Bimodal, Constant, Fixed, TauDistribution, Uniform
from tau_rnn.taus.truncated import Gamma, LogNormal, Normal

#: The distributions by the name that the command line and :func:`parse_tau` know.
DISTRIBUTIONS: dict[str, type[TauDistribution]] = {
    "vanilla": Constant,
    "normal": Normal,
    "uniform": Uniform,
    "bimodal": Bimodal,
    "lognormal": LogNormal,
    "gamma": Gamma,
    "constant": Constant,
    "values": Fixed,
    "file": Fixed,
}


def stratified_quantiles(n_units, rng):
    """One quantile per unit, one unit per stratum: q = (permutation(n) + uniform(n)) / n.

    Each q_i alone is uniform on [0, 1), yet together they cover it evenly, one in each interval
    [k/n, (k+1)/n): the histogram of tau of a network of 100 units looks like its distribution.

    Parameters
    ----------
    n_units : int
        Number of units, at least 1.
    rng : numpy.random.Generator
        Two arrays of ``n_units`` numbers are drawn from it.

    Returns
    -------
    (N,) float64 array
    """
    check_generator(rng)
    try:
        n = operator.index(n_units)
    except TypeError:
        raise ValueError(f"n_units: must be an integer >= 1, got {n_units!r}") from None
    if n < 1:
        raise ValueError(f"n_units: must be an integer >= 1, got {n_units!r}")
    stratum = rng.permutation(n)
    q = (stratum + rng.random(n)) / n
    # stratum + u may round up to the next stratum, which would unbalance the halves of `bimodal`.
    return np.minimum(q, np.nextafter((stratum + 1) / n, 0.0))


def sample_tau(dist, n_units, rng):
    """Draw the time constants of a network's units.

    The quantiles (see :func:`stratified_quantiles`) depend on the rng alone, and each distribution
    maps them through its quantile function: tau_i = ppf(q_i). So with rngs in the same state, unit
    i has the same quantile in every distribution (comparisons are paired unit by unit), and every
    distribution leaves the rng in the same state, ``vanilla`` and arrays included.

    Parameters
    ----------
    dist : str, TauDistribution or array_like of shape (N,)
        A specification as :func:`parse_tau` takes it. Given values are used in their order.
    n_units : int
        Number of units N.
    rng : numpy.random.Generator

    Returns
    -------
    tau : (N,) float64 array, in s, all > 0

    Raises
    ------
    ValueError
        For an unknown distribution, bad parameters, ``n_units`` < 1, values that are not finite
        and positive, or a number of values other than ``n_units``.

    Examples
    --------
    >>> tau = sample_tau("bimodal", 4, np.random.default_rng(0))
    >>> sorted(tau.tolist())
    [0.5, 0.5, 1.5, 1.5]
    """
    dist = parse_tau(dist)
    q = stratified_quantiles(n_units, rng)
    if not isinstance(dist, Fixed):
        tau = np.asarray(dist.ppf(q), dtype=float)
        if tau.shape != q.shape or not (np.isfinite(tau) & (tau > 0)).all():
            raise ValueError(f"tau: {dist.name}.ppf must give a finite tau > 0 s for each unit")
        return tau
    if len(dist.values) != q.size:
        where = f" from {dist.source}" if dist.source else ""
        raise ValueError(
            f"tau{where}: has {len(dist.values)} values, but the network has {q.size} units"
        )
    return np.array(dist.values)


def parse_tau(spec):
    """The distribution of tau that a text, an object or an array stands for.

    Parameters
    ----------
    spec : str, TauDistribution or array_like
        ``"normal"``, ``"normal:mean=1,sd=0.3"``, ``"constant:0.61"``, ``"values:0.5,1.5"``,
        ``"file:PATH"``, an object that already is a distribution, or one tau (s) per unit.

    Returns
    -------
    TauDistribution
        ``str()`` of it is the shortest text that gives an equal object again (parameters that
        have their default are left out: ``str(parse_tau("normal:mean=1"))`` is ``"normal"``).

    Raises
    ------
    ValueError
        Naming what was given, what is allowed and the nearest valid name.
    """
    if isinstance(spec, TauDistribution):
        return spec
    if not isinstance(spec, str):
        if not hasattr(spec, "__len__"):
            raise ValueError(
                "tau: must be a name, a TauDistribution or an array of shape (n_units,), "
                f"got {spec!r}; one tau for all units is 'constant:0.61'"
            )
        return Fixed(spec)
    name, colon, rest = spec.strip().partition(":")
    name = name.strip().lower()
    if name not in DISTRIBUTIONS:
        raise ValueError(f"tau: unknown distribution {spec!r}; {nearest(name, DISTRIBUTIONS)}")
    if colon and not rest.strip():
        raise ValueError(f"{spec!r}: nothing follows the colon")
    if name == "vanilla":
        if rest:
            raise ValueError(f"{spec!r}: vanilla has no parameters; for another tau: constant:0.61")
        return Constant()
    if name == "file":
        return _from_file(rest.strip(), spec)
    if name == "values":
        return Fixed(tuple(_to_float(text, spec) for text in rest.split(",")))
    if name == "constant" and "=" not in rest:
        return Constant(_to_float(rest, spec))
    return DISTRIBUTIONS[name](**_parameters(name, rest, spec))


class Summary(NamedTuple):
    """What a table says of a distribution of tau (see :func:`describe`).

    Attributes
    ----------
    spec : its text
    mean : E[tau] in s
    cv : sd[tau] / E[tau]
    mean_rate : E[1/tau] in 1/s
    low, high : smallest and largest possible tau in s
    """

    spec: str
    mean: float
    cv: float
    mean_rate: float
    low: float
    high: float


def describe(dist):
    """Mean (s), CV, E[1/tau] (1/s) and range (s) of a distribution, as a :class:`Summary`.

    These are properties of the distribution, not of a sample of it, and exact but for rounding
    (which the CV of a lognormal or gamma narrower than 1e-4 magnifies).
    """
    dist = parse_tau(dist)
    return Summary(str(dist), float(dist.mean), dist.cv, dist.mean_rate, *dist.support)


def _parameters(name, rest, spec):
    known = [f.name for f in fields(DISTRIBUTIONS[name])]  # type: ignore[arg-type]
    options = {}
    for item in rest.split(",") if rest else []:
        key, equals, text = (part.strip() for part in item.partition("="))
        if not equals:
            raise ValueError(f"{spec!r}: expected parameter=number after {name}, got {item!r}")
        if key not in known:
            raise ValueError(f"{spec!r}: {name} has no parameter {key!r}; {nearest(key, known)}")
        if key in options:
            raise ValueError(f"{spec!r}: {key} is given twice")
        options[key] = _to_float(text, spec)
    return options


def _from_file(path, spec):
    if not path:
        raise ValueError(f"{spec!r}: file needs a path, as in file:taus.npy")
    try:
        if Path(path).suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            text = Path(path).read_text(encoding="utf-8")
            values = np.array([float(word) for word in text.replace(",", " ").split()])
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"tau: cannot read time constants from {path!r}: {error}") from error
    return Fixed(values, source=f"file:{path}")


def _to_float(text, spec):
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{spec!r}: {text.strip()!r} is not a number") from None
