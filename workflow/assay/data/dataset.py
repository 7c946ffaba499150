"""A prepared data set on disk, opened without decoding anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from assay.foundation.errors import AssayError, DataError
from assay.foundation.files import read_json

REMEDY = "remove the folder and run the same command to prepare it again"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with labels and groups, as :func:`assay.data.prepare.prepare` wrote them.

    Attributes:
        name: the id in the catalogue.
        images: (N, C, H, W) uint8, memory-mapped and read-only.
        labels: (N,) int64, indices into `classes`.
        samples: one row per image: `sample` (0 … N-1), `file`, `label`, `duplicate` (the first
            sample with the same pixels), `patient` (or null), `patient_safe` (a coarser id that
            never parts a person, or null), `official` (train, val, test or null).
        classes: names of the K classes.
        metadata: what ``dataset.json`` holds: title, source, licence, counts, files read, …
        masks: (N, 1, H, W) uint8, 1 inside the lesion, or None.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    samples: pd.DataFrame
    classes: tuple[str, ...]
    metadata: Mapping[str, Any]
    masks: np.ndarray | None = None

    @property
    def digest(self) -> str:
        """Identifies the content: pixels, labels, classes, groups and official subsets."""
        return self.metadata["digest"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return tuple(self.images.shape[1:])

    def __len__(self) -> int:
        return len(self.labels)


def load(folder: Path | str) -> Dataset:
    """Opens a prepared data set.

    Raises:
        DataError: the folder is missing, incomplete or damaged.
    """
    folder = Path(folder)
    try:
        metadata = read_json(folder / "dataset.json")
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        samples = pd.read_parquet(folder / "samples.parquet")
        masks = None
        if metadata["masks"]:
            masks = np.load(folder / "masks.npy", mmap_mode="r", allow_pickle=False)
    except (AssayError, OSError, ValueError, KeyError) as error:
        raise DataError(
            f"is not a prepared data set ({error})", where=folder, remedy=REMEDY
        ) from error
    expected = (metadata["counts"]["images"], *metadata["shape"])
    if images.shape != expected or len(samples) != expected[0]:
        raise DataError(
            f"holds {images.shape} images and {len(samples)} rows where dataset.json says "
            f"{expected}",
            where=folder,
            remedy=REMEDY,
        )
    return Dataset(
        name=metadata["name"],
        images=images,
        labels=samples["label"].to_numpy(np.int64),
        samples=samples,
        classes=tuple(metadata["classes"]),
        metadata=metadata,
        masks=masks,
    )
