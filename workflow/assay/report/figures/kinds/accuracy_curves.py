"""Accuracy against the radius of attacks, beside what the paper prints of the same attacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from assay.analysis.attack_set import AttackSet, among
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import attack_title, labels_of, title_of
from assay.foundation.keys import ABSENT
from assay.report.figures.curves import (
    accuracy_line,
    accuracy_panels,
    radius_axes,
    with_start,
)
from assay.report.figures.parts import (
    Caption,
    Study,
    at_places,
    compared_places,
    drawn_radii,
    excluded_in_words,
    models_to_draw,
    names_of,
    nothing_to_draw,
    other_splits_in_words,
    places_in_words,
    styled,
    undrawn_in_words,
    verdicts_in_words,
    wrapped,
)
from assay.report.figures.reported import printed_accuracy, substituted
from assay.report.spec import Attacks, Drawn, FigureSpec, Radii, Reported, Shown
from assay.report.style import FAINT, GREY, SeriesStyle, series_styles
from assay.report.text import plural, span

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D


@dataclass(frozen=True, kw_only=True)
class Spec(FigureSpec):
    """Accuracy against radius with Wilson bands."""

    attacks: Attacks
    datasets: Shown = ABSENT
    models: Drawn = ABSENT
    reported: Reported = ABSENT
    radii: Radii = ABSENT


class _Panel(NamedTuple):
    """What one panel draws: rows of :func:`with_start`, and printed rows of the same attack."""

    dataset: str
    scheme: str
    attacks: AttackSet
    rows: pd.DataFrame
    printed: pd.DataFrame


@styled
def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """Pooled accuracy against the radius, with Wilson bands; a panel per data set and attack."""
    panels = _panels(spec, study, inputs)
    figure, grid, columns = accuracy_panels(len(panels))
    models = models_to_draw(spec, study, inputs)
    styles = series_styles([*study.headline.models, *models])
    shown = [model for model in models if any(model in set(p.rows["model"]) for p in panels)]
    where = places_in_words({(p.dataset, p.scheme) for p in panels}, study)
    for axes, panel in zip(grid, panels, strict=True):
        for model in shown:
            rows = panel.rows[panel.rows["model"] == model]
            accuracy_line(axes, rows["epsilon"], rows, styles[model])
        for (model, _), known in panel.printed.groupby(["ours", "model"], sort=False):
            colour = FAINT if _another(study, panel.dataset, model) else GREY
            axes.plot(
                known["epsilon"], known["reported"], "--", color=colour, lw=1.1, zorder=1.5,
                marker=styles[model].marker, markerfacecolor="white", markeredgecolor=colour,
                markersize=4.5,
            )  # fmt: skip
        if len(panels) > 1:
            place = ", ".join(where(panel.dataset, panel.scheme))
            title = attack_title(study, panel.attacks)
            axes.set_title(wrapped(f"{place}: {title}" if place else title, 88 // columns))
    radius_axes(grid, [panel.rows for panel in panels], 0.075 * columns, labels_of(study))
    figure.legend(handles=_handles(shown, styles, panels, study), loc="outside upper left", ncols=3)
    return figure


def _handles(
    models: list[str], styles: dict[str, SeriesStyle], panels: list[_Panel], study: Study
) -> list[Line2D]:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], color=styles[model].colour, marker=styles[model].marker,
            markeredgecolor="white", label=title_of(study, "models", model),
        )
        for model in models
    ]  # fmt: skip
    printed = {
        _another(study, panel.dataset, model)
        for panel in panels
        for model in set(panel.printed["ours"])
    }
    for another, colour, label in (
        (False, GREY, "as printed"),
        (True, FAINT, "as printed, of another network or data set"),
    ):
        if another in printed:
            handles.append(Line2D([], [], color=colour, ls="--", lw=1.1, label=label))
    return handles


def caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> Caption:
    panels = _panels(spec, study, inputs)
    rows = pd.concat([panel.rows for panel in panels])
    attacks = list(dict.fromkeys(panel.attacks for panel in panels))
    datasets = list(dict.fromkeys(panel.dataset for panel in panels))
    shown = [name for name in models_to_draw(spec, study, inputs) if name in set(rows["model"])]
    places = list(dict.fromkeys((panel.dataset, panel.scheme) for panel in panels))
    run = _run(spec, study, inputs)
    text = (
        f"Accuracy of {names_of(study, 'models', shown)} against the radius of "
        f"{names_of(study, 'attacks', attacks)}, on {names_of(study, 'datasets', datasets)}. "
        "Markers show the radii that were run. "
    )
    if (rows["epsilon"] == 0).any():
        text += (
            "The value at ε = 0 is the accuracy on the same images without perturbation, so each "
            "curve uses one set of images. "
        )
    text += (
        "Robust accuracy is at most this curve. The bands are 95 % Wilson intervals of the pooled "
        "accuracy. They show sampling error only."
    )
    text += undrawn_in_words(
        at_places(run, places)["epsilon"], rows["epsilon"], study
    ) + _printed_in_words(panels, study)
    text += other_splits_in_words(run, places, study)
    text += _members_in_words(panels)
    missing = [item for item in spec.attacks if item not in attacks]
    if missing:
        text += f" Not run: {names_of(study, 'attacks', missing)}."
    gone = [name for name in spec.models or () if name not in shown]
    if gone:
        text += f" Without an evaluation under these attacks: {names_of(study, 'models', gone)}."
    return Caption(text + excluded_in_words(spec), _counts(panels, study), datasets, shown)


def _counts(panels: list[_Panel], study: Study) -> str:
    """Images per point, by attack where the attacks differ, and splits."""
    by_attack: dict[AttackSet, list[pd.Series]] = {}
    for panel in panels:
        by_attack.setdefault(panel.attacks, []).append(panel.rows["n"].astype(int))
    n = {attack: span(pd.concat(counts)) for attack, counts in by_attack.items()}
    splits = span(pd.concat([panel.rows["splits"] for panel in panels]).astype(int))
    if len(set(n.values())) == 1:
        return f"n = {next(iter(n.values()))} test images per point; {plural(splits, 'split')}"
    counts = [f"{number} ({attack_title(study, attack)})" for attack, number in n.items()]
    return f"test images per point: {', '.join(counts)}; {plural(splits, 'split')}"


def _members_in_words(panels: list[_Panel]) -> str:
    """How many attacks a worst case is over, as far as the table knows and a panel draws one."""
    rows = [panel.rows for panel in panels if panel.attacks.worst_case]
    rows = [table[table["epsilon"] > 0] for table in rows if "attacks" in table]
    if not rows:
        return ""
    count = span(pd.concat(rows)["attacks"].astype(int))
    by_radius = " (the number differs between radii)" if " to " in count else ""
    return (
        f" In a worst case, an image counts as right only if none of {plural(count, 'attack')} on "
        f"the same images succeeded{by_radius}."
    )


def _printed_in_words(panels: list[_Panel], study: Study) -> str:
    """What is said of printed curves: of which attack, how they compare, and of which networks."""
    with_print = [panel for panel in panels if len(panel.printed)]
    if not with_print:
        return ""
    rows = pd.concat([panel.printed for panel in with_print])
    attacks = names_of(study, "attacks", dict.fromkeys(panel.attacks for panel in with_print))
    text = (
        " Dashed grey lines with hollow markers of the same shape are the numbers that the paper "
        f"prints for {attacks}. In the ledger, the verdicts on these "
        f"{len(rows)} printed numbers are: "
        f"{verdicts_in_words(rows['verdict'])}."
    )
    without = [panel.attacks for panel in panels if not len(panel.printed)]
    if without:
        title = names_of(study, "attacks", dict.fromkeys(without))
        text += f" The paper's file prints no number for {title}."
    others = dict.fromkeys(
        model
        for panel in with_print
        for model in panel.printed["ours"]
        if _another(study, panel.dataset, model)
    )
    if others:
        text += (
            f" Pale dashed lines beside {names_of(study, 'models', others)} are printed numbers of "
            "another network or data set, so the difference says nothing about the paper."
        )
    return text


def _another(study: Study, dataset: str, model: str) -> bool:
    """Whether a run here is of another network or data set than the printed one."""
    return bool(substituted(study, "models", model) or substituted(study, "datasets", dataset))


def _panels(spec: Spec, study: Study, inputs: AnalysisInputs) -> list[_Panel]:
    """A panel for each data set, split scheme and attack, in the order of the entry."""
    shown = _run(spec, study, inputs)
    panels = []
    for dataset, scheme in compared_places(shown, study):
        here = at_places(shown, [(dataset, scheme)])
        for attacks in spec.attacks:
            rows = here[attacks.among(here)]
            rows = with_start(rows[drawn_radii(rows["epsilon"], spec)])
            if (rows["epsilon"] > 0).any():
                printed = _printed(spec, study, inputs, (dataset, scheme), attacks, rows)
                panels.append(_Panel(dataset, scheme, attacks, rows, printed))
    if not panels:
        attacks = ", ".join(map(str, spec.attacks))
        raise nothing_to_draw(spec, f"there are no outcomes of {attacks} at these radii")
    return panels


def _run(spec: Spec, study: Study, inputs: AnalysisInputs) -> pd.DataFrame:
    """The accuracies of the entry's attacks, models and data sets, on all splits."""
    table = inputs.accuracy
    return table[
        table["model"].isin(models_to_draw(spec, study, inputs))
        & among(table, spec.attacks)
        & table["dataset"].isin(spec.datasets or table["dataset"])
    ]


def _printed(
    spec: Spec,
    study: Study,
    inputs: AnalysisInputs,
    place: tuple[str, str],
    attacks: AttackSet,
    rows: pd.DataFrame,
) -> pd.DataFrame:
    """The printed rows of the models that the panel draws."""
    if not spec.reported:
        return pd.DataFrame(columns=["ours", "model", "epsilon", "reported", "verdict"])
    printed = printed_accuracy(spec, study, inputs, place, attacks)
    printed = printed[printed["ours"].isin(rows["model"])]
    return printed[drawn_radii(printed["epsilon"], spec)]


def alt(spec: Spec, study: Study) -> str:
    models = spec.models or study.headline.models
    of = f" of {names_of(study, 'models', models)}" if models else ""
    beside = ", beside the printed numbers" if spec.reported else ""
    return (
        f"Line charts of the accuracy{of} against the radius of "
        f"{names_of(study, 'attacks', spec.attacks)}, with interval bands{beside}."
    )
