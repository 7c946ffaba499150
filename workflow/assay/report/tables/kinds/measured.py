"""Means of measured numbers: distances between images, certified radii, effective sample sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
import scipy

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.measured import declared
from assay.analysis.rows import PLACE
from assay.analysis.titles import title_of
from assay.foundation.errors import ConfigError
from assay.foundation.keys import ABSENT, key
from assay.foundation.split import Split
from assay.foundation.suggestions import did_you_mean
from assay.report.needs import Measured, Need
from assay.report.spec import Datasets, ModelId, TableSpec
from assay.report.tables.parts import Study, Table, caption_of, on_datasets, placed

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Spec(TableSpec):
    """Means of the numbers of a measurement; models must be among those of the study's
    ``measurements`` under its id.
    """

    measurement: Annotated[str, key("an id of config/catalogue/measurements.yaml")]
    models: Annotated[list[ModelId], key("rows, in this order", least=1)]
    arrays: Annotated[
        list[str],
        key("columns: arrays of single numbers, or of a number per image", least=1),
    ]
    datasets: Datasets = ABSENT


def needs(spec: Spec) -> list[Need]:
    """What the study must store."""
    return [Measured(spec.measurement, tuple(spec.models), "models")]


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """A row for each model, a column for each array: its mean over images, or over splits."""
    found: dict[tuple[str, str, str, str], list[pd.Series]] = {}
    units: dict[str, str] = {}
    for dataset, split, model in inputs.networks(spec.measurement):
        if model not in spec.models:
            continue
        stored = inputs.arrays(spec.measurement, (dataset, split, model))
        for name in spec.arrays:
            place = (dataset, Split.of(split).scheme, model, name)
            found.setdefault(place, []).append(_numbers(stored, name, split, spec))
            units[name] = "images" if stored[name].ndim else "splits"
    rows = [
        {
            **dict(zip((*PLACE, "model", "array"), place, strict=True)),
            **_mean(parts),
            "unit": units[place[-1]],
        }
        for place, parts in found.items()
    ]
    names = [*PLACE, "model", "array", "mean", "low", "high", "n", "samples", "unit", "splits"]
    tidy = on_datasets(pd.DataFrame(rows, columns=names), spec)
    order = {model: number for number, model in enumerate(spec.models)}
    tidy = tidy.sort_values("model", key=lambda one: one.map(order), kind="stable")
    lines, display = [], []
    for (dataset, scheme, model), own in tidy.groupby([*PLACE, "model"], sort=False):
        lines.append({"dataset": dataset, "scheme": scheme})
        texts = {row.array: _text(row) for row in own.itertuples()}
        display.append(
            {
                "Model": title_of(study, "models", model),
                **{name: texts.get(name, "–") for name in spec.arrays},
            }
        )
    shown = pd.DataFrame(display, columns=["Model", *spec.arrays])
    if lines:
        shown = placed(shown, pd.DataFrame(lines), study)
    legend = (
        f"{_meanings(spec, study)} Mean [95 % interval of Student's t], over images or over splits."
    )
    # Where a network has one number, images are counted elsewhere.
    counted = tidy if (tidy.unit == "images").all() else tidy.drop(columns=["n", "samples"])
    return Table(
        shown, tidy.reset_index(drop=True), caption_of(spec, legend, study, inputs, counted)
    )


def _numbers(stored: dict[str, np.ndarray], name: str, split: str, spec: Spec) -> pd.Series:
    """The numbers of an array of one network, by what they are of: an image, or the split."""
    if name not in stored:
        raise ConfigError(
            f"'{spec.measurement}' stores no array '{name}'",
            where=f"table '{spec.title}' arrays",
            remedy=did_you_mean(name, stored, f"it stores {', '.join(stored)}"),
        )
    if stored[name].ndim > 1:
        raise ConfigError(
            f"'{name}' has {stored[name].ndim} dimensions",
            where=f"table '{spec.title}' arrays",
            remedy="name an array of single numbers, or of a number per image",
        )
    values = np.atleast_1d(stored[name]).astype(float)
    images = stored.get("samples", np.array([])) if stored[name].ndim else np.array([])
    of = images if len(images) == len(values) else [f"{split}/{n}" for n in range(len(values))]
    return pd.Series(values, index=of).dropna()


def _mean(parts: list[pd.Series]) -> dict[str, Any]:
    """Mean and interval; an image that several splits measured is one unit of the interval."""
    values = pd.concat(parts)
    count = values.index.nunique()
    mean, half = values.mean(), np.nan
    if count > 1:
        quantile = scipy.stats.t.isf((1 - LEVEL) / 2, count - 1)
        half = quantile * values.std(ddof=1) / np.sqrt(count)
    return {
        "mean": mean,
        "low": mean - half,
        "high": mean + half,
        "n": len(values),
        "samples": count,
        "splits": len(parts),
    }


def _text(row: Any) -> str:
    interval = f" [{row.low:.4g}, {row.high:.4g}]" if np.isfinite(row.low) else ""
    return f"{row.mean:.4g}{interval} ({row.n:,} {row.unit})" if row.n else "–"


def _meanings(spec: Spec, study: Study) -> str:
    """What the columns hold, in the words of the measurement's schema."""
    known = declared(study, spec.measurement)
    arrays = known.arrays if known else {}
    return " ".join(f"{name}: {arrays[name][2]}." for name in spec.arrays if name in arrays)
