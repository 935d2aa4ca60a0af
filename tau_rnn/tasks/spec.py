"""Which task is meant: its name, a text from which any run can make it again, and the task.

The text of a task of this package is its name and what differs from the defaults,
``multi_timescale:delay_max=3``. That of a task of your own says where it is, and ends with a
hash of that file: ``my_task.py:MyTask:delay=3#0a1b2c3d4e5f``. A text with a hash is taken as it is
(a stored run is read without importing its task); the file is imported, and compared with the hash,
when the task is built.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from tau_rnn.checks import nearest, shown
from tau_rnn.specs import parameters_of, spec_text, value_text
from tau_rnn.tasks.base import DelayedReport
from tau_rnn.tasks.integrate_and_remember import IntegrateAndRemember
from tau_rnn.tasks.multi_timescale import MultiTimescaleMemory
from tau_rnn.tasks.own import check_task

__all__ = ["TASKS", "make_task"]

#: The tasks by name. A new one is a class, named here.
TASKS: dict[str, type[DelayedReport]] = {
    task.name: task for task in (MultiTimescaleMemory, IntegrateAndRemember)
}
_HASH_DIGITS = 12


def make_task(name: str, **options: Any) -> DelayedReport:
    """The task of that name, with the given fields in place of their defaults.

    Parameters
    ----------
    name : one of `TASKS`, or with fields, as in ``multi_timescale:delay_max=3``
    **options : fields of its class

    Returns
    -------
    the task

    Raises
    ------
    ValueError
        For an unknown task or field (with the nearest valid name) or a bad value.

    Examples
    --------
    >>> make_task("multi_timescale", dt=0.1).n_steps
    52
    """
    if isinstance(name, str) and name.partition(":")[0] in TASKS:
        _, name, given, _ = _from_text(name)
        options = {**given, **options}
    if not isinstance(name, str) or name not in TASKS:
        raise ValueError(f"task: unknown task {name!r}; {nearest(name, TASKS)}")
    known = [field.name for field in fields(TASKS[name])]
    for option in options:
        if option not in known:
            raise ValueError(f"{name}: no parameter {option!r}; {nearest(option, known)}")
    return TASKS[name](**options)


class _TaskSpec(NamedTuple):
    """A task as a run names it.

    Attributes
    ----------
    text : gives the same task back, see the head of this module; part of a run's key
    place : name, ``file.py:Class`` or ``module:Class``
    parameters : what differs from the task's defaults, by name
    digest : hash of the file that defines the task; empty for a task of this package
    """

    text: str
    place: str
    parameters: dict[str, Any]
    digest: str

    @property
    def label(self) -> str:
        """The name of the task and its parameters, for titles and names of folders."""
        return spec_text(self.place.rpartition(":")[2], self.parameters)

    def build(self, dt: float):
        """The task with this time step, checked.

        Raises
        ------
        ValueError
            If it cannot be found, has changed, or is not what `check_task` wants.
        """
        if not self.digest:
            return make_task(self.place, dt=dt, **self.parameters)
        cls = _find(self.place)
        if _digest(cls) != self.digest:
            raise ValueError(
                f"task: {self.place} has changed: its file has the hash {_digest(cls)}, and the "
                f"run was made with {self.digest}"
            )
        return _made(cls, self.text, dt)


@lru_cache(maxsize=16)  # a run asks for its task often
def _made(cls: type, text: str, dt: float):
    signature, parameters = inspect.signature(cls), _from_text(text).parameters
    arguments = {**parameters, **({"dt": dt} if "dt" in signature.parameters else {})}
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ValueError(
            f"task: {cls.__name__}: {error}; its parameters follow a colon, as in "
            f"{text.partition('#')[0]}:NAME=VALUE"
        ) from None
    return check_task(cls(**arguments), dt)


def parse_task(spec, dt: float | None = None) -> _TaskSpec:
    """The task that a text, a class or an instance stands for.

    Parameters
    ----------
    spec : a name of `TASKS`, with parameters or without (``"multi_timescale:delay_max=3"``); a
        class in a file (``"my_task.py:MyTask"``) or in a module (``"package.module:MyTask"``),
        its parameters after another colon; a class, or an instance of one
    dt : the time step that an instance must have, if any

    A ValueError says that there is no such task, or that its class cannot be found again where a
    run is computed.

    Examples
    --------
    >>> parse_task("multi_timescale:delay_max=3.0,delay_min=1").text
    'multi_timescale:delay_max=3'
    """
    if isinstance(spec, _TaskSpec):
        return spec
    if isinstance(spec, str):
        return _from_text(spec.strip())
    if not isinstance(spec, type):
        return _from_instance(spec, dt)
    for name, task in TASKS.items():
        if spec is task:
            return _spec(name, {})
    return _spec(_place_of(spec), {}, _digest(spec))


def is_resolved(text: str) -> bool:
    """Whether a text is one of a stored run, which is read without importing or opening a file."""
    return text.partition(":")[0] in TASKS or bool(re.search("#[0-9a-f]{12}$", text))


def _from_instance(task, dt: float | None) -> _TaskSpec:
    checked = check_task(task, dt)
    for name, cls in TASKS.items():
        if type(task) is cls:
            return _spec(name, _changed(task))
    cls = type(task)
    found = _spec(_place_of(cls), _parameters_of(task), _digest(cls))
    one, other = (
        t.trials(3, np.random.default_rng(1)) for t in (checked, found.build(checked.dt))
    )
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one[:3], other[:3])):
        raise ValueError(
            f"task: a run makes its task again, as {found.label}, which draws other trials; give "
            "what differs to the class as an argument, kept as an attribute of the same name"
        )
    return found


def _spec(place: str, parameters: dict[str, Any], digest: str = "") -> _TaskSpec:
    text = spec_text(place, parameters) + (f"#{digest}" if digest else "")
    return _TaskSpec(text, place, parameters, digest)


def _from_text(text: str) -> _TaskSpec:
    name, _, rest = text.partition(":")
    if name in TASKS:
        cls = TASKS[name]
        usual = {field.name: field for field in fields(cls) if field.name != "dt"}
        given = parameters_of(rest, usual, text)
        # Whether they fit together, and the dt, is seen when the task is built.
        values = {
            key: cls.checked(field, _value(given[key]))
            for key, field in usual.items()
            if key in given
        }
        return _spec(name, {k: v for k, v in values.items() if v != usual[k].default})
    match = re.fullmatch(r"(.+\.py|[\w.]+):([\w.]+)(?::(.*?))?(?:#([0-9a-f]+))?", text)
    if not match:
        raise ValueError(
            f"task: unknown task {text!r}; {nearest(name, TASKS)}, or a class of your own, "
            "my_task.py:MyTask"
        )
    where, name, rest, digest = match.groups()
    place = f"{os.path.normpath(where) if where.endswith('.py') else where}:{name}"
    if digest:  # made before: it is looked up when it is built
        items = re.findall(r"(\w+)=(.*?)(?=,\w+=|$)", rest or "")
        return _spec(place, {key: _value(value) for key, value in items}, digest)
    cls = _find(place)
    known = [key for key in inspect.signature(cls).parameters if key != "dt"]
    given = {key: _value(value) for key, value in parameters_of(rest or "", known, text).items()}
    return _spec(place, given, _digest(cls))


def _changed(task: DelayedReport) -> dict[str, Any]:
    """The fields of a task, but dt, that differ from their defaults."""
    return {
        field.name: getattr(task, field.name)
        for field in fields(task)
        if field.name != "dt" and getattr(task, field.name) != field.default
    }


def _parameters_of(task) -> dict[str, Any]:
    """The arguments, except dt, that make an equal instance; a ValueError if they are unknown."""
    found = {}
    for name, parameter in inspect.signature(type(task)).parameters.items():
        if name == "dt":
            continue
        try:
            value = getattr(task, name)
            if value is parameter.default or value == parameter.default:
                continue
            text = value_text(value)
            good = _value(text) == value and not re.search("[=#:]", text)
        except (AttributeError, TypeError, ValueError):
            good = False
        if not good:
            raise ValueError(
                f"task: a run stores the arguments of its task as a text, and {name} of "
                f"{type(task).__name__} cannot be recovered; keep it as an attribute of that name, "
                "a number or a word"
            )
        found[name] = value
    return found


def _value(text: str):
    """A number, a tuple of numbers, True, False or None, or else the text itself."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _place_of(cls: type) -> str:
    """Where a class can be found: ``module:Class``, or ``file.py:Class``."""
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    try:
        found = _attribute(module, cls.__qualname__) is cls
    except AttributeError:
        found = False
    if not found or not file:
        raise ValueError(
            f"task: a run must find its task again, and {cls.__qualname__} is not at the top "
            "level of a module or file; put it there, or train it with tau_rnn.train"
        )
    if cls.__module__ not in ("__main__", "__mp_main__"):
        origin = importlib.util.find_spec(cls.__module__)
        if origin is not None and origin.origin == file:
            return f"{cls.__module__}:{cls.__qualname__}"
    relative = os.path.relpath(file)
    return f"{file if relative.startswith('..') else relative}:{cls.__qualname__}"


def _find(place: str) -> type:
    """The class at ``file.py:Class`` or ``module:Class``."""
    where, _, name = place.rpartition(":")
    module = _from_file(where) if where.endswith(".py") else _from_module(where)
    try:
        cls = _attribute(module, name)
    except AttributeError:
        classes = [key for key, value in vars(module).items() if hasattr(value, "trials")]
        raise ValueError(
            f"task: there is no {name!r} in {where}; {nearest(name, classes)}"
        ) from None
    if not isinstance(cls, type):
        raise ValueError(f"task: {name} of {where} is not a class, but {shown(cls)}")
    return cls


def _attribute(module, name: str):
    for part in name.split("."):
        module = getattr(module, part)
    return module


def _from_module(name: str):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(f"task: cannot import {name!r} ({error})") from None


def _from_file(path: str):
    file = Path(path).resolve()
    if not file.is_file():
        raise ValueError(f"task: there is no file {path!r}")
    for main in ("__main__", "__mp_main__"):  # the script that runs is not run again
        running = getattr(sys.modules.get(main), "__file__", None)
        if running and Path(running).resolve() == file:
            return sys.modules[main]
    # One module for each file and content, so that a changed file is read again.
    place = hashlib.sha256(str(file).encode()).hexdigest()[:_HASH_DIGITS]
    name = f"_tau_rnn_task_{file.stem}_{place}_{_hash_of(file)}"
    if name not in sys.modules:
        module = ModuleType(name)
        module.__file__ = str(file)
        sys.modules[name] = module  # dataclasses look their module up
        sys.path.insert(0, str(file.parent))  # for what it imports from its folder
        try:
            exec(compile(file.read_bytes(), file, "exec"), vars(module))  # and no older byte code
        except BaseException:
            del sys.modules[name]
            raise
        finally:
            sys.path.remove(str(file.parent))
    return sys.modules[name]


def _digest(cls: type) -> str:
    return _hash_of(Path(sys.modules[cls.__module__].__file__ or ""))


def _hash_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:_HASH_DIGITS]
