"""The first table of a report: models, their verdicts, their accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import pandas as pd

from assay.analysis.accuracy import BALLS, over_norm
from assay.analysis.attack_set import COLUMNS, NORM, NORM_ALL, SINGLE, AttackSet
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.rows import PLACE
from assay.analysis.titles import NORMS, title_of
from assay.foundation.keys import key
from assay.report.spec import AttackAtRadius, ModelId
from assay.report.tables.cells import (
    Cell,
    bold_words,
    cells_in,
    columns_of,
    count_text,
    entries_of,
    image_sets,
)
from assay.report.tables.parts import (
    NOT_RUN,
    Study,
    Table,
    caption_of,
    cell_title,
    cells_of,
    filled,
    margin_of,
    met_at_places,
    models_of,
    place_columns,
    pooled_text,
    selected,
)
from assay.report.tables.words import caution_words, spread_words
from assay.report.text import span

NOT_CHECKED = "not checked"
# More members of a worst case than these are counted in a caption instead of named.
MOST_MEMBERS = 12


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The first table."""

    models: Annotated[list[ModelId], key("models in this order")]
    cells: Annotated[list[AttackAtRadius], key("attack and epsilon of each column")]

    @property
    def caption(self) -> str:
        """A study's file has no words of its own for it."""
        return ""


def headline_table(spec: Headline, study: Study, inputs: AnalysisInputs) -> Table:
    """Rows are models with the verdicts on their evaluation, columns are attacks and budgets.

    For each norm and radius of the entry's cells the worst case over all attacks comes first, then
    the single attacks. ``tidy`` has the column ``column``, the title under which a row stands.
    """
    models = models_of(spec, inputs)
    cells = _with_worst_cases(cells_of(spec.cells, inputs), inputs, models)
    tidy = selected(inputs, cells, models)

    def title(attacks: AttackSet, epsilon: float) -> str:
        return _headline_title(attacks, epsilon, tidy, study, inputs)

    groups = image_sets(tidy, cells)
    columns = columns_of(tidy, cells, title)
    cautions = caution_words(columns, tidy, study)
    # One group whose models differ in n says it once a line.
    once = len(groups) == 1 and len(groups[0].counts) > 1
    lines = []
    for place, model in met_at_places(tidy, models):
        unit = (*place, model)
        head = {**place_columns(place, tidy, study), "Model": title_of(study, "models", model)}
        if once:
            head["n"] = count_text(*groups[0].images[unit][::2], several=True)[6:-1]
        head |= _verdicts(tidy, unit)
        lines.append((head, entries_of(columns, unit, tidy, counted=not once)))
    display, bold = filled(lines, tidy, pooled_text)
    names = {cell: column.title for column in columns if not column.clean for cell in column.cells}
    tidy["column"] = [names[cell] for cell in cells_in(tidy)]
    legend = " ".join(
        filter(
            None,
            [
                spread_words(tidy, "Pooled accuracy"),
                _worst_case_words(tidy, study),
                "Evaluation: the verdict of the checks on the accuracies of this norm.",
                bold_words(tidy, margin_of(inputs), title),
                _effort_words(tidy, study, inputs),
                cautions,
            ],
        )
    )
    return Table(display, tidy, caption_of(spec, legend, study, inputs, tidy), bold)


def _with_worst_cases(
    cells: list[Cell], inputs: AnalysisInputs, models: Sequence[str]
) -> list[Cell]:
    """The cells by norm and radius, each with the worst cases over all its attacks in front."""
    table = inputs.accuracy[inputs.accuracy.model.isin(models)]
    known = table[[*COLUMNS, "epsilon"]].drop_duplicates()
    norms = dict(zip(cells_in(known), known.norm, strict=True))
    groups: dict[tuple, list[Cell]] = {}
    for cell in cells:
        norm, epsilon = norms.get(cell, ""), cell[1]
        key = (norm, epsilon) if norm in BALLS else cell
        if key not in groups:
            worst = [(AttackSet(kind, norm), epsilon) for kind in (NORM, NORM_ALL)]
            groups[key] = [other for other in worst if other in norms]
        if cell not in groups[key]:
            groups[key].append(cell)
    return [cell for group in groups.values() for cell in group]


def _headline_title(
    attacks: AttackSet, epsilon: float, tidy: pd.DataFrame, study: Study, inputs: AnalysisInputs
) -> str:
    """A column's title: how many attacks a worst case is over, and that an attack is not alone."""
    rows = tidy[attacks.among(tidy) & (tidy.epsilon == epsilon)]
    if attacks.worst_case in (NORM, NORM_ALL):
        counts = sorted(set(rows.attacks))
        count = " to ".join(dict.fromkeys(f"{value:.0f}" for value in (counts[0], counts[-1])))
        title = cell_title(study, inputs, attacks, epsilon)
        return title.replace(" attacks", f" {count} attacks", 1)
    beside = tidy[(tidy.epsilon == epsilon) & tidy.norm.isin(set(rows.norm))]
    alone = attacks.worst_case == SINGLE and bool(over_norm(beside).any())
    return cell_title(study, inputs, attacks, epsilon, alone=alone)


def _verdicts(tidy: pd.DataFrame, unit: tuple[str, str, str]) -> dict[str, str]:
    """One column for each norm of a headline: the verdict on a model's evaluation in it.

    The accuracy on unperturbed images has one only where a check casts doubt on it.
    """
    columns = {}
    for norm in dict.fromkeys(tidy.norm):
        rows = tidy[tidy.norm == norm]
        if norm == "none" and rows.verdict.dropna().isin(["sound"]).all():
            continue
        own = rows[(rows.dataset == unit[0]) & (rows.scheme == unit[1]) & (rows.model == unit[2])]
        verdict = own.verdict.iloc[0] if len(own) else NOT_RUN
        columns[f"Evaluation, {NORMS[norm]}"] = NOT_CHECKED if pd.isna(verdict) else verdict
    return columns


def _worst_case_words(tidy: pd.DataFrame, study: Study) -> str:
    worst = tidy[over_norm(tidy)]
    if worst.empty:
        return ""
    sentences = [
        "Worst case: an image counts as right only if the model predicts its class under every "
        "attack of this norm and radius that was run on these images. The accuracy under a single "
        "attack is an upper bound of the worst case."
    ]
    for norm, rows in worst.groupby("norm", sort=False):
        members = list(dict.fromkeys(name for row in rows.members for name in row.split(", ")))
        if len(members) <= MOST_MEMBERS:
            names = ", ".join(title_of(study, "attacks", name) for name in members)
            sentences.append(f"Attacks ({NORMS[norm]}): {names}.")
    return " ".join(sentences)


def _effort_words(tidy: pd.DataFrame, study: Study, inputs: AnalysisInputs) -> str:
    """Training and attack effort of the shown models, from the rows."""
    sentences, costs = [], inputs.costs
    if "updates" in costs:
        updates = tidy[[*PLACE, "model"]].drop_duplicates().merge(costs).updates.dropna()
        if len(updates):
            sentences.append(f"Training took {span(updates)} weight updates per network.")
    single = tidy[tidy.norm.isin(BALLS) & (tidy.worst_case == SINGLE)]
    if len(single):
        lost = (single.clean - single.pooled).groupby([single.attack, single.epsilon]).mean()
        attack, epsilon = lost.idxmax()
        rows = single[(single.attack == attack) & (single.epsilon == epsilon)]
        kind = "backwards" if rows.backwards.max() > 0 else "forwards"
        name = cell_title(study, inputs, AttackSet.of(attack), epsilon)
        passes = "gradient passes" if kind == "backwards" else "forward passes"
        sentences.append(
            f"{name} is the strongest single attack here. It takes {span(rows[kind])} "
            f"{passes} per image on average."
        )
    return " ".join(sentences)
