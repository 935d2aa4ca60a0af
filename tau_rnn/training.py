"""Training: its settings, and the loop that a front end follows step by step.

What is trained is one flat vector theta (see `tau_rnn.parametrization`): the chosen fields of
`Params` one after another, with tau replaced by an unbounded s. A step draws trials and private
noise, simulates, goes back through time, and gives the gradient to `tau_rnn.optimizers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tau_rnn.bptt import back_through
from tau_rnn.checks import (
    LARGEST,
    check_dtype,
    check_fits,
    check_generator,
    check_integer,
    check_number,
    check_settings,
    documented,
    setting,
)
from tau_rnn.connectivity import Connectivity, allowed_part, check_obeys, keep_signs
from tau_rnn.discretisation import DEFAULT_METHOD, METHODS, alpha
from tau_rnn.losses import mse, rate_penalty
from tau_rnn.model import Array, Params, ParamsLike, check_drive, check_params, simulate
from tau_rnn.noise import noise_scale, standard_noise
from tau_rnn.nonlinearities import NONLINEARITIES, differentiable, nonlinearity
from tau_rnn.optimizers import clip_to, largest_of, norm_of, update
from tau_rnn.parametrization import (
    DEFAULT_FIELDS,
    FIELD_GROUPS,
    constrain,
    flatten,
    parse_fields,
    unconstrain,
    unflatten,
)
from tau_rnn.tasks import Trials, check_task

__all__ = [
    "NonFiniteLoss", "TrainConfig", "TrainingState", "start", "train", "training_steps",
]  # fmt: skip


class NonFiniteLoss(ArithmeticError):
    """The loss, its gradient or the update made from it is not finite.

    Attributes
    ----------
    step : the step in which it happened
    what : "loss", "gradient" or "update"
    params, kept : the last parameters that gave a finite loss and gradient, and the number of
        updates behind them; where there were none, those that training started from

    Examples
    --------
    >>> str(NonFiniteLoss(3, "gradient", None, 2)).partition(";")[0]
    'step 3: the gradient is not finite'
    """

    def __init__(self, step: int, what: str, params: Params, kept: int):
        super().__init__(
            f"step {step}: the {what} is not finite; the parameters after {kept} steps are kept "
            "(a smaller learning rate may help)"
        )
        self.step: int = step
        self.what: str = what
        self.params: Params = params
        self.kept: int = kept

    def __reduce__(self) -> tuple[Any, ...]:
        return NonFiniteLoss, (self.step, self.what, self.params, self.kept)


_positive = partial(check_number, above=0)
_below_one = partial(check_number, least=0, below=1)


def _known_phi(name: str, value):
    nonlinearity(value)  # raises if it is unknown
    return value


@documented
@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train. Every default is the project's choice.

    Examples
    --------
    >>> TrainConfig(train="W,b", lr=0.01).train
    ('W', 'b')
    """

    batch: int = setting(32, "trials in a step", partial(check_integer, least=1))
    optimizer: str = setting("adam", "optimizer", allowed=("adam", "sgd"))
    lr: float = setting(0.003, "learning rate", _positive, several=True)
    beta1: float = setting(0.9, "Adam's decay of the mean gradient", _below_one)
    beta2: float = setting(0.999, "Adam's decay of the mean squared gradient", _below_one)
    eps: float = setting(1e-8, "Adam's eps, added to the root of the latter", _positive)
    momentum: float = setting(0.9, "SGD's momentum: v <- momentum v + gradient", _below_one)
    clip: float = setting(1.0, "largest norm of a gradient; a longer one is scaled", _positive)
    train: tuple[str, ...] = setting(
        DEFAULT_FIELDS,
        "what is trained (+tau adds tau to the default), of these, separated by commas",
        lambda name, value: parse_fields(value),
        allowed=(*Params._fields, *FIELD_GROUPS),
    )
    lr_scale: str = setting(
        "none",
        "factor of the learning rate of row i of W, W_in and b: tau_i or 1/tau_i, tau in s",
        allowed=("none", "tau", "inverse-tau"),
    )
    rate_penalty: float = setting(
        0.0, "weight of the mean squared rate in the loss", partial(check_number, least=0)
    )
    phi: str = setting("tanh", "rate function", _known_phi, allowed=NONLINEARITIES)
    method: str = setting(DEFAULT_METHOD, "integration", allowed=METHODS)

    def __post_init__(self) -> None:
        check_settings(self)


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

    Examples
    --------
    >>> from tau_rnn import init_params
    >>> rng = np.random.default_rng(0)
    >>> state = start(init_params(3, 1, 1, 1.0, rng), TrainConfig(), 0.1, rng, rng)
    >>> state.step, np.shares_memory(state.params.W, state.theta)
    (0, True)
    """

    step: int
    params: Params
    theta: Array
    moments: Array
    trials_rng: np.random.Generator
    noise_rng: np.random.Generator
    loss: float = float("nan")
    grad_norm: float = float("nan")


def start(
    params: ParamsLike, settings: TrainConfig, dt: float, trials_rng: np.random.Generator,
    noise_rng: np.random.Generator,
) -> TrainingState:  # fmt: skip
    """The state before the first step.

    Parameters
    ----------
    params : Params; they are copied, in their promoted dtype
    settings : TrainConfig
    dt : time step (s)
    trials_rng, noise_rng : generators of the training trials and of private noise

    Returns
    -------
    TrainingState

    Raises
    ------
    ValueError
        If the params do not fit together, or tau is trained and does not exceed its bound.

    Examples
    --------
    >>> from tau_rnn import init_params
    >>> rng = np.random.default_rng(0)
    >>> state = start(init_params(3, 1, 1, 1.0, rng), TrainConfig(train="W,b"), 0.1, rng, rng)
    >>> state.step, state.theta.shape  # nine weights and three biases
    (0, (12,))
    """
    params = check_params(params)
    dtype = check_dtype(np.result_type(*params, np.float32), name="params")
    params = Params(*(p.astype(dtype, copy=False) for p in params))
    unbounded = params
    if "tau" in settings.train:
        unbounded = params._replace(tau=unconstrain(params.tau, dt).astype(dtype))
    theta = flatten(unbounded, settings.train)
    moments = np.zeros((2, theta.size), theta.dtype)
    params = _params_of(theta, Params(*(p.copy() for p in params)), settings, dt)
    return TrainingState(0, params, theta, moments, trials_rng, noise_rng)


def _params_of(theta, like: Params, settings: TrainConfig, dt: float) -> Params:
    params = unflatten(theta, like, settings.train)
    return params._replace(tau=constrain(params.tau, dt)[0]) if "tau" in settings.train else params


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
    params, trials : the network, taken as it is, and a batch of a task, which is checked
    noise : (T, B, N) private noise current of these params, or None; where tau is trained, the
        gradient includes the change of its size with tau
    dt : time step in seconds
    settings : of which phi, method, rate_penalty and train are used
    out : Trajectory of an earlier call with the same shapes, whose arrays are reused

    Returns
    -------
    loss : float
    gradient : Params, all nan if the loss is not finite
    traj : Trajectory
    """
    u, _ = check_drive(params, trials.u)
    a = alpha(params.tau, dt, settings.method)
    traj = simulate(params, u, dt, a, settings.phi, settings.method, noise, out=out)
    loss, dy = mse(traj.y, trials.target, trials.mask)
    dr = None
    if settings.rate_penalty:
        penalty, dr = rate_penalty(traj.r, settings.rate_penalty)
        loss += penalty
    if not np.isfinite(loss):  # there is no gradient of a non-finite loss
        return loss, Params(*(np.full_like(p, np.nan) for p in params)), traj
    follows = "tau" in settings.train  # private noise is scaled to tau
    phi = differentiable(settings.phi, len(a), traj.x.dtype)
    return loss, back_through(params, traj, a, phi, dy, dr, None, follows)[0], traj


def train(
    params: ParamsLike, task: Any, steps: int, *, rng: np.random.Generator,
    connectivity: Connectivity | None = None, **settings: Any,
) -> tuple[Params, list[dict[str, float]]]:  # fmt: skip
    """Train a network on a task.

    Parameters
    ----------
    params : Params before training, which are left as they are
    task : with ``dt`` (s) and ``trials(n, rng, dtype=...)``, which gives u, target and mask; see
        `tau_rnn.tasks.own`. Its ``noise``, where it has one, is the private noise of training
    steps : updates to make
    rng : gives two seeds, one for the generator of all trials and one for that of all noise, so
        that the noise does not depend on how much a task draws
    connectivity : weights that may exist and their signs, which params must obey (see
        `tau_rnn.connectivity.impose`) and all later ones do; None: all weights
    **settings : of `TrainConfig`, such as ``lr=0.01``, ``batch=64``, ``train="+tau"``

    Returns
    -------
    params : Params after training
    history : list of a dict for each step, with its ``step``, ``loss`` and ``grad_norm`` (of the
        gradient before it is clipped)

    Raises
    ------
    NonFiniteLoss
        If the loss, the gradient or an updated parameter is not finite.
    ValueError
        For an unknown setting or a bad value.

    Examples
    --------
    >>> import tau_rnn
    >>> rng = np.random.default_rng(0)
    >>> task = tau_rnn.make_task("multi_timescale", dt=0.1)
    >>> params = tau_rnn.init_params(20, task.n_in, task.n_out, 1.0, rng)
    >>> params, history = tau_rnn.train(params, task, 50, rng=rng, lr=0.01)
    >>> history[-1]["loss"] < history[0]["loss"]
    True
    """
    config, steps = TrainConfig(**settings), check_integer("steps", steps, 0)
    check_fits(steps=steps)
    seeds = check_generator(rng).integers(2**63, size=2)
    task = check_task(task, look=False)
    state = start(params, config, task.dt, *map(np.random.default_rng, seeds))
    states, history = training_steps(state, task, config, connectivity), []
    for _ in range(steps):
        state = next(states)
        history.append({"step": state.step, "loss": state.loss, "grad_norm": state.grad_norm})
    return Params(*(p.copy() for p in state.params)), history


def training_steps(
    state: TrainingState, task: Any, settings: TrainConfig, connectivity: Connectivity | None = None
) -> Iterator[TrainingState]:
    """Train without end, yielding the state after each step.

    Parameters
    ----------
    state : from `start`, or one that an earlier call yielded: training continues from there, bit
        for bit as if it had not been interrupted
    task : as `train` takes it
    settings : the TrainConfig that `start` was given
    connectivity : as `train` takes it

    Yields
    ------
    TrainingState
        Its arrays are updated in place by the next step.

    Raises
    ------
    NonFiniteLoss
        If the loss, the gradient or an updated parameter is not finite. No such state is yielded.
    ValueError
        If the state was started to train other fields, as far as theta and the parameters can tell.

    Examples
    --------
    >>> states = training_steps(state, task, settings)                   # doctest: +SKIP
    >>> losses = [next(states).loss for _ in range(100)]                 # doctest: +SKIP
    """
    step, params, theta, moments, trials_rng, noise_rng = state[:6]
    task = check_task(task, look=False)
    fields, dt, dtype = settings.train, task.dt, theta.dtype
    _check_theta(state, settings, dt)
    connectivity = check_obeys(params, connectivity)
    views = unflatten(theta, params, fields)  # of theta, whose updates they show
    params, slope = views._replace(tau=params.tau), constrain(views.tau, dt)[1]  # dtau/ds
    good, kept, traj = theta.copy(), step, None
    while True:
        if traj is None or "tau" in fields:  # on which the rates and the noise may depend
            rates = learning_rates(params, settings)
            size = task.noise and task.noise * noise_scale(params.tau, dt, settings.method)
        trials = task.trials(settings.batch, trials_rng, dtype=dtype)
        T, B = trials.u.shape[:2]
        if traj is not None and traj.u.shape[:2] != (T, B):
            traj = None  # a task may draw batches of different lengths
        noise, buffer = None, None if traj is None else traj.noise
        if task.noise:
            check_fits(T=T, B=B, N=len(params.b))
            noise = standard_noise((T, B, len(params.b)), dtype, noise_rng, size, out=buffer)
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is checked
            loss, grads, traj = loss_and_gradient(params, trials, noise, dt, settings, out=traj)
            if "tau" in fields:
                grads = grads._replace(tau=grads.tau * slope)
            gradient = flatten(allowed_part(grads, connectivity), fields)
            norm = norm_of(gradient)
        for what, value in (("loss", loss), ("gradient", norm)):
            if not np.isfinite(value):
                raise NonFiniteLoss(step + 1, what, _params_of(good, params, settings, dt), kept)
        good[:], kept = theta, step
        if norm > settings.clip:
            clip_to(gradient, norm, settings.clip)
        step += 1
        with np.errstate(over="ignore", invalid="ignore"):
            update(theta, gradient, moments, step, rates, settings)
        if not largest_of(theta) <= LARGEST:
            raise NonFiniteLoss(step, "update", _params_of(good, params, settings, dt), kept)
        if "tau" in fields:
            tau, slope = constrain(views.tau, dt)
            params = params._replace(tau=tau)
        keep_signs(params.W, connectivity)
        yield TrainingState(step, params, theta, moments, trials_rng, noise_rng, loss, norm)
