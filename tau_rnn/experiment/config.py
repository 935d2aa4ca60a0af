"""The configuration of a run: everything that its numbers depend on."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from tau_rnn.checks import check_dt, check_integer, check_number, nearest
from tau_rnn.discretisation import DEFAULT_METHOD, METHODS
from tau_rnn.model import NONLINEARITIES, nonlinearity
from tau_rnn.tasks import make_task
from tau_rnn.taus import parse_tau
from tau_rnn.training import DEFAULT_FIELDS, TrainConfig, parse_fields

#: Changes whenever the same configuration would give other numbers; part of every stored key.
EXPERIMENT_VERSION = 3


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that a run depends on. All defaults are the project's choice, not the poster's.

    Attributes
    ----------
    task : "multi_timescale" or "integrate_and_remember"
    dist : distribution of tau, see `tau_rnn.taus`
    rescale_tau : "none", or "harmonic" to rescale tau to harmonic mean 1 s (mean leak rate 1/s)
    units : N
    steps : updates
    dt : time step in s
    gain : spectral radius of the initial W for large N
    seed : whole number >= 0 from which every random stream is spawned
    phi, method : see `tau_rnn.model.forward`
    dtype : "float32" or "float64"
    test_trials : size of the held-out test set, the same at every evaluation, noise on
    eval_every : steps from one evaluation to the next; there is one at step 0 and at the last
    burn_in : s of activity without input that are dropped before effective timescales are measured
    batch, optimizer, lr, momentum, clip, train, lr_scale, rate_penalty : see
        `tau_rnn.training.TrainConfig`; train are its fields
    """

    task: str = "multi_timescale"
    dist: str = "normal"
    rescale_tau: str = "none"
    units: int = 100
    steps: int = 400
    batch: int = 32
    dt: float = 0.05
    lr: float = 0.003
    gain: float = 0.8
    seed: int = 0
    train: tuple[str, ...] = DEFAULT_FIELDS
    optimizer: str = "adam"
    momentum: float = 0.9
    lr_scale: str = "none"
    clip: float = 1.0
    rate_penalty: float = 0.0
    phi: str = "tanh"
    method: str = DEFAULT_METHOD
    dtype: str = "float32"
    test_trials: int = 512
    eval_every: int = 20
    burn_in: float = 20.0

    def __post_init__(self):
        def put(name, value):
            object.__setattr__(self, name, value)

        for name, least in (
            ("units", 1), ("steps", 1), ("batch", 1), ("seed", 0), ("test_trials", 1),
            ("eval_every", 1),
        ):  # fmt: skip
            put(name, check_integer(name, getattr(self, name), least))
        for name in ("gain", "burn_in"):
            put(name, check_number(name, getattr(self, name), least=0))
        for name in ("lr", "momentum", "clip", "rate_penalty"):
            put(name, check_number(name, getattr(self, name)))
        if self.dtype is not None:  # np.float32 and np.dtype("float32") have the same name
            with contextlib.suppress(TypeError):
                put("dtype", np.dtype(self.dtype).name)
        for name, allowed in (
            ("rescale_tau", ("none", "harmonic")),
            ("method", METHODS),
            ("dtype", ("float32", "float64")),
        ):
            if getattr(self, name) not in allowed:
                given = getattr(self, name)
                raise ValueError(f"{name}: unknown {given!r}; {nearest(given, allowed)}")
        put("dt", check_dt(self.dt))
        dist = parse_tau(self.dist)
        if dist.text is None:
            raise ValueError(
                "dist: a run stores the text of its distribution, and this one has none; give its "
                "values, dist=sample_tau(distribution, units, rng)"
            )
        put("dist", dist.text)
        put("train", parse_fields(self.train))
        phi = nonlinearity(self.phi)
        if NONLINEARITIES.get(phi.name) != phi:
            raise ValueError(
                f"phi: a run stores the name of its nonlinearity, and this {phi.name!r} is none of "
                f"{', '.join(NONLINEARITIES)}; tau_rnn.training.train takes any"
            )
        put("phi", phi.name)
        self.settings()
        self.make_task()

    def settings(self) -> TrainConfig:
        """How to train, for `tau_rnn.training`."""
        return TrainConfig(
            batch=self.batch, optimizer=self.optimizer, lr=self.lr, momentum=self.momentum,
            clip=self.clip, train=self.train, lr_scale=self.lr_scale,
            rate_penalty=self.rate_penalty, phi=self.phi, method=self.method,
        )  # fmt: skip

    def make_task(self):
        """The task with this dt."""
        return make_task(self.task, dt=self.dt)

    def to_json(self) -> dict[str, Any]:
        """A dict of plain values; `from_json` gives the same configuration back."""
        return {**asdict(self), "train": list(self.train)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunConfig:
        """The configuration of a dict of `to_json`; a ValueError names an unknown field."""
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(f"config: unknown field {name!r}; {nearest(name, known)}")
        return cls(**values)

    @property
    def dist_label(self) -> str:
        """The distribution as titles and tables name it: given values by their number."""
        if self.dist.startswith("values:"):
            return f"{self.dist.count(',') + 1} given values"
        return self.dist

    @property
    def key(self) -> str:
        """Hash of the configuration and of `EXPERIMENT_VERSION`: 12 hexadecimal digits."""
        text = json.dumps([EXPERIMENT_VERSION, self.to_json()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def differences(self, other: RunConfig) -> dict[str, tuple[Any, Any]]:
        """The fields in which two configurations differ: name -> (this one's, the other's)."""
        mine, theirs = self.to_json(), other.to_json()
        return {k: (mine[k], theirs[k]) for k in mine if mine[k] != theirs[k]}

    def replace(self, **changes) -> RunConfig:
        """The same configuration with some fields changed."""
        return dataclasses.replace(self, **changes)
