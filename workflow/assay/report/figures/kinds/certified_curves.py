"""Certified accuracy below the accuracy that an attack leaves, on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import attack_title, title_of
from assay.foundation.keys import ABSENT
from assay.foundation.split import Split
from assay.report.figures.curves import with_start
from assay.report.figures.parts import (
    RADIUS_LABELS,
    WIDTH,
    Caption,
    Study,
    compared_places,
    drawn_radii,
    excluded_in_words,
    names_of,
    nothing_to_draw,
    places_in_words,
    styled,
    tested,
    undrawn_in_words,
)
from assay.report.needs import Measured, Need
from assay.report.spec import Attack, Drawn, FigureSpec, Radii, Shown
from assay.report.style import SeriesStyle, series_styles
from assay.report.text import span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Spec(FigureSpec):
    """Share of images with at least that certified radius, below the accuracy of the same images
    under an attack; models must be among the study's ``measurements.certificates``.
    """

    models: Drawn
    attack: Attack
    datasets: Shown = ABSENT
    radii: Radii = ABSENT


def needs(spec: Spec) -> list[Need]:
    """What the study must store."""
    return [Measured("certificates", tuple(spec.models), "models")]


class _Curve(NamedTuple):
    """One model: certified radii of single images, and its accuracy under the attack.

    Attributes:
        radii: of the images that the attack saw, or of all where it saw none of them.
        attacked: rows of :func:`with_start`.
        same: whether both are of the same images.
    """

    radii: np.ndarray
    attacked: pd.DataFrame
    same: bool


@styled
def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """The share of images certified at a radius, below the accuracy that an attack leaves."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    panels = _panels(spec, study, inputs)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(
        (WIDTH if columns > 1 else WIDTH * 0.86, 0.65 + 3.0 * rows), layout="constrained"
    )
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    styles = series_styles([*study.headline.models, *spec.models])
    where = places_in_words(set(panels), study)
    for axes, (place, models) in zip(grid, panels.items(), strict=False):
        for model, curve in models.items():
            _draw_curve(axes, curve, styles[model])
        axes.set_title(", ".join(where(*place)))
        axes.set_xlabel(RADIUS_LABELS["l2"])
        axes.set_ylim(-0.02, 1.02)
    curves = [curve for models in panels.values() for curve in models.values()]
    farthest = max(max(c.radii.max(initial=0), c.attacked["epsilon"].max()) for c in curves)
    for axes in grid[: len(panels)]:
        axes.set_xlim(-0.03 * farthest, 1.03 * farthest)
    for axes in grid[::columns]:
        axes.set_ylabel("accuracy")
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    shown = [m for m in spec.models if any(m in models for models in panels.values())]
    handles = [
        Line2D([], [], color=styles[m].colour, ls=line, marker=styles[m].marker if solid else "",
               markeredgecolor="white", label=f"{title_of(study, 'models', m)}, {words}")
        for line, words, solid in (("-", "attacked", True), ("--", "certified", False))
        for m in shown
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def _draw_curve(axes: Axes, curve: _Curve, series_style: SeriesStyle) -> None:
    radius = np.concatenate([[0.0], np.sort(curve.radii)])
    certified = 1 - np.arange(len(radius)) / len(curve.radii)
    # A radius of 0 certifies nothing: it is that of an image whose own decision is wrong.
    certified = np.minimum(certified, (curve.radii > 0).mean())
    axes.step(radius, certified, where="post", color=series_style.colour, ls="--")
    axes.plot(
        curve.attacked["epsilon"], curve.attacked["pooled"], color=series_style.colour,
        marker=series_style.marker, markeredgecolor="white",
    )  # fmt: skip


def caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> Caption:
    panels = _panels(spec, study, inputs)
    curves = [curve for models in panels.values() for curve in models.values()]
    counts = pd.Series([len(curve.radii) for curve in curves])
    rows = pd.concat([curve.attacked for curve in curves])
    models = [m for m in spec.models if any(m in here for here in panels.values())]
    datasets = list(dict.fromkeys(dataset for dataset, _ in panels))
    attack = attack_title(study, spec.attack)
    text = (
        f"{names_of(study, 'models', models)} on {names_of(study, 'datasets', datasets)}. Dashed: "
        "the share of images whose certified L2 radius (equation 2.7) is at least the radius. "
        f"Solid: the accuracy under {attack}. "
    )
    if all(curve.same for curve in curves):
        text += "Both lines are from the same images. "
    else:
        text += (
            "The lines are from different images, so a solid line may lie below its dashed line by "
            "chance. "
        )
    text += (
        "At radius 0, the dashed line is the share of images for which the search of the "
        "certificate finds the true class to be closest. It may lie below the accuracy at radius "
        "0, which counts the model's predictions. The certificate holds only if the search found "
        "the closest image of every other class, and no search can guarantee this. Where a solid "
        "line falls below the dashed line of the same images, the search did not find it."
    )
    run = inputs.accuracy[
        (inputs.accuracy["attack"] == spec.attack) & inputs.accuracy["model"].isin(models)
    ]
    text += undrawn_in_words(run["epsilon"], rows["epsilon"], study) + excluded_in_words(spec)
    return Caption(text, f"n = {span(counts)} certified images, {tested(rows)}", datasets, models)


def _panels(
    spec: Spec, study: Study, inputs: AnalysisInputs
) -> dict[tuple[str, str], dict[str, _Curve]]:
    """By data set and scheme, by model: what is drawn."""
    found: dict = {}
    for dataset, split, model in sorted(inputs.networks("certificates")):
        if model in spec.models and dataset in (spec.datasets or [dataset]):
            place = dataset, Split.of(split).scheme
            stored = inputs.arrays("certificates", (dataset, split, model))
            part = split, stored["radii"], stored["samples"]
            found.setdefault(place, {}).setdefault(model, []).append(part)
    panels: dict = {}
    table = inputs.accuracy
    table = table[(table["attack"] == spec.attack) & drawn_radii(table["epsilon"], spec)]
    names = [(*place, model) for place, models in found.items() for model in models]
    names = pd.DataFrame(names, columns=["dataset", "scheme", "model"])
    for place in compared_places(names, study):
        models = found[place]
        here = table[(table["dataset"] == place[0]) & (table["scheme"] == place[1])]
        for model, parts in models.items():
            attacked = with_start(here[here["model"] == model])
            if len(attacked):
                every = np.concatenate([radii for _, radii, _ in parts])
                radii = _of_attacked_images(spec.attack, place[0], model, parts, inputs)
                same = len(radii) == attacked["n"].max()
                curve = _Curve(radii if len(radii) else every, attacked, same)
                panels.setdefault(place, {})[model] = curve
    if not panels:
        models = ", ".join(spec.models)
        raise nothing_to_draw(
            spec, f"there are no certified radii of {models} with outcomes of the attack"
        )
    return panels


def _of_attacked_images(
    attack: str, dataset: str, model: str, parts: list[tuple], inputs: AnalysisInputs
) -> np.ndarray:
    """Certified radii of the images that the attack saw."""
    kept = []
    for split, radii, samples in parts:
        rows = inputs.outcomes(["attack", "sample"], dataset=dataset, split=split, model=model)
        kept.append(radii[np.isin(samples, rows["sample"][rows["attack"] == attack])])
    return np.concatenate(kept)


def alt(spec: Spec, study: Study) -> str:
    return (
        f"Line charts of {names_of(study, 'models', spec.models)}: the share of images with at "
        "least a certified L2 radius (dashed) and the accuracy under "
        f"{attack_title(study, spec.attack)} at that radius (solid)."
    )
