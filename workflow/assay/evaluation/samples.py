"""Which test images are evaluated and shown, the same for all models, and how models take them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from assay.data.dataset import Dataset
from assay.data.splits import subsample
from assay.foundation.errors import DataError
from assay.foundation.seeds import seed_for


def evaluated_samples(
    data: Dataset, split: Path | str, n: int | None, *, seed: int, names: Sequence[str]
) -> np.ndarray:
    """The test images of a split that a scale evaluates.

    Args:
        data: the data set.
        split: the split's Parquet file (columns sample, subset).
        n: how many images, drawn in proportion to the classes; None for all.
        seed: the run's seed.
        names: data set and split; neither model nor suite, which all see the same images.

    Returns:
        (min(n, test size),) indices into the data set's arrays, ascending.

    Raises:
        DataError: the split has no test image.
    """
    table = pd.read_parquet(split)
    test = table.loc[table["subset"] == "test", "sample"].to_numpy()
    if not len(test):
        raise DataError("contains no test image", where=split)
    return subsample(test, data.labels, n, seed=seed_for(seed, "evaluated", *names))


def in_turn(indices: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Images with the classes in turn, so that the first few show all of them.

    Args:
        indices: (M,) of images, ascending.
        labels: (N,) classes of the whole data set.

    Returns:
        (M,) `indices`: the first image of each class, then the second of each, ...

    Example:
        >>> in_turn(np.arange(5), np.array([0, 0, 0, 1, 1]))
        array([0, 3, 1, 4, 2])
    """
    own = labels[indices]
    place = np.empty(len(indices), int)
    for label in np.unique(own):
        place[own == label] = np.arange((own == label).sum())
    return indices[np.lexsort((own, place))]


def on_device(images: np.ndarray, device: torch.device | str) -> Tensor:
    """Stored images (..., C, H, W) as models take them: float in [0, 1], on `device`.

    Args:
        images: uint8, or floats that are in [0, 1] already.
        device: where models take them.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device).float()
    return pixels.div_(255) if images.dtype == np.uint8 else pixels


def classes_on(labels: np.ndarray, device: torch.device | str) -> Tensor:
    """Stored classes (B,) as int64 on `device`."""
    return torch.from_numpy(labels.astype(np.int64)).to(device)
