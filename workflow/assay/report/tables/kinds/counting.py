"""Three ways to count an attack's successes on randomised defences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pandas as pd

from assay.analysis.attack_set import AttackSet
from assay.analysis.counting import COLUMNS, NEEDED, WAYS, counting
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import title_of
from assay.foundation.keys import ABSENT, key
from assay.report.spec import AttackId, Datasets, Models, TableSpec
from assay.report.tables.parts import (
    Study,
    Table,
    caption_of,
    cell_title,
    models_of,
    on_datasets,
    place_columns,
)
from assay.report.text import listed

HEADS = {"once": "(a) Shown once", "majority": "(b) Majority", "any_step": "(c) Any step"}
# What outcomes of an earlier version do not know.
UNKNOWN = "unknown"
# Shares that differ by rounding alone.
SAME = 1e-6


@dataclass(frozen=True, kw_only=True)
class Spec(TableSpec):
    """Accuracy under an attack on randomised defences, counted in three ways."""

    attacks: Annotated[list[AttackId], key("attacks whose successes are counted", least=1)]
    datasets: Datasets = ABSENT
    models: Models = ABSENT


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """A row for each model, attack and radius; a column for each way to count."""
    tidy = on_datasets(_rows(spec, inputs), spec)
    display = [
        {
            "Model": title_of(study, "models", row.model),
            **place_columns((row.dataset, row.scheme), tidy, study),
            "Attack": cell_title(study, inputs, AttackSet.of(row.attack), row.epsilon),
            **{HEADS[way]: _text(row, way) for way in WAYS},
            "n": f"{row.n:,}",
        }
        for row in tidy.itertuples()
    ]
    display = pd.DataFrame(display or {"Model": []})
    return Table(display, tidy, caption_of(spec, _legend(tidy, study), study, inputs, tidy))


def _rows(spec: Spec, inputs: AnalysisInputs) -> pd.DataFrame:
    parts = []
    for dataset in dict.fromkeys(inputs.accuracy.dataset):
        for model in models_of(spec, inputs):
            rows = inputs.outcomes(NEEDED, dataset=dataset, model=model)
            parts += [found] if len(found := counting(rows, spec.attacks)) else []
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def _text(row: Any, way: str) -> str:
    accuracy, low, high = (getattr(row, f"{way}{limit}") for limit in ("", "_low", "_high"))
    return UNKNOWN if pd.isna(accuracy) else f"{accuracy:.3f} [{low:.3f}, {high:.3f}]"


def _legend(tidy: pd.DataFrame, study: Study) -> str:
    sentences = [
        "In a row the attack is the same; only what counts as a success differs. (a) Each attacked "
        "image is shown once to the model, with new random numbers: the mean over images of the "
        "share of repeated evaluations that are right. (b) An image counts as misclassified if "
        "more than half of its repeated evaluations are wrong; all other tables count so. (c) It "
        "also counts as misclassified if, at any step, the function that the attack searched (for "
        "several EOT samples, their mean) misclassified a candidate within the radius, even if the "
        "repeated evaluations of the final image do not confirm it. (c) is never above (b); one "
        "lucky draw of many is enough for it. For a deterministic model, (a) and (b) are equal.",
        "Brackets: 95 % intervals; of (b) and (c) Wilson's, of (a) Wilson's with the effective "
        "number of trials of the shares.",
    ]
    known = tidy.loc[tidy.any_step.notna(), list(WAYS)].astype(float)
    spread = known.max(axis=1) - known.min(axis=1)
    if (spread > SAME).any():
        most = tidy.loc[spread.idxmax()]
        values = listed(f"{most[way]:.3f}" for way in WAYS)
        title = title_of(study, "models", most.model)
        sentences.append(f"The three ways are farthest apart for {title}: {values}.")
    if tidy.any_step.isna().any():
        sentences.append("Unknown: stored by an earlier version, which did not note it.")
    return " ".join(sentences)
