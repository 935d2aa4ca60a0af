"""The reference: every public docstring is numpydoc, as numpydoc's own validation has it."""

import importlib
import inspect
import pkgutil

import pytest

import tau_rnn

#: What is not asked for. A parameter is explained on its own line, ``dt : time step (s)``, so the
#: description stands where numpydoc expects a type (PR07 to PR09, RT02 to RT05). "See also" and a
#: second paragraph are written where they help (SA01, ES01); a summary may begin with a symbol, and
#: states what is returned (SS02, SS05).
NOT_ASKED = {
    "ES01", "PR07", "PR08", "PR09", "RT02", "RT03", "RT04", "RT05", "SA01", "SS02", "SS05",
}  # fmt: skip


def public_names():
    """The address of each public name, and what it is."""
    for found in pkgutil.walk_packages(tau_rnn.__path__, "tau_rnn."):
        if not any(part.startswith("_") for part in found.name.split(".")):
            module = importlib.import_module(found.name)
            for name in getattr(module, "__all__", []):
                thing = getattr(module, name)
                if callable(thing) and getattr(thing, "__module__", None) == found.name:
                    yield f"{found.name}.{name}", thing


def complaints(name, thing):
    """What numpydoc says of a name.

    The fields of a class are its attributes, or explained by its base: tests/test_docstrings.py
    asks for them (PR01).
    """
    from numpydoc.validate import validate

    skipped = NOT_ASKED | ({"PR01"} if inspect.isclass(thing) else set())
    errors = validate(name)["errors"]
    return [f"{name}: {code} {words}" for code, words in errors if code not in skipped]


def test_docstrings_of_public_names_are_valid():
    pytest.importorskip("numpydoc.validate")
    things = dict(public_names())
    assert len(things) > 100
    assert not [complaint for item in things.items() for complaint in complaints(*item)]
