"""What each class makes of one image, by models that differ in a setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import title_of
from assay.foundation.keys import ABSENT, key
from assay.report.figures.explained import GAP, LINE, Explained, columns_in_words, explained_row
from assay.report.figures.parts import (
    Caption,
    Study,
    excluded_in_words,
    grid_figure,
    image_counts,
    names_of,
    nothing_to_draw,
    row_label,
    short_name,
    split_words,
    styled,
)
from assay.report.figures.settings import Label, SettingName, Unit, in_unit, label_of, value_on
from assay.report.needs import Examples, Measured, Need, Setting
from assay.report.spec import Attack, FigureSpec, ModelId, Shown
from assay.report.text import listed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Spec(FigureSpec):
    """What each class makes of one unperturbed image, a row for each value of a setting; the models
    and the attack must be among the study's ``measurements.reconstructions``.
    """

    models: Annotated[
        list[ModelId], key("models that differ in the setting, in any order", least=1)
    ]
    setting: SettingName
    attack: Attack
    image: Annotated[
        int, key("which of the stored images of the attack, from 0; default 0", ge=0)
    ] = ABSENT
    unit: Unit = ABSENT
    label: Label = ABSENT
    datasets: Shown = ABSENT


def needs(spec: Spec) -> list[Need]:
    """What the study must store."""
    models = tuple(spec.models or ())
    return [
        Measured("reconstructions", models, "models", spec.attack),
        Examples(spec.attack, models),
        Setting(spec.setting, models, "models"),
    ]


PHOTOGRAPH = True

LEFT, HEAD = 0.3, 0.3


@styled
def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """A row for each model, in the order of the setting; columns are the classes."""
    rows = _rows(spec, study, inputs)
    classes = rows[0][1].classes
    height = len(rows) * (1 + LINE) + HEAD
    figure, axes = grid_figure(len(classes) + 1 + GAP + LEFT, height)
    axes.text(0.5, 0.18, "image", ha="center", va="center", fontsize=8)
    for k, name in enumerate(classes):
        axes.text(1.5 + GAP + k, 0.18, short_name(name), ha="center", va="center", fontsize=8)
    for place, (value, grid) in enumerate(rows):
        top = HEAD + place * (1 + LINE)
        row_label(axes, -0.12, top + 0.5, in_unit(value, spec.unit or 1.0))
        explained_row(axes, grid, 0, 0, top)
    axes.set(xlim=(-LEFT, len(classes) + 1 + GAP), ylim=(height, 0), aspect="equal")
    axes.set_axis_off()
    return figure


def caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> Caption:
    rows = _rows(spec, study, inputs)
    first, unit = rows[0][1], spec.unit or 1.0
    models = [grid.key[2] for _, grid in rows]
    values = listed(in_unit(value, unit) for value, _ in rows)
    label = label_of(spec.setting, spec.label or "", unit, study)
    wrong = sum(int(grid.predictions[0, 0] != grid.labels[0]) for _, grid in rows)
    text = (
        f"One unperturbed test image of class {first.classes[first.labels[0]]} "
        f"({title_of(study, 'datasets', first.key[0])}, {split_words(study, first.key[1])}) and "
        f"what each class makes of it. Rows: {label} = {values}. Columns: "
        f"{columns_in_words(first, study)} The frame marks the largest. The "
        "prediction by majority vote is below the image (✓ right, ✗ wrong); "
        f"{wrong} of {len(rows)} are wrong. The pictures are from a separate search, which may "
        "have another result if the model is randomised."
    )
    gone = [name for name in spec.models if name not in models]
    if gone:
        text += f" Without this image: {names_of(study, 'models', gone)}."
    return Caption(text + excluded_in_words(spec), image_counts(1), [first.key[0]], models)


def alt(spec: Spec, study: Study) -> str:
    return (
        "Grid of pictures: what each class makes of one image, a row for each value of "
        f"{label_of(spec.setting, spec.label or '', 1, study)}, one column per class."
    )


def _rows(spec: Spec, study: Study, inputs: AnalysisInputs) -> list[tuple[float, Explained]]:
    """The value of the setting and the one image of each model, by that value.

    The image is that of the first model that has reconstructions; others may store it elsewhere.
    """
    stored = {key[2] for key in inputs.networks("reconstructions")}
    grids = [
        Explained.of(spec, model, spec.attack, study, inputs)
        for model in spec.models
        if model in stored
    ]
    number = spec.image or 0
    if not grids or number >= len(grids[0].labels):
        count = len(grids[0].labels) if grids else 0
        raise nothing_to_draw(spec, f"image {number} is not among the {count} stored images")
    wanted = grids[0].images[0, number]
    found = []
    for grid in grids:
        same = (grid.images[0] == wanted).reshape(len(grid.labels), -1).all(axis=1)
        if grid.key[:2] == grids[0].key[:2] and same.any():
            value = value_on(study, grid.key[2], grid.key[0], spec.setting)
            found.append((value, grid.at([int(np.flatnonzero(same)[0])])))
    return sorted(found, key=lambda row: row[0])
