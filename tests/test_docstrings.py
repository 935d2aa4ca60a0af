"""A public function says what it takes, gives and refuses, and shows it by an example.

The examples run in test_examples.py. Modules that are not listed here are still to be completed.
"""

import ast
import importlib
import inspect
import re
import textwrap

import pytest

#: Modules whose public functions have whole docstrings.
WHOLE = [
    "tau_rnn.connectivity",
    "tau_rnn.discretisation",
    "tau_rnn.experiment.conditions",
    "tau_rnn.experiment.run",
    "tau_rnn.experiment.statistics",
    "tau_rnn.experiment.store",
    "tau_rnn.experiment.sweeps",
    "tau_rnn.experiment.unfinished",
    "tau_rnn.explore.view",
    "tau_rnn.gradcheck.check",
    "tau_rnn.gradcheck.derivatives",
    "tau_rnn.losses",
    "tau_rnn.noise",
    "tau_rnn.nonlinearities",
    "tau_rnn.parametrization",
    "tau_rnn.timescales.acf",
    "tau_rnn.timescales.fit",
    "tau_rnn.timescales.moments",
    "tau_rnn.timescales.recordings",
    "tau_rnn.measures.alignment",
    "tau_rnn.measures.dynamics",
    "tau_rnn.measures.weights",
]


def sections(doc):
    """The sections of a numpydoc docstring by their titles; what stands before them is ''."""
    parts = re.split(r"^([A-Z][A-Za-z ]+)\n-{3,}\n", doc, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2]))}


def names_explained(section):
    """The names of a Parameters section: ``a, b : what they are``."""
    heads = [line.split(" : ")[0] for line in section.splitlines() if line[:1].strip()]
    return {name.strip("*") for head in heads for name in re.split(r",\s*", head)}


def missing(function):
    """What a docstring lacks of all that a reader needs."""
    found = sections(inspect.getdoc(function) or "")
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    nodes = list(ast.walk(tree))
    returns = any(isinstance(n, ast.Return) and n.value is not None for n in nodes)
    raises = any(isinstance(n, ast.Raise) and n.exc is not None for n in nodes)
    taken = set(inspect.signature(function).parameters)
    lacks = {
        "explanation": not found[""].strip(),
        "Returns": returns and not {"Returns", "Yields"} & found.keys(),
        "Raises": raises and "Raises" not in found,
        "example": ">>>" not in (inspect.getdoc(function) or ""),
    }
    unexplained = taken - names_explained(found.get("Parameters", ""))
    return [name for name, lacking in lacks.items() if lacking] + sorted(unexplained)


def whole(a, *rest, b=1):
    """Add.

    Parameters
    ----------
    a, b : numbers
    *rest : more of them

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If b is 0.

    Examples
    --------
    >>> whole(1, b=2)
    3
    """
    if b == 0:
        raise ValueError("b: must not be 0, got 0")
    return a + b + sum(rest)


@pytest.mark.parametrize(
    ("old", "new", "lacking"),
    [
        ("Add.", "", ["explanation"]),
        ("a, b : numbers", "a : a number", ["b"]),
        ("*rest : more", "*others : more", ["rest"]),
        ("Returns", "Gives", ["Returns"]),
        ("Raises", "Refuses", ["Raises"]),
        (">>> whole(1, b=2)", "whole(1, b=2)", ["example"]),
    ],
)
def test_what_is_missing_is_found(monkeypatch, old, new, lacking):
    assert missing(whole) == []
    monkeypatch.setattr(whole, "__doc__", whole.__doc__.replace(old, new))
    assert missing(whole) == lacking


@pytest.mark.parametrize("name", WHOLE)
def test_public_functions_have_whole_docstrings(name):
    module = importlib.import_module(name)
    things = {thing: getattr(module, thing) for thing in module.__all__}
    own = {n: f for n, f in things.items() if inspect.isfunction(f) and f.__module__ == name}
    assert own
    lacking = {n: missing(f) for n, f in own.items()}
    assert not {n: what for n, what in lacking.items() if what}
