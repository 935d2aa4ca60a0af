"""A public name says what it takes, gives and refuses, and shows it by an example.

The examples run in test_examples.py; docs/tests/test_reference.py asks numpydoc.
"""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import textwrap
from typing import NamedTuple

import pytest

import tau_rnn

MODULES = sorted(m.name for m in pkgutil.walk_packages(tau_rnn.__path__, "tau_rnn."))


def sections(doc):
    """The sections of a numpydoc docstring by their titles; what stands before them is ''."""
    parts = re.split(r"^([A-Z][A-Za-z ]+)\n-{3,}\n", doc, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2]))}


def names_explained(section):
    """The names of a Parameters section: ``a, b : what they are``."""
    heads = [line.split(" : ")[0] for line in section.splitlines() if line[:1].strip()]
    return {name.strip("*") for head in heads for name in re.split(r",\s*", head)}


def fields_of(kind):
    """What must be explained of a class: its fields, or what it is made with."""
    if issubclass(kind, tuple):
        return set(kind._fields)
    if dataclasses.is_dataclass(kind):
        inherited = {n for base in kind.__mro__[1:] for n in getattr(base, "__annotations__", {})}
        return {field.name for field in dataclasses.fields(kind)} - inherited
    return set(inspect.signature(kind).parameters) if "__init__" in vars(kind) else set()


def missing(thing):
    """What a docstring lacks of all that a reader needs."""
    doc = inspect.getdoc(thing) or ""
    found = sections(doc)
    explained = {name for title in ("Parameters", "Attributes")
                 for name in names_explained(found.get(title, ""))}  # fmt: skip
    shown = ">>>" in found.get("Examples", "")
    lacks = {"explanation": not found[""].strip(), "example": not shown}
    if inspect.isclass(thing):
        taken = fields_of(thing)
    else:
        taken = set(inspect.signature(thing).parameters)
        nodes = list(ast.walk(ast.parse(textwrap.dedent(inspect.getsource(thing)))))
        returns = any(isinstance(n, ast.Return) and n.value is not None for n in nodes)
        raises = any(isinstance(n, ast.Raise) and n.exc is not None for n in nodes)
        lacks["Returns"] = returns and not {"Returns", "Yields"} & found.keys()
        lacks["Raises"] = raises and "Raises" not in found
    return [name for name, lacking in lacks.items() if lacking] + sorted(taken - explained)


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


class Whole(NamedTuple):
    """A pair.

    Attributes
    ----------
    a, b : numbers

    Examples
    --------
    >>> Whole(1, b=2).b
    2
    """

    a: int
    b: int = 1


@pytest.mark.parametrize(
    ("old", "new", "lacking"),
    [
        ("A pair.", "", ["explanation"]),
        ("a, b : numbers", "a : a number", ["b"]),
        ("Examples", "Shown", ["example"]),
    ],
)
def test_what_a_class_lacks_is_found(monkeypatch, old, new, lacking):
    assert missing(Whole) == []
    monkeypatch.setattr(Whole, "__doc__", Whole.__doc__.replace(old, new))
    assert missing(Whole) == lacking


def own_names(module):
    """The functions and classes that a module offers and defines."""
    things = {name: inspect.unwrap(getattr(module, name)) for name in module.__all__}
    return {
        name: thing
        for name, thing in things.items()
        if callable(thing) and getattr(thing, "__module__", None) == module.__name__
    }


def test_docstrings_of_public_names_are_whole():
    modules = [importlib.import_module(name) for name in MODULES if "._" not in name]
    things = {f"{m.__name__}.{n}": thing for m in modules for n, thing in own_names(m).items()}
    assert len(things) > 100
    lacking = {name: missing(thing) for name, thing in things.items()}
    assert not {name: what for name, what in lacking.items() if what}


def unannotated(function):
    """The parameters without a type, and "return"."""
    signature = inspect.signature(function)
    types = {name: p.annotation for name, p in signature.parameters.items() if name != "self"}
    types["return"] = signature.return_annotation
    return [name for name, given in types.items() if given is inspect.Signature.empty]


def test_public_functions_are_annotated_in_full():
    def half(a: int, b, *rest: int, c=1) -> int: ...

    assert unannotated(half) == ["b", "c"] and unannotated(lambda: None) == ["return"]
    modules = [importlib.import_module(name) for name in MODULES if "._" not in name]
    functions = {
        f"{m.__name__}.{name}": thing
        for m in modules
        for name, thing in own_names(m).items()
        if inspect.isfunction(thing)
    }
    assert len(functions) > 80
    lacking = {name: unannotated(function) for name, function in functions.items()}
    assert not {name: names for name, names in lacking.items() if names}
