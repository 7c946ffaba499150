"""What is left of a defence: its accuracy route by route, beside that of its base network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.remaining import ALL, COLUMNS, NEEDED, ROUTE, remaining
from assay.analysis.titles import attack_title, radius_text, route_title, title_of
from assay.foundation.errors import ConfigError
from assay.foundation.keys import ABSENT, key
from assay.report.needs import Bases, Need
from assay.report.spec import AttackId, Datasets, ModelId, TableSpec
from assay.report.tables.parts import (
    INTERVAL,
    Study,
    Table,
    caption_of,
    on_datasets,
    p_text,
    place_columns,
)
from assay.report.tables.words import interval_text
from assay.report.text import listed, plural

# Where a row has no such number.
NONE = "–"
DIFFERENCE = "Difference"


@dataclass(frozen=True, kw_only=True)
class Spec(TableSpec):
    """What is left of defences under the worst case over attacks, beside their base networks."""

    models: Annotated[
        list[ModelId],
        key("defences (wrappers, needs.base) whose base networks are in the grid, too", least=1),
    ]
    attacks: Annotated[
        list[AttackId],
        key("attacks that count; all rows are on the images that saw every one of them", least=1),
    ]
    datasets: Datasets = ABSENT


def needs(spec: Spec) -> list[Need]:
    """The base networks of the defences."""
    return [Bases(tuple(spec.models), "models")]


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """For each defence a row for each route and attack, and the worst case over all of them."""
    tidy = on_datasets(_rows(spec, study, inputs), spec)
    several = tidy.groupby(["dataset", "model"]).epsilon.nunique().max() > 1
    display = [
        {
            "Attack": _words(row, study),
            "Defence": title_of(study, "models", row.model),
            **place_columns((row.dataset, row.scheme), tidy, study),
            **({"ε": radius_text(row.epsilon, study)} if several else {}),
            "Accuracy": f"{row.accuracy:.3f} [{row.low:.3f}, {row.high:.3f}]",
            "Lowest average": _known(row.lowest_average, "{:.3f}"),
            "Base network": NONE
            if pd.isna(row.base_accuracy)
            else f"{row.base_accuracy:.3f} [{row.base_low:.3f}, {row.base_high:.3f}]",
            DIFFERENCE: _known(row.difference, "{:+.3f}")
            + interval_text(row.difference_low, row.difference_high),
            "Exact p": p_text(row.exact_p),
            "n": f"{row.n:,}",
        }
        for row in tidy.itertuples()
    ]
    display = pd.DataFrame(display or {"Attack": []})
    bold = pd.DataFrame(False, index=display.index, columns=display.columns)
    if len(display):
        bold[DIFFERENCE] = _apart(tidy).to_numpy()
    legend = _legend(tidy, study)
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy), bold)


def _rows(spec: Spec, study: Study, inputs: AnalysisInputs) -> pd.DataFrame:
    """:func:`assay.analysis.remaining.remaining` of each defence on each data set.

    Raises:
        ConfigError: a model is no wrapper, or its base network was not run.
    """
    ran = inputs.accuracy[["dataset", "model"]].drop_duplicates()
    ran = set(ran.itertuples(index=False, name=None))
    parts = []
    for model in spec.models:
        base = study.bases.get(model)
        for dataset in dict.fromkeys(inputs.accuracy.dataset):
            if (dataset, model) not in ran:
                continue
            if base is None or (dataset, base) not in ran:
                why = f"its base '{base}' was not run on {dataset}" if base else "it has no base"
                raise ConfigError(
                    f"'{model}' cannot be compared with its base network: {why}",
                    where=f"table '{spec.title}' of the study: models",
                    remedy="name wrappers (needs.base) whose base is in the grid",
                )
            own, beside = (
                inputs.routes(NEEDED, dataset=dataset, model=name) for name in (model, base)
            )
            parts.append(remaining(own, beside, spec.attacks))
    found = [part for part in parts if len(part)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=list(COLUMNS))


def _words(row: Any, study: Study) -> str:
    """What a row counts."""
    if row.over == ALL:
        return f"Worst case over {plural(row.attacks, 'attack')}, per image"
    title = attack_title(study, row.attack)
    if row.over == ROUTE:
        return f"{title}, {route_title(row.route)}"
    return title if pd.isna(row.lowest_average) else f"{title}, worst case per image"


def _known(value: float, form: str) -> str:
    return NONE if pd.isna(value) else form.format(value)


def _apart(tidy: pd.DataFrame) -> pd.Series:
    """(N,) whether the interval of a row's difference excludes 0."""
    return (tidy.difference_low > 0) | (tidy.difference_high < 0)


def _legend(tidy: pd.DataFrame, study: Study) -> str:
    sentences = [
        "Every row of a defence and radius is on the same n images. An image counts as "
        "misclassified in a row of one route if the attack through this route succeeds; in a "
        "worst case per image if any of its routes or attacks does.",
        f"Brackets: {INTERVAL}, and Newcombe's 95 % interval of a paired difference.",
        "Base network: the network that the defence decides with, alone, under the same attacks. "
        "Difference: defence minus base network on the same images. Exact p: McNemar's exact test, "
        "not corrected for multiplicity.",
    ]
    if tidy.lowest_average.notna().any():
        sentences.append(
            "Lowest average: the lowest accuracy among the routes that a row contains, as papers "
            "print it. It misses images that only another route fools." + _gap(tidy, study)
        )
    if _apart(tidy).any():
        sentences.append("Bold: the interval of the difference excludes 0.")
    left_out = tidy[(tidy.over == ALL) & (tidy.left_out != "")]
    sentences += [
        f"Left out for {title_of(study, 'models', row.model)} at ε = "
        f"{radius_text(row.epsilon, study)}, because it or its base network was not attacked so: "
        f"{listed(attack_title(study, name) for name in row.left_out.split(', '))}."
        for row in left_out.itertuples()
    ]
    return " ".join(sentences)


def _gap(tidy: pd.DataFrame, study: Study) -> str:
    """Where counting averages flatters a defence most, over all attacks together."""
    whole = tidy[tidy.over == ALL]
    gap = (whole.lowest_average - whole.accuracy).to_numpy(float)
    if not len(gap) or not (gap > 0).any():
        return ""
    most = int(np.nanargmax(gap))
    title = title_of(study, "models", whole.model.iloc[most])
    return f" Over all attacks it exceeds the worst case by up to {gap[most]:.3f} ({title})."
