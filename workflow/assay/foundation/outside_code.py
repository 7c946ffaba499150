"""Finds the source files of modules outside this package, without importing anything."""

from __future__ import annotations

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_INSTALLED = {"site-packages", "dist-packages"}


def outside_file(module: str) -> Path | None:
    """The source file of a module, found as an import finds it, the working folder first.

    Args:
        module: a dotted name.

    Returns:
        None if there is no such module, or only a compiled one.

    Example:
        >>> outside_file("json.decoder").name
        'decoder.py'
    """
    head, *rest = module.split(".")
    places = [Path.cwd(), *(Path(place) for place in sys.path if place)]
    for place in places:
        if found := _source(place.joinpath(head, *rest)):
            return found
    try:  # an editable installation lies elsewhere; of a name without dots nothing is imported
        spec = importlib.util.find_spec(head)
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if found := _source(Path(place).joinpath(*rest)):
            return found
    origin = Path(spec.origin) if spec and spec.origin and not rest else None
    return origin if origin and origin.suffix == ".py" and origin.is_file() else None


def own_file(module: str, importer: Path) -> Path | None:
    """The file of a module that a file from outside imports, if it counts as its own code.

    That is: a module of the same package, or one that was not installed.
    """
    found = outside_file(module)
    if found is None or found == importer:
        return None
    same = module.split(".")[0] == dotted(importer).split(".")[0]
    return found if same or not is_installed(found) else None


def package_files(file: Path) -> Iterator[Path]:
    """The ``__init__.py`` of the packages that a module lies in, which run when it is imported."""
    folder = file.parent
    while (init := folder / "__init__.py").is_file():
        yield init
        folder = folder.parent


def dotted(file: Path) -> str:
    """The name of the module that a file is, with those of its packages.

    Example:
        >>> dotted(outside_file("json.decoder"))
        'json.decoder'
    """
    parts = [] if file.name == "__init__.py" else [file.stem]
    parts += [init.parent.name for init in package_files(file)]
    return ".".join(reversed(parts))


def imported_names(tree: ast.Module, file: Path) -> Iterator[str]:
    """Dotted names of all modules that a syntax tree may import.

    Args:
        tree: of the file.
        file: what relative imports are relative to.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = absolute(node, file)
            if module:
                yield module
            # `from assay.models import gbz` may name a module or a member of the package.
            yield from (".".join(filter(None, (module, alias.name))) for alias in node.names)


def absolute(node: ast.ImportFrom, file: Path) -> str:
    """The dotted name that the `from` part of an import means in a file."""
    if not node.level:
        return node.module or ""
    own = dotted(file).split(".")
    package = own if file.name == "__init__.py" else own[:-1]
    package = package[: len(package) - node.level + 1]
    return ".".join([*package, *([node.module] if node.module else [])])


def _source(base: Path) -> Path | None:
    for candidate in (base / "__init__.py", base.parent / f"{base.name}.py"):
        if candidate.is_file():
            return candidate.resolve()
    return None


@cache
def _standard() -> tuple[Path, ...]:
    return tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))


def is_installed(file: Path) -> bool:
    """Whether a source file came with Python or with an installation of a package."""
    return bool(_INSTALLED & set(file.parts)) or any(
        file.is_relative_to(place) for place in _standard()
    )
