"""What passes between :func:`assay.data.prepare.prepare` and the reader of a kind."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from assay.foundation.errors import DataError

IMAGES = "images.npy"
REQUIRED = object()
"""In a kind's ``SETTINGS``, which map keys to defaults: there is no default."""


@dataclass(frozen=True)
class Request:
    """The request to a reader of a data set.

    Attributes:
        name: the data set's id.
        entry: its catalogue entry.
        settings: the entry's settings, completed by the kind's defaults.
        folder: where the reader writes ``images.npy`` (see :func:`new_images`).
        mirror: the folder of archives to search first, if there is one.
        cache: where downloaded files are kept.
        seed: the run's seed; only synthetic data depend on it.
    """

    name: str
    entry: Mapping[str, Any]
    settings: Mapping[str, Any]
    folder: Path
    mirror: Path | None
    cache: Path
    seed: int

    @property
    def patient_template(self) -> str | None:
        """How a patient's id is composed of what the reader found of a file; None: no ids."""
        return (self.entry.get("patient") or {}).get("id")

    @property
    def safe_template(self) -> str | None:
        """How the safe reading's id is written, which never parts a person; None: no such id."""
        return ((self.entry.get("patient") or {}).get("safe") or {}).get("id")

    def key(self, name: str) -> str:
        """File and key of a setting, for messages."""
        return f"data set '{self.name}', key 'settings.{name}'"


@dataclass(frozen=True)
class Collected:
    """What a reader hands back, beside the ``images.npy`` that it wrote.

    Attributes:
        samples: one row per image, in the order of the images: `file`, `label` (index into
            `classes`), and where known `patient`, `patient_safe` (the coarser id that never parts
            a person), `official` (train, val or test) and `stored` (digest of the file's bytes).
        classes: names of the classes.
        read: for every file that was read: `file`, `origin`, `digest`, `copy`.
        masks: (N, 1, H, W) uint8, 1 inside the lesion, or None.
        facts: more that is worth recording.
    """

    samples: pd.DataFrame
    classes: Sequence[str]
    read: Sequence[Mapping[str, Any]] = ()
    masks: np.ndarray | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def new_images(folder: Path, count: int, shape: Sequence[int]) -> np.memmap:
    """A new ``images.npy`` in `folder`, on disk in full length, to be filled in place.

    Args:
        count: number of images N.
        shape: shape (C, H, W) of one image.

    Returns:
        (N, C, H, W) uint8, zeros.

    Raises:
        OSError: the disk is full. Space is claimed first because writing to a mapped file on a
            full disk would kill the process instead of raising.
    """
    if not count:
        raise DataError("contains no images", where=folder)
    path, full = folder / IMAGES, (count, *map(int, shape))
    header = {"descr": "|u1", "fortran_order": False, "shape": full}
    with path.open("wb") as handle:
        np.lib.format.write_array_header_1_0(handle, header)
        start = handle.tell()
        handle.flush()
        os.posix_fallocate(handle.fileno(), start, int(np.prod(full, dtype=np.int64)))
    return np.lib.format.open_memmap(path, mode="r+")
