"""Which rows come from code that has changed since they were computed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from assay.analysis.attack_set import SINGLE, SUITE
from assay.analysis.rows import PLACE
from assay.foundation.split import Split

CURRENT, EARLIER = "current", "earlier"
# A cell of the run: dataset, split, model, suite and attack.
Cell = tuple[str, ...]


def with_code(
    accuracy: pd.DataFrame, earlier: Collection[Cell], norms: Mapping[str, str]
) -> pd.DataFrame:
    """The table with the column ``code``: ``earlier`` where any part of a row is of earlier code.

    A row over several attacks is of earlier code if one of these attacks is: of the row's suite,
    or, where the row is of no suite, of the row's norm.

    Args:
        accuracy: of :func:`assay.analysis.accuracy.accuracy`.
        earlier: attacks on networks that were computed with other code than today's.
        norms: norm of each attack.
    """
    found = [
        {"dataset": dataset, "scheme": Split.of(split).scheme, "model": model, "suite": suite,
         "attack": attack, "norm": norms.get(attack, "")}
        for dataset, split, model, suite, attack in earlier
    ]  # fmt: skip

    def among(*names: str) -> np.ndarray:
        keys = [*PLACE, "model", *names]
        known = {tuple(cell[key] for key in keys) for cell in found}
        rows = accuracy[keys].astype(str).itertuples(index=False, name=None)
        return np.fromiter((row in known for row in rows), bool, len(accuracy))

    old = np.select(
        [accuracy["worst_case"] == SINGLE, accuracy["worst_case"] == SUITE],
        [among("suite", "attack"), among("suite")],
        among("norm"),
    )
    return accuracy.assign(code=np.where(old, EARLIER, CURRENT).astype(object))
