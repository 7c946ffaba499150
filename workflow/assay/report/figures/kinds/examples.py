"""Images of one model at growing radius."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import attack_title, radius_text, title_of
from assay.foundation.keys import ABSENT, key
from assay.report.figures.parts import (
    Caption,
    Study,
    classes_of,
    for_matplotlib,
    grid_figure,
    image_counts,
    images_in_words,
    nothing_to_draw,
    one_of_each,
    picture,
    prediction_below,
    radius_label,
    row_label,
    split_words,
    styled,
)
from assay.report.figures.stored import attacked, radii_shown, stored_examples
from assay.report.needs import Examples, Need
from assay.report.spec import Attack, FigureSpec, Model, Radii, Rows, Shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Spec(FigureSpec):
    """Images at increasing radius with the prediction below each."""

    model: Model
    attack: Attack
    datasets: Shown = ABSENT
    rows: Rows = ABSENT
    columns: Annotated[
        int,
        key("columns: the unperturbed image and some radii, at least 2; default 6", ge=2),
    ] = ABSENT
    radii: Radii = ABSENT


def needs(spec: Spec) -> list[Need]:
    """What the study must store."""
    return [Examples(spec.attack, (spec.model,))]


PHOTOGRAPH = True


@styled
def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """Images in rows, radii in columns; the prediction stands under each image."""
    grid = _Grid.of(spec, study, inputs)
    rows, columns = grid.images.shape[:2]
    line = 0.22
    figure, axes = grid_figure(columns + 0.2, rows * (1 + line) + 0.28)
    for row in range(rows):
        top = row * (1 + line)
        for column in range(columns):
            picture(axes, grid.images[row, column], column, top)
            right = grid.predictions[row, column] == grid.labels[row]
            text = f"{'✓' if right else '✗'} {grid.classes[grid.predictions[row, column]]}"
            prediction_below(axes, column + 0.5, top + 1 + line / 2 - 0.06, text, right)
        row_label(axes, -0.04, top + 0.5, grid.classes[grid.labels[row]], 8.5)
    for column, epsilon in enumerate(grid.epsilons):
        label = "unperturbed" if column == 0 else f"ε = {radius_text(epsilon, study)}"
        axes.text(column + 0.5, -0.02, label, ha="center", va="bottom", fontsize=8.5)
    axes.set(xlim=(-0.18, columns + 0.02), ylim=(rows * (1 + line), -0.28), aspect="equal")
    axes.set_axis_off()
    return figure


def caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> Caption:
    grid = _Grid.of(spec, study, inputs)
    wrong = grid.predictions != grid.labels[:, None]
    return Caption(
        f"{images_in_words(grid.labels, len(grid.classes))} "
        f"({title_of(study, 'datasets', grid.key[0])}, {split_words(study, grid.key[1])}), under "
        f"{attack_title(study, spec.attack)} against {title_of(study, 'models', grid.key[2])}. "
        f"The {radius_label(inputs, spec.attack)} grows from left to right. The true class "
        "is at the left. The prediction is below each image (✓ right, ✗ wrong). At the largest "
        f"radius, ε = {radius_text(grid.epsilons[-1], study)}, the model misclassifies "
        f"{wrong[:, -1].sum()} of these {len(wrong)} images. They were chosen by class, not at "
        "random, so they do not show a misclassification rate.",
        image_counts(len(grid.labels)),
        [grid.key[0]],
        [grid.key[2]],
    )


class _Grid:
    """The pictures of an examples figure, picked from one stored file."""

    def __init__(self, key: tuple, stored: Any, spec: Spec, study: Study, inputs: AnalysisInputs):
        attack = spec.attack
        seen = np.flatnonzero(attacked(stored, attack))
        rows = seen[one_of_each(stored["labels"][seen], spec.rows or 6)]
        epsilons = stored[f"{attack}/epsilons"]
        places, most = radii_shown(stored, spec), (spec.columns or 6) - 1
        if not len(places) or not len(rows):
            raise nothing_to_draw(spec, f"no stored image of {attack} at these radii")
        chosen = places[np.unique(np.linspace(0, len(places) - 1, most).round().astype(int))]
        clean, perturbed = stored["clean/images"][rows], stored[f"{attack}/images"][chosen][:, rows]
        images = np.concatenate([clean[:, None], perturbed.swapaxes(0, 1)], axis=1)
        self.key = key
        self.labels = stored["labels"][rows]
        self.classes = classes_of(study, inputs, key, stored["labels"])
        self.epsilons = np.concatenate([[0.0], epsilons[chosen]])
        self.images = for_matplotlib(images.astype(np.float32))
        first = stored["clean/predictions"][:, rows]
        later = stored[f"{attack}/predictions"][chosen][:, rows]
        self.predictions = np.concatenate([first, later]).T.astype(int)

    @classmethod
    def of(cls, spec: Spec, study: Study, inputs: AnalysisInputs) -> _Grid:
        for place, stored in stored_examples(spec, spec.model, inputs):
            return cls(place, stored, spec, study, inputs)
        raise nothing_to_draw(spec, f"no stored examples of {spec.attack} against {spec.model}")


def alt(spec: Spec, study: Study) -> str:
    return (
        f"Grid of images under {attack_title(study, spec.attack)} against "
        f"{title_of(study, 'models', spec.model)}: one row per image, the radius grows from "
        "left to right, and the prediction is below each image."
    )
