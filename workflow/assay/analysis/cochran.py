"""Cochran's Q: one test for all models of a cell."""

from __future__ import annotations

import numpy as np
import pandas as pd

from assay.analysis.families import ALPHA, Families, corrected
from assay.analysis.paired import CELL, Paired
from assay.analysis.rows import grouped


def cochran_q(
    outcomes: pd.DataFrame | Paired, *, families: Families | None = None, alpha: float = ALPHA
) -> pd.DataFrame:
    """Cochran's Q: do all models have one accuracy, under each attack and budget?

    Args:
        outcomes: as in :func:`assay.analysis.mcnemar.mcnemar`, of three models or more (with two,
            Q is the asymptotic statistic of McNemar's test).
        families: as in :func:`assay.analysis.mcnemar.mcnemar`.
        alpha: level of each family.

    Returns:
        One row per cell as in :func:`assay.analysis.mcnemar.mcnemar`: models (how many), n (images
        all were tested on), q (the statistic), df, p, holm_p (within the headline), family, bh_q
        (Benjamini and Hochberg's, within the exploratory tests), significant. Where all models
        agree on every image nothing speaks against equality: q = 0, p = 1.
    """
    from statsmodels.stats import contingency_tables

    pairs, families = Paired.of(outcomes).pooled(), families or Families()
    family = families.of_tests(pairs, np.arange(len(pairs.cells)))
    rows = []
    for cell, (ids, mine) in enumerate(
        zip(pairs.cells.to_dict("records"), grouped(pairs.cell), strict=True)
    ):
        right = pairs.right[mine]
        models = (right >= 0).any(axis=0)
        right = right[:, models]
        right = right[(right >= 0).all(axis=1)]
        if models.sum() < 2 or not len(right):
            continue
        if (right == right[:, :1]).all():
            q, p = 0.0, 1.0
        else:
            result = contingency_tables.cochrans_q(right.astype(int))
            q, p = float(result.statistic), float(result.pvalue)
        count = int(models.sum())
        rows.append((*ids.values(), count, len(right), q, count - 1, p, family[cell]))
    names = ["models", "n", "q", "df", "p", "family"]
    table = pd.DataFrame(rows, columns=[*CELL, "split", *names])
    fixed = corrected(table.drop(columns="q"), "p", families, alpha)
    return table.assign(holm_p=fixed.holm_p, bh_q=fixed.q, significant=fixed.significant)
