"""What tables are put together from: cells, titles, columns and captions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from assay.analysis.attack_set import COLUMNS, AttackSet
from assay.analysis.brief import StudyBrief
from assay.analysis.checks import VERDICT_NORMS
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.paired import POOLED
from assay.analysis.rows import PLACE, several_schemes
from assay.analysis.titles import attack_title, radius_text, title_of
from assay.report.spec import Cell as WantedCell
from assay.report.spec import HasCaption, HasCells, HasDatasets, HasModels
from assay.report.tables.cells import (
    COMPARED,
    MARGIN,
    Cell,
    Shown,
    cells_in,
    count_text,
    keys_in,
    leading,
)
from assay.report.text import plural, span

Study = StudyBrief

NOT_RUN = "not run"
INTERVAL = "the 95 % Wilson interval of the pooled accuracy"


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


def cells_of(cells: Iterable[WantedCell], inputs: AnalysisInputs) -> list[Cell]:
    """(Attack set, epsilon) pairs; a cell without epsilon stands for every budget that was run."""
    known = inputs.accuracy[[*COLUMNS, "epsilon"]].drop_duplicates()
    pairs = []
    for attacks, wanted in cells:
        if wanted is not None:
            pairs += [(attacks, wanted)]
        else:
            epsilons = set(known.epsilon[attacks.among(known)])
            pairs += [(attacks, float(epsilon)) for epsilon in sorted(epsilons)]
    return pairs


def models_of(spec: HasModels, inputs: AnalysisInputs) -> list[str]:
    return list(spec.models or dict.fromkeys(inputs.accuracy.model))


def on_datasets(rows: pd.DataFrame, spec: HasDatasets) -> pd.DataFrame:
    """The rows of the entry's data sets, if it names any."""
    if not spec.datasets:
        return rows
    return rows[rows.dataset.isin(spec.datasets)].reset_index(drop=True)


def selected(
    inputs: AnalysisInputs, cells: list[Cell], models: list[str], value: str = "pooled"
) -> pd.DataFrame:
    """The accuracy rows of these cells and models, with verdict, letters and marks.

    Args:
        inputs: the run.
        cells: (attack set, epsilon) pairs.
        models: whose rows are wanted; marks compare these alone.
        value: the column that the table prints.

    Returns:
        The rows in the order of the cells, with ``verdict`` and ``because`` (of the model's
        evaluation in the row's norm), ``group`` (letters of the ranking) and ``leads`` (marked).
    """
    rows = inputs.accuracy
    rows = chosen(rows[rows.model.isin(models)], cells)
    rows = assessed(rows, inputs.verdicts)
    ranks = inputs.ranking
    ranks = ranks.loc[ranks.split == POOLED, [*COMPARED, "model", "group"]]
    rows = rows.merge(ranks, on=[*COMPARED, "model"], how="left")
    rows["leads"] = leading(rows, inputs.between_splits, margin_of(inputs), value)
    return rows


def chosen(rows: pd.DataFrame, cells: list[Cell]) -> pd.DataFrame:
    """The rows of these attacks and budgets, in the order of the cells."""
    place = {pair: index for index, pair in enumerate(cells)}
    order = np.array([place.get(key, -1) for key in cells_in(rows)], int)
    ranked = np.argsort(order, kind="stable")
    return rows.iloc[ranked[order[ranked] >= 0]].reset_index(drop=True)


def assessed(rows: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Accuracy rows with the verdict on the evaluation of their model in their norm."""
    on = [*PLACE, "model", "assessed"]
    rows = rows.assign(assessed=rows.norm.astype(str).replace(VERDICT_NORMS))
    verdicts = verdicts.rename(columns={"norm": "assessed"})
    return rows.merge(verdicts, on=on, how="left").drop(columns="assessed")


def margin_of(inputs: AnalysisInputs) -> float:
    """The margin of marks (config/config.yaml, ``marks.margin``)."""
    return inputs.study.rules.marks.get("margin", MARGIN)


def in_cells(rows: pd.DataFrame, spec: HasCells, inputs: AnalysisInputs) -> pd.DataFrame:
    """The rows of the entry's cells, if it names any."""
    if spec.cells:
        return chosen(rows, cells_of(spec.cells, inputs))
    return rows.reset_index(drop=True)


def filled(
    lines: list[tuple[dict, dict]], tidy: pd.DataFrame, text: Callable[[Any], str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Strings and marks for lines of (leading columns, column -> key of an accuracy row).

    A key is (data set, scheme, model, attack set, epsilon) or a :class:`Shown` of one.
    """
    # Of an attack that stands in two suites the row on more images is shown.
    ordered = tidy.sort_values("n", kind="stable")
    found = dict(zip(keys_in(ordered), ordered.itertuples(), strict=True))
    several = tidy.splits.nunique() > 1
    display, bold = [], []
    for head, entries in lines:
        shown = {
            name: entry if isinstance(entry, Shown) else Shown(entry)
            for name, entry in entries.items()
        }
        texts = {name: _text(found.get(one.key), one, text, several) for name, one in shown.items()}
        marks = {
            name: one.key in found and bool(found[one.key].leads) and not one.clean
            for name, one in shown.items()
        }
        display.append({**head, **texts})
        bold.append({**dict.fromkeys(head, False), **marks})
    return pd.DataFrame(display), pd.DataFrame(bold)


def _text(row: Any, shown: Shown, text: Callable[[Any], str], several: bool) -> str:
    if row is None:
        return NOT_RUN
    cell = f"{row.clean:.3f}" if shown.clean else text(row)
    return cell + (count_text(row.n, row.splits, several=several) if shown.counted else "")


def accuracy_text(row: Any) -> str:
    """Mean ± standard deviation over splits, and the interval of the pooled accuracy."""
    return f"{row.accuracy:.3f}{_spread(row)} [{row.low:.3f}, {row.high:.3f}]"


def pooled_text(row: Any) -> str:
    """Pooled accuracy ± standard deviation over splits, and its interval."""
    return f"{row.pooled:.3f}{_spread(row)} [{row.low:.3f}, {row.high:.3f}]"


def _spread(row: Any) -> str:
    return "" if pd.isna(row.sd) else f" ± {row.sd:.3f}"


def cell_title(
    study: Study, inputs: AnalysisInputs, attacks: AttackSet, epsilon: float, *, alone: bool = False
) -> str:
    """An attack and its budget in words.

    Args:
        study: the study, for titles.
        inputs: the run, for the attack's norm.
        attacks: one attack, or those of a worst case.
        epsilon: the budget.
        alone: say that other attacks of the same budget were run, too.
    """
    title = attack_title(study, attacks) + (" alone" if alone else "")
    norms = inputs.accuracy.norm[attacks.among(inputs.accuracy)]
    norm = next(iter(norms), "none")
    unit = {"none": "", "l0": f" ({epsilon:g} pixel{'s' if epsilon != 1 else ''})",
            "severity": f" {epsilon:g}"}  # fmt: skip
    radius = f"{',' if alone else ''} ε = {radius_text(epsilon, study)}"
    return title + unit.get(norm, radius)


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
        columns["Split scheme"] = title_of(study, "splits", scheme)
    return columns


def attack_titles(rows: pd.DataFrame, study: Study, inputs: AnalysisInputs) -> list[str]:
    cells = cells_in(rows)
    titles = {cell: cell_title(study, inputs, *cell) for cell in set(cells)}
    return [titles[cell] for cell in cells]


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
    spec: HasCaption,
    legend: str,
    study: Study,
    inputs: AnalysisInputs,
    rows: pd.DataFrame | None = None,
) -> str:
    """Caption, legend, and the sentence that every caption ends with.

    Args:
        spec: the table's entry.
        legend: how to read the table.
        study: the study, for titles and substitutes.
        inputs: the run.
        rows: what the table shows; images, splits and models are counted here, by themselves or
            by the accuracies that they were made from. Nothing is counted without.
    """
    parts = [spec.caption, legend, *_substitutes(study, inputs.accuracy, rows)]
    ends = [f"Scale {inputs.scale}", *_counts(inputs.accuracy, rows), f"seed {inputs.seed}"]
    return " ".join([part for part in parts if part] + ["; ".join(ends) + "."])


def _substitutes(study: Study, table: pd.DataFrame, rows: pd.DataFrame | None) -> list[str]:
    """What stands in a table in the place of something else."""
    there = table if rows is None or not len(rows) else rows
    shown = {*there.get("dataset", ()), *_models(there)}
    sentences = []
    for kind, pairs in study.substitutes.items():
        for substitute in dict.fromkeys(pairs.values()):
            originals = [
                title_of(study, kind, name) for name, other in pairs.items() if other == substitute
            ]
            if substitute in shown:
                title = title_of(study, kind, substitute)
                sentences.append(f"{title} is a substitute for {' and '.join(originals)}.")
    return sentences


def _models(rows: pd.DataFrame) -> list[str]:
    """The models of some rows, or of pairs."""
    names = [name for name in ("model", "model_a", "model_b") if name in rows]
    return list(dict.fromkeys(model for name in names for model in rows[name]))


def _counts(table: pd.DataFrame, rows: pd.DataFrame | None) -> list[str]:
    """How many models, images and splits some rows are about."""
    if rows is None or not len(rows):
        return []
    made = _made_from(table, rows)
    models, counts = _models(rows), []
    if models:
        counts.append(plural(len(models), "model"))
    counted = rows if "n" in rows else made
    n = sorted({int(value) for value in counted.n.dropna()}) if "n" in rows or models else []
    if n:
        counts.append(f"n = {span(n)} images")
        images = sorted({int(value) for value in counted.get("samples", counted.n).dropna()})
        if images[-1] < n[-1]:
            # Splits that overlap test an image several times.
            counts[-1] = f"n = {span(n)} predictions on {span(images)} images"
    splits = _splits(rows, made)
    if splits:
        counts.append(plural(span(splits), "split"))
    return counts


def _made_from(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The accuracies that some rows were made from, by what names them."""
    names = [name for name in (*COMPARED, "model") if name in rows]
    if not names:
        return table.iloc[:0]
    made = table.merge(rows[names].drop_duplicates(), on=names)
    return made if "model" in rows or not _models(rows) else made[made.model.isin(_models(rows))]


def _splits(rows: pd.DataFrame, made: pd.DataFrame) -> list[int]:
    if "splits" in rows:
        return sorted(set(rows.splits.dropna().astype(int)))
    if "split" in rows and (rows["split"] != POOLED).all():
        return sorted(set(rows.groupby("dataset")["split"].nunique()))
    return sorted(set(made.splits.astype(int)))


def formatted(form: str, missing: str = "–") -> Callable[[float], str]:
    return lambda value: missing if pd.isna(value) else form.format(value)
