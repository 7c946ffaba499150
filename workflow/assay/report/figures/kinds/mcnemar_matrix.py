"""Differences of all pairs of models on the same images, with the paired tests' marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from assay.analysis.attack_set import among, attack_sets
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import attack_title, radius_text, title_of
from assay.foundation.keys import ABSENT
from assay.report.figures.parts import (
    TALLEST,
    WIDTH,
    Caption,
    Study,
    at_places,
    compared_places,
    excluded_in_words,
    models_to_draw,
    names_of,
    nothing_to_draw,
    places_in_words,
    styled,
    wrapped,
)
from assay.report.spec import Attacks, Drawn, FigureSpec, Shown
from assay.report.style import GREY
from assay.report.text import listed, plural, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Spec(FigureSpec):
    """For each pair of models the difference in accuracy, marked where it is significant within
    its family of tests.
    """

    attacks: Attacks
    datasets: Shown = ABSENT
    models: Drawn = ABSENT


# By whether the row's model is the better one.
_DIFFERS = {True: "#cfe8dd", False: "#f6d9c4"}
MARK = "*"
COLUMNS, ROW = 2, 3.9  # panels side by side, and inches a row of them takes
CELLS = ["under", "dataset", "scheme", "epsilon"]
# What corrects the p-values of a family of tests.
FAMILIES = {
    "headline": "Holm's correction over the headline comparisons",
    "exploratory": "Benjamini and Hochberg's correction over all other, exploratory comparisons",
}


class _Pair(NamedTuple):
    difference: float
    significant: bool
    family: str


class _Panel(NamedTuple):
    title: str
    pairs: dict[tuple[str, str], _Pair]


@styled
def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """For each attack a matrix of pairs of models: difference in accuracy, and its test."""
    from matplotlib.figure import Figure

    panels = _matrices(_tests(spec, study, inputs)[0], spec, study)
    models = models_to_draw(spec, study, inputs)
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    height = ROW if columns > 1 else WIDTH * 0.95
    figure = Figure((WIDTH, rows * height), layout="constrained")
    # Beside axes of equal sides the layout forgets the second line of a title.
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - 0.12 / (rows * height)))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    names = [wrapped(title_of(study, "models", model), 12) for model in models]
    for axes, panel in zip(grid, panels, strict=False):
        for i, first in enumerate(models):
            for j, second in enumerate(models):
                if i != j:
                    _cell(axes, i, j, panel.pairs.get((first, second)))
        axes.set_xticks(range(len(models)), names, fontsize=7, rotation=90)
        axes.set_yticks(range(len(models)), names, fontsize=7)
        axes.set(xlim=(-0.5, len(models) - 0.5), ylim=(len(models) - 0.5, -0.5), aspect="equal")
        axes.grid(False)
        axes.set_title(panel.title, fontsize=8.5)
        axes.set_xlabel("second model")
    for axes in grid[::columns]:
        axes.set_ylabel("first model: accuracy minus\nthat of the second, in points")
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    return figure


def _cell(axes: Axes, i: int, j: int, pair: _Pair | None) -> None:
    from matplotlib.patches import Rectangle

    if pair is None:
        axes.text(j, i, "not run", ha="center", va="center", fontsize=7, color=GREY)
        return
    if pair.significant:
        colour = _DIFFERS[pair.difference > 0]
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color=colour, lw=0))
    points = f"{100 * pair.difference + 0.0:+.1f}".replace("-", "−")
    mark = MARK if pair.significant else ""
    axes.text(
        j, i, f"{points}{mark}", ha="center", va="center", fontsize=8.5,
        fontweight="bold" if pair.significant else "normal",
        color=None if pair.family else GREY,
    )  # fmt: skip


def caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> Caption:
    table, others = _tests(spec, study, inputs)
    models = models_to_draw(spec, study, inputs)
    datasets = list(dict.fromkeys(table["dataset"]))
    families = [words for family, words in FAMILIES.items() if family in set(table["family"])]
    corrected = f", after {listed(families)}" if families else ""
    text = (
        f"Each pair of models on the same images of {names_of(study, 'datasets', datasets)}: the "
        "accuracy of the first model (row) minus that of the second (column), in points. Bold, "
        f"coloured and with {MARK}: significant at 5 % in McNemar's exact test{corrected} "
        f"({int(table['significant'].astype(bool).sum())} of {len(table)} pairs). Green: the first "
        "model is better. Orange: the second is better. A white cell does not show that two models "
        "are equal: with so few images, the test detects only large differences."
    )
    if not set(table["family"]) <= set(FAMILIES):
        text += (
            " Grey numbers are in no family of tests: the attack is one as published or a control, "
            "or the models are right on all images or on none."
        )
    if others:
        text += (
            f" {plural(others, 'more panel')} would not fit into {TALLEST:g} inches. The table of "
            "McNemar's tests has these results."
        )
    splits = list(dict.fromkeys(table["split"]))
    where = "pooled over splits" if splits == ["pooled"] else f"split {listed(splits)}"
    if len(splits) > 1 or splits != ["pooled"]:
        where += ", the first of its scheme"
    counts = f"n = {span(table['n'].astype(int))} images; {where}"
    shown = [m for m in models if m in {*table["model_a"], *table["model_b"]}]
    return Caption(text + excluded_in_words(spec), counts, datasets, shown)


def _tests(spec: Spec, study: Study, inputs: AnalysisInputs) -> tuple[pd.DataFrame, int]:
    """The drawn tests, and how many matrices are not drawn.

    The tests have the columns ``family`` and ``under`` (the attack set). As many matrices are drawn
    as the tallest figure holds, in the order of the entry's attacks and of their radii.
    """
    table = inputs.mcnemar
    models = models_to_draw(spec, study, inputs)
    known = pd.concat([table.assign(model=table[name]) for name in ("model_a", "model_b")])
    table = at_places(table, compared_places(known[known["model"].isin(models)], study))
    # Repeated splits of one data set are not pooled: the first one is drawn.
    first = table.groupby(["dataset", "scheme"], sort=False)["split"].transform("first")
    table = table[
        (table["split"] == first)
        & among(table, spec.attacks)
        & table["dataset"].isin(spec.datasets or table["dataset"])
        & table["model_a"].isin(models)
        & table["model_b"].isin(models)
    ]
    if table.empty:
        raise nothing_to_draw(spec, f"no paired tests of {', '.join(map(str, spec.attacks))}")
    order = {item: place for place, item in enumerate(spec.attacks)}
    table = table.assign(family=table["family"].fillna(""), under=attack_sets(table)).sort_values(
        "under", key=lambda column: column.map(order), kind="stable"
    )
    number = table.groupby(CELLS, sort=False, observed=True).ngroup()
    most = COLUMNS * int(TALLEST / ROW)
    return table[number < most], max(0, int(number.max()) + 1 - most)


def _matrices(table: pd.DataFrame, spec: Spec, study: Study) -> list[_Panel]:
    """A panel for each attack, place and radius."""
    where = places_in_words(set(zip(table["dataset"], table["scheme"], strict=True)), study)
    panels = []
    for (under, dataset, scheme, epsilon), cell in table.groupby(CELLS, sort=False, observed=True):
        place = [] if len(spec.datasets or ()) == 1 else where(dataset, scheme)
        title = ", ".join(
            [*place, attack_title(study, under), f"ε = {radius_text(epsilon, study)}"]
        )
        pairs = {}
        for row in cell.itertuples():
            test = bool(row.significant), row.family
            pairs[row.model_a, row.model_b] = _Pair(row.difference, *test)
            pairs[row.model_b, row.model_a] = _Pair(-row.difference, *test)
        panels.append(_Panel(wrapped(title, 34), pairs))
    return panels


def alt(spec: Spec, study: Study) -> str:
    return (
        "Matrices of all pairs of models: the difference of their accuracies under "
        f"{names_of(study, 'attacks', spec.attacks)}, in points, and whether it is significant."
    )
