"""Outcome rows to accuracies: per model, attack and budget, over splits and pooled."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from assay.analysis.rows import grouped, keyed, means, numbered
from assay.analysis.statistics import wilson
from assay.foundation.outcomes import score_reader

CELL = ["dataset", "scheme", "model", "suite", "attack", "norm", "epsilon"]
BALLS = ("linf", "l2", "l0")
# The columns of outcomes that are looked at here.
NEEDED = (
    "dataset", "split", "model", "suite", "attack", "norm", "epsilon", "sample", "label",
    "clean_prediction", "broken", "replay_share", "forwards", "backwards", "scores",
)  # fmt: skip


def accuracy(outcomes: pd.DataFrame, unions: pd.DataFrame | None = None) -> pd.DataFrame:
    """Accuracies and their uncertainty, worst cases over suites included.

    Args:
        outcomes: rows of the outcome schema.
        unions: their :func:`worst_case`, where it is known already.

    Returns:
        One row per data set, split scheme, model, suite, attack and epsilon: norm, n (rows),
        samples (distinct images), splits; accuracy and sd (mean and standard deviation over splits,
        sd NaN for one split); pooled (all rows), low, high (its 95 % Wilson interval);
        balanced_accuracy and auroc (macro, one-vs-rest, of the final scores), means over splits;
        replay_accuracy (mean share of right replays); flip_share (images lost among those right
        when clean); forwards, backwards (mean passes per image). Rows with attack ``all <suite>``
        come from :func:`worst_case`.
    """
    unions = worst_case(outcomes) if unions is None else unions
    return arranged([_summary(rows) for rows in (outcomes, unions) if len(rows)])


def arranged(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Accuracy tables as one: names in order of appearance, budgets ascending."""
    return pd.concat(tables, ignore_index=True).sort_values(
        ["dataset", "scheme", "model", "suite", "attack", "epsilon"], ignore_index=True,
        key=lambda column: column if column.name == "epsilon" else pd.factorize(column)[0],
    )  # fmt: skip


def worst_case(outcomes: pd.DataFrame, *, alone: bool = False) -> pd.DataFrame:
    """The per-sample union of a suite's attacks: an image counts as broken if any attack broke it.

    Only suites whose attacks share one ball norm have a union, and only images and budgets that
    every attack of the suite was run on enter it, so that a cap on one attack never makes the
    union look weaker than its members.

    Args:
        outcomes: rows of the outcome schema.
        alone: whether one attack is a union, too: that of a model which the suite's others spare.

    Returns:
        Rows of the outcome schema with attack ``all <suite>``: each is the row of the attack that
        broke the image (or the closest to it), with the passes of all attacks together.
    """
    rows = keyed(outcomes)
    ball = np.flatnonzero(rows.norm.isin(BALLS))
    rows = rows.iloc[ball]
    suite, _ = numbered(rows.dataset, rows.suite)
    attacks, norms = (
        np.bincount(suite[numbered(suite, rows[name])[1]]) for name in ("attack", "norm")
    )
    members = np.where((attacks > (not alone)) & (norms == 1), attacks, 0)[suite]
    ball, rows, members = ball[members > 0], rows[members > 0], members[members > 0]
    image, first = numbered(
        *(rows[name] for name in ("dataset", "split", "model", "suite", "epsilon", "sample"))
    )
    whole = np.bincount(image, minlength=len(first))[image] == members
    # By image, the row that is broken first, or by the most replays, or that stands first.
    order = np.lexsort((-rows.replay_share.to_numpy(), ~rows.broken.to_numpy(bool), image))
    worst = order[np.unique(image[order], return_index=True)[1]]
    worst = np.sort(worst[whole[worst]])
    union = outcomes.iloc[ball[worst]]
    names = union.suite.astype("category").cat.rename_categories(lambda name: f"all {name}")
    passes = {
        name: np.bincount(image, rows[name], len(first))[image[worst]]
        for name in ("forwards", "backwards")
    }
    return union.assign(attack=names, **passes)


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Macro-averaged one-vs-rest area under the ROC curve, by ranks (Mann and Whitney).

    Equal to scikit-learn's ``roc_auc_score(multi_class="ovr")``, which a test holds it to, but
    fast enough for thousands of small cells, and without its demand that every class occurs.

    Args:
        labels: (N,) class indices.
        scores: (N, K) class probabilities.

    Returns:
        The mean over classes that have both positives and negatives, in [0, 1]; NaN if there are
        none or a score is not finite.
    """
    if not len(labels) or not np.isfinite(scores).all():
        return float("nan")
    areas = []
    for index, column in enumerate(np.asarray(scores).T):
        positive = labels == index
        own, others = np.sort(column[positive]), np.sort(column[~positive])
        if len(own) and len(others):
            # A tie counts as half a win.
            wins = others.searchsorted(own, "left").sum() + others.searchsorted(own, "right").sum()
            areas.append(wins / (2 * len(own) * len(others)))
    return float(np.mean(areas)) if areas else float("nan")


def _summary(outcomes: pd.DataFrame) -> pd.DataFrame:
    rows = keyed(outcomes)
    cell, first = numbered(*(rows[name] for name in CELL))
    part, first_part = numbered(cell, rows["split"])
    cells, parts = len(first), len(first_part)
    broken = rows.broken.to_numpy(bool)
    labels, scores = rows.label.to_numpy(), score_reader(rows.scores)
    recall, first_recall = numbered(part, labels)
    splits = pd.DataFrame({
        "accuracy": means(~broken, part, parts),
        "balanced_accuracy": means(
            means(~broken, recall, len(first_recall)), part[first_recall], parts
        ),
        "auroc": [auroc(labels[mine], scores(mine)) for mine in grouped(part)],
    }).groupby(cell[first_part])  # fmt: skip

    table = rows[CELL].iloc[first].reset_index(drop=True).astype(dict.fromkeys(CELL[:-1], object))
    table["n"] = np.bincount(cell)
    _, first_image = numbered(cell, rows["sample"])
    table["samples"] = np.bincount(cell[first_image])
    table["splits"] = splits.size()
    table["accuracy"] = splits.accuracy.mean()
    table["sd"] = splits.accuracy.std(ddof=1)
    table["pooled"] = means(~broken, cell, cells)
    # Repeated splits test one image several times; only distinct images count as trials.
    table["low"], table["high"] = wilson(table.pooled * table.samples, table.samples)
    table[["balanced_accuracy", "auroc"]] = splits[["balanced_accuracy", "auroc"]].mean()
    table["replay_accuracy"] = means(1 - rows.replay_share.to_numpy(float), cell, cells)
    # An image that was wrong when clean cannot be lost.
    kept = rows.clean_prediction.to_numpy() == labels
    table["flip_share"] = means(np.where(kept, broken, np.nan), cell, cells)
    for name in ("forwards", "backwards"):
        table[name] = means(rows[name], cell, cells)
    return table
