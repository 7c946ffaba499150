"""Names in a catalogue to objects in the package."""

from __future__ import annotations

import importlib
from typing import Any

from assay.foundation.errors import ConfigError


def load(specification: str) -> Any:
    """The object that ``"package.module:Name"`` names.

    Raises:
        ConfigError: the text has another form, or there is no such module or name.
    """
    module_name, colon, name = specification.partition(":")
    if not colon or not name:
        raise ConfigError(
            f"'{specification}' is not of the form 'package.module:Name'",
            where="implementation",
            remedy="write for example 'assay.attacks.pgd:PGD'",
        )
    try:
        return getattr(importlib.import_module(module_name), name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"there is no module '{error.name}'", where=f"implementation '{specification}'"
        ) from error
    except AttributeError as error:
        raise ConfigError(
            f"module '{module_name}' has no '{name}'", where=f"implementation '{specification}'"
        ) from error
