"""Which model to choose: the most robust of the accurate ones, or the smallest?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from assay.analysis.attack_set import SUITE, AttackSet
from assay.analysis.effort import effort_sentence
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.paired import POOLED
from assay.analysis.rows import PLACE
from assay.analysis.titles import title_of
from assay.foundation.keys import ABSENT
from assay.report.spec import Cells, Datasets, Models, TableSpec
from assay.report.tables.cells import CLEAN, Cell
from assay.report.tables.parts import (
    Study,
    Table,
    attack_titles,
    caption_of,
    cells_of,
    models_of,
    on_datasets,
    placed,
    places_of,
    selected,
)


@dataclass(frozen=True, kw_only=True)
class Spec(TableSpec):
    """Which model to choose."""

    cells: Cells
    datasets: Datasets = ABSENT
    models: Models = ABSENT


# Orders of size, and what readers see.
ORDERS = {"parameters": "parameters", "depth": "depth"}
BEST, WORSE, SIMILAR, NOT_COMPARED = (
    "the highest", "significantly less robust", "no significant difference", "not compared",
)  # fmt: skip
NONE_SOUND = "none: no sound evaluation"


def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Table:
    """Among the models that are not significantly worse unperturbed: most robust and smallest.

    All models of the headline are candidates where the entry names none. The most robust has the
    highest accuracy of those whose evaluation is sound in the norm of the attack. The smallest is
    named by each of :data:`ORDERS`, since networks that are small by one are not by the other.
    """
    wanted = list(spec.models or study.headline.models)
    models = models_of(replace(spec, models=wanted or ABSENT), inputs)
    clean = inputs.accuracy[inputs.accuracy.attack == "clean"]
    clean = on_datasets(clean[clean.model.isin(models)], spec)
    clean = clean.drop_duplicates([*PLACE, "model"])
    cells = cells_of(spec.cells, inputs)
    robust = on_datasets(selected(inputs, cells, models), spec)
    rows, shown = [], []
    for place in places_of(clean):
        own = _at(clean, place).set_index("model").pooled
        beaten = _beaten(own.idxmax(), _at(inputs.mcnemar, place), CLEAN, 0.0, inputs)
        left = [model for model in models if model in own.index and model not in beaten]
        for cell in cells:
            found = _at(robust, place)
            found = found[cell[0].among(found) & (found.epsilon == cell[1])]
            # Of an attack that stands in two suites the row on more images counts.
            found = found.sort_values("n", kind="stable").drop_duplicates("model", keep="last")
            there = found[found.model.isin(left)]
            if there.empty:
                continue
            shown.append(there)
            rows.append(_row(place, cell, own, there.set_index("model"), left, inputs))
    tidy = pd.DataFrame(rows)
    display = _display(tidy, study, inputs) if rows else pd.DataFrame({"Attack": []})
    legend = (
        "Candidates are the models whose accuracy on unperturbed images is not significantly below "
        "that of the best model on all test images. Brackets hold the accuracy on the attacked "
        "images without the attack and under it. The most robust model has the highest accuracy "
        "under the attack among the models with a sound evaluation in its norm. The next column "
        "lists the models that do not differ from it significantly. The text after the smallest "
        "model compares it with the most robust one. Of equally small models, the table names the "
        "more robust one."
    )
    seen = pd.concat(shown, ignore_index=True) if shown else tidy
    effort = effort_sentence(inputs.effort, seen, study) if shown else ""
    caption = caption_of(spec, f"{legend} {effort}".strip(), study, inputs, seen)
    return Table(display, tidy, caption)


def _row(
    place: tuple[str, str],
    cell: Cell,
    clean: pd.Series,
    found: pd.DataFrame,
    left: Sequence[str],
    inputs: AnalysisInputs,
) -> dict[str, Any]:
    """What one attack says of the candidates of one data set and scheme."""
    there = [model for model in left if model in found.index]
    sound = [model for model in there if found.verdict[model] == "sound"]
    strongest = found.pooled[sound].idxmax() if sound else None
    tied = [name for name in sound if found.pooled[name] == found.pooled[strongest]]
    tests = _at(inputs.mcnemar, place)
    worse = _beaten(strongest, tests, *cell, inputs) if strongest else set()
    compared = _partners(strongest, tests, *cell) if strongest else set()
    row = {
        **dict(zip(PLACE, place, strict=True)),
        **cell[0].columns,
        # Of a single attack, the suite of the row that counts is no part of the answer.
        "suite": cell[0].name if cell[0].worst_case == SUITE else "",
        "norm": found.norm.iloc[0],
        "epsilon": cell[1],
        "clean_best": clean.idxmax(),
        "candidates": ", ".join(there),
        "not_sound": ", ".join(model for model in there if model not in sound),
        "most_robust": strongest,
        "tied": ", ".join(name for name in tied if name != strongest),
        "most_robust_clean": clean.get(strongest, np.nan),
        "most_robust_clean_same": found.clean.get(strongest, np.nan),
        "most_robust_accuracy": found.pooled.get(strongest, np.nan),
        "as_robust": ", ".join(
            model for model in sound if model != strongest and model in compared - worse
        ),
    }
    for order in ORDERS:
        smallest = _smallest(inputs.sizes[order], place[0], there, found.pooled)
        prefix = "smallest" if order == "parameters" else f"smallest_by_{order}"
        row |= {
            prefix: smallest,
            f"{prefix}_clean": clean.get(smallest, np.nan),
            f"{prefix}_clean_same": found.clean.get(smallest, np.nan),
            f"{prefix}_accuracy": found.pooled.get(smallest, np.nan),
            f"{prefix}_advice": (
                None if smallest is None or strongest is None
                else BEST if smallest in tied
                else WORSE if smallest in worse
                else SIMILAR if smallest in compared
                else NOT_COMPARED
            ),
        }  # fmt: skip
    return row | {"n": int(found.n.max()), "splits": int(found.splits.max())}


def _smallest(
    sizes: Mapping[tuple[str, str], float],
    dataset: str,
    models: Sequence[str],
    robust: pd.Series,
) -> str | None:
    """The smallest model; of several of that size the most robust one."""
    known = [model for model in models if (dataset, model) in sizes]
    return min(known, key=lambda name: (sizes[dataset, name], -robust[name]), default=None)


def _display(tidy: pd.DataFrame, study: Study, inputs: AnalysisInputs) -> pd.DataFrame:
    def titles(text: str) -> str:
        names = [title_of(study, "models", model) for model in text.split(", ") if text]
        return ", ".join(names) or "–"

    def named(prefix: str) -> list[str]:
        return [
            (NONE_SOUND if prefix == "most_robust" else "–")
            if row[prefix] is None or pd.isna(row[prefix])
            else f"{title_of(study, 'models', row[prefix])} ({row[f'{prefix}_clean_same']:.3f}, "
            f"{row[f'{prefix}_accuracy']:.3f})"
            + (
                f", tied with {titles(row['tied'])}"
                if prefix == "most_robust" and row["tied"]
                else ""
            )
            + (f": {advice}" if (advice := row.get(f"{prefix}_advice")) else "")
            for row in tidy.to_dict("records")
        ]

    display = pd.DataFrame({
        "Attack": attack_titles(tidy, study, inputs),
        "Not significantly worse unperturbed": tidy.candidates.map(titles),
        "Most robust of them": named("most_robust"),
        "No significant difference": tidy.as_robust.map(titles),
        "Smallest by parameters": named("smallest"),
        "Smallest by depth": named("smallest_by_depth"),
    })  # fmt: skip
    if (tidy.not_sound != "").any():
        display.insert(2, "Without a sound evaluation", tidy.not_sound.map(titles))
    return placed(display, tidy, study)


def _beaten(
    best: str, tests: pd.DataFrame, attacks: AttackSet, epsilon: float, inputs: AnalysisInputs
) -> set[str]:
    """The models that a test tells apart from `best` under an attack, in McNemar's stead by one
    that knows of splits where images recur in several.
    """
    own = _tests(tests, attacks, epsilon)
    if (own["split"] != POOLED).any():
        other = _at(inputs.resampled_t, (own.dataset.iloc[0], own.scheme.iloc[0]))
        own = _tests(other, attacks, epsilon)
    return _others(best, own[own.significant.astype(bool)])


def _partners(best: str, tests: pd.DataFrame, attacks: AttackSet, epsilon: float) -> set[str]:
    """The models that were compared with `best` under an attack."""
    return _others(best, _tests(tests, attacks, epsilon))


def _tests(tests: pd.DataFrame, attacks: AttackSet, epsilon: float) -> pd.DataFrame:
    return tests[attacks.among(tests) & (tests.epsilon == epsilon)]


def _others(best: str, tests: pd.DataFrame) -> set[str]:
    pairs = tests[(tests.model_a == best) | (tests.model_b == best)]
    return {*pairs.model_a, *pairs.model_b} - {best}


def _at(rows: pd.DataFrame, place: tuple[str, str]) -> pd.DataFrame:
    return rows[(rows.dataset == place[0]) & (rows.scheme == place[1])]
