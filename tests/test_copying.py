"""A module and the neighbours it names are all that somebody has to copy."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest


EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
MODULES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
DECLARATION = re.compile(r"Copy with: (?P<files>.+)\.", re.DOTALL)
# A module that calls itself pure does nothing by itself: no waiting, no network.
IMPURE = {"asyncio", "socket", "ssl", "threading", "selectors", "aiohttp", "subprocess"}

IMPORT_AND_REPORT = """
import json, sys
sys.path.insert(0, {folder!r})
import {module}
loaded = [
    name
    for name, module in sys.modules.items()
    if (getattr(module, "__file__", None) or "").startswith({folder!r})
]
print(json.dumps(sorted(loaded)))
"""


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse((EXAMPLES / f"{module}.py").read_text(encoding="utf-8"))


@cache
def docstring_of(module: str) -> str:
    docstring = ast.get_docstring(tree_of(module))
    assert docstring, f"{module} has no docstring"
    return docstring


@cache
def declared_neighbours(module: str) -> frozenset[str]:
    """Read the last paragraph of the docstring: "Copy with: a.py, b.py."."""
    last = docstring_of(module).rsplit("\n\n", 1)[-1].strip()
    found = DECLARATION.fullmatch(last)
    assert found, f"{module}: the last paragraph is {last!r}"
    if found["files"] == "nothing":
        return frozenset()
    files = re.split(r",\s+", found["files"])
    assert all(file.endswith(".py") for file in files), files
    return frozenset(file.removesuffix(".py") for file in files)


def closure_of(module: str) -> set[str]:
    """Return the module, its neighbours, and theirs."""
    closure, to_visit = set[str](), [module]
    while to_visit:
        name = to_visit.pop()
        if name not in closure:
            closure.add(name)
            to_visit += declared_neighbours(name)
    return closure


def imported_by(module: str) -> set[str]:
    """Return the top-level names of all imports anywhere in a module."""
    names = set[str]()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            names.add(str(node.module).partition(".")[0])
    return names


def import_alone(module: str, folder: Path) -> set[str]:
    """Import a module in a fresh interpreter; return what it loaded from there."""
    program = IMPORT_AND_REPORT.format(folder=str(folder), module=module)
    # -I ignores the environment, but `make test-ws15` chooses its websockets there.
    extra = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    lines = [f"sys.path.append({path!r})" for path in extra if "websockets" in path]
    program = "\n".join(["import sys", *lines, program])
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_there_are_modules_to_copy() -> None:
    assert len(MODULES) >= 10
    assert sum(is_pure(module) for module in MODULES) >= 5


@pytest.mark.parametrize("module", MODULES)
def test_a_module_runs_with_exactly_the_neighbours_it_names(
    module: str, tmp_path: Path
) -> None:
    closure = closure_of(module)
    for name in closure:
        shutil.copy(EXAMPLES / f"{name}.py", tmp_path)
    assert import_alone(module, tmp_path) == closure


@pytest.mark.parametrize("module", MODULES)
def test_the_named_neighbours_are_those_it_imports(module: str) -> None:
    assert declared_neighbours(module) == imported_by(module) & set(MODULES)


def is_pure(module: str) -> bool:
    return re.search(r"^Pure:", docstring_of(module), re.MULTILINE) is not None


@pytest.mark.parametrize("module", [each for each in MODULES if is_pure(each)])
def test_a_pure_module_imports_nothing_that_waits_or_connects(module: str) -> None:
    imported = imported_by(module)
    assert not imported & IMPURE
    if "no clock" in docstring_of(module):
        assert not imported & {"time", "datetime"}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_whether_it_is_pure(module: str) -> None:
    """What imports nothing impure itself, nor through a neighbour, should say so."""
    reached = set[str]().union(*(imported_by(each) for each in closure_of(module)))
    if not reached & IMPURE:
        assert is_pure(module)
