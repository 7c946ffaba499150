"""How many points of accuracy each defect of a published attack explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from assay.analysis.mcnemar import exact_p
from assay.analysis.paired import repeated_schemes
from assay.analysis.rows import with_scheme

COLUMNS = (
    "dataset", "scheme", "model", "published", "corrected", "norm", "epsilon", "n",
    "accuracy_published", "accuracy_corrected", "points_explained", "only_published_breaks",
    "only_corrected_breaks", "exact_p", "defect",
)  # fmt: skip
# The columns of outcomes that are looked at here.
NEEDED = ("dataset", "split", "model", "attack", "norm", "epsilon", "sample", "misclassified")


def defects(outcomes: pd.DataFrame, pairs: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """The published and the corrected attack on the same images, per model and budget.

    Args:
        outcomes: rows of the outcome schema.
        pairs: mappings with ``published``, ``corrected`` (attack ids) and ``defect`` (words).

    Returns:
        One row per pair, data set, split scheme, model and epsilon that both attacks were run at:
        points_explained is 100 (accuracy_published - accuracy_corrected), exact_p McNemar's exact
        test between the two attacks (NaN where an image was tested in several splits, which are
        not independent). A pair that never meets gives no row.
    """
    image = ["dataset", "scheme", "model", "split", "epsilon", "sample"]
    frame = with_scheme(outcomes)
    repeated = repeated_schemes(frame)
    attacks = dict(iter(frame.groupby("attack", observed=True)))
    rows = []
    for pair in pairs:
        if not {pair["published"], pair["corrected"]} <= attacks.keys():
            continue
        published = attacks[pair["published"]][[*image, "norm", "misclassified"]]
        corrected = attacks[pair["corrected"]][[*image, "misclassified"]]
        both = published.merge(corrected, on=image, suffixes=("_published", "_corrected"))
        cells = both.groupby(["dataset", "scheme", "model", "norm", "epsilon"], observed=True)
        for (dataset, scheme, model, norm, epsilon), cell in cells:
            old, new = cell.misclassified_published, cell.misclassified_corrected
            only_old, only_new = int((old & ~new).sum()), int((new & ~old).sum())
            p = exact_p(only_old, only_new) if (dataset, scheme) not in repeated else np.nan
            rows.append({
                "dataset": dataset, "scheme": scheme, "model": model, "norm": norm,
                "epsilon": epsilon, "n": len(cell), "accuracy_published": 1 - old.mean(),
                "accuracy_corrected": 1 - new.mean(),
                "points_explained": 100 * (only_new - only_old) / len(cell),
                "only_published_breaks": only_old, "only_corrected_breaks": only_new,
                "exact_p": p, **pair,
            })  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))
