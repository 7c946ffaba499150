"""What each class's generator makes of an image, before and after an attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import attack_title, radius_text, title_of
from assay.foundation.keys import ABSENT
from assay.report.figures.explained import GAP, LINE, Explained, columns_in_words, explained_row
from assay.report.figures.parts import (
    Caption,
    Study,
    grid_figure,
    image_counts,
    images_in_words,
    one_of_each,
    row_label,
    short_name,
    split_words,
    styled,
)
from assay.report.needs import Examples, Measured, Need
from assay.report.spec import Attack, FigureSpec, Model, Rows, Shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Spec(FigureSpec):
    """Each class's reconstruction of an image before and after an attack, with its
    log-likelihood; the model and the attack must be among the study's
    ``measurements.reconstructions``.
    """

    model: Model
    attack: Attack
    datasets: Shown = ABSENT
    rows: Rows = ABSENT


def needs(spec: Spec) -> list[Need]:
    """What the study must store."""
    return [
        Measured("reconstructions", (spec.model,), "model", spec.attack),
        Examples(spec.attack, (spec.model,)),
    ]


PHOTOGRAPH = True

BETWEEN, LEFT = 0.22, 0.42


@styled
def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """Pairs of rows, an image before and after its attack; columns are the classes."""
    grid = _explained(spec, study, inputs)
    classes = grid.made.shape[2]
    height = len(grid.labels) * (2 * (1 + LINE) + BETWEEN) + 0.3
    figure, axes = grid_figure(classes + 1 + GAP + LEFT, height)
    axes.text(0.5, 0.18, "image", ha="center", va="center", fontsize=8)
    for k in range(classes):
        place = 1 + GAP + k + 0.5
        axes.text(place, 0.18, short_name(grid.classes[k]), ha="center", va="center", fontsize=8)
    for place, label in enumerate(grid.labels):
        top = 0.3 + place * (2 * (1 + LINE) + BETWEEN)
        row_label(axes, -0.3, top + 1 + LINE / 2, grid.classes[label])
        for side, words in enumerate(("unperturbed", "attacked")):
            row_label(axes, -0.08, top + side * (1 + LINE) + 0.5, words, 7)
            explained_row(axes, grid, place, side, top + side * (1 + LINE))
    axes.set(xlim=(-LEFT, classes + 1 + GAP), ylim=(height, 0), aspect="equal")
    axes.set_axis_off()
    return figure


def _explained(spec: Spec, study: Study, inputs: AnalysisInputs) -> Explained:
    found = Explained.of(spec, spec.model, spec.attack, study, inputs)
    return found.at(one_of_each(found.labels, spec.rows or 4))


def caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> Caption:
    grid = _explained(spec, study, inputs)
    wrong = int((grid.predictions[1] != grid.labels).sum())
    radii = sorted(set(grid.epsilons))
    at = f"ε = {radius_text(radii[0], study)}"
    if len(radii) > 1:
        at += f" to {radius_text(radii[-1], study)}"
    return Caption(
        f"{images_in_words(grid.labels, len(grid.classes))} "
        f"({title_of(study, 'datasets', grid.key[0])}, {split_words(study, grid.key[1])}), "
        f"each unperturbed (upper row) and after {attack_title(study, spec.attack)} at {at} "
        f"(lower row), with reconstructions by {title_of(study, 'models', grid.key[2])}. "
        f"Columns: {columns_in_words(grid, study)} The frame marks "
        "the largest. The prediction by majority vote is below the image (✓ right, ✗ wrong). "
        f"After the attack, {wrong} of the {len(grid.labels)} images are misclassified. "
        "The reconstructions are from a separate search, which may have another result if the "
        "model is randomised. "
        "The images were chosen by class, not at random.",
        image_counts(len(grid.labels)),
        [grid.key[0]],
        [grid.key[2]],
    )


def alt(spec: Spec, study: Study) -> str:
    return (
        "Grid of images before and after "
        f"{attack_title(study, spec.attack)}, each beside its reconstructions by "
        f"{title_of(study, 'models', spec.model)}, one column per class."
    )
