"""What tables are put together from: cells, titles, columns and captions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.rows import PLACE, several_schemes
from assay.analysis.style import attack_title, radius_text, title_of

Study = Mapping[str, Any]
Spec = Mapping[str, Any]

NOT_RUN = "not run"
INTERVAL = "the 95 % Wilson interval of the pooled accuracy"
BOLD = (
    "Bold: not significantly worse than the best, where some model is, and the evaluation of the "
    "model is sound."
)


@dataclass(frozen=True)
class Table:
    """A table for eyes and for machines.

    Attributes:
        display: strings, ready to print; unique columns.
        tidy: the same content, one observation per row, full precision.
        caption: what is shown, how to read it, and scale, n, splits and seed.
        bold: mask of the shape of `display`, or None.
    """

    display: pd.DataFrame
    tidy: pd.DataFrame
    caption: str
    bold: pd.DataFrame | None = None


def p_text(p: float) -> str:
    """A p-value as it is printed."""
    if pd.isna(p):
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def cells_of(cells: Iterable[Mapping[str, Any]], inputs: AnalysisInputs) -> list[tuple[str, float]]:
    """(attack, epsilon) pairs; a cell without epsilon stands for every budget that was run."""
    known = inputs.accuracy[["attack", "epsilon"]].drop_duplicates()
    pairs = []
    for cell in cells:
        epsilons = known.epsilon[known.attack == cell["attack"]]
        if "epsilon" in cell:
            near = epsilons[np.isclose(epsilons, cell["epsilon"], rtol=1e-6, atol=1e-9)]
            pairs += [(cell["attack"], float(next(iter(near), cell["epsilon"])))]
        else:
            pairs += [(cell["attack"], float(epsilon)) for epsilon in sorted(epsilons)]
    return pairs


def models_of(spec: Spec, inputs: AnalysisInputs) -> list[str]:
    return list(spec.get("models") or dict.fromkeys(inputs.accuracy.model))


def on_datasets(rows: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """The rows of the entry's data sets, if it names any."""
    if "datasets" not in spec:
        return rows
    return rows[rows.dataset.isin(spec["datasets"])].reset_index(drop=True)


def selected(
    inputs: AnalysisInputs, cells: list[tuple[str, float]], models: list[str]
) -> pd.DataFrame:
    """The accuracy rows of these cells and models, with verdict, letters and whether they lead."""
    rows = inputs.accuracy
    rows = _chosen(rows[rows.model.isin(models)], cells)
    rows = rows.merge(inputs.verdicts, on=[*PLACE, "model"], how="left")
    ranks = inputs.ranking
    cell = [*PLACE, "suite", "attack", "norm", "epsilon"]
    ranks = ranks.loc[ranks.split == "pooled", [*cell, "model", "group"]]
    rows = rows.merge(ranks, on=[*cell, "model"], how="left")
    best = rows.group.fillna("").str.contains("a")
    some_worse = (~best).groupby([rows[name] for name in cell]).transform("any")
    rows["leads"] = best & some_worse & (rows.verdict == "sound")
    return rows


def in_cells(rows: pd.DataFrame, spec: Spec, inputs: AnalysisInputs) -> pd.DataFrame:
    """The rows of the entry's cells, if it names any."""
    if "cells" in spec:
        return _chosen(rows, cells_of(spec["cells"], inputs))
    return rows.reset_index(drop=True)


def _chosen(rows: pd.DataFrame, cells: list[tuple[str, float]]) -> pd.DataFrame:
    """The rows of these attacks and budgets, in the order of the cells."""
    place = {pair: index for index, pair in enumerate(cells)}
    order = np.array([place.get(key, -1) for key in zip(rows.attack, rows.epsilon, strict=True)])
    ranked = np.argsort(order, kind="stable")
    return rows.iloc[ranked[order[ranked] >= 0]].reset_index(drop=True)


def filled(
    lines: list[tuple[dict, dict]], tidy: pd.DataFrame, text: Callable[[Any], str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Strings and bold marks for lines of (leading columns, column -> key of an accuracy row)."""
    keys = tidy[[*PLACE, "model", "attack", "epsilon"]].itertuples(index=False, name=None)
    found = dict(zip(keys, tidy.itertuples(), strict=True))
    display = pd.DataFrame(
        {
            **head,
            **{
                name: text(found[key]) if key in found else NOT_RUN for name, key in entries.items()
            },
        }
        for head, entries in lines
    )
    bold = pd.DataFrame(
        {**dict.fromkeys(head, False),
         **{name: key in found and bool(found[key].leads) for name, key in entries.items()}}
        for head, entries in lines
    )  # fmt: skip
    return display, bold


def accuracy_text(row: Any) -> str:
    spread = "" if pd.isna(row.sd) else f" ± {row.sd:.3f}"
    return f"{row.accuracy:.3f}{spread} [{row.low:.3f}, {row.high:.3f}]"


def cell_title(study: Study, inputs: AnalysisInputs, attack: str, epsilon: float) -> str:
    title = attack_title(study, attack)
    norms = inputs.accuracy.norm[inputs.accuracy.attack == attack]
    norm = next(iter(norms), "none")
    unit = {"none": "", "l0": f" ({epsilon:g} pixel{'s' if epsilon != 1 else ''})",
            "severity": f" {epsilon:g}"}  # fmt: skip
    return title + unit.get(norm, f" ε = {radius_text(epsilon)}")


def places_of(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """The data sets and split schemes of some rows."""
    return list(dict.fromkeys(rows[PLACE].itertuples(index=False, name=None)))


def met_at_places(rows: pd.DataFrame, models: Sequence[str]) -> list[tuple[tuple[str, str], str]]:
    """Each data set and split scheme of some rows with each of the models that has rows there."""
    met = set(rows[[*PLACE, "model"]].itertuples(index=False, name=None))
    return [
        (place, model) for place in places_of(rows) for model in models if (*place, model) in met
    ]


def place_columns(place: Sequence[str], rows: pd.DataFrame, study: Study) -> dict[str, str]:
    """Data set and split scheme, as far as the rows have several."""
    dataset, scheme = place
    columns = {}
    if rows.dataset.nunique() > 1:
        columns["Data set"] = title_of(study, "datasets", dataset)
    if several_schemes(rows):
        columns["Split scheme"] = scheme
    return columns


def attack_titles(rows: pd.DataFrame, study: Study, inputs: AnalysisInputs) -> list[str]:
    return [cell_title(study, inputs, *key) for key in zip(rows.attack, rows.epsilon, strict=True)]


def placed(display: pd.DataFrame, rows: pd.DataFrame, study: Study) -> pd.DataFrame:
    """`display` with data set, scheme and split of its rows in front, where they are not one."""
    if "split" in rows and (rows["split"] != "pooled").any():
        display.insert(0, "Split", rows["split"])
    heads = {place: place_columns(place, rows, study) for place in places_of(rows)}
    for name in reversed(next(iter(heads.values()), {})):
        places = zip(rows.dataset, rows.scheme, strict=True)
        display.insert(0, name, [heads[place][name] for place in places])
    return display


def caption_of(
    spec: Spec, legend: str, study: Study, inputs: AnalysisInputs, rows: pd.DataFrame | None = None
) -> str:
    """Caption, legend, and the sentence that every caption ends with."""
    table = inputs.accuracy
    counts = sorted(set((table if rows is None or rows.empty else rows).n))
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    splits = int(table.splits.max())
    parts = [spec.get("caption", ""), legend]
    for kind, stand_ins in study.get("stand_ins", {}).items():
        for stand_in in dict.fromkeys(stand_ins.values()):
            originals = [name for name, other in stand_ins.items() if other == stand_in]
            if stand_in in {*table.dataset, *table.model}:
                title = title_of(study, kind, stand_in)
                parts.append(f"{title} stands in for {' and '.join(originals)}.")
    parts.append(
        f"Scale {inputs.scale}; n = {n} images; {splits} split{'s' if splits != 1 else ''}; "
        f"seed {inputs.seed}."
    )
    return " ".join(part for part in parts if part)


def formatted(form: str, missing: str = "–") -> Callable[[float], str]:
    return lambda value: missing if pd.isna(value) else form.format(value)
