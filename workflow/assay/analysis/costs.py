"""What the jobs cost: time, memory and passes of each suite on each model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from assay.analysis.attack_set import SINGLE
from assay.analysis.rows import PLACE, over_splits


def costs(
    accuracy: pd.DataFrame,
    seconds: Mapping[tuple, float],
    megabytes: Mapping[tuple, float],
    training_seconds: Mapping[tuple, float],
    training_megabytes: Mapping[tuple, float],
    parameters: Mapping[tuple, float | None],
    updates: Mapping[tuple, float | None] | None = None,
) -> pd.DataFrame:
    """One row per data set, scheme, model and suite; means over splits.

    Args:
        accuracy: of :func:`assay.analysis.accuracy.accuracy`.
        seconds, megabytes: of attack jobs, by (dataset, split, model, suite): wall time and the
            most memory that was in use.
        training_seconds, training_megabytes: the same of trainings, by (dataset, split, model).
        parameters: of the models, by (dataset, split, model).
        updates: weight updates of the trainings (epochs x batches), by (dataset, split, model).

    Returns:
        Columns `PLACE`, ``model``, ``suite``, ``seconds``, ``peak_mb``, ``forwards`` and
        ``backwards`` (per image, summed over attacks and budgets), ``images_per_second`` (perturbed
        images that were evaluated, per second), ``training_seconds``, ``training_peak_mb``,
        ``parameters``; ``updates``, ``forwards_per_attack`` and ``backwards_per_attack`` (per
        image, attack and budget), ``most_backwards`` (of the attack and budget that takes most).
        What is not known is NaN.
    """
    attacked = accuracy[accuracy.worst_case == SINGLE]
    suite = [*PLACE, "model", "suite"]
    groups = attacked.groupby(suite, sort=False)
    tidy = groups[["forwards", "backwards"]].sum().reset_index()
    results = (attacked.n / attacked.splits).groupby([attacked[name] for name in suite], sort=False)
    tidy["seconds"] = over_splits(tidy[suite], seconds)
    tidy["peak_mb"] = over_splits(tidy[suite], megabytes)
    tidy["images_per_second"] = results.sum().to_numpy() / tidy.seconds
    tidy["training_seconds"] = over_splits(tidy[suite[:-1]], training_seconds)
    tidy["training_peak_mb"] = over_splits(tidy[suite[:-1]], training_megabytes)
    tidy["parameters"] = over_splits(tidy[suite[:-1]], parameters)
    tidy["updates"] = over_splits(tidy[suite[:-1]], updates or {})
    for name in ("forwards", "backwards"):
        tidy[f"{name}_per_attack"] = groups[name].mean().to_numpy()
    tidy["most_backwards"] = groups.backwards.max().to_numpy()
    return tidy


def updates_of(facts: Mapping[str, Any]) -> int | None:
    """Weight updates of a training by its ``model.json``; None for weights from elsewhere.

    Earlier versions did not count them: there they are epochs times batches.
    """
    batch, images = (facts.get("training") or {}).get("batch_size"), facts.get("train_n")
    if not (batch and images and facts.get("epochs")):
        return None
    if "updates" in facts:
        return facts["updates"]
    full, rest = divmod(images, batch)
    # A last batch of a single image joins the one before.
    return facts["epochs"] * max(full + (rest > 1), 1)


def peaks_of(paths: Mapping[tuple, Path]) -> dict[tuple, float]:
    """The most memory that jobs used, in MB, by their benchmark files; jobs too short have none."""
    found = {}
    for key, path in paths.items():
        peak = pd.read_csv(path, sep="\t", na_values=["-", "NA"])["max_rss"].iloc[-1]
        if pd.notna(peak):
            found[key] = float(peak)
    return found
