"""Names in a catalogue to objects in a package."""

from __future__ import annotations

import pkgutil
import sys
from pathlib import Path
from typing import Any

from assay.foundation.errors import ConfigError


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
