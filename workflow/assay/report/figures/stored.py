"""Stored pictures of single images: which are shown, and at which radius."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from assay.analysis.inputs import AnalysisInputs
from assay.report.figures.parts import drawn_radii
from assay.report.spec import HasRadii

Arrays = Mapping[str, np.ndarray]


class HasAttack(Protocol):
    """An entry that shows one attack, on some data sets."""

    @property
    def attack(self) -> str: ...

    @property
    def datasets(self) -> list[str]: ...


class ShowsRadii(HasAttack, HasRadii, Protocol):
    """An entry that shows one attack at some of its radii."""


def stored_examples(
    spec: HasAttack, model: str, inputs: AnalysisInputs
) -> Iterator[tuple[tuple, dict[str, np.ndarray]]]:
    """Keys and arrays of the files that hold the entry's attack on a model, split by split."""
    for key in sorted(inputs.examples):
        if key[2] == model and key[0] in (spec.datasets or key[:1]):
            with np.load(inputs.examples[key]) as stored:
                if f"{spec.attack}/images" in stored:
                    yield key, dict(stored)


def attacked(stored: Arrays, attack: str) -> np.ndarray:
    """(M,) whether the attack saw each stored image: a cap keeps an attack from some."""
    return np.all(stored[f"{attack}/predictions"] >= 0, axis=0)


def radii_shown(stored: Arrays, spec: ShowsRadii) -> np.ndarray:
    """Places of the entry's radii among those of the stored pictures, ascending, without 0."""
    epsilons = stored[f"{spec.attack}/epsilons"]
    places = np.flatnonzero((epsilons > 0) & drawn_radii(epsilons, spec))
    return places[np.argsort(epsilons[places])]


def closest(stored: Arrays, spec: HasAttack, places: np.ndarray) -> np.ndarray:
    """(M,) for each image the smallest of these radii that misclassifies it, else the largest.

    Args:
        stored: the arrays of a file of example images.
        spec: the figure's entry.
        places: of radii, ascending (:func:`radii_shown`).
    """
    wrong = stored[f"{spec.attack}/predictions"][places] != stored["labels"]
    return places[np.where(wrong.any(axis=0), wrong.argmax(axis=0), len(places) - 1)]
