"""Which test images of a split have a relative among its training images, image by image."""

from __future__ import annotations

import pandas as pd

from assay.data.splits import TEST, TRAIN

# What two images may share: columns of a data set's samples.
SHARED = ("duplicate", "patient", "patient_safe")


def leaks(samples: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """What each test image of a split shares with the images that the networks learn from.

    Args:
        samples: the table of a data set.
        split: the table of :func:`assay.data.splits.make_split`.

    Returns:
        One row per test image, in the order of `samples`: `sample`, and for each of ``duplicate``
        (same pixels), ``patient`` and ``patient_safe`` (the reading that never parts a person) a
        number of the group that the image belongs to (equal in all splits of the data set) and,
        as ``<name>_in_train``, whether a training image belongs to it, too. Both are null where
        the data set does not know. Validation images do not count: no weight is fitted to them.
    """
    part = split.set_index("sample")["part"].reindex(samples["sample"]).to_numpy()
    tested = part == TEST
    found = pd.DataFrame({"sample": samples["sample"].to_numpy()[tested]})
    for name in SHARED:
        values = samples[name] if name in samples else pd.Series([None] * len(samples))
        numbers = pd.Series(pd.factorize(values)[0])  # -1 where it is not known
        caught = numbers.isin(set(numbers[part == TRAIN])).astype("boolean")
        unknown = (numbers < 0).to_numpy()
        mine = numbers.astype("Int64").mask(unknown)[tested]
        found[name] = mine.reset_index(drop=True)
        found[f"{name}_in_train"] = caught.mask(unknown)[tested].reset_index(drop=True)
    return found
