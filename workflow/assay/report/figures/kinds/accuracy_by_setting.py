"""Accuracy against a setting in which models differ, such as the radius of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import pandas as pd

from assay.analysis.attack_set import AttackSet
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import title_of
from assay.foundation.keys import ABSENT, key
from assay.foundation.radius import Radius
from assay.report.figures.curves import accuracy_line, accuracy_panels
from assay.report.figures.parts import (
    Caption,
    Study,
    at_places,
    compared_places,
    excluded_in_words,
    names_of,
    nothing_to_draw,
    places_in_words,
    styled,
    tested,
    wrapped,
)
from assay.report.figures.settings import Label, SettingName, Unit, in_unit, label_of, value_on
from assay.report.needs import Need, Setting
from assay.report.spec import Cells, FigureSpec, ModelId, Shown
from assay.report.style import GREY, series_styles
from assay.report.tables.parts import cell_title
from assay.report.text import listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# How lines of models without the setting are told apart.
DASHES = ("--", ":", "-.")


@dataclass(frozen=True, kw_only=True)
class Group:
    """Models of one line, which differ in the setting."""

    title: Annotated[str, key("what the line is called")]
    models: Annotated[list[ModelId], key("models of the grid, in any order", least=1)]


@dataclass(frozen=True, kw_only=True)
class Spec(FigureSpec):
    """Accuracy against a numeric setting of models, a line for each group of them."""

    setting: SettingName
    groups: Annotated[list[Group], key("lines: {title, models}", least=1)]
    cells: Cells
    at: Annotated[
        dict[str, Radius],
        key("values of models whose entries do not have the setting, or another: id, then value"),
    ] = ABSENT
    reference: Annotated[
        list[ModelId], key("models whose accuracies are horizontal lines", least=1)
    ] = ABSENT
    unit: Unit = ABSENT
    label: Label = ABSENT
    datasets: Shown = ABSENT


def needs(spec: Spec) -> list[Need]:
    """The setting in the entries of all models of lines that `at` does not place."""
    placed = spec.at or {}
    models = [name for group in spec.groups or () for name in group.models if name not in placed]
    return [Setting(spec.setting, tuple(models), "groups", tuple(placed))]


class _Panel(NamedTuple):
    """One data set, attack and radius: an accuracy row per model, and points of each group."""

    place: tuple[str, str]
    attacks: AttackSet
    epsilon: float
    rows: pd.DataFrame
    lines: dict[str, pd.DataFrame]


@styled
def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """Pooled accuracies with Wilson bands; a panel per data set, attack and radius."""
    panels = _panels(spec, study, inputs)
    figure, grid, columns = accuracy_panels(len(panels))
    words = places_in_words({panel.place for panel in panels}, study)
    label = label_of(spec.setting, spec.label or "", _unit(spec), study)
    for axes, panel in zip(grid, panels, strict=True):
        _draw_panel(axes, panel, spec, study)
        axes.set_xlabel(label)
        if len(panels) > 1:
            title = cell_title(study, inputs, panel.attacks, panel.epsilon)
            title = ": ".join([", ".join(words(*panel.place)), title]).removeprefix(": ")
            axes.set_title(wrapped(title, 88 // columns))
    found = {
        name: handle
        for axes in grid
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend([*found.values()], [*found], loc="outside upper left", ncols=3)
    return figure


def _draw_panel(axes: Axes, panel: _Panel, spec: Spec, study: Study) -> None:
    unit, styles = _unit(spec), series_styles(group.title for group in spec.groups)
    for title, points in panel.lines.items():
        accuracy_line(axes, points["value"] / unit, points, styles[title], title)
    for number, model in enumerate(spec.reference or ()):
        for row in panel.rows[panel.rows["model"] == model].itertuples():
            dash = DASHES[number % len(DASHES)]
            name = title_of(study, "models", model)
            axes.axhline(row.pooled, color=GREY, ls=dash, lw=1.1, zorder=1.5, label=name)
    values = sorted({value for points in panel.lines.values() for value in points["value"]})
    axes.set_xticks([value / unit for value in values], [in_unit(v, unit) for v in values])


def caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> Caption:
    panels = _panels(spec, study, inputs)
    rows = pd.concat([panel.rows for panel in panels])
    datasets = list(dict.fromkeys(panel.place[0] for panel in panels))
    drawn = set(rows["model"])
    shown = [name for name in _models(spec) if name in drawn]
    under = dict.fromkeys(cell_title(study, inputs, p.attacks, p.epsilon) for p in panels)
    lines = dict.fromkeys(title for panel in panels for title in panel.lines)
    label = label_of(spec.setting, spec.label or "", 1, study)
    text = (
        f"Accuracy against {label}: {listed(lines)}; on {names_of(study, 'datasets', datasets)}. "
        f"Attack: {listed(under)}. Each point is a model; models of a line differ "
        "in this setting. The bands are 95 % Wilson intervals of the pooled accuracy. They show "
        "sampling error only."
    )
    placed = [name for name in spec.at or {} if name in drawn]
    for name in placed:
        value = in_unit((spec.at or {})[name], _unit(spec))
        text += f" {title_of(study, 'models', name)} stands at {value}."
    references = [name for name in spec.reference or () if name in drawn]
    if references:
        text += f" Grey horizontal lines: {names_of(study, 'models', references)}."
    if gone := [name for name in _models(spec) if name not in drawn]:
        text += f" Without an evaluation: {names_of(study, 'models', gone)}."
    return Caption(text + excluded_in_words(spec), tested(rows), datasets, shown)


def alt(spec: Spec, study: Study) -> str:
    label = label_of(spec.setting, spec.label or "", 1, study)
    lines = listed(group.title for group in spec.groups)
    beside = f", beside {names_of(study, 'models', spec.reference)}" if spec.reference else ""
    return f"Line charts of the accuracy of {lines} against {label}, with interval bands{beside}."


def _unit(spec: Spec) -> float:
    return spec.unit or 1.0


def _models(spec: Spec) -> list[str]:
    """The models of the lines and the references, each once."""
    lines = (name for group in spec.groups for name in group.models)
    return list(dict.fromkeys([*lines, *(spec.reference or ())]))


def _panels(spec: Spec, study: Study, inputs: AnalysisInputs) -> list[_Panel]:
    """A panel for each data set, attack and radius at which a model of a line was run."""
    table = inputs.accuracy
    run = table[
        table["model"].isin(_models(spec))
        & table["dataset"].isin(spec.datasets or table["dataset"])
    ]
    panels = []
    for place in compared_places(run, study):
        here = at_places(run, [place])
        for attacks, wanted in spec.cells:
            rows = here[attacks.among(here)]
            for epsilon in sorted(set(rows["epsilon"])) if wanted is None else [wanted]:
                # Of an attack that stands in two suites the row on more images is shown.
                own = rows[rows["epsilon"] == epsilon].sort_values("n", kind="stable")
                own = own.drop_duplicates("model", keep="last")
                lines = _lines(spec, study, place[0], own)
                if lines:
                    panels.append(_Panel(place, attacks, epsilon, own, lines))
    if not panels:
        raise nothing_to_draw(spec, "there are no outcomes of these models under these attacks")
    return panels


def _lines(spec: Spec, study: Study, dataset: str, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The points of each group by the value of the setting."""
    found = {}
    for group in spec.groups:
        own = rows[rows["model"].isin(group.models)]
        values = [value_on(study, name, dataset, spec.setting, spec.at) for name in own["model"]]
        if values:
            found[group.title] = own.assign(value=values).sort_values("value", kind="stable")
    return found
