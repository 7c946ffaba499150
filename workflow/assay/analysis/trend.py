"""Does accuracy fall or rise with the size of a network? Rank correlations across splits."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from math import factorial

import numpy as np
import pandas as pd
import scipy

from assay.analysis.families import ALPHA, holm
from assay.analysis.paired import CELL, Paired

# Permutations that are counted one by one; of more, as many are sampled.
MOST_RELABELLINGS = 5040
SMALLER, LARGER, CANNOT_TELL = "yes", "no, larger is", "cannot tell"
COLUMNS = ["measure", "models", "splits", "correlation", "low", "high", "p", "smallest_p"]


def size_trend(
    outcomes: pd.DataFrame | Paired,
    sizes: Mapping[str, Mapping[tuple[str, str], float]],
    train_sizes: Mapping[tuple[str, str, str], int],
    level: float = 0.95,
) -> pd.DataFrame:
    """Spearman's rank correlation of a network's size with its accuracy, in every cell.

    It is computed within each split, whose networks saw the same images, and averaged. Splits share
    images, so the interval of the mean uses Nadeau and Bengio's variance (see
    :func:`assay.analysis.resampled_t.corrected_resampled_t`), cut off at -1 and 1. The p-value is
    that of a permutation test: how often the mean is at least as far from 0 if the sizes of the
    networks are permuted, the same way in every split.

    Args:
        outcomes: as in :func:`assay.analysis.mcnemar.mcnemar`.
        sizes: measure of size, then (dataset, model), then its value; models without one are left
            out.
        train_sizes: training images by (dataset, split, model).
        level: of the interval.

    Returns:
        One row per cell and measure with at least three models: :data:`CELL` and `measure`,
        `models`, `splits`, `correlation`, its interval (NaN for a single split), `p`, and
        `smallest_p`, which is the least that so few models allow.
    """
    pairs = Paired.of(outcomes)
    per_split = _accuracies(pairs, train_sizes)
    rows = []
    for ids, cell in per_split.groupby(CELL, observed=True, sort=False):
        table = cell.pivot(index="split", columns="model", values="accuracy")
        share = float(cell.share.mean())
        for measure, values in sizes.items():
            known = [model for model in table if (ids[0], model) in values]
            complete = table[known].dropna()
            if len(known) < 3 or complete.empty:
                continue
            size = np.array([values[ids[0], model] for model in known], float)
            row = _trend(complete.to_numpy(), size, share, level)
            rows.append((*ids, measure, len(known), len(complete), *row))
    return pd.DataFrame(rows, columns=[*CELL, *COLUMNS])


def concluded(
    rows: pd.DataFrame, sound: pd.Series | np.ndarray, alpha: float = ALPHA
) -> pd.DataFrame:
    """What correlations show, all of them taken together.

    Args:
        rows: :func:`size_trend`'s, of everything that one table shows.
        sound: (R,) whether the accuracies of a row come from sound evaluations of all models.
        alpha: level of the whole table.

    Returns:
        The rows with `holm_p`, corrected by Holm over all rows whose accuracies differ at all (NaN
        for the others), and `verdict`: ``yes`` (smaller networks are more accurate), ``no, larger
        is`` or ``cannot tell``. There is a verdict only where `holm_p` is at most `alpha`, the
        interval, if there is one, does not contain 0, and every evaluation is sound.
    """
    # Where no order of the sizes could show anything, all networks are equally accurate.
    shows = rows.smallest_p < 1
    rows = rows.assign(holm_p=holm(rows.p.where(shows)))
    within = (rows.low <= 0) & (rows.high >= 0)
    significant = (rows.holm_p <= alpha) & ~within & np.asarray(sound, bool)
    direction = np.where(rows.correlation < 0, SMALLER, LARGER)
    return rows.assign(verdict=np.where(significant, direction, CANNOT_TELL))


def _accuracies(pairs: Paired, train_sizes: Mapping[tuple[str, str, str], int]) -> pd.DataFrame:
    """One row per split, cell and model: accuracy, and test images over training images."""
    frames = []
    for right, model in zip(pairs.right.T, pairs.models, strict=True):
        known = right >= 0
        n = np.bincount(pairs.cell[known], minlength=len(pairs.cells))
        total = np.bincount(pairs.cell[known], weights=right[known], minlength=len(pairs.cells))
        places = zip(pairs.cells.dataset, pairs.cells["split"], strict=True)
        trained = np.array([train_sizes.get((*place, model), np.nan) for place in places])
        with np.errstate(invalid="ignore"):
            frames.append(pairs.cells.assign(model=model, accuracy=total / n, share=n / trained))
    return pd.concat(frames, ignore_index=True).dropna(subset="accuracy")


def _trend(
    accuracies: np.ndarray, size: np.ndarray, share: float, level: float
) -> tuple[float, float, float, float, float]:
    """Mean correlation, interval, p and the smallest possible p, of (splits, models) accuracies."""
    ranks = scipy.stats.rankdata(accuracies, axis=1)
    correlations = _correlations(ranks, scipy.stats.rankdata(size))
    mean, count = float(correlations.mean()), len(correlations)
    low = high = np.nan
    if count > 1:
        share = 0.0 if np.isnan(share) else share
        deviation = np.sqrt((1 / count + share) * correlations.var(ddof=1))
        half = scipy.stats.t.isf((1 - level) / 2, count - 1) * deviation
        low, high = max(mean - half, -1.0), min(mean + half, 1.0)
    dealt = _relabellings(scipy.stats.rankdata(size))
    means = np.array([_correlations(ranks, other).mean() for other in dealt])
    p = float(np.mean(np.abs(means) >= abs(mean) - 1e-12))
    best = float(np.mean(np.abs(means) >= np.abs(means).max() - 1e-12))
    return mean, low, high, p, best


def _correlations(ranks: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each row of ranks with `size`; 0 where either does not vary."""
    ranks, size = ranks - ranks.mean(axis=1, keepdims=True), size - size.mean()
    lengths = np.sqrt((ranks**2).sum(axis=1) * (size**2).sum())
    return np.divide(ranks @ size, lengths, out=np.zeros(len(ranks)), where=lengths > 0)


def _relabellings(size: np.ndarray) -> np.ndarray:
    """All permutations of the sizes, or as many at random, the given one among them."""
    if factorial(len(size)) <= MOST_RELABELLINGS:
        return np.array(list(permutations(size)))
    rng = np.random.default_rng(0)
    drawn = [rng.permutation(size) for _ in range(MOST_RELABELLINGS - 1)]
    return np.array([size, *drawn])
