"""The kinds of data sets: one module each, looked up by the `kind` of a catalogue entry.

A kind's module is loaded only when an entry needs it, so that editing one kind leaves the
others' code digest, and with it everything computed from their data, as it was.
"""

from __future__ import annotations

from assay.foundation.errors import ConfigError

KINDS: dict[str, str] = {
    "image_archive": "assay.data.kinds.image_archive:read",
    "image_folder": "assay.data.kinds.image_folder:read",
    "medmnist": "assay.data.kinds.medmnist:read",
    "phantom": "assay.data.kinds.phantom:read",
    "sklearn": "assay.data.kinds.sklearn:read",
    "torchvision": "assay.data.kinds.torchvision:read",
}


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
            remedy=f"choose one of {', '.join(sorted(KINDS))}",
        )
    return KINDS[kind]
