"""Whether accuracy rises or falls with the size of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd

from assay.analysis.effort import at_place, effort_sentence, what_differs
from assay.analysis.families import ALPHA
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.paired import CELL
from assay.analysis.titles import title_of
from assay.analysis.trend import CANNOT_TELL, concluded
from assay.foundation.keys import ABSENT, Key, key
from assay.report.spec import Cells, Datasets, ModelId, Models, TableSpec
from assay.report.tables.cells import cells_in
from assay.report.tables.parts import (
    Study,
    Table,
    attack_titles,
    caption_of,
    in_cells,
    models_of,
    on_datasets,
    p_text,
    placed,
    selected,
)
from assay.report.tables.words import SIZE_TITLES


@dataclass(frozen=True, kw_only=True)
class Spec(TableSpec):
    """Correlation of size with accuracy."""

    models: Models
    cells: Cells = ABSENT
    datasets: Datasets = ABSENT
    within: Annotated[
        dict[str, Annotated[list[ModelId], Key(least=3)]],
        key(
            "name of a family, then its networks; the table shows their trend beside that of all "
            "networks",
            least=1,
        ),
    ] = ABSENT


EVERY_NETWORK = "all"


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Whether accuracy rises or falls with the size of a network, and what that may be due to."""
    models = models_of(spec, inputs)
    families = {EVERY_NETWORK: models} | {
        title: [model for model in members if model in models]
        for title, members in (spec.within or {}).items()
    }
    tidy = pd.concat(
        [_trend_of(spec, title, members, inputs) for title, members in families.items()],
        ignore_index=True,
    )
    tidy["other_differences"] = [
        ", ".join(what_differs(at_place(inputs.effort, place, families[family]), study))
        for *place, family in zip(tidy.dataset, tidy.scheme, tidy.networks, strict=True)
    ]
    tidy = concluded(tidy, tidy.unsound == "")
    if len(tidy):
        order = tidy.groupby([*CELL, "measure"], sort=False, observed=True).ngroup()
        tidy = tidy.iloc[np.argsort(order.to_numpy(), kind="stable")].reset_index(drop=True)
    display = pd.DataFrame({
        "Attack": attack_titles(tidy, study, inputs),
        "Size by": tidy.measure.map(SIZE_TITLES),
        "Networks": [f"{row.networks} ({row.models})" for row in tidy.itertuples()],
        "Splits": tidy.splits.astype(str),
        "Rank correlation": [
            f"{row.correlation:+.2f}"
            + ("" if pd.isna(row.low) else f" [{row.low:+.2f}, {row.high:+.2f}]")
            for row in tidy.itertuples()
        ],
        "p": tidy.p.map(p_text),
        "Least p": tidy.smallest_p.map(p_text),
        "Holm p": tidy.holm_p.map(p_text),
        "Smaller is better": tidy.verdict,
        "What else differs": tidy.other_differences.replace("", "nothing that is recorded"),
    })  # fmt: skip
    sentences = [
        "Spearman's rank correlation of size and accuracy within a split, averaged over splits. "
        "Brackets hold its 95 % interval with Nadeau and Bengio's variance. p: permutation test "
        "that permutes the sizes of the networks. Least p: the smallest p-value that this number "
        "of networks allows. Holm p: Holm's correction over the rows of this table whose "
        "accuracies differ.",
        _power_sentence(tidy),
        f"A verdict needs a Holm p of at most {ALPHA:g}, an interval without 0 and a sound "
        f"evaluation of every network. Otherwise it is: {CANNOT_TELL}.",
        _unsound_sentence(tidy, study, inputs),
    ]
    if len(families) > 1:
        named = "; ".join(
            f"{title}: {', '.join(title_of(study, 'models', name) for name in members)}"
            for title, members in families.items()
            if title != EVERY_NETWORK
        )
        sentences.append(f"{named}.")
    shown = _shown_models(tidy, models, inputs)
    sentences.append(effort_sentence(inputs.effort, shown, study))
    caption = caption_of(spec, " ".join(filter(None, sentences)), study, inputs, shown)
    return Table(placed(display, tidy, study), tidy, caption)


def _trend_of(spec: Spec, title: str, models: list[str], inputs: AnalysisInputs) -> pd.DataFrame:
    """The correlations of some networks, with the models whose evaluation is not sound."""
    rows = in_cells(on_datasets(inputs.trend(models), spec), spec, inputs)
    assessed = selected(inputs, cells_in(rows), models)
    doubtful = assessed[assessed.verdict != "sound"]
    names = doubtful.groupby(CELL, observed=True, sort=False).model.agg(
        lambda found: ", ".join(dict.fromkeys(found))
    )
    keys = rows[CELL].itertuples(index=False, name=None)
    return rows.assign(networks=title, unsound=[names.get(key, "") for key in keys])


def _power_sentence(tidy: pd.DataFrame) -> str:
    """Whether so few networks could show anything at all."""
    tests = int(tidy.holm_p.notna().sum())
    if not tests:
        return ""
    least = tidy.smallest_p[tidy.holm_p.notna()].min()
    if least * tests <= ALPHA:
        return ""
    return (
        f"With {tests} rows and a least p of {p_text(least)}, no row of this table can reach a "
        "verdict. A verdict needs more networks."
    )


def _unsound_sentence(tidy: pd.DataFrame, study: Study, inputs: AnalysisInputs) -> str:
    """Which rows have no verdict because of an evaluation."""
    found = tidy[tidy.unsound != ""]
    parts = [
        f"{title}: " + ", ".join(title_of(study, "models", model) for model in unsound.split(", "))
        for title, unsound in zip(attack_titles(found, study, inputs), found.unsound, strict=True)
    ]
    return f"Without a sound evaluation: {'; '.join(dict.fromkeys(parts))}." if parts else ""


def _shown_models(tidy: pd.DataFrame, models: list[str], inputs: AnalysisInputs) -> pd.DataFrame:
    """The accuracies that the correlations were computed from."""
    keys = tidy[CELL].drop_duplicates()
    return inputs.accuracy[inputs.accuracy.model.isin(models)].merge(keys, on=CELL)
