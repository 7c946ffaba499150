"""Pictures of what each class makes of an image, by a model that searches a code for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from assay.analysis.inputs import AnalysisInputs
from assay.report.figures.parts import (
    Study,
    classes_of,
    for_matplotlib,
    nothing_to_draw,
    picture,
    prediction_below,
    short_name,
)
from assay.report.spec import FigureSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Between the image and the classes, and the height of the words below a picture.
GAP, LINE = 0.25, 0.24
MEASUREMENT = "reconstructions"


@dataclass(frozen=True)
class Explained:
    """Images of the measurement ``reconstructions`` of one network, unperturbed and attacked.

    Attributes:
        key: data set, split and model.
        images: (2, n, H, W) or (2, n, H, W, 3) as matplotlib takes them.
        made: (2, n, K, H, W) or with 3 channels: what each class makes of them.
        likely: (2, n, K) how likely each class is there.
        predictions: (2, n) decisions.
        labels: (n,) classes.
        epsilons: (n,) radius of the attack at which an image is shown.
        classes: names of the K classes.
    """

    key: tuple
    images: np.ndarray
    made: np.ndarray
    likely: np.ndarray
    predictions: np.ndarray
    labels: np.ndarray
    epsilons: np.ndarray
    classes: Sequence[str]

    @classmethod
    def of(
        cls, spec: FigureSpec, model: str, attack: str, study: Study, inputs: AnalysisInputs
    ) -> Explained:
        """Those of a model under an attack, on the first data set that the entry shows.

        Raises:
            ConfigError: there are none.
        """
        datasets = getattr(spec, "datasets", None)
        for key in sorted(inputs.networks(MEASUREMENT)):
            if key[2] == model and key[0] in (datasets or key[:1]):
                stored = inputs.arrays(MEASUREMENT, key)
                if f"{attack}/images" in stored:
                    return cls._of(key, stored, attack, study, inputs)
        raise nothing_to_draw(spec, f"there are no {MEASUREMENT} of {model} under {attack}")

    @classmethod
    def _of(
        cls, key: tuple, stored: dict, attack: str, study: Study, inputs: AnalysisInputs
    ) -> Explained:
        labels = stored[f"{attack}/labels"]
        return cls(
            key=key,
            images=for_matplotlib(stored[f"{attack}/images"].astype(np.float32)),
            made=for_matplotlib(stored[f"{attack}/reconstructions"].astype(np.float32)),
            likely=stored[f"{attack}/log_likelihoods"],
            predictions=stored[f"{attack}/predictions"].astype(int),
            labels=labels,
            epsilons=stored[f"{attack}/epsilons"],
            classes=classes_of(study, inputs, key, labels),
        )

    def at(self, chosen: Sequence[int] | np.ndarray) -> Explained:
        """Some of the images, in this order."""
        return replace(
            self,
            **{
                name: getattr(self, name)[:, chosen]
                for name in ("images", "made", "likely", "predictions")
            },
            labels=self.labels[chosen],
            epsilons=self.epsilons[chosen],
        )


def columns_in_words(grid: Explained, study: Study) -> str:
    """What stands in the columns of the classes: a wrapper changes the image, a generator none."""
    if grid.key[2] in study.bases:
        return (
            "the changed image to which the search of each class leads, and below it the natural "
            "logarithm of the probability of that class there."
        )
    return (
        "the best reconstruction by the generator of each class, and below it the log-likelihood "
        "(minus the squared error minus the prior term)."
    )


def explained_row(axes: Axes, grid: Explained, place: int, side: int, top: float) -> None:
    """An image with its prediction, then what each class makes of it.

    Args:
        axes: where it is drawn.
        grid: what is known of the images.
        place: which of its images.
        side: 0 unperturbed, 1 attacked.
        top: the row's upper edge.
    """
    picture(axes, grid.images[side, place], 0, top)
    predicted = grid.predictions[side, place]
    right = predicted == grid.labels[place]
    text = f"{'✓' if right else '✗'} {short_name(grid.classes[predicted])}"
    prediction_below(axes, 0.5, top + 1 + LINE / 2 - 0.04, text, right)
    best = grid.likely[side, place].argmax()
    for k in range(grid.made.shape[2]):
        picture(axes, grid.made[side, place, k], 1 + GAP + k, top, framed=k == best)
        axes.text(
            1 + GAP + k + 0.5,
            top + 1 + LINE / 2 - 0.04,
            _number(grid.likely[side, place, k]),
            ha="center",
            va="center",
            fontsize=7.5,
            fontweight="bold" if k == best else "normal",
        )


def _number(value: float) -> str:
    """A log-likelihood; one near 0, as of a probability near 1, with two digits."""
    return f"{value:{'.2f' if abs(value) < 1 else '.1f'}}".replace("-", "−")
