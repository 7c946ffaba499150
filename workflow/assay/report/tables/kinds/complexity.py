"""Sizes of networks beside their accuracies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from assay.analysis.effort import MEASURES, at_place, counterpart_of, what_differs
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.rows import PLACE
from assay.analysis.titles import title_of
from assay.foundation.keys import ABSENT
from assay.report.spec import Cells, Datasets, Models, TableSpec
from assay.report.tables.cells import Cell, bold_words, cells_in, columns_of, entries_of
from assay.report.tables.parts import (
    Study,
    Table,
    accuracy_text,
    caption_of,
    cell_title,
    cells_of,
    filled,
    formatted,
    margin_of,
    met_at_places,
    models_of,
    on_datasets,
    place_columns,
    places_of,
    selected,
)
from assay.report.tables.words import SIZE_TITLES, spread_words


@dataclass(frozen=True, kw_only=True)
class Spec(TableSpec):
    """Sizes of networks beside their accuracies."""

    cells: Cells
    datasets: Datasets = ABSENT
    models: Models = ABSENT


_WORDS = {"depth": "depth", "parameters": "parameters"}  # amid a sentence
# Columns of the effort of a training, beside the sizes.
_EFFORT_TITLES = {
    "learning_rate": "Learning rate", "images": "Training images", "updates": "Weight updates",
}  # fmt: skip


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """How large the networks are, by every measure, and how they were trained, with accuracies."""
    cells, models = cells_of(spec.cells, inputs), models_of(spec, inputs)
    tidy = on_datasets(selected(inputs, cells, models, "accuracy"), spec)
    for name in SIZE_TITLES:
        keys = zip(tidy.dataset, tidy.model, strict=True)
        tidy[name] = [inputs.sizes[name].get(key, np.nan) for key in keys]
    means = {place: at_place(inputs.effort, place, models) for place in places_of(tidy)}
    units = list(zip(tidy.dataset, tidy.scheme, tidy.model, strict=True))
    for name in MEASURES:
        tidy[name] = [means[unit[:2]][name].get(unit[2], np.nan) for unit in units]

    title = partial(cell_title, study, inputs)
    columns = columns_of(tidy, cells, title)
    lines = [
        (
            {
                **place_columns(place, tidy, study),
                "Model": title_of(study, "models", model),
                **{
                    text: _ranked(inputs.sizes[name], place[0], model, models)
                    for name, text in SIZE_TITLES.items()
                },
                **{
                    text: formatted(MEASURES[name][1])(means[place][name].get(model, np.nan))
                    for name, text in _EFFORT_TITLES.items()
                },
            },
            entries_of(columns, (*place, model), tidy),
        )
        for place, model in met_at_places(tidy, models)
    ]
    display, bold = filled(lines, tidy, accuracy_text)
    sentences = [
        _order_sentence(tidy, models, study),
        *_counterpart_sentences(tidy, cells, models, study, inputs),
        "Brackets after a size hold its rank (1: smallest). Depth: number of weighted layers "
        "between image and logits. FLOPs: multiplications and additions for the prediction on one "
        "image.",
        spread_words(tidy, "Mean"),
        bold_words(tidy, margin_of(inputs), title, "accuracy"),
    ]
    legend = " ".join(filter(None, sentences))
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy), bold)


def _ranked(
    sizes: Mapping[tuple[str, str], float], dataset: str, model: str, models: list[str]
) -> str:
    """A model's size and its rank among all."""
    order = sorted({sizes[dataset, name] for name in models if (dataset, name) in sizes})
    size = sizes.get((dataset, model))
    return "–" if size is None else f"{size:,.0f} ({order.index(size) + 1})"


def _order_sentence(tidy: pd.DataFrame, models: Iterable[str], study: Study) -> str:
    """The smallest and the largest network by each measure, of the place that has most of them."""
    counts = tidy.drop_duplicates([*PLACE, "model"]).groupby(PLACE, sort=False).size()
    if counts.empty or counts.max() < 2:
        return ""
    place = counts.idxmax()
    here = tidy[(tidy.dataset == place[0]) & (tidy.scheme == place[1])]
    here = here.drop_duplicates("model").set_index("model")
    here = here.reindex([model for model in models if model in here.index])
    parts = []
    for name, title in SIZE_TITLES.items():
        known = here[name].dropna()
        if known.nunique() > 1:
            ends = [
                " and ".join(
                    title_of(study, "models", model) for model in known.index[known == end]
                )
                for end in (known.min(), known.max())
            ]
            parts.append(
                f"by {_WORDS.get(name, title)} {ends[0]} is the smallest and {ends[1]} the largest"
            )
    where = f" ({title_of(study, 'datasets', place[0])})" if tidy.dataset.nunique() > 1 else ""
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}{where}." if parts else ""


def _counterpart_sentences(
    tidy: pd.DataFrame,
    cells: list[Cell],
    models: list[str],
    study: Study,
    inputs: AnalysisInputs,
) -> list[str]:
    """Why one network stands in the table twice, and what its other training changes."""
    sentences = []
    for place, model in met_at_places(tidy, models):
        there = [name for other, name in met_at_places(tidy, models) if other == place]
        counterpart = counterpart_of(model, there, study)
        if counterpart is None:
            continue
        differs = what_differs(at_place(inputs.effort, place, [counterpart, model]), study)
        names = [title_of(study, "models", name) for name in (model, counterpart)]
        here = tidy[(tidy.dataset == place[0]) & (tidy.scheme == place[1])]
        rows = dict(zip(zip(here.model, cells_in(here), strict=True), here.accuracy, strict=True))
        changes = [
            f"{rows[model, cell]:.3f} against {rows[counterpart, cell]:.3f} "
            f"({cell_title(study, inputs, *cell)})"
            for cell in cells
            if (model, cell) in rows and (counterpart, cell) in rows
        ]
        sentences.append(
            f"{names[0]} and {names[1]} have the same architecture. Recorded differences of their "
            f"training: {', '.join(differs) or 'none'}. Accuracy of the two: {', '.join(changes)}."
        )
    return sentences
