"""Outcome rows to accuracies: per model, attack and budget, over splits and pooled."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from assay.analysis.statistics import EPSILON_DIGITS, wilson

CELL = ["dataset", "model", "suite", "attack", "norm", "epsilon"]
BALLS = ("linf", "l2", "l0")


def accuracy(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Accuracies and their uncertainty, worst cases over suites included.

    Args:
        outcomes: rows of the outcome schema.

    Returns:
        One row per data set, model, suite, attack and epsilon: norm, n (rows), samples (distinct
        images), splits; accuracy and sd (mean and standard deviation over splits, sd NaN for
        one split); pooled (all rows), low, high (its 95 % Wilson interval); balanced_accuracy
        and auroc (macro, one-vs-rest, of the final scores), means over splits; replay_accuracy
        (mean share of right replays); flip_share (images lost among those right when clean);
        forwards, backwards (mean passes per image). Rows with attack ``all <suite>`` come from
        :func:`worst_case`.
    """
    table = pd.concat([_summary(outcomes), _summary(worst_case(outcomes))], ignore_index=True)
    # Names in order of appearance, budgets ascending.
    return table.sort_values(
        ["dataset", "model", "suite", "attack", "epsilon"], ignore_index=True,
        key=lambda column: column if column.name == "epsilon" else pd.factorize(column)[0],
    )  # fmt: skip


def worst_case(outcomes: pd.DataFrame) -> pd.DataFrame:
    """The per-sample union of a suite's attacks: an image counts as broken if any attack broke it.

    Only suites whose attacks share one ball norm have a union, and only images and budgets that
    every attack of the suite was run on enter it, so that a cap on one attack never makes the
    union look weaker than its members.

    Args:
        outcomes: rows of the outcome schema.

    Returns:
        Rows of the outcome schema with attack ``all <suite>``: each is the row of the attack that
        broke the image (or the closest to it), with the passes of all attacks together.
    """
    ball = outcomes[outcomes.norm.isin(BALLS)]
    suite = ["dataset", "suite"]
    members = ball.groupby(suite, observed=True)[["attack", "norm"]].nunique()
    members = members.attack[(members.attack > 1) & (members.norm == 1)].rename("members")
    ball = ball.join(members, on=suite, how="inner")
    ball["epsilon"] = ball.epsilon.round(EPSILON_DIGITS)
    image = ["dataset", "split", "model", "suite", "epsilon", "sample"]
    ball = ball[ball.groupby(image, observed=True).attack.transform("size") == ball.members]
    passes = ball.groupby(image, observed=True, sort=False)[["forwards", "backwards"]]
    ball[["forwards", "backwards"]] = passes.transform("sum")
    worst = ball.sort_values(["broken", "replay_share"], ascending=False, kind="stable")
    worst = worst.drop_duplicates(image).sort_index()
    return worst.assign(attack="all " + worst.suite.astype(str))[list(outcomes.columns)]


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
    positive = labels[:, None] == np.arange(scores.shape[1])
    hits = positive.sum(axis=0)
    usable = (hits > 0) & (hits < len(labels))
    if not usable.any():
        return float("nan")
    ranks = (rankdata(scores[:, usable], axis=0) * positive[:, usable]).sum(axis=0)
    hits = hits[usable]
    return float(np.mean((ranks - hits * (hits + 1) / 2) / (hits * (len(labels) - hits))))


def _summary(outcomes: pd.DataFrame) -> pd.DataFrame:
    frame = outcomes.assign(
        epsilon=outcomes.epsilon.round(EPSILON_DIGITS),
        right=~outcomes.broken,
        replay_accuracy=1.0 - outcomes.replay_share.astype(float),
        # A mean skips NaN: images that were wrong when clean cannot be flipped.
        flip_share=outcomes.broken.astype(float).where(outcomes.clean_prediction == outcomes.label),
    )
    rest = {"observed": True, "sort": False}
    per_split = frame.groupby([*CELL, "split"], **rest)
    split = pd.DataFrame({"accuracy": per_split.right.mean()})
    recall = frame.groupby([*CELL, "split", "label"], **rest).right.mean()
    split["balanced_accuracy"] = recall.groupby([*CELL, "split"], **rest).mean()
    labels, scores = frame.label.to_numpy(), frame.scores.to_numpy()
    areas = {
        key: auroc(labels[rows], np.stack(scores[rows])) for key, rows in per_split.indices.items()
    }
    split["auroc"] = [areas[key] for key in split.index]
    over_splits = split.groupby(CELL, **rest)

    pooled = frame.groupby(CELL, **rest)
    table = pd.DataFrame({"n": pooled.size()})
    table["samples"] = pooled["sample"].nunique()
    table["splits"] = over_splits.size()
    table["accuracy"] = over_splits.accuracy.mean()
    table["sd"] = over_splits.accuracy.std(ddof=1)
    table["pooled"] = pooled.right.mean()
    # Repeated splits test one image several times; only distinct images count as trials.
    table["low"], table["high"] = wilson(table.pooled * table.samples, table.samples)
    table[["balanced_accuracy", "auroc"]] = over_splits[["balanced_accuracy", "auroc"]].mean()
    means = ["replay_accuracy", "flip_share", "forwards", "backwards"]
    table[means] = pooled[means].mean()
    return table.reset_index().astype(dict.fromkeys(CELL[:-1], object))
