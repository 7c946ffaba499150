"""Digests of code: what a number depends on, blind to comments, docstrings, layout and messages.

Code from outside this package counts as far as its own files reach: its package, and other modules
that no installation put there (see :mod:`assay.foundation.outside_code`).

Snakemake watches a rule's script but not what the script imports. Each rule therefore carries the
digest of its script and of every ``assay`` module that the script reaches, as a parameter: a
changed line reruns exactly what depends on it. A changed comment, error message or log message
reruns nothing, nor does a change of the modules that log, show progress and note provenance.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from assay.foundation.errors import AssayError
from assay.foundation.outside_code import (
    dotted,
    imported_names,
    outside_file,
    own_file,
    package_files,
)
from assay.foundation.resources import PACKAGE as FOLDER
from assay.foundation.resources import resource

ROOT = FOLDER.parent
PACKAGE = "assay"
# Modules that cannot change a number: messages, display, records, and readers of entries (which are
# parameters of each job). What they import counts only where something else imports it, too.
NEUTRAL = frozenset(
    f"assay/foundation/{name}.py"
    for name in ("entries", "errors", "lease", "places", "progress", "provenance", "resources",
                 "scripts", "sources", "suggestions")
)  # fmt: skip


def code_digest(*sources: str | Path) -> str:
    """The digest of code and of all that it imports from this package.

    Args:
        *sources: module names (``"assay.attacks.pgd"``), catalogue references
            (``"assay.attacks.pgd:PGD"``, ``"my_package.defence:Net"``) or paths of scripts.

    Returns:
        Sixteen hexadecimal characters.

    Raises:
        AssayError: a source does not exist or is not valid Python.
    """
    files: set[Path] = set()
    for source in sources:
        files |= _closure(_locate(source))
    summary = hashlib.blake2b(digest_size=8)
    for file in sorted(files, key=_label):
        summary.update(f"{_label(file)}\n{_normalised(file, _text(file))}\n".encode())
    return summary.hexdigest()


def module_closure(source: str | Path) -> set[Path]:
    """The files of this package that `source` reaches by imports, itself included.

    Those of :data:`NEUTRAL` modules are left out.
    """
    return set(_closure(_locate(source)))


def forget() -> None:
    """Drops what is remembered of files, for code that changes while a process runs."""
    for remembered in (_closure, _imports, _text):
        remembered.cache_clear()


@cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _label(file: Path) -> str:
    """A file's name in digests: the same in a checkout and in an installed package."""
    for folder in (resource("workflow"), ROOT):
        if file.is_relative_to(folder):
            return file.relative_to(folder).as_posix()
    return dotted(file)


def _locate(source: str | Path) -> Path:
    if isinstance(source, str) and (source == PACKAGE or source.startswith(f"{PACKAGE}.")):
        file = module_file(source.partition(":")[0])
    elif isinstance(source, str) and ":" in source:
        file = outside_file(source.partition(":")[0])
    else:
        file = Path(source).resolve()
    if file is None or not file.is_file():
        raise AssayError("there is no such code", where=source)
    return file


def module_file(module: str) -> Path | None:
    """The file of a module of this package, or None if there is none."""
    base = ROOT.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _closure(start: Path) -> frozenset[Path]:
    seen: set[Path] = set()
    waiting = [start]
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        waiting.extend(_imports(file))
    return frozenset(seen)


def parsed(file: Path) -> ast.Module:
    """A file's syntax tree.

    Raises:
        AssayError: it is not valid Python.
    """
    return _parsed(file, file.read_text(encoding="utf-8"))


def _parsed(file: Path, text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise AssayError(
            f"is not valid Python ({error.msg})", where=f"{file}:{error.lineno}"
        ) from error


@cache
def _imports(file: Path) -> tuple[Path, ...]:
    return tuple(_imported(file))


def _imported(file: Path) -> Iterator[Path]:
    outside = not any(file.is_relative_to(f) for f in (resource("workflow"), ROOT / PACKAGE))
    if outside:
        yield from package_files(file)
    for name in _names(file, _text(file)):
        if name == PACKAGE or name.startswith(f"{PACKAGE}."):
            found = module_file(name)
            if found and found.relative_to(ROOT).as_posix() not in NEUTRAL:
                yield found
        elif outside and (found := own_file(name, file)):
            yield found


# What follows from a text alone is never dropped: after an edit the other files are as they were.
@cache
def _names(file: Path, text: str) -> tuple[str, ...]:
    return tuple(imported_names(_parsed(file, text), file))


@cache
def _normalised(file: Path, text: str) -> str:
    tree = _WithoutWords().visit(_parsed(file, text))
    return ast.dump(tree, annotate_fields=False, include_attributes=False)


class _WithoutWords(ast.NodeTransformer):
    """Takes out docstrings, and the texts of errors that are raised and of messages to a log."""

    LOGGERS = ("log", "warnings")

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
            return self.generic_visit(node)
        if isinstance(node, ast.Raise) or self._logs(node):
            return _WithoutTexts().visit(node)
        return self.generic_visit(node)

    def _logs(self, node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in self.LOGGERS
        )


class _WithoutTexts(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Constant:
        return ast.Constant("")
