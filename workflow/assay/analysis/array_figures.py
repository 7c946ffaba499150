"""Figures of stored arrays: examples before and after attacks, imitations, latent features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from assay.analysis.figure_parts import (
    WIDTH,
    Spec,
    Study,
    check_radii,
    classes_of,
    for_matplotlib,
    nothing_to_draw,
    one_of_each,
    picture,
    radius_label,
    short_name,
    styled,
    verdict_below,
    wrapped,
)
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.style import looks, radius_text, title_of

POINTS_SHOWN = 3000  # in a scatter plot; more only hide each other


# --- latent space ---------------------------------------------------------------------------


@styled
def latent_pca(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """The first two principal components of a model's latent features, by class."""
    from sklearn.decomposition import PCA

    key, features, labels = _features(spec, inputs)
    pca = PCA(n_components=2, svd_solver="full").fit(features)
    # The sign of a component is arbitrary; the largest loading is made positive.
    signs = np.sign(pca.components_[np.arange(2), np.abs(pca.components_).argmax(axis=1)])
    places = pca.transform(features) * signs
    shown = np.linspace(0, len(labels) - 1, min(len(labels), POINTS_SHOWN)).astype(int)
    classes = classes_of(study, inputs, key, labels)
    figure = Figure((WIDTH * 0.82, WIDTH * 0.52), layout="constrained")
    axes = figure.subplots()
    for index, look in enumerate(looks(classes).values()):
        here = places[shown[labels[shown] == index]]
        axes.plot(
            *here.T,
            look.marker,
            color=look.colour,
            markersize=3,
            markeredgewidth=0,
            alpha=0.6,
            rasterized=True,
        )
    first, second = pca.explained_variance_ratio_
    axes.set_xlabel(f"first principal component ({first:.0%} of the variance)")
    axes.set_ylabel(f"second principal component ({second:.0%} of the variance)")
    axes.grid(True, axis="both")
    handles = [
        Line2D([], [], ls="", marker=look.marker, color=look.colour, label=name, markersize=5)
        for name, look in looks(classes).items()
    ]
    figure.legend(handles=handles, loc="outside right upper")
    return figure


def latent_pca_caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> tuple[str, str]:
    key, features, labels = _features(spec, inputs)
    shown = min(len(labels), POINTS_SHOWN)
    sample = f"; {shown:,} of {len(labels):,} points are drawn" if shown < len(labels) else ""
    return (
        f"First two principal components of the {features.shape[1]}-dimensional latent features "
        f"of {title_of(study, 'models', spec['model'])} on {len(labels):,} images of split "
        f"{key[1]}{sample}. Components are fitted to these images. Distance in two components is "
        "not distance in the latent space: overlapping classes may still be separable.",
        f"n = {len(labels):,} test images; 1 split",
    )


def _features(spec: Spec, inputs: AnalysisInputs) -> tuple[tuple, np.ndarray, np.ndarray]:
    keys = sorted(key for key in inputs.features if key[2] == spec["model"])
    if not keys:
        raise nothing_to_draw(spec, f"no latent features of {spec['model']}")
    with np.load(inputs.features[keys[0]]) as stored:
        return keys[0], stored["features"].astype(np.float64), stored["labels"]


# --- examples -------------------------------------------------------------------------------


@styled
def examples(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """Images in rows, radii in columns; the decision stands under each image."""
    grid = _Examples.of(spec, study, inputs)
    rows, columns = grid.images.shape[:2]
    cell = WIDTH / (columns + 0.2)
    figure = Figure((WIDTH, (rows * 1.22 + 0.28) * cell))
    axes = figure.add_axes((0, 0, 1, 1))
    line = 0.22
    for row in range(rows):
        top = row * (1 + line)
        for column in range(columns):
            picture(axes, grid.images[row, column], column, top)
            right = grid.predictions[row, column] == grid.labels[row]
            text = f"{'✓' if right else '✗'} {grid.classes[grid.predictions[row, column]]}"
            verdict_below(axes, column + 0.5, top + 1 + line / 2 - 0.06, text, right)
        axes.text(
            -0.04,
            top + 0.5,
            grid.classes[grid.labels[row]],
            rotation=90,
            ha="center",
            va="center",
            fontsize=8.5,
        )
    for column, epsilon in enumerate(grid.epsilons):
        label = "unperturbed" if column == 0 else f"ε = {radius_text(epsilon)}"
        axes.text(column + 0.5, -0.02, label, ha="center", va="bottom", fontsize=8.5)
    axes.set(xlim=(-0.18, columns + 0.02), ylim=(rows * (1 + line), -0.28), aspect="equal")
    axes.set_axis_off()
    return figure


def examples_caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> tuple[str, str]:
    grid = _Examples.of(spec, study, inputs)
    return (
        f"{len(grid.labels)} test images of split {grid.key[1]} under "
        f"{title_of(study, 'attacks', spec['attack'])} against "
        f"{title_of(study, 'models', spec['model'])}; from left to right grows the "
        f"{radius_label(inputs, spec['attack'])}. Under each image stands the decision, ✓ where "
        "it is the true class (named at the left) and ✗ where it is not. The first stored image "
        "of each class is shown: an illustration, not a sample from which a rate can be read.",
        f"n = {len(grid.labels)} images; 1 split",
    )


class _Examples:
    """The grid of an examples figure, picked from one stored file."""

    def __init__(self, key: tuple, stored: Any, spec: Spec, study: Study, inputs: AnalysisInputs):
        attack, labels = spec["attack"], stored["labels"]
        rows = one_of_each(labels, spec.get("rows", 6))
        epsilons = stored[f"{attack}/epsilons"]
        nonzero = np.flatnonzero((epsilons > 0) & ~np.isin(epsilons, check_radii(epsilons)))
        most = spec.get("columns", 6) - 1
        chosen = nonzero[np.unique(np.linspace(0, len(nonzero) - 1, most).round().astype(int))]
        clean, perturbed = stored["clean/images"][rows], stored[f"{attack}/images"][chosen][:, rows]
        images = np.concatenate([clean[:, None], perturbed.swapaxes(0, 1)], axis=1)
        self.key = key
        self.labels = labels[rows]
        self.classes = classes_of(study, inputs, key, labels)
        self.epsilons = np.concatenate([[0.0], epsilons[chosen]])
        self.images = for_matplotlib(images.astype(np.float32))
        first = stored["clean/predictions"][:, rows]
        later = stored[f"{attack}/predictions"][chosen][:, rows]
        self.predictions = np.concatenate([first, later]).T.astype(int)

    @classmethod
    def of(cls, spec: Spec, study: Study, inputs: AnalysisInputs) -> _Examples:
        for key, stored in _stored_examples(spec, spec["model"], inputs):
            return cls(key, stored, spec, study, inputs)
        raise nothing_to_draw(
            spec, f"no stored examples of {spec['attack']} against {spec['model']}"
        )


def _stored_examples(
    spec: Spec, model: str, inputs: AnalysisInputs
) -> Iterator[tuple[tuple, dict[str, np.ndarray]]]:
    """Keys and arrays of the files that hold the entry's attack on a model, split by split."""
    for key in sorted(inputs.examples):
        if key[2] == model and key[0] in spec.get("datasets", key[:1]):
            with np.load(inputs.examples[key]) as stored:
                if f"{spec['attack']}/images" in stored:
                    yield key, dict(stored)


# --- examples of several models ----------------------------------------------------------------


@styled
def compared_examples(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """Images in columns; a row of unperturbed ones, then one for each model's own attack."""
    grid = _Compared(spec, study, inputs)
    rows, columns = grid.images.shape[:2]
    label, line = 1.5, 0.24
    cell = WIDTH / (columns + label)
    figure = Figure((WIDTH, rows * (1 + line) * cell))
    axes = figure.add_axes((0, 0, 1, 1))
    for row in range(rows):
        top = row * (1 + line)
        name = "unperturbed" if row == 0 else title_of(study, "models", grid.models[row - 1])
        axes.text(label - 0.08, top + 0.5, wrapped(name), ha="right", va="center", fontsize=8.5)
        for column in range(columns):
            if np.isnan(grid.images[row, column]).any():
                continue  # a cap kept the attack from this image
            picture(axes, grid.images[row, column], label + column, top)
            if row:
                right = grid.predictions[row, column] == grid.labels[column]
                text = grid.classes[grid.predictions[row, column]]
                text = f"{'✓' if right else '✗'} {text}  {grid.lengths[row, column]:.2f}"
            else:
                right, text = True, grid.classes[grid.labels[column]]
            verdict_below(axes, label + column + 0.5, top + 1 + line / 2 - 0.04, text, right)
    axes.set(xlim=(0, columns + label), ylim=(rows * (1 + line), 0), aspect="equal")
    axes.set_axis_off()
    return figure


def compared_examples_caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> tuple[str, str]:
    grid = _Compared(spec, study, inputs)
    names = ", ".join(title_of(study, "models", model) for model in grid.models)
    return (
        f"{grid.images.shape[1]} test images of {title_of(study, 'datasets', grid.dataset)} (top), "
        f"and what {title_of(study, 'attacks', spec['attack'])} made of them against {names}. "
        "Under each stands the decision of that model, ✓ where it is the true class and ✗ where "
        f"it is not, and the length of the change ({grid.unit}). An image that its model got wrong "
        "unperturbed is not changed. The first stored image of each class is shown: an "
        "illustration, not a sample from which a rate can be read.",
        f"n = {grid.images.shape[1]} images; 1 split",
    )


class _Compared:
    """The grid of a figure of several models, picked from one stored file of each."""

    def __init__(self, spec: Spec, study: Study, inputs: AnalysisInputs):
        found = {}
        for model in spec["models"]:
            for key, stored in _stored_examples(spec, model, inputs):
                if not found or key[:2] == next(iter(found.values()))[0][:2]:
                    found[model] = key, stored
                    break
        if not found:
            raise nothing_to_draw(spec, f"no stored examples of {spec['attack']}")
        self.models = list(found)
        key, first = next(iter(found.values()))
        self.dataset, labels = key[0], first["labels"]
        columns = one_of_each(labels, spec.get("rows", 6))
        clean = first["clean/images"][columns].astype(np.float32)
        images, said = [clean], [first["clean/predictions"][0, columns]]
        for _, stored in found.values():
            epsilons = stored[f"{spec['attack']}/epsilons"]
            usual = np.flatnonzero(~np.isin(epsilons, check_radii(epsilons)))
            place = usual[epsilons[usual].argmax()]
            images.append(stored[f"{spec['attack']}/images"][place, columns].astype(np.float32))
            said.append(stored[f"{spec['attack']}/predictions"][place, columns])
        images = np.stack(images)
        change = (images - clean).reshape(*images.shape[:2], -1)
        norms = inputs.accuracy.loc[inputs.accuracy["attack"] == spec["attack"], "norm"]
        infinite = norms.iloc[0] == "linf"
        self.unit = "L∞" if infinite else "L2"
        self.lengths = np.abs(change).max(-1) if infinite else np.linalg.norm(change, axis=-1)
        self.images = for_matplotlib(images)
        self.predictions, self.labels = np.stack(said).astype(int), labels[columns]
        self.classes = classes_of(study, inputs, key, labels)


# --- reconstructions ---------------------------------------------------------------------------


@styled
def reconstructions(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """Pairs of rows, an image before and after its attack; columns are the classes' imitations."""
    key, stored = _explained(spec, inputs)
    attack = spec["attack"]
    labels = stored[f"{attack}/labels"]
    chosen = one_of_each(labels, spec.get("rows", 4))
    images = for_matplotlib(stored[f"{attack}/images"][:, chosen].astype(np.float32))
    made = for_matplotlib(stored[f"{attack}/reconstructions"][:, chosen].astype(np.float32))
    likely = stored[f"{attack}/log_likelihoods"][:, chosen]
    said = stored[f"{attack}/predictions"][:, chosen].astype(int)
    names = classes_of(study, inputs, key, labels)
    classes = made.shape[2]
    gap, line, between = 0.25, 0.24, 0.22
    cell = WIDTH / (classes + 1 + gap)
    height = len(chosen) * (2 * (1 + line) + between) + 0.3
    figure = Figure((WIDTH, height * cell))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.text(0.5, 0.18, "image", ha="center", va="center", fontsize=8)
    for k in range(classes):
        place = 1 + gap + k + 0.5
        axes.text(place, 0.18, short_name(names[k]), ha="center", va="center", fontsize=8)
    for place, label in enumerate(labels[chosen]):
        for side in range(2):
            top = 0.3 + place * (2 * (1 + line) + between) + side * (1 + line)
            picture(axes, images[side, place], 0, top)
            right = said[side, place] == label
            text = f"{'✓' if right else '✗'} {short_name(names[said[side, place]])}"
            verdict_below(axes, 0.5, top + 1 + line / 2 - 0.04, text, right)
            best = likely[side, place].argmax()
            for k in range(classes):
                picture(axes, made[side, place, k], 1 + gap + k, top, framed=k == best)
                axes.text(
                    1 + gap + k + 0.5,
                    top + 1 + line / 2 - 0.04,
                    f"{likely[side, place, k]:.1f}".replace("-", "−"),
                    ha="center",
                    va="center",
                    fontsize=7.5,
                    fontweight="bold" if k == best else "normal",
                )
    axes.set(xlim=(0, classes + 1 + gap), ylim=(height, 0), aspect="equal")
    axes.set_axis_off()
    return figure


def reconstructions_caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> tuple[str, str]:
    key, stored = _explained(spec, inputs)
    count = min(len(stored[f"{spec['attack']}/labels"]), spec.get("rows", 4))
    return (
        f"Why {title_of(study, 'models', spec['model'])} decides as it does: {count} test images "
        f"of {title_of(study, 'datasets', key[0])}, each before (upper row) and after "
        f"{title_of(study, 'attacks', spec['attack'])} (lower row). Columns: the best imitation "
        "that each class's generator found, and below it the log-likelihood, minus the squared "
        "error minus the prior's share; the frame marks the largest. Under the image stands the "
        "decision by majority of replays, ✓ where it is the true class; the search behind the "
        "columns is one more, which of a randomised model may end elsewhere. Illustrations, chosen "
        "by class.",
        f"n = {count} images; 1 split",
    )


def _explained(spec: Spec, inputs: AnalysisInputs) -> tuple[tuple, dict[str, np.ndarray]]:
    for key in sorted(inputs.explained):
        if key[2] == spec["model"] and key[0] in spec.get("datasets", key[:1]):
            with np.load(inputs.explained[key]) as stored:
                if f"{spec['attack']}/images" in stored:
                    return key, dict(stored)
    raise nothing_to_draw(spec, f"no reconstructions of {spec['model']} under {spec['attack']}")
