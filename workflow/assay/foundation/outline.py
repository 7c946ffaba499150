"""How to build a class, read from its source without importing it.

A setting that a class does not have is reported before anything runs, by a plan that must not
load what the class needs (torch). So its source is parsed, like that of its bases in this package.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from assay.foundation import digest
from assay.foundation.digest import PACKAGE, module_file, parsed
from assay.foundation.errors import AssayError
from assay.foundation.outside_code import absolute, dotted, outside_file, own_file
from assay.foundation.resources import from_here
from assay.foundation.suggestions import nearest


@dataclass(frozen=True)
class Outline:
    """A class or a function: what is needed to build something with it.

    Attributes:
        name: what it is called.
        arguments: names of its arguments; of a dataclass, its fields.
        values: literal values of class attributes and of a dataclass's defaults, inherited ones
            included.
        numbers: the arguments that are numbers, or lists of them; True for whole numbers.
        lineage: names of the class and of its bases in this package, ``module:Name``; of a function
            none.
        whole: whether it takes no arguments but these, as far as its source tells.
    """

    name: str
    arguments: tuple[str, ...]
    values: Mapping[str, Any]
    numbers: Mapping[str, bool]
    lineage: tuple[str, ...]
    whole: bool = True


@cache
def outline(specification: str) -> Outline:
    """The outline of what ``"assay.package.module:Name"`` names.

    Raises:
        AssayError: there is no such module of this package, or no such class or function in it.
    """
    module, _, name = specification.partition(":")
    file = module_file(module) if module.split(".")[0] == PACKAGE else None
    if file is None:
        raise AssayError(f"there is no module '{module}'", remedy=_nearest_module(module))
    return _outlined(module, file, name)


def outside_outline(specification: str) -> Outline | None:
    """The outline of ``"module:Name"`` in any module whose source can be found.

    Returns:
        None where the source does not tell: of what a module imports from an installed package, or
        makes while it is imported.

    Raises:
        AssayError: there is no such module, or no such name in it.
    """
    module, _, name = specification.partition(":")
    file = outside_file(module)
    if file is None:
        files = [*Path.cwd().glob("*.py"), *Path.cwd().glob("*/__init__.py")]
        near = nearest(module, [dotted(path) for path in files])
        otherwise = "install it, or put it into the working folder"
        remedy = f"did you mean '{near}'?" if near else otherwise
        raise AssayError(f"there is no module '{module}'", remedy=remedy)
    if _find(file, name) is None and _is_made(parsed(file), name):
        return None
    return _outlined(module, file, name)


def _is_made(tree: ast.Module, name: str) -> bool:
    """Whether a module may have a name that it does not define as a class or a function."""
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef):
            bound.add(node.name)
    return not {name.split(".")[0], "*", "__getattr__"}.isdisjoint(bound)


def _outlined(module: str, file: Path, name: str) -> Outline:
    found = _find(file, name)
    if found is None:
        near = nearest(name, _Names.of(file).defined)
        remedy = f"did you mean '{near}'?" if near else None
        raise AssayError(f"module '{module}' has no '{name}'", remedy=remedy)
    if isinstance(found[1], ast.FunctionDef):
        arguments = _parameters(found[1])
        whole = not found[1].args.kwarg
        return Outline(name, tuple(arguments), {}, _numbers(arguments), (), whole)
    lineage = dict(_lineage(found[0], found[1]))
    values: dict[str, Any] = {}
    for part in reversed(lineage.values()):
        values = {**values, **dict(_assigned(part))}
    known = {key: value for key, value in values.items() if value is not _Unknown}
    arguments = _arguments(list(lineage.values()))
    whole = _takes_these_alone(list(lineage.values()))
    return Outline(name, tuple(arguments), known, _numbers(arguments), tuple(lineage), whole)


def classes_of(module: str) -> tuple[str, ...]:
    """The names of the classes that a module of this package defines.

    Example:
        >>> classes_of("assay.foundation.radius")
        ('Radius', 'Labels')
    """
    defined = _Names.of(module_file(module)).defined
    return tuple(name for name, node in defined.items() if isinstance(node, ast.ClassDef))


def source_file(specification: str) -> str:
    """The file that defines what ``"assay.package.module:Name"`` names, as an error names it.

    Raises:
        AssayError: there is no such module of this package.

    Example:
        >>> source_file("assay.foundation.radius:Radius").endswith("assay/foundation/radius.py")
        True
    """
    module = specification.partition(":")[0]
    file = module_file(module)
    if file is None:
        raise AssayError(f"there is no module '{module}'", remedy=_nearest_module(module))
    return from_here(file)


def constant_keys(module: str, name: str) -> tuple[str, ...]:
    """The keys of a dictionary that a module of this package spells out under `name`."""
    value = _constant(module, name)
    if value is None:
        raise AssayError(f"module '{module}' has no '{name}'")
    # Values may be names; the keys are texts.
    keys = value.keys if isinstance(value, ast.Dict) else ()
    return tuple(ast.literal_eval(key) for key in keys if key is not None)


def is_set(module: str, name: str) -> bool:
    """Whether a module of this package says ``NAME = True``.

    Example:
        >>> is_set("assay.data.kinds.medmnist", "HAS_OFFICIAL_SUBSETS")
        True
    """
    value = _constant(module, name)
    return isinstance(value, ast.Constant) and value.value is True


def _constant(module: str, name: str) -> ast.expr | None:
    """What a module of this package assigns to a name; None if it does not."""
    file = module_file(module)
    for node in parsed(file).body if file else ():
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == [name]:
            return node.value
    return None


class _Unknown:
    """Replaces a value that the source does not spell out."""


@dataclass(frozen=True)
class _Names:
    """What the names of a module mean: what it defines, and dotted paths of what it imports."""

    defined: Mapping[str, ast.ClassDef | ast.FunctionDef]
    imported: Mapping[str, str]

    @classmethod
    @cache
    def of(cls, file: Path) -> _Names:
        defined, imported = {}, {}
        for node in parsed(file).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                defined[node.name] = node
            elif isinstance(node, ast.ImportFrom):
                module = absolute(node, file)
                for alias in node.names:
                    imported[alias.asname or alias.name] = f"{module}.{alias.name}"
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    # `import a.b` binds `a`, `import a.b as c` binds `c` to `a.b`.
                    path = alias.name if alias.asname else alias.name.split(".")[0]
                    imported[alias.asname or path] = path
        return cls(defined, imported)


def _find(file: Path, name: str) -> tuple[Path, ast.ClassDef | ast.FunctionDef] | None:
    """Where in this package `name` of a module is defined, and its definition."""
    names = _Names.of(file)
    head, *rest = name.split(".")
    if not rest and head in names.defined:
        return file, names.defined[head]
    module, _, member = ".".join([names.imported.get(head, head), *rest]).rpartition(".")
    place = _file_of(module, file)
    return _find(place, member) if place and (place, member) != (file, name) else None


def _file_of(module: str, importer: Path) -> Path | None:
    """The file of a module of this package, or of one that code from outside has of its own."""
    if module.split(".")[0] == PACKAGE:
        return module_file(module)
    outside = not importer.is_relative_to(digest.ROOT / PACKAGE)
    return own_file(module, importer) if module and outside else None


def _lineage(file: Path, node: ast.ClassDef) -> Iterator[tuple[str, ast.ClassDef]]:
    """A class and its bases within this package, each before its own bases, by their names."""
    yield f"{dotted(file)}:{node.name}", node
    for base in node.bases:
        found = _find(file, ast.unparse(base))
        if found and isinstance(found[1], ast.ClassDef):
            yield from _lineage(found[0], found[1])


def _arguments(lineage: list[ast.ClassDef]) -> dict[str, str]:
    """The arguments that build a class, each with its annotation."""
    for part in lineage:
        for node in part.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                return dict(list(_parameters(node).items())[1:])
    if any("dataclass" in ast.unparse(mark) for part in lineage for mark in part.decorator_list):
        fields = {
            field.target.id: ast.unparse(field.annotation)
            for part in reversed(lineage)
            for field in part.body
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        }
        return {name: kind for name, kind in fields.items() if "ClassVar" not in kind}
    return {}


def _takes_these_alone(lineage: list[ast.ClassDef]) -> bool:
    """Whether an ``__init__`` is in the source that takes no ``**kwargs``."""
    for part in lineage:
        for node in part.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                return not node.args.kwarg
    return False


def _parameters(node: ast.FunctionDef) -> dict[str, str]:
    every = node.args
    return {
        item.arg: ast.unparse(item.annotation) if item.annotation else ""
        for item in (*every.posonlyargs, *every.args, *every.kwonlyargs)
    }


def _numbers(arguments: Mapping[str, str]) -> dict[str, bool]:
    words = {name: set(re.findall(r"\w+", kind)) for name, kind in arguments.items()}
    return {
        name: "float" not in kind
        for name, kind in words.items()
        if kind & {"int", "float"} and kind <= {"int", "float", "None", "tuple", "list", "Sequence"}
    }


def _assigned(part: ast.ClassDef) -> Iterator[tuple[str, Any]]:
    """What a class body sets: literal values, and `_Unknown` for all else (methods too)."""
    for node in part.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, _Unknown
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if node.value:
                yield node.target.id, _literal(node.value)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, _literal(node.value)


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return _Unknown


def _nearest_module(module: str) -> str:
    package, _, name = module.rpartition(".")
    init = module_file(package) if package.split(".")[0] == PACKAGE else None
    if init is None or init.name != "__init__.py":
        return f"write a module of this project, for example '{PACKAGE}.attacks.pgd'"
    there = sorted(path.stem for path in init.parent.glob("*.py") if path.stem != "__init__")
    near = nearest(name, there)
    return f"did you mean '{package}.{near}'?" if near else f"there are {', '.join(there)}"
