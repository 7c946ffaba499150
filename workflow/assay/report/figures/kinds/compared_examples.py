"""The same images, attacked on several models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import attack_title, radius_text, title_of
from assay.foundation.keys import ABSENT
from assay.report.figures.parts import (
    Caption,
    Study,
    classes_of,
    drawn_radii,
    excluded_in_words,
    for_matplotlib,
    grid_figure,
    image_counts,
    images_in_words,
    names_of,
    nothing_to_draw,
    one_of_each,
    picture,
    prediction_below,
    split_words,
    styled,
    wrapped,
)
from assay.report.figures.stored import attacked, closest, radii_shown, stored_examples
from assay.report.needs import Examples, Need
from assay.report.spec import Attack, Drawn, FigureSpec, Radii, Rows, Shown
from assay.report.text import listed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Spec(FigureSpec):
    """The same images attacked on each model, with the prediction and the length of the change; of
    several radii, the smallest that misclassifies the image.
    """

    models: Drawn
    attack: Attack
    datasets: Shown = ABSENT
    rows: Rows = ABSENT
    radii: Radii = ABSENT


def needs(spec: Spec) -> list[Need]:
    """What the study must store."""
    return [Examples(spec.attack, tuple(spec.models))]


PHOTOGRAPH = True


@styled
def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """Images in columns; a row of unperturbed ones, then one for each model's own attack."""
    grid = _Grid(spec, study, inputs)
    rows, columns = grid.images.shape[:2]
    label, line = 1.5, 0.24
    figure, axes = grid_figure(columns + label, rows * (1 + line))
    for row in range(rows):
        top = row * (1 + line)
        name = "unperturbed" if row == 0 else title_of(study, "models", grid.models[row - 1])
        axes.text(label - 0.08, top + 0.5, wrapped(name), ha="right", va="center", fontsize=8.5)
        for column in range(columns):
            picture(axes, grid.images[row, column], label + column, top)
            if row:
                right = not grid.wrong[row, column]
                text = grid.classes[grid.predictions[row, column]]
                length = f"{grid.lengths[row, column]:.{2 if grid.radii[-1] >= 0.1 else 4}f}"
                text = f"{'✓' if right else '✗'} {text}  {length}"
            else:
                right, text = True, grid.classes[grid.labels[column]]
            prediction_below(axes, label + column + 0.5, top + 1 + line / 2 - 0.04, text, right)
    axes.set(xlim=(0, columns + label), ylim=(rows * (1 + line), 0), aspect="equal")
    axes.set_axis_off()
    return figure


def caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> Caption:
    grid = _Grid(spec, study, inputs)
    columns = len(grid.labels)
    dataset, split = grid.place
    counts = listed(
        [
            f"{number} of {columns} by {title_of(study, 'models', model)}"
            for model, number in zip(grid.models, grid.wrong[1:].sum(axis=1), strict=True)
        ]
    )
    text = (
        f"{images_in_words(grid.labels, len(grid.classes))} "
        f"({title_of(study, 'datasets', dataset)}, {split_words(study, split)}). "
        "Top row: unperturbed, with the true class. "
        f"Below: the same images after {attack_title(study, spec.attack)} against "
        f"{names_of(study, 'models', grid.models)}"
    )
    text += (
        f" at ε = {radius_text(grid.radii[0], study)}."
        if len(grid.radii) == 1
        else ", each at the smallest of the radii "
        f"ε = {listed([radius_text(e, study) for e in grid.radii])} at which its model "
        "misclassifies it, and at the largest where none does."
    )
    text += (
        " Below each image are the prediction of that model (✓ right, ✗ wrong) and the "
        f"{grid.unit} norm of the perturbation. Misclassified: {counts}. An image that its model "
        "misclassifies unperturbed is not changed. The images were chosen by class, not at random, "
        "so they do not show a misclassification rate."
    )
    missing = [name for name in spec.models if name not in grid.models]
    if missing:
        text += (
            f" Not shown: {names_of(study, 'models', missing)} (no pictures of these images are "
            "stored)."
        )
    return Caption(text + excluded_in_words(spec), image_counts(columns), [dataset], grid.models)


class _Grid:
    """The pictures of several models, from one stored file of each: the same images of all."""

    def __init__(self, spec: Spec, study: Study, inputs: AnalysisInputs):
        found = _most_models(spec, inputs)
        if not found:
            raise nothing_to_draw(spec, f"there are no stored examples of {spec.attack}")
        self.models, attack = list(found), spec.attack
        key, first = next(iter(found.values()))
        self.place = key[:2]
        common = set.intersection(
            *(set(stored["samples"][attacked(stored, attack)]) for _, stored in found.values())
        )
        seen = np.flatnonzero(np.isin(first["samples"], list(common)))
        if not len(seen):
            raise nothing_to_draw(spec, f"no image was attacked by {attack} on all models")
        chosen = seen[one_of_each(first["labels"][seen], spec.rows or 6)]
        samples, self.labels = first["samples"][chosen], first["labels"][chosen]
        clean = first["clean/images"][chosen].astype(np.float32)
        images, predicted, radii = [clean], [first["clean/predictions"][0, chosen]], set()
        for _, stored in found.values():
            mine = pd.Index(stored["samples"]).get_indexer(samples)
            places = radii_shown(stored, spec)
            if not len(places):
                raise nothing_to_draw(spec, f"no stored image of {attack} at these radii")
            at = closest(stored, spec, places)[mine]
            images.append(stored[f"{attack}/images"][at, mine].astype(np.float32))
            predicted.append(stored[f"{attack}/predictions"][at, mine])
            radii |= set(stored[f"{attack}/epsilons"][places])
        images = np.stack(images)
        change = (images - clean).reshape(*images.shape[:2], -1)
        norms = inputs.accuracy.loc[inputs.accuracy["attack"] == attack, "norm"]
        infinite = norms.iloc[0] == "linf"
        self.radii = sorted(radii)
        self.unit = "L∞" if infinite else "L2"
        self.lengths = np.abs(change).max(-1) if infinite else np.linalg.norm(change, axis=-1)
        self.images = for_matplotlib(images)
        self.predictions = np.stack(predicted).astype(int)
        self.wrong = self.predictions != self.labels
        self.classes = classes_of(study, inputs, key, first["labels"])


def _most_models(spec: Spec, inputs: AnalysisInputs) -> dict[str, tuple]:
    """By model its key and arrays, of the data set and split that has most of the models."""
    places: dict[tuple, dict[str, tuple]] = {}
    for model in spec.models:
        for key, stored in stored_examples(spec, model, inputs):
            if drawn_radii(stored[f"{spec.attack}/epsilons"], spec).any():
                places.setdefault(key[:2], {}).setdefault(model, (key, stored))
    return max((places[place] for place in sorted(places)), key=len, default={})


def alt(spec: Spec, study: Study) -> str:
    return (
        f"Grid of images: unperturbed in the top row, below it after "
        f"{attack_title(study, spec.attack)} against {names_of(study, 'models', spec.models)}"
        ", one row per model, with the prediction and the norm of the perturbation below each."
    )
