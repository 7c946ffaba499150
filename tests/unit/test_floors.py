"""A package imports only from floors below its own; analysis and report never need torch."""

import ast
from functools import cache

import pytest

from assay.foundation.digest import ROOT, module_closure

FLOORS = {
    "foundation": 0, "data": 1, "threat": 1, "attacks": 2, "models": 3, "training": 4,
    "evaluation": 4, "analysis": 5, "report": 6, "plan": 7,
}  # fmt: skip
FILES = sorted((ROOT / "assay").rglob("*.py"))


@cache
def packages_imported(file):
    """The dotted names that a module imports, in parts."""
    return list(imported(file))


def imported(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: a relative import hides its floor"
            names = [node.module]
        else:
            continue
        for name in names:
            yield name.split(".")


def test_every_package_has_a_floor():
    assert {path.parent.name for path in (ROOT / "assay").glob("*/__init__.py")} == set(FLOORS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_imports_point_downwards(file):
    own = file.relative_to(ROOT / "assay").parts[0]
    for parts in packages_imported(file):
        if parts[0] == "assay" and len(parts) > 1 and own in FLOORS:
            assert parts[1] == own or FLOORS[parts[1]] < FLOORS[own], (
                f"{own} imports {'.'.join(parts)}"
            )


@pytest.mark.parametrize("package", ["analysis", "report", "plan"])
def test_analysis_report_and_plan_reach_no_module_that_imports_torch(package):
    for file in (ROOT / "assay" / package).rglob("*.py"):
        for reached in module_closure(file):
            heavy = [
                parts
                for parts in packages_imported(reached)
                if parts[0] in ("torch", "torchvision")
            ]
            assert not heavy, f"{file.name} reaches {reached}"


def test_packages_import_nothing_by_themselves():
    # Else a digest of one module would hold all others of its package.
    for file in (ROOT / "assay").glob("*/__init__.py"):
        assert not packages_imported(file), file
