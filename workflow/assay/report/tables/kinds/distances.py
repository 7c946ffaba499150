"""Distances to the closest misclassified images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.rows import PLACE
from assay.analysis.titles import NORMS, title_of
from assay.foundation.keys import ABSENT, key
from assay.report.spec import AttackId, Datasets, Models, TableSpec
from assay.report.tables.parts import (
    NOT_RUN,
    Study,
    Table,
    caption_of,
    models_of,
    on_datasets,
    place_columns,
)


@dataclass(frozen=True, kw_only=True)
class Spec(TableSpec):
    """Distances to the closest misclassified images."""

    attacks: Annotated[
        list[AttackId], key("attacks whose closest misclassified images count", least=1)
    ]
    datasets: Datasets = ABSENT
    models: Models = ABSENT


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """How far the closest misclassified images of each attack are, with the clean accuracy."""
    tidy = on_datasets(inputs.distances(spec.attacks, apart=True), spec)
    tidy = tidy[tidy.model.isin(models_of(spec, inputs))].reset_index(drop=True)
    order = {model: place for place, model in enumerate(models_of(spec, inputs))}
    tidy = tidy.sort_values("model", key=lambda column: column.map(order), kind="stable")
    units = [*PLACE, "model"]
    same = bool((tidy.groupby(units)[["n", "clean"]].nunique() <= 1).all(axis=None))
    display = []
    for (*place, model), rows in tidy.groupby(units, sort=False):
        line = {**place_columns(place, tidy, study), "Model": title_of(study, "models", model)}
        # In the order of the entry's attacks, whichever a model lacks.
        for attack in spec.attacks:
            for row in rows[rows.attacks == attack].itertuples():
                title = f"{title_of(study, 'attacks', attack)}, {NORMS[row.norm]} distance"
                clean = "Clean accuracy" if same else f"Clean accuracy, images of {title}"
                line.setdefault(clean, f"{row.clean:.3f} (n = {row.n:,})")
                line[f"{title}: median"] = f"{finite(row.median)} (n = {row.n:,})"
                line[f"{title}: mean"] = f"{finite(row.mean)} (n = {row.n:,})"
                line[f"{title}: never misclassified"] = f"{row.n - row.misclassified} of {row.n:,}"
        display.append(line)
    display = pd.DataFrame(display or {"Model": []}).fillna(NOT_RUN)
    legend = (
        "Distance from each image to the closest misclassified image that the attack of the column "
        "found. Median and mean are over all images. An image that is misclassified without "
        "perturbation has distance 0. If the attack found no misclassified image, the distance is "
        "infinite (∞). The mean is then infinite. The median is infinite if this happens for half "
        "of the images or more."
    )
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy))


def finite(value: float) -> str:
    """A distance as it is printed."""
    return f"{value:.3f}" if np.isfinite(value) else "∞"
