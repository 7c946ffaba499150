"""The table of the ledger: which comparison each printed number gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from assay.analysis.brief import StudyBrief
from assay.analysis.ledger import results, settings
from assay.analysis.ledger.agreement import COUNT, DURATION, RESULT, RULE, SETTING, Agreement
from assay.analysis.ledger.run import Key, Row, Run

COLUMNS = (
    "file", "table", "dataset", "model", "attack", "attacked", "norm", "epsilon", "radius",
    "setting", "level", "metric", "key", "epoch", "true", "predicted", "unit", "batch", "reported",
    "reproduced", "low", "high", "delta", "n", "verdict", "reason", "remark", "note",
    "compared_with", "kind", "agrees",
)  # fmt: skip
COUNTS = ("epoch", "true", "predicted", "batch")
# What the remark on a printed number says of it.
REMARKS = {
    "conflict": "the paper contradicts itself",
    "suspect": "the printed cell is suspect",
    "misprint": "the printed cell is a misprint",
}
Comparison = Callable[[Run, Row], Agreement]
# What each metric is, and how it is compared. Nothing measures any other metric.
METRICS: dict[str, tuple[str, Comparison]] = {
    "accuracy": (RESULT, results.accuracy),
    "error_rate": (RESULT, results.accuracy),
    "accuracy_gain_at_least": (RESULT, results.gain),
    "mean_adversarial_distance": (RESULT, results.mean_distance),
    "median_adversarial_distance": (RESULT, results.median_distance),
    "train_loss": (RESULT, results.loss_curve),
    "val_loss": (RESULT, results.loss_curve),
    "train_accuracy": (RESULT, results.accuracy_curve),
    "val_accuracy": (RESULT, results.accuracy_curve),
    "hyperparameter": (SETTING, settings.hyper_parameter),
    "architecture": (SETTING, settings.architecture),
    "n_test": (SETTING, settings.fact),
    "n_total_approx": (SETTING, settings.fact),
    "n_images": (SETTING, settings.fact),
    "n_classes": (SETTING, settings.fact),
    "folds": (SETTING, settings.fact),
    "epochs": (SETTING, settings.fact),
    "count": (COUNT, settings.count),
    "duration": (DURATION, settings.duration),
}


def ledger(
    reported: pd.DataFrame,
    accuracy: pd.DataFrame,
    study: StudyBrief,
    rule: Mapping[str, float] | None = None,
    *,
    history: Mapping[Key, pd.DataFrame] | None = None,
    facts: Mapping[Key, Mapping[str, Any]] | None = None,
    subsets: Mapping[Key, int] | None = None,
    distances: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Compares every printed number with this run.

    Args:
        reported: the frame of :func:`assay.foundation.reported.read_reported`.
        accuracy: the frame of :func:`assay.analysis.accuracy.accuracy`.
        study: the study as the plan gives it; its ``reported`` maps the paper's words to ids, its
            ``scaled`` says which settings of models and attacks the scale has changed.
        rule: values that replace those of ``RULE`` (config/config.yaml, ``ledger``).
        history: training histories by (data set, split, model).
        facts: contents of ``model.json`` by (data set, split, model).
        subsets: images of the splits by (data set, split, part).
        distances: the frame of :func:`assay.analysis.distances.distances`.

    Returns:
        One row per printed number, in their order, with :data:`COLUMNS`. Names are the paper's;
        ``compared_with`` gives the ids of this run. ``low`` and ``high`` bound the reproduced
        number; ``delta`` is reproduced minus reported, NaN where there is no verdict. ``kind`` is
        result, setting, count or duration. ``agrees``: 1.0 where the printed number lies within
        the widened interval, 0.0 where it does not, NaN where this run has no such number or it is
        that of a substitute.
    """
    run = Run(
        accuracy, study, {**RULE, **(rule or {})}, history or {}, facts or {}, subsets or {},
        pd.DataFrame() if distances is None else distances,
    )  # fmt: skip
    rows = []
    for row in reported.rename(columns={"value": "reported"}).to_dict("records"):
        found = _agreement(run, Row(**row))
        if row["remark"]:
            found = found._replace(reason=f"{found.reason}; {REMARKS[row['remark']]}, see note")
        rows.append({**row, **found._asdict()})
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(COUNTS, "Int64"))


def _agreement(run: Run, row: Row) -> Agreement:
    if row.metric not in METRICS:
        return Agreement("not run", f"this study does not measure '{row.metric}'")
    kind, compare = METRICS[row.metric]
    if pd.isna(row.reported):
        return Agreement("not run", "nothing is printed in this cell", kind=kind)
    return compare(run, row)._replace(kind=kind)
