"""The configuration of a run: everything that its numbers depend on."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from tau_rnn.checks import (
    check_choice,
    check_integer,
    check_names,
    check_number,
    check_settings,
    documented,
    setting,
    shown,
)
from tau_rnn.connectivity import CONNECTIVITIES, parse_connectivity
from tau_rnn.initial import INITS, parse_init
from tau_rnn.nonlinearities import NONLINEARITIES, nonlinearity
from tau_rnn.specs import value_text
from tau_rnn.tasks import TASKS
from tau_rnn.tasks.spec import is_resolved, parse_task
from tau_rnn.taus import parse_tau
from tau_rnn.training import TrainConfig

__all__ = ["RunConfig"]

#: Changes whenever the same configuration would give other numbers; part of every stored key.
EXPERIMENT_VERSION = 3
_DTYPES = ("float32", "float64")


def _dtype_name(name: str, value) -> str:
    with contextlib.suppress(TypeError):  # np.float32 and np.dtype("float32") have the same name
        value = np.dtype(value).name if value is not None else value
    return check_choice(name, value, _DTYPES)


def _dist_text(name: str, value) -> str:
    text = parse_tau(value).text
    if text is None:
        raise ValueError(
            "dist: a run stores the text of its distribution, and this one has none; give its "
            "values, dist=sample_tau(distribution, units, rng)"
        )
    return text


def _connectivity_text(name: str, value) -> str:
    kind, parameter = parse_connectivity(value)
    return kind if kind == "full" else f"{kind}:{value_text(parameter)}"


_count = partial(check_integer, least=1)
_not_negative = partial(check_number, least=0)


@documented
@dataclass(frozen=True, kw_only=True)
class RunConfig(TrainConfig):
    """Everything that a run depends on; the defaults are the project's choice, not the poster's.

    Examples
    --------
    >>> config = RunConfig(dist="uniform", gain=1.2)
    >>> config.replace(seed=1).seed, config.lr
    (1, 0.003)
    >>> RunConfig(units=0)
    Traceback (most recent call last):
        ...
    ValueError: units: must be an integer >= 1, got 0
    """

    task: str = setting(
        "multi_timescale",
        "task to learn, with parameters (multi_timescale:delay_max=3), or one of your own "
        "(my_task.py:MyTask)",
        lambda name, value: parse_task(value).text,
        allowed=TASKS,
    )
    dist: str = setting(
        "normal", "distribution of the time constants tau", _dist_text, several=True
    )
    rescale_tau: str = setting(
        "none",
        "rescale tau (harmonic: to harmonic mean 1 s, and so to vanilla's mean leak rate)",
        allowed=("none", "harmonic"),
    )
    units: int = setting(100, "number of units", _count)
    steps: int = setting(400, "training steps", _count)
    dt: float = setting(
        0.05,
        "time step; it must divide the durations of the task",
        partial(check_number, above=0),
        unit="s",
    )
    gain: float = setting(
        0.8, "spectral radius of the initial W for large N", _not_negative, several=True
    )
    init: str = setting(
        "random",
        "how W starts: with random weights, with only their K largest singular values (scaled to "
        "the same norm), or with structure of rank K added to them",
        lambda name, value: parse_init(value).text,
        allowed=INITS,
        several=True,
        later=True,
    )
    connectivity: str = setting(
        "full",
        "which weights may exist: Dale's law with a fraction F of excitatory units, each weight of "
        "W with probability P, or a chain of K blocks",
        _connectivity_text,
        allowed=CONNECTIVITIES,
        several=True,
        later=True,
    )
    seed: int = setting(0, "seed of every random stream", partial(check_integer, least=0))
    dtype: str = setting("float32", "precision", _dtype_name, allowed=_DTYPES)
    test_trials: int = setting(512, "held-out trials, the same at every evaluation", _count)
    eval_every: int = setting(20, "steps from one evaluation to the next", _count)
    burn_in: float = setting(
        20.0,
        "activity without input before effective timescales are measured",
        _not_negative,
        unit="s",
    )

    def __post_init__(self) -> None:
        task = self.task
        check_settings(self)
        phi = nonlinearity(self.phi)
        if NONLINEARITIES.get(phi.name) != phi:
            raise ValueError(
                f"phi: a run stores the name of its nonlinearity, and this {phi.name!r} is not one "
                f"of {', '.join(NONLINEARITIES)}; tau_rnn.train takes any"
            )
        object.__setattr__(self, "phi", phi.name)
        if "full" != self.connectivity and self.init != "random":
            raise ValueError(
                f"init: {self.init!r} would lose its rank under connectivity="
                f"{self.connectivity!r}; give one of the two"
            )
        if not (parse_task(self.task).digest and self.task == task):
            parse_task(task, self.dt).build(self.dt)  # one that was stored is not imported here

    def make_task(self) -> Any:
        """The task with this dt."""
        return parse_task(self.task).build(self.dt)

    def to_json(self) -> dict[str, Any]:
        """A dict of plain values; `from_json` gives the same configuration back.

        It is what is stored and hashed for the key: a field that was added later (see
        `tau_rnn.checks.setting`) is left out where it has its default.
        """
        later = {f.name for f in dataclasses.fields(self) if f.metadata["later"]}
        usual = later - self.changed.keys()
        values = {k: v for k, v in asdict(self).items() if k not in usual}
        return {**values, "train": list(self.train)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunConfig:
        """The configuration of a dict of `to_json`; a ValueError names an unknown field.

        Nothing that it names is opened or imported, neither a file of tau nor a task of your own:
        such a text is resolved when a configuration is made, and what is stored are its values.
        """
        check_names(cls, values)
        task, dist = values.get("task", cls.task), values.get("dist", cls.dist)
        if not (isinstance(task, str) and is_resolved(task)):
            raise ValueError(f"task: must be the text of a stored run, got {shown(task)}")
        if not isinstance(dist, str) or dist.partition(":")[0].strip().lower() == "file":
            raise ValueError(f"dist: must hold its values where it is stored, got {shown(dist)}")
        return cls(**values)

    @property
    def dist_label(self) -> str:
        """The distribution as titles and tables name it: given values by their number."""
        if self.dist.startswith("values:"):
            return f"{self.dist.count(',') + 1} given values"
        return self.dist

    @property
    def task_label(self) -> str:
        """The task as titles and names of folders have it: its name and its parameters."""
        return parse_task(self.task).label

    @property
    def changed(self) -> dict[str, Any]:
        """The fields that differ from their defaults, by name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: v for name, v in values.items() if v != getattr(type(self), name)}

    @property
    def key(self) -> str:
        """Hash of the configuration and of `EXPERIMENT_VERSION`: 12 hexadecimal digits."""
        text = json.dumps([EXPERIMENT_VERSION, self.to_json()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def differences(self, other: RunConfig) -> dict[str, tuple[Any, Any]]:
        """The fields in which two configurations differ: name -> (this one's, the other's)."""
        mine, theirs = ({**asdict(c), "train": list(c.train)} for c in (self, other))
        return {k: (mine[k], theirs[k]) for k in mine if mine[k] != theirs[k]}

    def replace(self, **changes: Any) -> RunConfig:
        """The same configuration with some fields changed; a ValueError names an unknown one."""
        return dataclasses.replace(self, **changes)
