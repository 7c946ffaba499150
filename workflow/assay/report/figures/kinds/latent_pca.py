"""Latent features of a model in two dimensions."""

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
    nothing_to_draw,
    split_words,
    styled,
)
from assay.report.needs import Measured, Need
from assay.report.spec import FigureSpec, Model
from assay.report.style import series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Spec(FigureSpec):
    """Two principal components of the latent features of the first split; the model must be among
    the study's ``measurements.features``.
    """

    model: Model


def needs(spec: Spec) -> list[Need]:
    """What the study must store."""
    return [Measured("features", (spec.model,), "model")]


POINTS_SHOWN = 3000  # in a scatter plot; more only hide each other


@styled
def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """The first two principal components of a model's latent features, by class."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
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
    for index, series_style in enumerate(series_styles(classes).values()):
        here = places[shown[labels[shown] == index]]
        axes.plot(
            *here.T,
            series_style.marker,
            color=series_style.colour,
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
        Line2D(
            [],
            [],
            ls="",
            marker=series_style.marker,
            color=series_style.colour,
            label=name,
            markersize=5,
        )
        for name, series_style in series_styles(classes).items()
    ]
    figure.legend(handles=handles, loc="outside right upper")
    return figure


def caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> Caption:
    key, features, labels = _features(spec, inputs)
    shown = min(len(labels), POINTS_SHOWN)
    sample = f"; {shown:,} of {len(labels):,} points are drawn" if shown < len(labels) else ""
    return Caption(
        f"First two principal components of the {features.shape[1]}-dimensional latent features "
        f"of {title_of(study, 'models', spec.model)} on {len(labels):,} test images of "
        f"{title_of(study, 'datasets', key[0])}, {split_words(study, key[1])}{sample}. "
        "Components are fitted to these images. Distances in two components are not distances in "
        "the latent space: classes that overlap here may still be separable.",
        f"n = {len(labels):,} test images; 1 split",
        [key[0]],
        [key[2]],
    )


def _features(spec: Spec, inputs: AnalysisInputs) -> tuple[tuple, np.ndarray, np.ndarray]:
    keys = sorted(key for key in inputs.networks("features") if key[2] == spec.model)
    if not keys:
        raise nothing_to_draw(spec, f"there are no latent features of {spec.model}")
    stored = inputs.arrays("features", keys[0])
    return keys[0], stored["features"].astype(np.float64), stored["labels"]


def alt(spec: Spec, study: Study) -> str:
    return (
        "Scatter plot of the first two principal components of the latent features of "
        f"{title_of(study, 'models', spec.model)}, one colour and marker per class."
    )
