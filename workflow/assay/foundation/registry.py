"""Names in a catalogue to objects in a package."""

from __future__ import annotations

import dataclasses
import pkgutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from assay.foundation.errors import AssayError, ConfigError
from assay.foundation.suggestions import did_you_mean

Value = TypeVar("Value")


def load(specification: str) -> Any:
    """The object that ``"package.module:Name"`` names.

    Raises:
        ConfigError: the text has another form, or there is no such module or name.

    Example:
        >>> load("pathlib:Path").__name__
        'Path'
    """
    module_name, colon, name = specification.partition(":")
    if not colon or not name:
        raise _no_specification(specification)
    try:
        return pkgutil.resolve_name(specification)
    except ValueError as error:
        raise _no_specification(specification) from error
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"there is no module '{error.name}'", where=f"implementation '{specification}'"
        ) from error
    except AttributeError as error:
        raise ConfigError(
            f"module '{module_name}' has no '{name}'", where=f"implementation '{specification}'"
        ) from error


def load_value(
    entry: Mapping[str, Any], base: type[Value], what: str, error: type[AssayError]
) -> tuple[type[Value], dict[str, Any]]:
    """The class of a frozen value that a catalogue entry names, and the settings to make it with.

    Args:
        entry: ``implementation`` (``module:Class``) and ``settings``; ``name`` for messages.
        base: what the class inherits from.
        what: the kind of entry, in a word.
        error: the class of the errors.

    Raises:
        AssayError: the class is another one, or has no field for a setting; of class `error`.
        ConfigError: there is no such implementation.
    """
    implementation = entry["implementation"]
    where = f"{what} '{entry.get('name', implementation)}'"
    kind = load(implementation)
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise error(
            f"'{implementation}' is no {what}",
            where=f"{where} implementation",
            remedy=f"name a class that inherits from {base.__module__}:{base.__name__}",
        )
    settings = dict(entry.get("settings") or {})
    known = [field.name for field in dataclasses.fields(kind)]  # pyrefly: ignore[bad-argument-type]
    for name in settings:
        if name not in known:
            raise error(
                f"{kind.__name__} has no setting '{name}'",
                where=f"{where} settings",
                remedy=did_you_mean(name, known, f"known are {', '.join(known) or 'none'}"),
            )
    return kind, settings


def import_from_here() -> None:
    """Lets modules that lie in the working folder be imported, as ``python`` itself does."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def _no_specification(text: str) -> ConfigError:
    return ConfigError(
        f"'{text}' is not of the form 'package.module:Name'",
        where="implementation",
        remedy="write for example 'assay.attacks.pgd:PGD'",
    )
