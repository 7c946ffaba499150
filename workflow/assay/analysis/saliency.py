"""Where networks look and how they divide their features, before and after an attack."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from assay.analysis.figure_parts import (
    WIDTH,
    Spec,
    Study,
    classes_of,
    for_matplotlib,
    nothing_to_draw,
    picture,
    plural,
    short_name,
    styled,
    verdict_below,
    wrapped,
)
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.style import COLOURS, radius_text, title_of

METHODS = {"gradient": "gradient", "integrated_gradients": "integrated gradients"}
# As in the public code of Rodriguez et al. 2022.
NEIGHBOURS = 11
GRID = 100
# Images whose features are projected, at most.
PROJECTED = 300


@styled
def saliency(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """Rows are models and images; columns an image and its maps, unperturbed and attacked."""
    found = _mapped(spec, inputs)
    rows = spec.get("rows", 2)
    methods = list(METHODS)
    half = 1 + len(methods)
    gap, line, between, left = 0.2, 0.2, 0.16, 0.5
    cell = WIDTH / (2 * half + gap + left)
    lines = [
        (key, stored, k) for key, stored in found for k in range(min(rows, _shown_images(stored)))
    ]
    height = 0.36 + len(lines) * (1 + line) + (len(found) - 1) * between
    figure = Figure((WIDTH, height * cell))
    axes = figure.add_axes((0, 0, 1, 1))
    epsilon = found[0][1]["epsilons"][-1]
    for side, name in enumerate(("unperturbed", f"attacked, ε = {radius_text(epsilon)}")):
        place = side * (half + gap)
        axes.text(place + 0.5, 0.18, name, ha="center", va="center", fontsize=7.5)
        for m, method in enumerate(methods):
            axes.text(
                place + m + 1.5, 0.18, METHODS[method], ha="center", va="center", fontsize=7.5
            )
    top = 0.36
    for number, (key, stored, k) in enumerate(lines):
        if number and lines[number - 1][0] != key:
            top += between
        names = classes_of(study, inputs, key, stored["labels"])
        label = stored["labels"][k]
        for side, version in enumerate((0, -1)):
            place = side * (half + gap)
            picture(axes, for_matplotlib(stored["images"][version, k].astype(float)), place, top)
            said = stored["predictions"][version, k]
            text = f"{'✓' if said == label else '✗'} {short_name(names[said], 16)}"
            verdict_below(axes, place + 0.5, top + 1 + line / 2 - 0.05, text, said == label)
            for m, method in enumerate(methods):
                values = stored[f"maps/{method}"][version, k].astype(float)
                values = values / max(values.max(), 1e-12)
                box = place + m + 1.05, place + m + 1.95, top + 0.95, top + 0.05
                axes.imshow(values, cmap="inferno", vmin=0, vmax=1, extent=box)
        if k == 0:
            title = wrapped(title_of(study, "models", key[2]), 18)
            axes.text(-0.3, top + 0.5, title, rotation=90, ha="center", va="center", fontsize=7.5)
        top += 1 + line
    axes.set(xlim=(-left, 2 * half + gap), ylim=(height, 0), aspect="equal")
    axes.set_axis_off()
    return figure


def saliency_caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> tuple[str, str]:
    found = _mapped(spec, inputs)
    (dataset, split, _), stored = found[0]
    count = min(spec.get("rows", 2), _shown_images(stored))
    return (
        f"What {plural(count, 'test image')} of {title_of(study, 'datasets', dataset)} (split "
        f"{split}) make each network look at, unperturbed and after "
        f"{title_of(study, 'attacks', study['saliency']['attack'])}: magnitude of what each pixel "
        "contributes to the logit of the decided class, smoothed, each map by its own maximum. "
        "Under an image stands the decision, ✓ where it is the true class and ✗ where it is not. "
        "Illustrations, one of each class; a map that looks sensible proves nothing.",
        f"n = {plural(count, 'image')}; 1 split",
    )


@styled
def decision_regions(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """Panels are models: projected features, and the decision of the nearest of them."""
    found = _mapped(spec, inputs)
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure = Figure((WIDTH, 0.5 + rows * WIDTH / columns * 0.95), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    names: list[str] = []
    for axes, (key, stored) in zip(grid, found, strict=False):
        names = classes_of(study, inputs, key, stored["labels"])
        projected = _Projection(stored, inputs.seed)
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
        axes.set_title(wrapped(title_of(study, "models", key[2]), 30), fontsize=8)
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


def decision_regions_caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> tuple[str, str]:
    found = _mapped(spec, inputs)
    (dataset, split, _), stored = found[0]
    count = min(len(stored["labels"]), PROJECTED)
    return (
        f"Features of {count} test images of {title_of(study, 'datasets', dataset)} (split "
        f"{split}), unperturbed and after "
        f"{title_of(study, 'attacks', study['saliency']['attack'])} at "
        f"ε = {radius_text(stored['epsilons'][-1])}, in two dimensions by t-SNE; points have the "
        "colour of their true class. Areas have the colour of the class that most of the "
        f"{NEIGHBOURS} nearest points are taken for by the network. A picture of these points, not "
        "of the network's boundary: t-SNE keeps neighbours and neither distances nor directions, "
        "and is fitted for each network anew.",
        f"n = {count} images; 1 split",
    )


def _shown_images(stored: dict[str, np.ndarray]) -> int:
    """How many images have pictures and maps."""
    return stored["images"].shape[1]


class _Projection:
    """Features of one network in two dimensions, and the decisions around them.

    Attributes:
        places: (2 M, 2), of the unperturbed images, then of the attacked ones.
        version: (2 M,) 0 or 1.
        labels: (2 M,) true classes.
        corners: of the area that `regions` covers, (left, bottom) and (right, top).
        regions: (GRID, GRID) classes.
    """

    def __init__(self, stored: dict[str, np.ndarray], seed: int):
        from sklearn.manifold import TSNE
        from sklearn.neighbors import KNeighborsClassifier

        count = min(PROJECTED, len(stored["labels"]))
        features = np.concatenate([stored["features"][v, :count] for v in (0, -1)]).astype(float)
        said = np.concatenate([stored["predictions"][v, :count] for v in (0, -1)])
        self.version = np.repeat([0, 1], count)
        self.labels = np.tile(stored["labels"][:count], 2)
        perplexity = min(30.0, (len(features) - 1) / 3)
        self.places = TSNE(
            random_state=seed % 2**32, perplexity=perplexity, init="pca"
        ).fit_transform(features)
        margin = 0.04 * np.ptp(self.places, axis=0)
        self.corners = self.places.min(axis=0) - margin, self.places.max(axis=0) + margin
        neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(said))).fit(self.places, said)
        sides = [np.linspace(*pair, GRID) for pair in zip(*self.corners, strict=True)]
        points = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)
        self.regions = neighbours.predict(points).reshape(GRID, GRID)


def _pale(count: int) -> ListedColormap:
    """The colours of `count` classes, as light as a background."""
    chosen = [to_rgb(COLOURS[k % len(COLOURS)]) for k in range(count)]
    return ListedColormap([tuple(0.75 + 0.25 * part for part in colour) for colour in chosen])


def _mapped(
    spec: Spec, inputs: AnalysisInputs
) -> list[tuple[tuple[str, str, str], dict[str, np.ndarray]]]:
    """The stored maps of the entry's models, of the first data set and split that has them."""
    places = sorted({key[:2] for key in inputs.saliency if key[0] in spec.get("datasets", key[:1])})
    for place in places:
        keys = [(*place, model) for model in spec["models"] if (*place, model) in inputs.saliency]
        if keys:
            found = []
            for key in keys:
                with np.load(inputs.saliency[key]) as stored:
                    found.append((key, dict(stored)))
            return found
    raise nothing_to_draw(spec, f"no saliency maps of {', '.join(spec['models'])}")
