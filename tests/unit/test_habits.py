"""Tests talk to public names, and no result of theirs depends on how fast a machine is."""

import ast

from assay.foundation.resources import ROOT

FILES = sorted((ROOT / "tests").rglob("*.py"))
CLOCKS = {"perf_counter", "process_time", "monotonic", "time", "getrusage", "times"}
# Waiting for a cluster, which never ends by itself, has an end.
WAITING = {"tests/cluster/test_slurm.py"}


def private(name):
    return name.startswith("_") and not name.startswith("__")


def reached(tree):
    """Private names of others that a module imports, reads or writes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if private(alias.name))
        elif isinstance(node, ast.Attribute) and private(node.attr):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not own:
                yield node.attr


def timed(tree):
    """Assertions that read a clock."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            for part in ast.walk(node.test):
                function = part.func if isinstance(part, ast.Call) else None
                if isinstance(function, ast.Attribute) and function.attr in CLOCKS:
                    yield ast.unparse(node.test)


def found_in(files, search):
    found = {
        file.relative_to(ROOT).as_posix(): list(search(ast.parse(file.read_text(encoding="utf-8"))))
        for file in files
    }
    return {name: hits for name, hits in found.items() if hits}


def test_tests_and_benchmarks_reach_into_no_private_names():
    files = [*FILES, *(ROOT / "benchmarks").glob("*.py")]
    assert found_in(files, reached) == {}


def test_no_test_asserts_a_time():
    assert {*found_in(FILES, timed)} <= WAITING


def test_private_names_and_clocks_are_found():
    code = """
from assay.models.synthesis import _decided
model._energy(x)
self._own()
assert time.perf_counter() - started < 5
assert steps < 5
"""
    assert list(reached(ast.parse(code))) == ["_decided", "_energy"]
    assert list(timed(ast.parse(code))) == ["time.perf_counter() - started < 5"]
