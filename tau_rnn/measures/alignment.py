r"""Did training rebuild what the network represents, or only change how it is read out?

Both measures compare a symmetric matrix of the network before training with the same one after it,

.. math:: A(K_0, K_1) = \frac{\langle K_0, K_1\rangle_F}{\|K_0\|_F\, \|K_1\|_F} \in [0, 1]

since K is positive semidefinite. 1 says that nothing but its scale changed ("lazy"), a small value
that training rebuilt it ("rich") [1]_.

**Tangent kernel** [2]_. K_ab = <df_a/dW, df_b/dW> over all recurrent weights, where an output a is
one (time, trial, output). As in `tau_rnn.bptt`, with dx the adjoint of that one output::

    df_a/dW = sum_s (alpha dx_a[s+1]) r[s]^T                       (N, N): a sum of outer products

**The cheapest exact way.** A outputs make A^2/2 entries of K. Each is an inner product of two
gradients, and costs N^2 products if the gradients are formed; left as sums of T outer products
they would cost about T^2 N (all inner products of the adjoints, and of the rates). So gradients
are formed wherever N < T^2, and that costs 4 A T N^2: less than the A^2 N^2 of K by the factor
4 T/A. Neither J (A, N^2) nor K (A, A) is held in memory: outputs are taken in blocks, a block's
gradients are computed again for each pair of blocks that it is in, and of K only the three inner
products are kept.

References
----------
.. [1] Liu, Y. H., Baratin, A., Cornford, J., Mihalas, S., Shea-Brown, E. & Lajoie, G. (2024). How
   connectivity structure shapes rich and lazy learning in neural circuits. ICLR.
.. [2] Jacot, A., Gabriel, F. & Hongler, C. (2018). Neural tangent kernel: convergence and
   generalization in neural networks. NeurIPS 31.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tau_rnn.checks import check_array
from tau_rnn.discretisation import DEFAULT_METHOD, alpha
from tau_rnn.measures._shared import Array, double_params, params_pair
from tau_rnn.model import ParamsLike, forward
from tau_rnn.nonlinearities import Nonlinearity, differentiable

__all__ = ["kernel_alignment", "representation_alignment"]

BLOCK_BYTES = 2**26  # what a block of gradients may take, the adjoints they are made of, a kernel


def representation_alignment(H0: ArrayLike, H1: ArrayLike) -> float:
    r"""Alignment of the representations before and after training (Liu et al. 2024).

    .. math:: \frac{\langle R_0, R_1\rangle_F}{\|R_0\|_F\,\|R_1\|_F}, \qquad R = H H^\top

    R_ab says how similar the trials a and b look to a linear readout. A rotation of the units or a
    scaling of H changes nothing. H is taken as it is, not centred: the mean rate counts.

    Parameters
    ----------
    H0, H1 : (trials, units) rates at the decision time; the numbers of units may differ

    Returns
    -------
    float in [0, 1]; nan where H0 or H1 is constant over the trials: every trial then looks like
    every other, and nothing is represented

    Raises
    ------
    ValueError
        If the numbers of trials differ, or a value is not finite or not real.

    Examples
    --------
    A rotation of the units and a scaling change nothing:

    >>> representation_alignment([[1, 0], [0, 2]], [[0, 3], [-6, 0]])
    1.0
    >>> representation_alignment([[1, 0], [0, 0]], [[0, 0], [0, 1]])
    0.0
    """
    H0 = check_array("H0", H0, ("trials", "units"), largest=np.inf).astype(float)
    H1 = check_array("H1", H1, ("trials", "units"), largest=np.inf).astype(float)
    if len(H0) != len(H1):
        raise ValueError(f"H1: must have as many trials as H0, {len(H0)}, got {len(H1)}")
    if (H0 == H0[0]).all() or (H1 == H1[0]).all():
        return np.nan

    # Scaled by a power of 2, which is exact: fourth powers of tiny or huge rates would be 0 or inf.
    H0, H1 = (np.ldexp(H, -np.frexp(np.abs(H).max())[1]) for H in (H0, H1))

    def product(A, B):
        return np.square(A.T @ B).sum()  # <A A^T, B B^T> without a (trials, trials) matrix

    # Not above 1, but for rounding.
    return min(1.0, float(product(H0, H1) / np.sqrt(product(H0, H0) * product(H1, H1))))


def kernel_alignment(
    params0: ParamsLike, params1: ParamsLike, u: ArrayLike, dt: float, *,
    phi: str | Nonlinearity = "tanh", method: str = DEFAULT_METHOD, noise: ArrayLike | None = None,
    times: ArrayLike | None = None,
) -> float:  # fmt: skip
    r"""Alignment of the tangent kernels of the recurrent weights before and after training.

    .. math:: \frac{\langle K_0, K_1\rangle_F}{\|K_0\|_F\,\|K_1\|_F}, \qquad
              K_{ab} = \Big\langle \frac{\partial f_a}{\partial W},
              \frac{\partial f_b}{\partial W}\Big\rangle

    over all pairs of outputs a, b, each one (time, trial, output). Exact, and without holding K or
    the Jacobian (the head of this module says how and why).

    Parameters
    ----------
    params0, params1 : Params before and after training
    u : (T, B, n_in) inputs
    dt : time step in seconds
    phi, method, noise : as for `tau_rnn.model.forward`, the same for both networks
    times : None for all steps; or the steps t whose outputs y[t] count, integers from 0 to
        T - 1: (n,) for all trials, or (n, B) with a column for each trial (say, its decision)

    Returns
    -------
    float in [0, 1]; nan where a kernel is zero: no output depends on W (W_out = 0, say)

    Raises
    ------
    ValueError
        If the networks have different sizes, times is out of its range, or `forward` refuses.

    Notes
    -----
    With A = n B n_out outputs, the kernels take 2 A^2 N^2 operations, the gradients 8 A T N^2 for
    each pair of blocks, and memory half a gigabyte at most. For N = 100, 64 trials of 104 steps and
    one output, on one core: all steps (A = 6656) 40 s, every fourth 3 s, the decision alone 0.1 s.
    In one trained network the three alignments were 0.469, 0.477 and 0.479: a stride costs little.

    Examples
    --------
    >>> from tau_rnn import init_params
    >>> rng = np.random.default_rng(0)
    >>> before = init_params(5, 1, 1, [0.2, 0.4, 0.6, 0.8, 1.0], rng)
    >>> after = before._replace(W_out=3 * before.W_out)  # only the scale of the kernel changes
    >>> round(kernel_alignment(before, after, rng.standard_normal((8, 4, 1)), 0.1), 12)
    1.0
    """
    pair = params_pair("params0", params0, "params1", params1)
    u = check_array("u", u)
    trajs = [forward(p, u, dt, phi=phi, method=method, noise=noise) for p in pair]
    across = norm0 = norm1 = 0.0  # <K0, K1>, <K0, K0>, <K1, K1>
    for rows, columns, kernels in _kernel_blocks(pair, trajs, _outputs(times, *trajs[0].y.shape)):
        K0, K1 = (K.ravel() for K in kernels)
        weight = 1 if rows == columns else 2  # K is symmetric
        across += weight * (K0 @ K1)
        norm0 += weight * (K0 @ K0)
        norm1 += weight * (K1 @ K1)
    if norm0 == 0 or norm1 == 0:
        return np.nan
    return float(across / np.sqrt(norm0 * norm1))


def tangent_kernel(params, traj, outputs) -> Array:
    """The tangent kernel (A, A) of outputs (A, 3), see `output_gradients`, held in memory."""
    kernel = np.empty((len(outputs), len(outputs)))
    for rows, columns, (block,) in _kernel_blocks([params], [traj], outputs):
        kernel[rows, columns], kernel[columns, rows] = block, block.T
    return kernel


def _kernel_blocks(networks, trajs, outputs) -> Iterator[tuple[slice, slice, list[Array]]]:
    """The tangent kernels of the networks block by block: rows, columns up to these, and kernels.

    A block's gradients, and the kernel of two blocks, need no more than `BLOCK_BYTES`.
    """
    N, T = len(networks[0].b), len(trajs[0].y)
    # Gradients and adjoints take 8 N max(N, T) bytes for each output, a block of a kernel 8 size^2.
    size = max(1, min(BLOCK_BYTES // (8 * N * max(N, T)), isqrt(BLOCK_BYTES // 8)))
    blocks = [slice(start, start + size) for start in range(0, len(outputs), size)]

    def gradients(block):
        return [output_gradients(network, traj, outputs[block]).reshape(-1, N * N)
                for network, traj in zip(networks, trajs)]  # fmt: skip

    for i, rows in enumerate(blocks):
        G_rows = gradients(rows)
        for columns in blocks[: i + 1]:
            G_columns = G_rows if columns == rows else gradients(columns)
            yield rows, columns, [a @ b.T for a, b in zip(G_rows, G_columns)]


def output_gradients(params, traj, outputs) -> Array:
    r"""Gradients of single outputs with respect to the recurrent weights: rows of the Jacobian.

    .. math:: \frac{\partial y_k[t]}{\partial W} = \sum_{s \le t} (\alpha\, dx[s+1])\, r[s]^\top

    with dx the adjoint of y_k[t] alone. All adjoints are carried back together, one matrix product
    a step; the sum over s is one product for each trial.

    ``outputs`` is (A, 3) integers, a row (trial, t, k) for each output y[t, trial, k]; the result
    is (A, N, N).

    >>> from tau_rnn import init_params
    >>> rng = np.random.default_rng(0)
    >>> params = init_params(5, 1, 1, 1.0, rng)
    >>> traj = forward(params, rng.standard_normal((8, 4, 1)), 0.1)
    >>> output_gradients(params, traj, [(2, 7, 0)]).shape  # of y[7] in trial 2
    (1, 5, 5)
    """
    W, _, b, W_out, _, _, tau = double_params("params", params)
    T, B, n_out = traj.y.shape
    N = len(b)
    if traj.x.shape != (T + 1, B, N):
        raise ValueError(f"traj: must keep all states, x of shape {(T + 1, B, N)}")
    outputs = np.asarray(outputs)
    limits = (B, T, n_out)
    if outputs.ndim != 2 or outputs.shape[1] != 3 or outputs.dtype.kind not in "iu":
        raise ValueError(f"outputs: must be (A, 3) integers, got shape {outputs.shape}")
    if (outputs < 0).any() or (outputs >= limits).any():
        raise ValueError(f"outputs: (trial, t, k) must be >= 0 and below {limits}")
    trial, time, k = outputs.T
    a = alpha(tau, traj.dt, traj.method)
    slope = differentiable(traj.phi).derivative(traj.r)
    last = time.max(initial=-1) + 1
    p = np.empty((last, len(outputs), N))  # p[s] = alpha dx[s+1]
    dx = np.zeros((len(outputs), N))
    for s in reversed(range(last)):
        starts = time == s
        dx[starts] = slope[s + 1, trial[starts]] * W_out[k[starts]]
        np.multiply(a, dx, out=p[s])
        dx = (1 - a) * dx + slope[s, trial] * (p[s] @ W)
    gradients = np.empty((len(outputs), N, N))
    for m in np.unique(trial):
        of_trial = np.flatnonzero(trial == m)
        gradients[of_trial] = np.tensordot(p[:, of_trial], traj.r[:last, m], axes=(0, 0))
    return gradients


def _outputs(times: Any, T: int, B: int, n_out: int) -> Array:
    """(A, 3) rows (trial, t, k), sorted, of the outputs that `times` selects."""
    times = np.arange(T) if times is None else check_array("times", times)
    if times.ndim == 1:
        times = np.repeat(times[:, np.newaxis], B, axis=1)
    if times.ndim != 2 or times.shape[1] != B or times.size == 0 or times.dtype.kind not in "iu":
        raise ValueError(
            f"times: must be integers, (n,) or (n, B) with B = {B} and n >= 1, "
            f"got {times.dtype} of shape {times.shape}"
        )
    if times.min() < 0 or times.max() >= T:
        raise ValueError(
            f"times: must be steps from 0 to T - 1 = {T - 1}, got {times.min()} to {times.max()}"
        )
    n = len(times)
    trial = np.repeat(np.arange(B), n * n_out)
    return np.stack([trial, np.repeat(times.T.ravel(), n_out), np.tile(range(n_out), n * B)], 1)
