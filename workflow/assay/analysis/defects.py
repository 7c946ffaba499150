"""How many points of accuracy each defect of a published attack explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from assay.analysis.statistics import EPSILON_DIGITS, exact_p, repeated_datasets

COLUMNS = (
    "dataset", "model", "published", "corrected", "norm", "epsilon", "n", "accuracy_published",
    "accuracy_corrected", "points_explained", "only_published_breaks", "only_corrected_breaks",
    "exact_p", "defect",
)  # fmt: skip


def defects(outcomes: pd.DataFrame, pairs: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """The published and the corrected attack on the same images, per model and budget.

    Args:
        outcomes: rows of the outcome schema.
        pairs: mappings with ``published``, ``corrected`` (attack ids) and ``defect`` (words).

    Returns:
        One row per pair, data set, model and epsilon that both attacks were run at:
        points_explained is 100 (accuracy_published - accuracy_corrected), exact_p McNemar's exact
        test between the two attacks (NaN where an image was tested in several splits, which are
        not independent). A pair that never meets gives no row.
    """
    image = ["dataset", "model", "split", "epsilon", "sample"]
    frame = outcomes[[*image, "attack", "norm", "broken"]]
    frame = frame.assign(epsilon=frame.epsilon.round(EPSILON_DIGITS))
    repeated = repeated_datasets(outcomes)
    rows = []
    for pair in pairs:
        published = frame[frame.attack == pair["published"]]
        corrected = frame[frame.attack == pair["corrected"]].drop(columns=["attack", "norm"])
        both = published.merge(corrected, on=image, suffixes=("_published", "_corrected"))
        cells = both.groupby(["dataset", "model", "norm", "epsilon"], observed=True)
        for (dataset, model, norm, epsilon), cell in cells:
            old, new = cell.broken_published, cell.broken_corrected
            only_old, only_new = int((old & ~new).sum()), int((new & ~old).sum())
            rows.append({
                "dataset": dataset, "model": model, "norm": norm, "epsilon": epsilon,
                "n": len(cell), "accuracy_published": 1 - old.mean(),
                "accuracy_corrected": 1 - new.mean(),
                "points_explained": 100 * (only_new - only_old) / len(cell),
                "only_published_breaks": only_old, "only_corrected_breaks": only_new,
                "exact_p": np.nan if dataset in repeated else exact_p(only_old, only_new), **pair,
            })  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))
