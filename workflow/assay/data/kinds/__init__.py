"""The kinds of data sets: one module each, looked up by the `kind` of a catalogue entry.

The name of a module is its kind; nothing else lists kinds. It has ``SETTINGS``, a function ``read``
and, if all its data sets come divided, ``HAS_OFFICIAL_SUBSETS = True``. A kind's module is loaded
only when an entry needs it, so that editing one kind leaves the others' code digest, and with it
everything computed from their data, as it was.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

from assay.foundation.errors import ConfigError

KINDS: Mapping[str, str] = MappingProxyType(
    {
        name: f"{__name__}.{name}:read"
        for name in sorted(module.name for module in pkgutil.iter_modules(__path__))
    }
)


def reader_of(kind: str, name: str) -> str:
    """The reader of a kind as ``"module:function"``, fit for a registry or a code digest.

    Args:
        kind: the `kind` of a catalogue entry.
        name: the data set's name, for the message.

    Raises:
        ConfigError: there is no such kind.
    """
    if kind not in KINDS:
        raise ConfigError(
            f"there is no kind of data set '{kind}'",
            where=f"datasets.yaml, key '{name}.kind'",
            remedy=f"choose one of {', '.join(KINDS)}",
        )
    return KINDS[kind]
