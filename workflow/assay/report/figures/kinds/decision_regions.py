"""How networks divide their features, before and after an attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import title_of
from assay.report.figures.parts import (
    WIDTH,
    Caption,
    Study,
    classes_of,
    names_of,
    split_words,
    styled,
    wrapped,
)
from assay.report.figures.saliency_maps import (
    MapsSpec,
    SaliencyMaps,
    missing_in_words,
    radius_in_words,
    saliency_attack,
    saliency_maps,
)
from assay.report.needs import Measured, Need
from assay.report.style import COLOURS

if TYPE_CHECKING:
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Spec(MapsSpec):
    """Features of unperturbed and attacked images in two dimensions (t-SNE), and the class
    predicted for their neighbours; models must be among the study's
    ``measurements.saliency``.
    """


def needs(spec: Spec) -> list[Need]:
    """What the study must store."""
    return [Measured("saliency", tuple(spec.models), "models")]


# As in the public code of Rodriguez et al. 2022.
NEIGHBOURS = 11
GRID = 100
# Images whose features are projected, at most.
PROJECTED = 300


@styled
def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """Panels are models: projected features, and the prediction for the nearest of them."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    found = saliency_maps(spec, study, inputs)
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure = Figure((WIDTH, 0.5 + rows * WIDTH / columns * 0.95), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    names: list[str] = []
    for axes, one in zip(grid, found, strict=False):
        names = classes_of(study, inputs, one.key, one.stored["labels"])
        projected = _Projection(one, inputs.seed)
        # An edge of the plot is no boundary: half a cell further than the outermost points.
        (left, bottom), (right, top) = projected.corners
        axes.imshow(
            projected.regions.T,
            extent=(left, right, bottom, top),
            origin="lower",
            cmap=_pale(len(names)),
            vmin=-0.5,
            vmax=len(names) - 0.5,
            aspect="auto",
            interpolation="nearest",
        )
        for version, marker in ((0, "o"), (1, "x")):
            for label in range(len(names)):
                chosen = (projected.version == version) & (projected.labels == label)
                axes.plot(
                    *projected.places[chosen].T,
                    marker,
                    color=COLOURS[label % len(COLOURS)],
                    markersize=3,
                    markeredgewidth=0 if marker == "o" else 0.8,
                    alpha=0.8,
                    rasterized=True,
                )
        title = title_of(study, "models", one.key[2])
        axes.set_title(wrapped(title, 84 // columns), fontsize=8)
        axes.set(xticks=[], yticks=[], xlim=(left, right), ylim=(bottom, top))
        axes.set_xlabel("first t-SNE coordinate")
    grid[0].set_ylabel("second t-SNE coordinate")
    for axes in grid[len(found) :]:
        axes.set_axis_off()
    handles = [
        Line2D([], [], ls="", marker="o", color=COLOURS[k % len(COLOURS)], label=name)
        for k, name in enumerate(names)
    ]
    handles += [
        Line2D([], [], ls="", marker=marker, color="#555555", label=name)
        for marker, name in (("o", "unperturbed"), ("x", "attacked"))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)))
    return figure


def caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> Caption:
    found = saliency_maps(spec, study, inputs)
    dataset, split, _ = found[0].key
    stored = found[0].stored
    count = min(len(stored["labels"]), PROJECTED)
    attack = saliency_attack(study)
    models = [one.key[2] for one in found]
    return Caption(
        f"Features of {count} of {len(stored['labels'])} test images "
        f"({title_of(study, 'datasets', dataset)}, {split_words(study, split)}) in "
        f"{names_of(study, 'models', models)}, unperturbed and after {attack} at "
        f"{radius_in_words(found, spec, study)}, in two dimensions by t-SNE. Points have the "
        "colour of their true class. Areas have the colour of the class that the network predicts "
        f"for most of the {NEIGHBOURS} nearest points. This shows the points, not the network's "
        "decision boundary. t-SNE preserves neighbours, but not distances or directions. It is "
        f"fitted for each network separately.{missing_in_words(found, spec, study, inputs)}",
        f"n = {count} images; 1 split",
        [dataset],
        models,
    )


class _Projection:
    """Features of one network in two dimensions, and the predictions around them.

    Attributes:
        places: (2 M, 2), of the unperturbed images, then of the attacked ones.
        version: (2 M,) 0 or 1.
        labels: (2 M,) true classes.
        corners: of the area that `regions` covers, (left, bottom) and (right, top).
        regions: (GRID, GRID) classes.
    """

    def __init__(self, one: SaliencyMaps, seed: int):
        from sklearn.manifold import TSNE
        from sklearn.neighbors import KNeighborsClassifier

        stored, both = one.stored, (0, one.version)
        count = min(PROJECTED, len(stored["labels"]))
        features = np.concatenate([stored["features"][v, :count] for v in both]).astype(float)
        predicted = np.concatenate([stored["predictions"][v, :count] for v in both])
        self.version = np.repeat([0, 1], count)
        self.labels = np.tile(stored["labels"][:count], 2)
        perplexity = min(30.0, (len(features) - 1) / 3)
        self.places = TSNE(
            random_state=seed % 2**32, perplexity=perplexity, init="pca"
        ).fit_transform(features)
        margin = 0.04 * np.ptp(self.places, axis=0)
        self.corners = self.places.min(axis=0) - margin, self.places.max(axis=0) + margin
        neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(predicted))).fit(
            self.places, predicted
        )
        sides = [np.linspace(*pair, GRID) for pair in zip(*self.corners, strict=True)]
        points = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)
        self.regions = neighbours.predict(points).reshape(GRID, GRID)


def _pale(count: int) -> ListedColormap:
    """The colours of `count` classes, as light as a background."""
    from matplotlib.colors import ListedColormap, to_rgb

    chosen = [to_rgb(COLOURS[k % len(COLOURS)]) for k in range(count)]
    return ListedColormap([tuple(0.75 + 0.25 * part for part in colour) for colour in chosen])


def alt(spec: Spec, study: Study) -> str:
    return (
        "Scatter plots of the features of test images in two dimensions, unperturbed and attacked, "
        "over areas in the colour of the predicted class, one panel per model: "
        f"{names_of(study, 'models', spec.models)}."
    )
