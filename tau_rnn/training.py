r"""Training: Adam and SGD, gradient clipping, and the loop that a front end follows step by step.

What is trained is one flat vector theta (see `tau_rnn.parametrization`): the chosen fields of
`Params` behind one another, with tau replaced by an unbounded s. A step draws trials and private
noise, simulates, goes back through time, clips the gradient to norm 1 and updates theta.

Adam (Kingma & Ba 2015), with gradient g and step k = 1, 2, ...

    m <- beta1 m + (1 - beta1) g          v <- beta2 v + (1 - beta2) g^2
    theta <- theta - lr * m / (1 - beta1^k) / (sqrt(v / (1 - beta2^k)) + eps)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tau_rnn.bptt import backward
from tau_rnn.checks import check_integer, check_number, nearest
from tau_rnn.losses import mse, rate_penalty
from tau_rnn.model import (
    DEFAULT_METHOD,
    METHODS,
    Array,
    Params,
    check_params,
    forward,
    nonlinearity,
    private_noise,
)
from tau_rnn.parametrization import TAU_MAX as TAU_MAX
from tau_rnn.parametrization import flatten as flatten
from tau_rnn.parametrization import s_of as s_of
from tau_rnn.parametrization import tau_of as tau_of
from tau_rnn.parametrization import unflatten as unflatten
from tau_rnn.tasks import Trials

#: What is trained unless something else is asked for.
DEFAULT_FIELDS = ("W", "W_in", "b", "W_out", "b_out")
#: Names that stand for several fields in ``train=``.
FIELD_GROUPS = {
    "default": DEFAULT_FIELDS,
    "recurrent": ("W",),
    "readout": ("W_out", "b_out"),
    "all": Params._fields,
}


class NonFiniteLoss(ArithmeticError):
    """The loss, its gradient or the update made from it is not finite.

    Attributes
    ----------
    step : the step in which it happened
    what : "loss", "gradient" or "update"
    params, kept : the last parameters that gave a finite loss and gradient, and the number of
        updates behind them; where there were none, those that training started from
    """

    def __init__(self, step: int, what: str, params: Params, kept: int):
        super().__init__(
            f"step {step}: the {what} is not finite; the parameters after {kept} steps are kept "
            "(a smaller learning rate may help)"
        )
        self.step, self.what, self.params, self.kept = step, what, params, kept

    def __reduce__(self):
        return NonFiniteLoss, (self.step, self.what, self.params, self.kept)


@dataclass(frozen=True)
class TrainConfig:
    """How to train; every default is the project's choice.

    Attributes
    ----------
    batch : trials of a step
    optimizer : "adam" or "sgd"
    lr : learning rate
    beta1, beta2, eps : of Adam
    momentum : of SGD, v <- momentum v + g, theta <- theta - lr v
    clip : the largest norm of a gradient; a longer one is scaled to it
    train : the fields of Params that are trained
    lr_scale : "none"; "tau" multiplies the learning rate of row i of W, W_in and b by
        tau_i / (1 s), "inverse-tau" by (1 s) / tau_i
    rate_penalty : weight of the mean squared rate in the loss
    phi, method : as for `forward`
    """

    batch: int = 32
    optimizer: str = "adam"
    lr: float = 0.003
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    momentum: float = 0.9
    clip: float = 1.0
    train: tuple[str, ...] = DEFAULT_FIELDS
    lr_scale: str = "none"
    rate_penalty: float = 0.0
    phi: str = "tanh"
    method: str = DEFAULT_METHOD

    def __post_init__(self):
        object.__setattr__(self, "batch", check_integer("batch", self.batch, 1))
        above, below = ("lr", "eps", "clip"), ("beta1", "beta2", "momentum")
        for name in (*above, *below, "rate_penalty"):
            limit = {"above": 0} if name in above else {"least": 0}
            limit |= {"below": 1} if name in below else {}
            object.__setattr__(self, name, check_number(name, getattr(self, name), **limit))
        for name, allowed in (
            ("optimizer", ("adam", "sgd")),
            ("lr_scale", ("none", "tau", "inverse-tau")),
            ("method", METHODS),
        ):
            if getattr(self, name) not in allowed:
                given = getattr(self, name)
                raise ValueError(f"{name}: unknown {given!r}; {nearest(given, allowed)}")
        nonlinearity(self.phi)  # raises if there is none of this name
        object.__setattr__(self, "train", parse_fields(self.train))


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
    if not (isinstance(names, Iterable) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"train: must be names of parameters, got {train!r}")
    chosen: set[str] = set()
    for name in (n.strip() for n in names):
        if name.startswith("+"):
            chosen.update(DEFAULT_FIELDS)
            name = name[1:]
        if name not in FIELD_GROUPS and name not in Params._fields:
            allowed = (*Params._fields, *FIELD_GROUPS)
            raise ValueError(f"train: unknown parameter {name!r}; {nearest(name, allowed)}")
        chosen.update(FIELD_GROUPS.get(name, (name,)))
    if not chosen:
        raise ValueError(f"train: names no parameter; allowed: {', '.join(Params._fields)}")
    return tuple(f for f in Params._fields if f in chosen)


def learning_rates(params: Params, settings: TrainConfig) -> Array | float:
    """The learning rate, or one for each element of theta where it is scaled by tau."""
    if settings.lr_scale == "none":
        return settings.lr
    rate = params.tau if settings.lr_scale == "tau" else 1 / params.tau
    scale = Params(*(np.ones_like(p) for p in params))
    scale = scale._replace(
        W=scale.W * rate[:, np.newaxis], W_in=scale.W_in * rate[:, np.newaxis], b=scale.b * rate
    )
    return settings.lr * flatten(scale, settings.train)


class TrainingState(NamedTuple):
    """All that the next step depends on. The arrays are updated in place: copy what you keep.

    Attributes
    ----------
    step : number of updates made
    params : Params after them; the trained fields but tau are views into theta
    theta : (n,) what is trained
    moments : (2, n) m and v of Adam; of SGD, the velocity and zeros
    trials_rng, noise_rng : the generators of training trials and of private noise
    loss, grad_norm : of the last step (nan before the first)
    """

    step: int
    params: Params
    theta: Array
    moments: Array
    trials_rng: np.random.Generator
    noise_rng: np.random.Generator
    loss: float = float("nan")
    grad_norm: float = float("nan")


def start(params, settings: TrainConfig, dt: float, trials_rng, noise_rng) -> TrainingState:
    """The state before the first step. The params given are copied, in their promoted dtype."""
    params = check_params(params)
    dtype = np.result_type(*params, np.float32)
    params = Params(*(p.astype(dtype, copy=False) for p in params))
    theta = flatten(_with_s(params, settings, dt), settings.train)
    moments = np.zeros((2, theta.size), theta.dtype)
    params = _params_of(theta, Params(*(p.copy() for p in params)), settings, dt)
    return TrainingState(0, params, theta, moments, trials_rng, noise_rng)


def _with_s(params: Params, settings: TrainConfig, dt: float) -> Params:
    if "tau" not in settings.train:
        return params
    return params._replace(tau=s_of(params.tau, dt).astype(params.tau.dtype))


def _params_of(theta, like: Params, settings: TrainConfig, dt: float) -> Params:
    params = unflatten(theta, like, settings.train)
    return params._replace(tau=tau_of(params.tau, dt)[0]) if "tau" in settings.train else params


def _check_theta(state: TrainingState, settings: TrainConfig, dt: float) -> None:
    """Raise a ValueError unless theta holds the fields of the settings, and no others."""
    params, theta, fields = state.params, state.theta, settings.train
    if sum(getattr(params, f).size for f in fields) == theta.size:
        held = _params_of(theta, params, settings, dt)
        # Copies agree to the last bit; tau is computed, and another processor rounds otherwise.
        same = all(
            np.allclose(a, b, rtol=1e-4 if f == "tau" else 0, atol=0)
            for f, a, b in zip(Params._fields, held, params)
        )
        others = [p for f, p in params._asdict().items() if f not in fields]
        if same and not any(np.shares_memory(p, theta) for p in others):
            return
    raise ValueError(
        f"settings: the state does not train {', '.join(settings.train)}; "
        "give the TrainConfig that `start` was given"
    )


def loss_and_gradient(params, trials: Trials, noise, dt, settings: TrainConfig, *, out=None):
    """Loss of a batch, its gradient, and the trajectory.

    Parameters
    ----------
    params, trials : the network, and a batch of a task
    noise : (T, B, N) private noise current of these params, or None; where tau is trained, the
        gradient includes the change of its size with tau
    dt : time step in seconds
    settings : of which phi, method, rate_penalty and train are used
    out : (Trajectory, Params) of an earlier call of the same shapes, to be filled again

    Returns
    -------
    loss : float
    gradient : Params, all nan if the loss is not finite
    traj : Trajectory
    """
    how = {"phi": settings.phi, "method": settings.method}
    traj_out, grad_out = (None, None) if out is None else out
    traj = forward(params, trials.u, dt, **how, noise=noise, out=traj_out)
    loss, dy = mse(traj.y, trials.target, trials.mask)
    dr = None
    if settings.rate_penalty:
        penalty, dr = rate_penalty(traj.r, settings.rate_penalty)
        loss += penalty
    if not np.isfinite(loss):  # from which no way leads back
        return loss, Params(*(np.full_like(p, np.nan) for p in params)), traj
    follows = "tau" in settings.train  # private noise is scaled to tau
    return loss, backward(params, traj, dy, dr=dr, noise_follows_tau=follows, out=grad_out), traj


def training_steps(state: TrainingState, task, settings: TrainConfig) -> Iterator[TrainingState]:
    """Train without end; the state after each step is handed to the caller.

    Parameters
    ----------
    state : from `start`, or as an earlier call handed it over: training goes on from there, bit
        for bit as if it had not been interrupted
    task : of which trials(), dt and noise are used
    settings : the TrainConfig that `start` was given

    Yields
    ------
    TrainingState
        Its arrays are updated in place by the next step.

    Raises
    ------
    NonFiniteLoss
        If the loss, the gradient or an updated parameter is not finite. No such state is yielded.
    ValueError
        If the state was started to train other fields, as far as theta and the parameters tell.

    Examples
    --------
    >>> from itertools import islice
    >>> states = training_steps(state, task, settings)                            # doctest: +SKIP
    >>> losses = [s.loss for s in islice(states, 100)]                   # doctest: +SKIP
    """
    step, params, theta, moments, trials_rng, noise_rng = state[:6]
    fields, dt, dtype = settings.train, task.dt, theta.dtype
    _check_theta(state, settings, dt)
    order = fields + tuple(f for f in Params._fields if f not in fields)
    gradients = np.zeros(sum(p.size for p in params), dtype)
    grads = unflatten(gradients, params, order)
    gradient = gradients[: theta.size]  # backward writes all seven fields; these are trained
    good, kept, buffers = params, step, None
    rates = learning_rates(params, settings)
    while True:
        if "tau" in fields:  # changes the rates that are scaled by it
            rates = learning_rates(params, settings)
        trials = task.trials(settings.batch, trials_rng, dtype=dtype)
        T, B = trials.u.shape[:2]
        if buffers is not None and buffers.u.shape[:2] != (T, B):
            buffers = None  # a task may draw batches of different lengths
        noise = None
        if task.noise:
            noise = private_noise(
                params, dt, task.noise, T, B, noise_rng, method=settings.method,
                out=None if buffers is None else buffers.noise,
            )  # fmt: skip
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is checked
            loss, grads, buffers = loss_and_gradient(
                params, trials, noise, dt, settings, out=(buffers, grads)
            )
            if "tau" in fields:
                grads.tau[...] *= tau_of(unflatten(theta, params, fields).tau, dt)[1]
            norm = norm_of(gradient)
        for what, value in (("loss", loss), ("gradient", norm)):
            if not np.isfinite(value):
                raise NonFiniteLoss(step + 1, what, good, kept)
        good, kept = Params(*(p.copy() for p in params)), step
        if norm > settings.clip:
            clip_to(gradient, norm, settings.clip)
        step += 1
        with np.errstate(over="ignore", invalid="ignore"):
            update(theta, gradient, moments, step, rates, settings)
        if not np.isfinite(theta).all():
            raise NonFiniteLoss(step, "update", good, kept)
        params = _params_of(theta, params, settings, dt)
        yield TrainingState(step, params, theta, moments, trials_rng, noise_rng, loss, norm)


def norm_of(vector) -> float:
    """The Euclidean norm, also where the squares would overflow or vanish; inf or nan if it is."""
    largest = float(np.abs(vector).max())
    if not 0 < largest < np.inf:
        return largest
    scaled = vector / largest
    return largest * float(np.sqrt(scaled @ scaled))


def clip_to(vector, norm: float, longest: float) -> None:
    """Scale a vector to a norm in place; in double precision, where 1 / norm is a normal number."""
    np.multiply(vector, longest / norm, out=vector, dtype=np.float64, casting="same_kind")


def update(theta, gradient, moments, step: int, rates: Any, settings: TrainConfig) -> None:
    """One update of theta and of the moments, in place: the equations at the head of the module."""
    m, v = moments
    if settings.optimizer == "sgd":
        m *= settings.momentum
        m += gradient
        theta -= (rates * m).astype(theta.dtype, copy=False)
        return
    beta1, beta2 = settings.beta1, settings.beta2
    m *= beta1
    m += (1 - beta1) * gradient
    v *= beta2
    v += (1 - beta2) * gradient * gradient
    m_hat = m / (1 - beta1**step)
    v_hat = v / (1 - beta2**step)
    theta -= (rates * m_hat / (np.sqrt(v_hat) + settings.eps)).astype(theta.dtype, copy=False)
