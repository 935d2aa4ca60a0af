r"""Which weights may exist, and of which sign: sparse networks, hierarchies, Dale's law.

Training then seeks the least loss among the networks that a `Connectivity` allows. Its gradient is
that of the allowed weights, dW * mask, which for every allowed direction V is the directional
derivative of the loss::

    d/de L(W + e V) = sum_ij dW_ij mask_ij V_ij        where V_ij = 0 wherever mask_ij = 0.

The gradient of a weight that may not exist is exactly 0, and so are its moments in Adam and every
update of it: it stays exactly 0. Under Dale's law column j of W, what unit j sends to all others,
has one sign. A step may carry a weight across 0. It is then set to 0, the nearest weight that is
allowed (projection onto signs * W >= 0), and may grow again from there. Its gradient and moments
are treated like those of any other weight. The readout is an observer's, not a synapse: Dale's law
leaves W_out alone.

Song, Yang & Wang (2016), "Training excitatory-inhibitory recurrent neural networks for cognitive
tasks", PLoS Comput. Biol. 12, e1004792, train with masks and Dale's law, as does PsychRNN
(Ehrlich et al. 2021, eNeuro 8).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tau_rnn.checks import check_array, check_generator, check_integer, check_number, nearest, shown
from tau_rnn.model import Array, Params, ParamsLike, check_params

__all__ = ["Connectivity", "impose", "make_connectivity"]

#: What ``connectivity=`` of a run takes.
CONNECTIVITIES = ("full", "dale:F", "sparse:P", "hierarchy:K")


class Connectivity(NamedTuple):
    """The weights that a network may have; None where all are allowed.

    Attributes
    ----------
    W : (N, N) mask, nonzero where unit j may reach unit i
    W_in : (N, n_in) mask
    W_out : (n_out, N) mask
    signs : (N,) sign of column j of W: +1 excitatory, -1 inhibitory, 0 either

    Examples
    --------
    >>> from tau_rnn import init_params, make_task, train
    >>> task, rng = make_task("multi_timescale", dt=0.1), np.random.default_rng(0)
    >>> connectivity = Connectivity(W=1 - np.eye(10), signs=[1] * 8 + [-1] * 2)
    >>> params = impose(init_params(10, task.n_in, task.n_out, 1.0, rng), connectivity)
    >>> params, _ = train(params, task, 3, rng=rng, lr=0.1, connectivity=connectivity)
    >>> bool((params.W * connectivity.signs >= 0).all()), float(np.abs(np.diag(params.W)).max())
    (True, 0.0)
    """

    W: Array | None = None
    W_in: Array | None = None
    W_out: Array | None = None
    signs: Array | None = None


def parse_connectivity(text) -> tuple[str, float]:
    """The kind and the parameter of ``dale:0.8``, ``sparse:0.1`` or ``hierarchy:3``.

    >>> parse_connectivity("sparse:0.10")
    ('sparse', 0.1)
    """
    kinds = {name.partition(":")[0]: name for name in CONNECTIVITIES}
    if not isinstance(text, str):
        raise ValueError(f"connectivity: must be a text such as dale:0.8, got {shown(text)}")
    kind, colon, value = (part.strip() for part in text.partition(":"))
    if kind not in kinds or (kind == "full") == bool(colon):
        raise ValueError(f"connectivity: unknown {shown(text)}; {nearest(kind, kinds.values())}")
    if kind == "full":
        return kind, 1.0
    name = f"connectivity: {kind}"
    if kind == "hierarchy":
        return kind, check_integer(name, check_number(name, value), 2)
    return kind, check_number(name, value, above=0, below=1)


def make_connectivity(
    text: str, n_units: int, n_in: int, n_out: int, rng: np.random.Generator
) -> Connectivity | None:
    """The connectivity of a text; None for "full".

    =============  ============================================================================
    full           every weight, of either sign
    dale:0.8       the first 80 % of the units are excitatory, the others inhibitory
    sparse:0.1     each weight of W exists with probability 0.1
    hierarchy:3    3 blocks of consecutive units, whose sizes differ by at most 1; W only within a
                   block and between neighbours, in both directions; inputs reach the first, the
                   readout sees the last
    =============  ============================================================================

    Parameters
    ----------
    text : one of these
    n_units, n_in, n_out : N and the numbers of inputs and outputs
    rng : numpy.random.Generator, which sparse masks are drawn from

    Returns
    -------
    Connectivity, or None

    Raises
    ------
    ValueError
        If the text is not one of these, or its parameter does not fit the units.

    Examples
    --------
    >>> make_connectivity("hierarchy:3", 4, 1, 1, np.random.default_rng(0)).W.astype(int)
    array([[1, 1, 1, 0],
           [1, 1, 1, 0],
           [1, 1, 1, 1],
           [0, 0, 1, 1]])
    """
    kind, value = parse_connectivity(text)
    N, rng = check_integer("n_units", n_units, 1), check_generator(rng)
    if kind == "full":
        return None
    if kind == "sparse":
        return Connectivity(W=rng.random((N, N)) < value)
    if kind == "dale":
        return Connectivity(signs=np.where(np.arange(N) < round(value * N), 1.0, -1.0))
    blocks = int(value)
    if blocks > N:
        raise ValueError(f"connectivity: {text} needs at least {blocks} units, got {N}")
    block = np.concatenate([[k] * len(a) for k, a in enumerate(np.array_split(range(N), blocks))])
    return Connectivity(
        W=np.abs(block[:, np.newaxis] - block) <= 1,
        W_in=np.repeat(block[:, np.newaxis] == 0, n_in, axis=1),
        W_out=np.repeat(block[np.newaxis] == blocks - 1, n_out, axis=0),
    )


def check_connectivity(connectivity, params: Params) -> Connectivity:
    """The masks as booleans and the signs as numbers of the dtype of W, none of them None.

    Raises
    ------
    ValueError
        If a shape does not fit the network, or a sign is not -1, 0 or 1.
    """
    if not isinstance(connectivity, Connectivity):
        raise ValueError(f"connectivity: must be a Connectivity, got {shown(connectivity)}")
    masks = {}
    for name in ("W", "W_in", "W_out"):
        given, shape = getattr(connectivity, name), getattr(params, name).shape
        mask = np.ones(shape, bool) if given is None else given
        masks[name] = check_array(f"connectivity.{name}", mask, shape) != 0
    N = len(params.W)
    signs = np.zeros(N) if connectivity.signs is None else connectivity.signs
    signs = check_array("connectivity.signs", signs, (N,))
    if not np.isin(signs, (-1, 0, 1)).all():
        raise ValueError(f"connectivity.signs: must be -1, 0 or 1, got {shown(signs)}")
    return Connectivity(**masks, signs=signs.astype(params.W.dtype))


def check_obeys(params: Params, connectivity) -> Connectivity | None:
    """The connectivity as `check_connectivity` returns it, if the network obeys it, or None.

    A ValueError names the first field with a weight that is not allowed.
    """
    if connectivity is None:
        return None
    connectivity = check_connectivity(connectivity, params)
    for name in ("W", "W_in", "W_out"):
        if (getattr(params, name)[~getattr(connectivity, name)] != 0).any():
            raise ValueError(
                f"{name}: must be 0 where connectivity.{name} is; "
                "`tau_rnn.connectivity.impose(params, connectivity)` makes it so"
            )
    if (params.W * connectivity.signs < 0).any():
        raise ValueError(
            "W: must have the sign of connectivity.signs in every column; "
            "`tau_rnn.connectivity.impose(params, connectivity)` makes it so"
        )
    return connectivity


def impose(params: ParamsLike, connectivity: Connectivity) -> Params:
    """A network that obeys the connectivity, made from one that may not.

    Weights that are not allowed become 0, and those of the wrong sign change sign. Where there are
    units of both signs, inhibition is scaled so that the weights of a row sum to 0 on average. W is
    then scaled to the Frobenius norm that it had, which keeps the spectral radius of a large random
    W of independent weights.

    Parameters
    ----------
    params : Params, which are left as they are
    connectivity : Connectivity

    Returns
    -------
    Params

    Examples
    --------
    >>> from tau_rnn import init_params
    >>> params = init_params(3, 1, 1, 1.0, np.random.default_rng(0))
    >>> obeys = impose(params, Connectivity(signs=[1, 1, -1]))
    >>> np.sign(obeys.W).astype(int).tolist()
    [[1, 1, -1], [1, 1, -1], [1, 1, -1]]
    """
    params = check_params(params)
    connectivity = check_connectivity(connectivity, params)
    signs, masked = np.asarray(connectivity.signs), allowed_part(params, connectivity)
    W = np.where(signs == 0, masked.W, np.abs(masked.W) * signs)
    excitation, inhibition = (sign * W[:, signs == sign].sum() for sign in (1, -1))
    if excitation > 0 and inhibition > 0:
        W[:, signs == -1] *= excitation / inhibition
    size = np.linalg.norm(W)
    W = W * (np.linalg.norm(params.W) / size) if size else W
    return masked._replace(W=W.astype(params.W.dtype, copy=False))


def allowed_part(params: Params, connectivity: Connectivity | None) -> Params:
    """A gradient, or weights (Params), with exact zeros for the weights that may not exist.

    ``connectivity`` is as `check_connectivity` returns it, or None where all may.
    """
    if connectivity is None:
        return params
    return params._replace(
        W=params.W * connectivity.W,
        W_in=params.W_in * connectivity.W_in,
        W_out=params.W_out * connectivity.W_out,
    )


def keep_signs(W: Array, connectivity: Connectivity | None) -> None:
    """Set every weight of the wrong sign to 0, in place; connectivity as for `allowed_part`."""
    if connectivity is not None:
        W[W * connectivity.signs < 0] = 0
