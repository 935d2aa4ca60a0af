"""The verdict: `check_backward`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tau_rnn.checks import check_number, generator_of
from tau_rnn.discretisation import DEFAULT_METHOD
from tau_rnn.gradcheck.answers import Answer, Network, agrees, ask, distance, draw_network
from tau_rnn.gradcheck.derivatives import numerical_gradient
from tau_rnn.gradcheck.diagnosis import diagnose
from tau_rnn.gradcheck.report import Finding, GradientReport, merged
from tau_rnn.gradcheck.search import Asked
from tau_rnn.model import Array, Nonlinearity, Params, nonlinearity

__all__ = ["check_backward"]


def check_backward(
    backward: Callable,
    *,
    phi: str | Nonlinearity = "tanh",
    method: str = DEFAULT_METHOD,
    rng: np.random.Generator | int | None = None,
    rtol: float = 1e-10,
) -> GradientReport:
    """Check a backward against complex steps, and say what is wrong with it.

    Parameters
    ----------
    backward : function (params, traj, dy) -> gradients, as `tau_rnn.bptt.backward`: params is a
        Params, traj the Trajectory that `forward` returned, dy (T, B, n_out) is dLoss/dy. It
        returns a Params; a dict (keys ``"W"`` or ``"dW"``, ...) or any sequence of seven arrays
        in the order of the fields of Params will do.
    phi, method : what the networks are simulated with; the function finds them in traj
    rng : numpy.random.Generator that draws the networks, or a seed; 0 by default
    rtol : largest relative error that passes

    Returns
    -------
    GradientReport

    Raises
    ------
    ValueError
        If backward is not a function, phi or method is unknown, or rtol is not positive. What
        backward itself raises does not pass through: the report says so.

    Notes
    -----
    Nothing is read from the source of backward, and `tau_rnn.bptt` is not used: see ``diagnosis``.
    Each network is asked about twice, with copies: a backward that changes its arguments or gives
    two answers is not right.

    Examples
    --------
    >>> from tau_rnn import backward
    >>> check_backward(backward).ok
    True
    >>> check_backward(lambda *args: backward(*args)._replace(b=0)).diagnosis["b"]
    'has shape (), must be (5,)'
    """
    if not callable(backward):
        raise ValueError(f"backward: must be a function (params, traj, dy), got {backward!r}")
    rtol = check_number("rtol", rtol, above=0)
    phi_name = nonlinearity(phi).name
    rng = generator_of(0 if rng is None else rng)

    def draw(**sizes) -> Network:
        return draw_network(rng, **sizes, phi=phi, method=method)

    networks = [
        draw(N=5, T=5, B=3),
        draw(N=4, T=6, B=2, n_in=3, n_out=1, noisy=False),
        draw(N=1, T=1, B=1, n_in=1, n_out=1),
        draw(N=4, T=60, B=1),
    ]

    errors = dict.fromkeys(Params._fields, 0.0)
    asked, answers = [], []
    for network in networks:
        traj = network.run()
        if not np.isfinite(traj.y).all():
            words = f"the loss is not finite: x is first so at t = {first_nonfinite(traj.x)}"
            loss = (Finding("loss", tuple(errors), words),)
            endless = dict.fromkeys(errors, np.inf)
            return GradientReport(endless, loss, (str(network),), phi_name, method, rtol)
        exact = numerical_gradient(network.loss, network.params)._asdict()
        pair = [ask(backward, network, exact) for _ in range(2)]
        for name in errors:
            for answer in pair:
                given = answer.grads.get(name)
                error = np.inf if given is None else distance(given, exact[name])
                errors[name] = max(errors[name], error)
        asked.append(Asked(network, traj, pair[0].grads, exact))
        answers.append(pair)
    findings, judged = _before_the_numbers(networks, answers)
    wrong = [
        name
        for name in judged
        if any(distance(a.grads[name], a.exact[name]) > rtol for a in asked if name in a.grads)
    ]
    found, step = diagnose(backward, draw, asked, wrong) if wrong else ([], None)
    tried = tuple(map(str, networks))
    return GradientReport(errors, (*findings, *found), tried, phi_name, method, rtol, step)


def first_nonfinite(values: Array) -> int | None:
    """Index along the first axis (time) where a value is first inf or nan, or None."""
    bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    return int(bad.argmax()) if bad.any() else None


def _before_the_numbers(
    networks: Sequence[Network], answers: Sequence[Sequence[Answer]]
) -> tuple[list[Finding], list[str]]:
    """Findings on what can't be judged by its numbers, and the fields that can."""
    findings, judged = [], []
    changed = tuple(dict.fromkeys(name for pair in answers for a in pair for name in a.changed))
    if changed:
        words = (
            f"it changes its arguments: {', '.join(changed)}. What runs next computes with the "
            "changed values; work on copies (params.W.copy())"
        )
        findings.append(Finding("changes_arguments", (), words, changed))
    for name in Params._fields:
        pairs = [(a.grads.get(name), b.grads.get(name)) for a, b in answers]
        if not all(_same(a, b) for a, b in pairs):
            words = (
                "two calls with the same arguments give different gradients: does it keep "
                "something from one call to the next (an array outside the function, a default "
                "argument), or draw at random?"
            )
            findings.append(Finding("not_repeatable", (name,), words))
            continue
        given = any(a is not None for a, _ in pairs)
        if given:
            judged.append(name)
        met = [(a.problems[name], n) for (a, _), n in zip(answers, networks) if name in a.problems]
        if met:
            problem, network = met[0]
            where = "" if len(met) == len(networks) else f" [{network}]"
            kind = "problem" if given else problem.kind
            findings.append(Finding(kind, (name,), problem.words + where))
    return merged(findings), judged


def _same(a: Array | None, b: Array | None) -> bool:
    if a is None or b is None:
        return a is b
    return np.array_equal(a, b, equal_nan=True) or agrees(a, b)
