"""Kinds of tables and of figures are files: each module of a package of kinds is one.

A file of ``assay/report/tables/kinds/`` or ``assay/report/figures/kinds/`` adds a kind; its name is
the kind's id. Nothing else lists kinds. Because plans ask for them, these modules import
matplotlib, scikit-learn and the like where they draw, not at their top.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType, ModuleType
from typing import Any

from assay.foundation.errors import AssayError, ConfigError

# What a kind's file must have.
PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"tables": ("draw",), "figures": ("draw", "caption", "alt")}
)


@cache
def kinds(part: str) -> Mapping[str, ModuleType]:
    """The kinds of tables or of figures, by their ids, in the order of their names.

    Args:
        part: ``tables`` or ``figures``.

    Raises:
        AssayError: the file of a kind lacks a function.

    Example:
        >>> "accuracy" in kinds("tables"), "accuracy_curves" in kinds("figures")
        (True, True)
    """
    package = importlib.import_module(package_of(part))
    found = {}
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        kind = importlib.import_module(f"{package.__name__}.{module.name}")
        if lacking := [name for name in PARTS[part] if not hasattr(kind, name)]:
            raise AssayError(
                f"this kind of {part} has no {' and no '.join(lacking)}",
                where=str(kind.__file__),
                remedy="define it, as the other files of this folder do",
            )
        found[module.name] = kind
    return MappingProxyType(found)


def package_of(part: str) -> str:
    """The package whose modules are the kinds of ``tables`` or ``figures``."""
    return f"assay.report.{part}.kinds"


def kind_of(part: str, spec: Mapping[str, Any]) -> ModuleType:
    """The kind of a table's or a figure's entry.

    Args:
        part: ``tables`` or ``figures``.
        spec: the entry of a study's file.

    Raises:
        ConfigError: there is no such kind.
    """
    name, known = spec.get("kind"), kinds(part)
    if name not in known:
        raise ConfigError(
            f"unknown kind of {part.removesuffix('s')} '{name}'",
            where=f"{part.removesuffix('s')} '{spec.get('title', '')}' of the study",
            remedy=f"choose one of {sorted(known)}",
        )
    return known[name]


def code_of(study: Mapping[str, Any]) -> list[str]:
    """The modules of the kinds that a study's tables and figures are of, fit for a code digest."""
    return sorted(
        {kind_of(part, spec).__name__ for part in PARTS for spec in study.get(part, {}).values()}
    )
