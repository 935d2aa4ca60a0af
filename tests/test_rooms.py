"""The rooms: a file imports only from the floors below it, and heavy libraries stay where they are.

The parts of ``tau_rnn`` are listed from the ground up; a part is a file or a folder, or a file of a
folder that lives on another floor than the rest of it.
"""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
import types
from functools import cache
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

import tau_rnn

ROOT = Path(tau_rnn.__file__).parent

#: The floors, lowest first. A part imports only parts of lower floors, and itself.
FLOORS = [
    {"_lazy", "_layout", "_threads", "checks", "experiment.files"},
    {"__init__", "specs"},
    {"nonlinearities", "discretisation", "taus", "tasks", "losses", "initial", "optimizers"},
    {"noise"},
    {"model"},
    {"timescales", "_tape"},
    {"bptt", "parametrization", "connectivity"},
    {"gradcheck"},
    {"training", "measures"},
    {"experiment"},
    {"plotting", "cli.progress"},
    {"cli", "explore"},
    {"run"},
    {"__main__"},
]
FLOOR = {part: k for k, floor in enumerate(FLOORS) for part in floor}
#: What may be imported at the head of a file; everything else that is not Python's own may not.
LIGHT = {"numpy", "tau_rnn"}
#: The only file that needs hypothesis, which is an extra: nobody else imports it.
ONLY_HERE = {"tau_rnn.gradcheck.strategies": "hypothesis"}

FILES = sorted(ROOT.rglob("*.py"))
MODULES = ["tau_rnn", *(m.name for m in pkgutil.walk_packages([str(ROOT)], "tau_rnn."))]


def module_name(path: Path) -> str:
    parts = ("tau_rnn", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """The part a module belongs to: ``tau_rnn.tasks.multi_timescale`` to tasks."""
    names = module.split(".")[1:]
    if ".".join(names) in FLOOR:
        return ".".join(names)
    return names[0] if names else "__init__"


def statements(node, inside=False):
    """The imports below a node, but for those for type checkers alone; whether in a function."""
    for below in ast.iter_child_nodes(node):
        if isinstance(below, (ast.Import, ast.ImportFrom)):
            yield below, inside
        elif isinstance(below, ast.If) and "TYPE_CHECKING" in ast.dump(below.test):
            continue
        elif not isinstance(below, ast.expr):  # which holds none
            function = isinstance(below, (ast.FunctionDef, ast.AsyncFunctionDef))
            yield from statements(below, inside or function)


@cache
def imports(path: Path) -> list[tuple[str, int, bool]]:
    """Every module that a file imports, its line, and whether inside a function."""
    found = []
    for node, inside in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            assert node.level == 0, f"{path.name}:{node.lineno}: imports are absolute"
            # ``from package import module`` imports the module.
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in whole]
        found += [(name, node.lineno, inside) for name in names]
    return found


def test_the_imports_inside_functions_are_found(tmp_path):
    (tmp_path / "a.py").write_text(
        "import os\ndef f():\n    from tau_rnn import training\n    import scipy.stats\n"
    )
    assert imports(tmp_path / "a.py") == [
        ("os", 1, False), ("tau_rnn.training", 3, True), ("scipy.stats", 4, True),
    ]  # fmt: skip


def test_every_part_has_one_floor():
    parts = {part_of(module) for module in MODULES}
    assert parts <= FLOOR.keys(), f"on no floor: {sorted(parts - FLOOR.keys())}"
    assert sum(map(len, FLOORS)) == len(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_a_file_imports_only_from_the_floors_below(path):
    here = part_of(module_name(path))
    for module, line, _ in imports(path):
        if module.split(".")[0] != "tau_rnn" or part_of(module) == here:
            continue
        there = part_of(module)
        assert FLOOR[there] < FLOOR[here], f"{path.name}:{line}: {here} imports {there}"


def test_no_module_imports_itself_through_others():
    names = set(MODULES)
    graph = {module_name(path): {m for m, _, _ in imports(path) if m in names} for path in FILES}
    # A file of a folder may import the folder's other files, but no two import each other.
    order = list(TopologicalSorter(graph).static_order())
    assert set(order) == names


def test_importing_the_package_is_light():
    code = (
        "import sys, tau_rnn; "
        "print(*sorted(m for m in ('matplotlib', 'torch', 'dask', 'distributed', 'scipy.stats', "
        "'scipy.optimize', 'concurrent.futures', 'multiprocessing') if m in sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == ""


def test_the_marker_works_without_hypothesis():
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from tau_rnn.gradcheck import check_backward\nfrom tau_rnn import backward\n"
        "assert check_backward(backward).ok\n"
        "try: import tau_rnn.gradcheck.strategies\n"
        "except ImportError as error: print('hypothesis' in str(error))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "True"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_heavy_libraries_are_imported_inside_functions(path):
    for module, line, inside in imports(path):
        library = module.split(".")[0]
        if library == "matplotlib":
            may = path.parent.name in ("plotting", "explore")
            assert may, f"{path.name}:{line}: only plotting and the explorer may"
        light = library in LIGHT or library == ONLY_HERE.get(module_name(path))
        assert inside or light or library in sys.stdlib_module_names, (
            f"{path.name}:{line}: {module} at the head of the file"
        )
        assert module not in ONLY_HERE, f"{path.name}:{line}: {module} needs {ONLY_HERE[module]}"


# --- what a reader meets -------------------------------------------------------------------------


def public(module):
    """The docstrings of a module's own public functions, classes and their methods, by name.

    A method that overrides another may leave its explanation to that one.
    """
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(thing):
            yield name, thing.__doc__
        if inspect.isclass(thing):
            # NamedTuples and dataclasses make up a signature where nothing was written.
            made_up = (thing.__doc__ or "").startswith(f"{name}(")
            yield name, "" if made_up else thing.__doc__
            for method, function in vars(thing).items():
                if not method.startswith("_") and inspect.isfunction(inner(function)):
                    yield f"{name}.{method}", method_doc(thing, method)


def inner(method):
    """The function within a property or classmethod, which have a docstring of their own."""
    return getattr(method, "fget", getattr(method, "__func__", method))


def method_doc(cls, name) -> str:
    """What is written of a method: by it, by one that it overrides, or of it in a base's head."""
    docs = [inner(vars(base)[name]).__doc__ for base in cls.__mro__ if name in vars(base)]
    heads = [
        base.__doc__ or ""
        for base in cls.__mro__[1:]
        if name in vars(base).get("__annotations__", {}) and name in (base.__doc__ or "")
    ]
    return next((text for text in (*docs, *heads) if text), "")


def test_missing_docstrings_are_found():
    code = (
        "from typing import NamedTuple\nfrom dataclasses import dataclass\n"
        "class A(NamedTuple):\n    x: int\n@dataclass\nclass B:\n    'Two.'\n    x: int\n"
        "    @property\n    def p(self): ...\n    @classmethod\n    def c(cls): ...\n"
        "    def m(self): 'Three.'\nclass C(B):\n    'Four.'\n    def m(self): ...\n"
        "def f(): ...\ndef _g(): ...\n"
    )
    module = types.ModuleType("made_up")
    exec(code, vars(module))
    found = {name: bool(text) for name, text in public(module)}
    assert found == {
        "A": False, "B": True, "B.p": False, "B.c": False, "B.m": True, "C": True, "C.m": True,
        "f": False,
    }  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_has_a_docstring(name):
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip(), f"{name} has none"
    bare = [thing for thing, text in public(module) if not (text or "").strip()]
    assert not bare, f"{name}: without a docstring: {bare}"


#: How many names a user may rely on, all modules together: more than this nobody holds in the head.
MOST_PUBLIC_NAMES = 122


@cache
def constants_explained():
    """The constants that have a comment ``#:`` above them, in any module."""
    found = set()
    for path in FILES:
        lines = path.read_text(encoding="utf-8").splitlines()
        found |= {b.split(":")[0].split(" ")[0] for a, b in pairwise(lines) if a.startswith("#:")}
    return found


def unexplained(module):
    """The names in a module's ``__all__`` that do not exist or say nothing about themselves."""
    for name in module.__all__:
        thing = getattr(module, name, None)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            text = thing.__doc__ or ""
            if not text.strip() or text.startswith(f"{name}("):  # a dataclass makes one up
                yield name
        elif thing is None or not (inspect.ismodule(thing) or name in constants_explained()):
            yield name


def test_names_that_are_missing_or_say_nothing_are_found():
    module = types.ModuleType("made_up")
    code = "class A:\n 'One.'\ndef f(): ...\nB = 1\nMETHODS = 2\n"
    exec(code + "__all__ = ['A', 'B', 'METHODS', 'f', 'nowhere']", vars(module))
    assert list(unexplained(module)) == ["B", "f", "nowhere"]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_offers(name):
    module = importlib.import_module(name)
    assert hasattr(module, "__all__"), f"{name} has no __all__"
    assert len(set(module.__all__)) == len(module.__all__)
    assert not [n for n in module.__all__ if n.startswith("_")]
    bare = list(unexplained(module))
    assert not bare, f"{name}.__all__: missing, or without a docstring or a comment #: {bare}"


def test_what_is_offered_can_be_held_in_the_head():
    modules = [importlib.import_module(name) for name in MODULES]
    # A name that a package passes on counts once.
    offered = {(n, id(getattr(m, n))) for m in modules for n in m.__all__}
    assert 100 < len(offered) <= MOST_PUBLIC_NAMES


def test_the_package_offers_what_a_reader_types_first():
    assert set(tau_rnn.__all__) == {
        "Params", "Trajectory", "init_params", "sample_tau", "make_task", "private_noise",
        "forward", "backward", "tangent", "mse", "train", "fit_timescales", "check_backward",
        "RunConfig", "run_one", "sweep", "load_run",
    }  # fmt: skip


def for_type_checkers(package):
    """The names that a package imports for type checkers, with the module each comes from."""
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    blocks = [n for n in tree.body if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test)]
    return {
        alias.asname or alias.name: node.module
        for block in blocks
        for node in block.body
        for alias in node.names
    }


@pytest.mark.parametrize("name", ["tau_rnn", "tau_rnn.experiment", "tau_rnn.gradcheck"])
def test_names_that_are_loaded_when_used_are_those_that_type_checkers_see(name):
    package = importlib.import_module(name)
    seen = for_type_checkers(package)
    assert set(seen) | {"__version__"} == set(package.__all__) | {"__version__"}
    assert package.__all__ == sorted(package.__all__)
    for thing, module in seen.items():
        assert getattr(package, thing) is getattr(importlib.import_module(module), thing)


def test_submodules_are_attributes_and_misspelt_names_are_not():
    code = (
        "import tau_rnn; tau_rnn.training.TrainConfig(); tau_rnn.experiment.store.load_run\n"
        "import sys; assert 'tau_rnn.plotting' not in sys.modules and 'plotting' in dir(tau_rnn)\n"
        "assert 'train' in dir(tau_rnn) and '_lazy' not in dir(tau_rnn)\n"
        "try: tau_rnn.trian\n"
        "except AttributeError as error: print(error)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "module 'tau_rnn' has no attribute 'trian'\n"


def test_every_submodule_is_an_attribute_of_its_package():
    code = (
        "import pkgutil, tau_rnn\n"
        "def look(package):\n"
        "    for found in pkgutil.iter_modules(package.__path__):\n"
        "        if not found.name.startswith('_'):\n"
        "            module = getattr(package, found.name)\n"
        "            if found.ispkg: look(module)\n"
        "look(tau_rnn)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_can_be_read_in_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_there_are_no_notebooks():
    root = ROOT.parent
    folders = ("tau_rnn", "tests", "tutorials", "validation", "benchmarks", "docs", ".")
    found = [p for f in folders for p in (root / f).glob("*.ipynb" if f == "." else "**/*.ipynb")]
    assert not found
