"""Models in groups that no test tells apart."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.paired import CELL, POOLED
from assay.analysis.rows import PLACE, group_index
from assay.analysis.titles import title_of
from assay.foundation.keys import ABSENT
from assay.report.spec import Cells, Datasets, Models, TableSpec
from assay.report.tables.parts import (
    NOT_RUN,
    Study,
    Table,
    attack_titles,
    caption_of,
    in_cells,
    models_of,
    on_datasets,
    place_columns,
)
from assay.report.tables.words import FAMILIES


@dataclass(frozen=True, kw_only=True)
class Spec(TableSpec):
    """Models in groups that no test tells apart."""

    cells: Cells = ABSENT
    datasets: Datasets = ABSENT
    models: Models = ABSENT


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Rows are attacks and budgets; models that share a letter do not differ significantly."""
    tidy = on_datasets(inputs.ranking, spec)
    models = models_of(spec, inputs)
    tidy = tidy[tidy.model.isin(models)]
    tidy = in_cells(tidy, spec, inputs)
    display, several = [], (tidy["split"] != POOLED).any()
    for (*place, split, _), cell in tidy.groupby(
        [*PLACE, "split", group_index(*(tidy[name] for name in CELL))[0]], observed=True, sort=False
    ):
        row = place_columns(place, tidy, study)
        if several:
            row["Split"] = split
        row["Attack"] = attack_titles(cell.head(1), study, inputs)[0]
        found = cell.set_index("model")
        row["n"] = str(found.n.iloc[0])
        for model in models:
            title = title_of(study, "models", model)
            row[title] = (
                f"{found.accuracy[model]:.3f} {_letters(found.loc[model])}".rstrip()
                if model in found.index
                else NOT_RUN
            )
        display.append(row)
    legend = (
        "Accuracy on the n images that all models were tested on, and the significance group. "
        "Models that share a letter do not differ significantly. With several splits, the test "
        "accounts for the splits (bootstrap of splits and images, or corrected resampled t-test). "
        "With one split, it is McNemar's test. Brackets hold the letters of McNemar's test on the "
        f"pooled splits where these are different. {FAMILIES}"
    )
    # Fewer than two models leave nothing to rank.
    display = pd.DataFrame(display or {"Attack": []})
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy))


def _letters(row: pd.Series) -> str:
    """A model's significance letters, and McNemar's in brackets where they are others."""
    other = row.group_pooled not in (row.group, "")
    return f"{row.group} ({row.group_pooled})" if other else row.group
