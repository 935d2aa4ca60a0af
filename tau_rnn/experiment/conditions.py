"""The conditions of the experiment: distributions of tau, and the controls that would explain them.

A network with diverse tau differs from one whose tau are all 1 s in more than diversity: with the
same mean tau its mean leak rate E[1/tau] is larger, so it answers faster, and alpha_i = dt/tau_i
multiplies the gradient of row i, so its units learn at different rates. Each control takes one of
these away.

A *setting* is all of a configuration but dist, rescale_tau, lr_scale and seed. Networks are
compared within one setting, and paired by seed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tau_rnn.checks import nearest
from tau_rnn.experiment.config import RunConfig
from tau_rnn.taus import parse_tau

__all__ = ["matched_constant"]

#: The poster's four distributions.
POSTER = ("vanilla", "normal", "uniform", "bimodal")
#: What makes two networks of one setting differ.
_CONDITION_FIELDS = ("dist", "rescale_tau", "lr_scale")

#: What all runs of a sweep share, so that no label needs it.
_SHARED_FIELDS = (
    "units", "steps", "batch", "dt", "test_trials", "eval_every", "dtype", "burn_in",
)  # fmt: skip

#: The controls by name: what a sweep adds to the conditions it is asked for.
CONTROLS = {
    "matched": "homogeneous networks with the mean leak rate of each distribution, "
    "tau = 1 / E[1/tau]: constant:0.61 for uniform",
    "harmonic": "each distribution rescaled to harmonic mean 1 s: vanilla's mean leak rate",
    "lr-tau": "learning rate of row i proportional to tau_i",
    "lr-inverse-tau": "learning rate of row i proportional to 1 / tau_i",
    "gain": "initial gain 1.0 in place of 0.8 (and 0.8 in place of another)",
    "recurrent": "only the recurrent weights W are trained",
    "train-all": "x0 and tau are trained as well",
    "train-tau": "tau is trained as well",
    "lr-grid": "a third of the learning rate, and three times it",
    "sgd": "stochastic gradient descent with momentum 0.9, learning rate 0.1",
}
#: What ``--controls`` adds.
DEFAULT_CONTROLS = ("matched", "harmonic", "lr-tau", "gain")


def matched_constant(dist: str) -> str | None:
    """The homogeneous distribution of the same mean leak rate, tau = 1 / E[1/tau] to 0.01 s.

    Parameters
    ----------
    dist : a text of `tau_rnn.taus.parse_tau`

    Returns
    -------
    its text; None if that rate is infinite

    Examples
    --------
    >>> matched_constant("uniform"), matched_constant("vanilla")
    ('constant:0.61', 'vanilla')
    """
    tau = 1 / parse_tau(dist).mean_rate
    return parse_tau(f"constant:{tau:.{2 if tau > 0.1 else 6}f}").text if tau else None


def is_diverse(dist: str) -> bool:
    """Whether the units differ in tau."""
    return parse_tau(dist).cv > 0


def reference(config: RunConfig) -> RunConfig:
    """The vanilla run with this run's setting and seed.

    With tau = 1 s for every unit, matching and scaling of the learning rate change nothing, so one
    vanilla network is the reference of all of them. Where tau is trained it does not stay at 1 s:
    the learning rate of the reference is then scaled as well.
    """
    scale = config.lr_scale if "tau" in config.train else "none"
    return config.replace(dist="vanilla", rescale_tau="none", lr_scale=scale)


def setting_of(config: RunConfig) -> RunConfig:
    """The run's setting: the vanilla run of seed 0 that shares it, unmatched and unscaled."""
    return config.replace(dist="vanilla", rescale_tau="none", lr_scale="none", seed=0)


def matched_reference(config: RunConfig) -> RunConfig | None:
    """The homogeneous run with this run's mean leak rate, setting and seed; None if it is vanilla.

    A network rescaled to harmonic mean 1 s has the mean leak rate of vanilla itself. One with
    scaled learning rates has None: it differs from a homogeneous network in two respects.
    """
    if not is_diverse(config.dist) or config.rescale_tau != "none" or config.lr_scale != "none":
        return None
    constant = matched_constant(config.dist)
    matched = config.replace(dist=constant) if constant else reference(config)
    return None if matched == reference(config) else matched


def sweep_configs(
    base: RunConfig,
    dists: Iterable[str],
    seeds: Iterable[int],
    tasks: Iterable[str],
    controls: bool | Iterable[str] = False,
) -> list[RunConfig]:
    """The runs of a sweep, seed by seed, so that an unfinished one has whole pairs.

    Parameters
    ----------
    base : what all of them share
    dists, seeds, tasks : every combination is run
    controls : True for `DEFAULT_CONTROLS`, or names of `CONTROLS`

    Returns
    -------
    list of RunConfig

    Raises
    ------
    ValueError
        For an unknown control, distribution or task.

    Examples
    --------
    >>> runs = sweep_configs(RunConfig(), ["vanilla", "normal"], [0, 1], ["multi_timescale"])
    >>> [(run.dist, run.seed) for run in runs]
    [('vanilla', 0), ('normal', 0), ('vanilla', 1), ('normal', 1)]
    """
    names = DEFAULT_CONTROLS if controls is True else tuple(controls or ())
    for name in names:
        if name not in CONTROLS:
            raise ValueError(f"controls: unknown {name!r}; {nearest(name, CONTROLS)}")
    dists, tasks = list(dists), list(tasks)
    if names and "vanilla" not in dists:
        dists.insert(0, "vanilla")  # controls are compared with it
    configs: list[RunConfig] = []
    for seed in seeds:
        for task in tasks:
            runs = [base.replace(task=task, dist=dist, seed=seed) for dist in dists]
            configs += runs
            for name in names:
                configs += [control for run in runs for control in _variants(name, run)]
    # Matching and scaling change nothing in vanilla: one run is the reference of all.
    once = (reference(config) if config.dist == "vanilla" else config for config in configs)
    return list(dict.fromkeys(once))


def _variants(name: str, run: RunConfig) -> list[RunConfig]:
    diverse = is_diverse(run.dist)
    if name == "matched":
        matched = matched_reference(run)
        return [] if matched is None else [matched]
    if name == "harmonic":
        return [run.replace(rescale_tau="harmonic")] if diverse else []
    if name in ("lr-tau", "lr-inverse-tau"):
        return [run.replace(lr_scale=name[3:])]
    if name == "lr-grid":
        return [run.replace(lr=float(f"{run.lr * factor:.6g}")) for factor in (1 / 3, 3)]
    changed: dict[str, dict[str, Any]] = {
        "gain": {"gain": 1.0 if run.gain != 1.0 else 0.8},
        "recurrent": {"train": "recurrent"},
        "train-all": {"train": "all"},
        "train-tau": {"train": "+tau"},
        "sgd": {"optimizer": "sgd", "lr": 0.1},
    }
    return [run.replace(**changed[name])]


def label(config: RunConfig) -> str:
    """The condition of a run as tables name it: the distribution, and what is not the default.

    The task and the seed are not part of it, and neither are sizes that all runs of a sweep share.
    """
    parts = [config.dist_label]
    if config.rescale_tau != "none":
        parts.append(f"rescale_tau={config.rescale_tau}")
    if config.lr_scale != "none":
        parts.append(f"lr~{'tau' if config.lr_scale == 'tau' else '1/tau'}")
    return ", ".join(parts + setting_parts(config))


def setting_parts(config: RunConfig) -> list[str]:
    """Those fields of the setting that a control or an option changed, as ``name=value``."""
    parts = []
    for name, value in config.changed.items():
        if name in ("task", "seed", *_CONDITION_FIELDS, *_SHARED_FIELDS):
            continue
        if name == "train":
            usual = RunConfig.train
            extra = [f for f in value if f not in usual]
            kept = set(usual) <= set(value)
            value = "+" + "+".join(extra) if kept and extra else "+".join(value)
        parts.append(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}")
    return parts


def describe_matched(config: RunConfig) -> str:
    """How the matched homogeneous network of a run's distribution was computed, in one line."""
    rate = parse_tau(config.dist).mean_rate
    return (
        f"{matched_constant(config.dist)} has the mean leak rate of {config.dist_label}: "
        f"1 / E[1/tau] = 1 / {rate:.4f} = {1 / rate:.4f} s"
    )
