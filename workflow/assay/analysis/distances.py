"""Outcome rows to adversarial distances: how far the closest misclassified image is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from assay.analysis.rows import PLACE, with_scheme

# The columns of outcomes that are looked at here.
NEEDED = (
    "dataset", "split", "model", "attack", "norm", "epsilon", "sample", "label",
    "clean_prediction", "misclassified", "linf", "l2",
)  # fmt: skip
BALLS = ("linf", "l2")
COLUMNS = (*PLACE, "model", "norm", "attacks", "n", "misclassified", "mean", "median", "clean")


def distances(
    outcomes: pd.DataFrame, attacks: Sequence[str], *, apart: bool = False
) -> pd.DataFrame:
    """Mean and median over images of the distance to the closest misclassified image found.

    An image that is misclassified unperturbed is at distance 0. One on which no attack succeeded is
    infinitely far, and so is then the mean, and the median where these are half of the images.

    Args:
        outcomes: rows of the outcome schema.
        attacks: whose images count, each in its own norm; those that look for the closest image are
            meant, at a budget that holds every image.
        apart: a row for each attack instead of one for the closest image of all of a norm.

    Returns:
        One row per data set, split scheme, model and norm (and attack): the attacks that were run,
        n (rows of all splits), misclassified (on how many of them an attack succeeded), mean and
        median over all n, clean (share of them that is classified correctly unperturbed).
    """
    rows = with_scheme(outcomes[outcomes.attack.isin(attacks) & outcomes.norm.isin(BALLS)])
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    length = np.where(rows.norm == "linf", rows.linf, rows.l2).astype(float)
    right = (rows.clean_prediction == rows.label).to_numpy()
    length = np.where(right, length, 0.0)
    rows = rows.assign(length=np.where(rows.misclassified, length, np.inf), right=right)
    keys = [*PLACE, "model", "norm", *(["attack"] if apart else [])]
    named = rows.astype(dict.fromkeys([*keys, "attack", "split"], str))
    images = named.groupby([*keys, "split", "sample"], sort=False)
    closest = images.agg(length=("length", "min"), right=("right", "all"))
    table = closest.groupby(keys, sort=False).agg(
        n=("length", "size"),
        misclassified=("length", lambda values: int(np.isfinite(values).sum())),
        mean=("length", "mean"),
        median=("length", "median"),
        clean=("right", "mean"),
    )
    ran = named.groupby(keys, sort=False).attack.agg(lambda names: ", ".join(dict.fromkeys(names)))
    return table.assign(attacks=ran).reset_index()[list(COLUMNS)]
