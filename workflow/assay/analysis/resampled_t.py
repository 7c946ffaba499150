"""Student's t across splits whose training sets overlap."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
import scipy

from assay.analysis.families import ALPHA, Families, corrected
from assay.analysis.paired import CELL, Paired

# Training images by (data set, split, model).
TrainSizes = Mapping[tuple[str, str, str], int]


def corrected_resampled_t(differences, test_share: float) -> tuple[float, int, float]:
    """Student's t across resampled splits, with the variance that overlapping splits need.

    The variance of the mean difference is (1/J + n_test/n_train) s^2 instead of s^2/J, because
    the training sets of the J splits share images.

    Args:
        differences: J >= 2 differences of accuracy, one per split.
        test_share: n_test / n_train.

    Returns:
        t, degrees of freedom J - 1, and the two-sided p-value: t = 0 and p = 1 where all
        differences are 0. Where all are the same and not 0, their variance cannot be estimated
        and the test cannot be computed: t and p are NaN.

    Source: Nadeau and Bengio 2003, Machine Learning 52:239-281.
    """
    differences = np.asarray(differences, float)
    count = differences.size
    t, p, _ = nadeau_bengio(differences.mean(), differences.var(ddof=1), count, test_share)
    return float(t), count - 1, float(p)


def nadeau_bengio(
    mean, variance, count, test_share, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The corrected resampled t of many means over splits.

    Args:
        mean: over `count` >= 2 splits, scalar or array, as all that follow.
        variance: over the splits, with the divisor `count` - 1.
        count: splits.
        test_share: n_test / n_train; NaN where not known.
        level: coverage of the interval, in (0, 1).

    Returns:
        t, its two-sided p-value and the half width of the interval. Where the variance is 0, the
        half width is NaN, and t and p are 0 and 1 for a mean of 0, else NaN. All are NaN where
        `test_share` is.
    """
    mean, variance, share = np.asarray(mean, float), np.asarray(variance), np.asarray(test_share)
    equal = np.isclose(variance, 0, atol=1e-15)
    deviation = np.sqrt((1 / count + share) * np.where(equal, np.nan, variance))
    t = np.where(equal & np.isclose(mean, 0), 0 * share, mean / deviation)
    df = np.asarray(count) - 1
    return (
        t,
        2 * scipy.stats.t.sf(np.abs(t), df),
        scipy.stats.t.isf((1 - level) / 2, df) * deviation,
    )


def split_interval(values, test_share: float, level: float = 0.95) -> tuple[float, float]:
    """The interval of a model's mean accuracy over splits, by Nadeau and Bengio's variance.

    It says how far the mean would move with other splits and other trainings, where the interval
    of the pooled accuracy says how far it would move with other test images.

    Args:
        values: J accuracies in [0, 1], one per split.
        test_share: n_test / n_train.
        level: coverage in (0, 1).

    Returns:
        Lower and upper limit in [0, 1]; NaN where fewer than two splits are known, where all have
        the same accuracy, whose variance cannot be estimated, and where `test_share` is not known.

    Source: Nadeau and Bengio 2003, Machine Learning 52:239-281.
    """
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if values.size < 2:
        return np.nan, np.nan
    mean = values.mean()
    half = nadeau_bengio(mean, values.var(ddof=1), values.size, test_share, level)[2]
    low, high = np.clip((mean - half, mean + half), 0, 1)
    return float(low), float(high)


def resampled_t(
    outcomes: pd.DataFrame | Paired,
    train_sizes: TrainSizes,
    *,
    families: Families | None = None,
    alpha: float = ALPHA,
) -> pd.DataFrame:
    """The corrected resampled t-test for every pair of models, attack and budget.

    Two models of a split may have been trained on different numbers of images. n_train is then the
    smaller one, which gives the larger variance: the difference is never called more certain than
    it would be if both had been trained on as few images.

    Args:
        outcomes: as in :func:`assay.analysis.mcnemar.mcnemar`.
        train_sizes: training images by (dataset, split, model); pairs with fewer than two splits
            of known sizes are left out.
        families: as in :func:`assay.analysis.mcnemar.mcnemar`.
        alpha: level of each family.

    Returns:
        One row per cell and pair: splits, difference (mean of a - b), sd, test_share, t, df, p,
        and family, holm_p, q, significant (see :func:`assay.analysis.families.corrected`).
    """
    pairs, families = Paired.of(outcomes), families or Families()
    cells = pairs.cells
    trained = training_sizes(pairs, train_sizes)
    compared = list(combinations(range(len(pairs.models)), 2))
    family = _families(pairs, compared, families)
    cell = cells.groupby(CELL, observed=True, sort=False).ngroup()
    tables = []
    for number, (a, b) in enumerate(compared):
        known = (pairs.right[:, a] >= 0) & (pairs.right[:, b] >= 0)
        gap = pairs.right[known, a] - pairs.right[known, b]
        n = np.bincount(pairs.cell[known], minlength=len(cells))
        total = np.bincount(pairs.cell[known], weights=gap, minlength=len(cells))
        with np.errstate(invalid="ignore"):
            gap, share = total / n, n / np.minimum(trained[:, a], trained[:, b])
        splits = pd.DataFrame({"cell": cell, "gap": gap, "share": share}).dropna()
        found = splits.groupby("cell").agg(
            splits=("gap", "size"), difference=("gap", "mean"), sd=("gap", "std"),
            test_share=("share", "mean"),
        )  # fmt: skip
        found = found[found.splits > 1]
        first = cell.drop_duplicates().index[found.index]
        found["t"], found["p"], _ = nadeau_bengio(
            found.difference, found.sd**2, found.splits, found.test_share
        )
        found["df"] = found.splits - 1
        found = cells.loc[first, CELL].set_index(found.index).join(found)
        names = {"model_a": pairs.models[a], "model_b": pairs.models[b]}
        tables.append(found.assign(**names, family=family[number][first]))
    columns = [
        *CELL, "model_a", "model_b", "splits", "difference", "sd", "test_share", "t", "df", "p",
        "family", "holm_p", "q", "significant",
    ]  # fmt: skip
    if not tables:
        return pd.DataFrame(columns=columns)
    return corrected(pd.concat(tables, ignore_index=True), "p", families, alpha)[columns]


def training_sizes(pairs: Paired, train_sizes: TrainSizes) -> np.ndarray:
    """(C, M) training images of each model in the split of each cell; NaN where not known."""
    places = zip(pairs.cells.dataset, pairs.cells["split"], strict=True)
    sizes = [
        [train_sizes.get((*place, model), np.nan) for model in pairs.models] for place in places
    ]
    return np.array(sizes, float).reshape(len(pairs.cells), len(pairs.models))


def _families(pairs: Paired, compared: list[tuple[int, int]], families: Families) -> np.ndarray:
    """(P, C) the family of each pair of models in each cell, all splits of a cell together."""
    count = len(pairs.cells)
    a, b = np.repeat(np.array(compared, int).reshape(-1, 2), count, axis=0).T
    cell = np.tile(np.arange(count), len(compared))
    return families.of_tests(pairs, cell, (a, b), over_splits=True).reshape(len(compared), count)
