"""Outcome rows to adversarial distances: how far the closest broken image of each image is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from assay.analysis.rows import PLACE, keyed

# The columns of outcomes that are looked at here.
NEEDED = (
    "dataset", "split", "model", "attack", "norm", "epsilon", "sample", "label",
    "clean_prediction", "broken", "linf", "l2",
)  # fmt: skip
BALLS = ("linf", "l2")
COLUMNS = (*PLACE, "model", "norm", "attacks", "n", "broken", "mean", "median")


def distances(outcomes: pd.DataFrame, attacks: Sequence[str]) -> pd.DataFrame:
    """Mean and median over images of the distance to the closest broken image that was found.

    An image that is wrong unperturbed is at distance 0. One that no attack broke is infinitely far,
    and so is then the mean.

    Args:
        outcomes: rows of the outcome schema.
        attacks: whose images count, each in its own norm; those that look for the closest image are
            meant, at a budget that holds every image.

    Returns:
        One row per data set, split scheme, model and norm: the attacks that were run, n (rows of
        all splits), broken (how many of them), mean and median.
    """
    rows = keyed(outcomes[outcomes.attack.isin(attacks) & outcomes.norm.isin(BALLS)])
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    length = np.where(rows.norm == "linf", rows.linf, rows.l2).astype(float)
    length = np.where(rows.clean_prediction == rows.label, length, 0.0)
    rows = rows.assign(length=np.where(rows.broken, length, np.inf))
    keys = [*PLACE, "model", "norm"]
    named = rows.astype(dict.fromkeys([*keys, "attack", "split"], str))
    closest = named.groupby([*keys, "split", "sample"], sort=False).length.min()
    table = closest.groupby(keys, sort=False).agg(
        n="size", broken=lambda values: int(np.isfinite(values).sum()), mean="mean",
        median="median",
    )  # fmt: skip
    ran = named.groupby(keys, sort=False).attack.agg(lambda names: ", ".join(dict.fromkeys(names)))
    return table.assign(attacks=ran).reset_index()[list(COLUMNS)]
