"""Accuracies: rows are attacks and budgets, columns are models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import title_of
from assay.foundation.keys import ABSENT
from assay.report.spec import Cells, Datasets, Models, TableSpec
from assay.report.tables.cells import bold_words, cells_in, columns_of, entries_of
from assay.report.tables.parts import (
    Study,
    Table,
    accuracy_text,
    caption_of,
    cell_title,
    cells_of,
    filled,
    margin_of,
    models_of,
    on_datasets,
    place_columns,
    places_of,
    selected,
)
from assay.report.tables.words import caution_words, spread_words


@dataclass(frozen=True, kw_only=True)
class Spec(TableSpec):
    """Accuracy of each model in each cell."""

    cells: Cells
    datasets: Datasets = ABSENT
    models: Models = ABSENT


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Rows are attacks and budgets, columns are models.

    Rows on the same images stand together. Where the table has several such groups, each says its
    n and has the accuracy of its images unperturbed.
    """
    cells, models = cells_of(spec.cells, inputs), models_of(spec, inputs)
    tidy = on_datasets(selected(inputs, cells, models, "accuracy"), spec)
    ran = set(cells_in(tidy))
    if spec.datasets:
        # Budgets of other data sets are no gap of this one.
        cells = [cell for cell in cells if cell in ran]

    title = partial(cell_title, study, inputs)
    lines, cautions = [], []
    for place in places_of(tidy):
        here = tidy[(tidy.dataset == place[0]) & (tidy.scheme == place[1])]
        columns = columns_of(here, cells, title)
        cautions.append(caution_words(columns, here, study))
        entries = {model: entries_of(columns, (*place, model), here) for model in models}
        for column in columns:
            head = {**place_columns(place, tidy, study), "Attack": column.title}
            own = {
                title_of(study, "models", model): entries[model][column.title] for model in models
            }
            lines.append((head, own))
    display, bold = filled(lines, tidy, accuracy_text)
    bold_legend = bold_words(tidy, margin_of(inputs), title, "accuracy")
    words = [spread_words(tidy, "Mean"), bold_legend, *cautions]
    legend = " ".join(part for part in words if part)
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy), bold)
