"""Which test images of a split have a relative among its training images, image by image."""

from __future__ import annotations

import numpy as np
import pandas as pd

from assay.data.splits import TEST

# What two images may share: columns of a data set's samples.
SHARED = ("duplicate", "patient", "patient_safe")


def leaks(samples: pd.DataFrame, split: pd.DataFrame, order: np.ndarray) -> pd.DataFrame:
    """What each test image of a split shares with the images that networks learn from.

    A network that learns from n images learns from the first n of `order`, so that a test image
    has leaked to it where ``<name>_first < n``.

    Args:
        samples: the table of a data set.
        split: the table of :func:`assay.data.splits.make_split`.
        order: (T,) the training images in the order in which
            :func:`assay.data.splits.subsample` takes them.

    Returns:
        One row per test image, in the order of `samples`: `sample`, `label`, and for each of
        ``duplicate`` (same pixels), ``patient`` and ``patient_safe`` (the reading that never parts
        a person)

        - ``<name>``: a number of the group that the image belongs to, equal in all splits of the
          data set; null where it is not known;
        - ``<name>_in_train``: whether any training image belongs to it; null likewise;
        - ``<name>_first``: the place in `order` (from 0) of the first that does; null where none
          does.

        Validation images do not count: no weight is fitted to them.
    """
    subset = split.set_index("sample")["subset"].reindex(samples["sample"]).to_numpy()
    tested = subset == TEST
    rows = pd.Series(np.arange(len(samples)), index=samples["sample"])[order].to_numpy()
    found = samples.loc[tested, ["sample", "label"]].reset_index(drop=True)
    for name in SHARED:
        values = samples[name] if name in samples else pd.Series([None] * len(samples))
        numbers = pd.factorize(values)[0]  # -1 where it is not known
        mine = pd.Series(numbers[tested], dtype="Int64")
        unknown = mine < 0
        # From the last to the first, so that the first of a group is what stays.
        places = dict(zip(numbers[rows][::-1], range(len(rows) - 1, -1, -1), strict=True))
        first = mine.map(places).astype("Int64")
        found[name] = mine.mask(unknown)
        found[f"{name}_in_train"] = first.notna().astype("boolean").mask(unknown)
        found[f"{name}_first"] = first.mask(unknown)
    return found
