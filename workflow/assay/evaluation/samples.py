"""Which test images are evaluated: the same for all models, so that tests can be paired."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

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
