"""Three ways to count an attack's successes on a randomised classifier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from assay.analysis.intervals import wilson, wilson_of_shares
from assay.analysis.rows import PLACE, of_one_suite, with_scheme

# The columns of outcomes that are looked at here.
NEEDED = (
    "dataset", "split", "model", "suite", "attack", "norm", "epsilon", "sample", "misclassified",
    "misclassified_share", "silent_success",
)  # fmt: skip
# The ways, in the order in which they are always shown.
WAYS = ("once", "majority", "any_step")
COLUMNS = (
    *PLACE, "model", "attack", "norm", "epsilon", "n", "samples", "splits",
    *(f"{way}{limit}" for way in WAYS for limit in ("", "_low", "_high")),
)  # fmt: skip
_CELL = [*PLACE, "model", "attack", "norm", "epsilon"]


def counting(outcomes: pd.DataFrame, attacks: Sequence[str]) -> pd.DataFrame:
    """Accuracy under the same attacked images, counted in three ways.

    ``once``: each stored image is shown once to the classifier, with new random numbers: 1 - the
    mean share of repeated evaluations that are wrong. ``majority``: an image is misclassified if
    more than half of its repeats are wrong. ``any_step``: also where a candidate of the search was
    misclassified by the view that the attack searched (``silent_success``). For a deterministic
    model the first two are equal.

    Args:
        outcomes: rows of the outcome schema.
        attacks: ids of the attacks that are counted, in the order of the result.

    Returns:
        One row per data set, split scheme, model, attack, norm and epsilon: n (rows), samples
        (distinct images), splits, and each way with its 95 % interval: of ``once``
        :func:`assay.analysis.intervals.wilson_of_shares` of the images, of the others Wilson's.
        ``any_step`` is NaN where outcomes of an earlier version do not know it.
    """
    rows = outcomes[outcomes.attack.isin(attacks)]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    names = ["dataset", "split", "model", "suite", "attack", "norm"]
    rows = with_scheme(rows.astype(dict.fromkeys(names, str)))
    rows = rows.astype({"scheme": str}).reset_index(drop=True)
    rows = of_one_suite(rows, [*_CELL, "split", "sample"])
    found = [
        dict(zip(_CELL, cell, strict=True)) | _counted(part)
        for cell, part in rows.groupby(_CELL, sort=False)
    ]
    table = pd.DataFrame(found, columns=list(COLUMNS))
    order = {name: place for place, name in enumerate(attacks)}
    return table.sort_values(
        ["attack", "epsilon"], kind="stable", ignore_index=True,
        key=lambda column: column.map(order) if column.name == "attack" else column,
    )  # fmt: skip


def _counted(rows: pd.DataFrame) -> dict[str, float]:
    wrong, samples = rows.misclassified.to_numpy(bool), rows["sample"].nunique()
    silent = rows.silent_success.astype("boolean")
    any_step = np.nan if silent.isna().any() else (wrong | silent.to_numpy(bool)).mean()
    # An image that several splits test is one trial.
    right = 1 - rows.misclassified_share.astype(float)
    low, high = wilson_of_shares(right.groupby(rows["sample"]).mean())
    found = {
        "n": len(rows),
        "samples": samples,
        "splits": rows["split"].nunique(),
        "once": float(right.mean()),
        "once_low": low,
        "once_high": high,
    }
    for way, accuracy in (("majority", 1 - wrong.mean()), ("any_step", 1 - any_step)):
        low, high = wilson(accuracy * samples, samples)
        found |= {way: float(accuracy), f"{way}_low": float(low), f"{way}_high": float(high)}
    return found
