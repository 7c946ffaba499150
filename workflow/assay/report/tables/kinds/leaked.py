"""Test images with and without a relative among the training images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from assay.analysis import laboratory
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import title_of
from assay.foundation.errors import ConfigError
from assay.foundation.keys import ABSENT
from assay.report.spec import Cells, Datasets, Models, Schemes, TableSpec
from assay.report.tables.parts import (
    Study,
    Table,
    attack_titles,
    caption_of,
    cells_of,
    models_of,
    on_datasets,
    p_text,
    placed,
)
from assay.report.tables.words import interval_text, reading_sentence, safe_title, verdict_sentence


@dataclass(frozen=True, kw_only=True)
class Spec(TableSpec):
    """Test images with and without a relative among the training images."""

    cells: Cells
    schemes: Schemes
    datasets: Datasets = ABSENT
    models: Models = ABSENT


_SHARED = {"duplicate": "identical pixels", "patient": "patient"}


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Leaked against unleaked test images of the same split: a comparison without training."""
    cells, models = cells_of(spec.cells, inputs), models_of(spec, inputs)
    if inputs.leaks.empty:
        raise ConfigError(
            "no split file lists the leaked test images",
            where=f"table '{spec.title or spec.kind}' of the study",
            remedy="run the rule make_split again; it writes {split}.leaks.parquet",
        )
    tidy = laboratory.leaked_differences(
        inputs.paired, inputs.leaks, inputs.train_sizes, schemes=list(spec.schemes),
        models=models, cells=cells,
    )  # fmt: skip
    tidy = on_datasets(tidy, spec)
    order = {model: place for place, model in enumerate(models)}
    tidy = tidy.sort_values(
        ["dataset", "scheme", "model"], kind="stable", ignore_index=True,
        key=lambda column: column.map(order) if column.name == "model" else column,
    )  # fmt: skip
    learnt = _learnt(tidy, inputs)
    display = pd.DataFrame({
        "Model": [title_of(study, "models", model) for model in tidy.model],
        "Attack": attack_titles(tidy, study, inputs),
        "Shared with training": [
            safe_title(study, dataset) if name == "patient_safe" else _SHARED[name]
            for dataset, name in zip(tidy.dataset, tidy.shared, strict=True)
        ],
        "Leaked": _side(tidy, "leaked"),
        "Not leaked": _side(tidy, "unleaked"),
        "Difference": [
            f"{row.difference:+.3f}{interval_text(row.low, row.high)}" for row in tidy.itertuples()
        ],
        "p": tidy.p.map(p_text),
        "Holm p": tidy.holm_p.map(p_text),
        "Splits": tidy.splits.astype(str),
    })  # fmt: skip
    sentences = [
        "Within one split, the same network classifies leaked and unleaked test images. A leaked "
        "image shares identical pixels or its patient with a training image (column Shared with "
        "training). Accuracies are compared within each class and split and then averaged with "
        "Mantel and Haenszel's weights. Classes and splits that have only one kind are excluded.",
        "Brackets after the difference hold Newcombe's 95 % interval; p is from the same interval. "
        "The interval allows for the correlation between images of one person. It is wider where "
        "the difference varies between splits by more than chance. Holm p: Holm's correction over "
        "this table.",
        "Patients with many images leak more often. A difference between patients with many and "
        "with few images would look the same as an effect of leakage.",
        reading_sentence(study, tidy.dataset[tidy.shared == "patient_safe"]),
        learnt,
        verdict_sentence(tidy, "leaked images are easier", "difference within splits"),
    ]
    legend = " ".join(filter(None, sentences))
    rows = tidy.assign(n=tidy.n_leaked + tidy.n_unleaked)
    return Table(placed(display, tidy, study), tidy, caption_of(spec, legend, study, inputs, rows))


def _side(tidy: pd.DataFrame, side: str) -> list[str]:
    values = zip(tidy[f"accuracy_{side}"], tidy[f"n_{side}"], strict=True)
    return [f"{accuracy:.3f} (n = {n:,})" for accuracy, n in values]


def _learnt(tidy: pd.DataFrame, inputs: AnalysisInputs) -> str:
    """How much of the training part the networks learned from, where it is not all of it."""
    units = tidy[["dataset", "scheme", "model"]].drop_duplicates()
    means = inputs.effort.merge(units, on=["dataset", "scheme", "model"])
    parts = [
        inputs.subsets.get((row.dataset, row.split, "train"), np.nan) for row in means.itertuples()
    ]
    shares = (means.images / pd.Series(parts, index=means.index, dtype=float)).dropna()
    if shares.empty or (shares > 0.999).all():
        return ""
    ends = list(dict.fromkeys(f"{share:.0%}" for share in (shares.min(), shares.max())))
    return (
        f"The networks were trained on {' to '.join(ends)} of the training subset. Identical "
        "images or patients in the rest of it do not count as leakage."
    )
