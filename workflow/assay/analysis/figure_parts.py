"""What figures are put together from: style, pictures, names."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.style import style
from assay.foundation.errors import ConfigError

WIDTH = 7.4  # inches: the text width of the page, so that 8 pt are read as 8 pt or more

RADIUS_LABELS = {
    "linf": "L∞ radius ε (pixel values in [0, 1])",
    "l2": "L2 radius ε (Euclidean; pixel values in [0, 1])",
    "l0": "pixels changed",
    "severity": "severity",
    "none": "ε",
}

Study = dict[str, Any]
Spec = dict[str, Any]


def styled(function: Callable[..., Figure]) -> Callable[..., Figure]:
    @wraps(function)
    def inside(*arguments: Any) -> Figure:
        with style():
            return function(*arguments)

    return inside


def nothing_to_draw(spec: Spec, what: str) -> ConfigError:
    return ConfigError(
        what,
        where=f"figure '{spec.get('title', spec.get('kind'))}' of the study",
        remedy="name something that the study's grid runs",
    )


def plural(count: object, noun: str) -> str:
    return f"{count} {noun}" if str(count) == "1" else f"{count} {noun}s"


def span(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def classes_of(study: Study, inputs: AnalysisInputs, key: tuple, labels: np.ndarray) -> list[str]:
    facts = inputs.facts.get(key[:3], {})
    entry = study.get("datasets", {}).get(key[0], {})
    for names in (facts.get("classes"), entry.get("classes")):
        if isinstance(names, list):
            return names
    return [f"class {i}" for i in range(int(labels.max()) + 1)]


def for_matplotlib(images: np.ndarray) -> np.ndarray:
    """(..., C, H, W) as matplotlib takes them: (..., H, W) grey or (..., H, W, 3)."""
    return images[..., 0, :, :] if images.shape[-3] == 1 else np.moveaxis(images, -3, -1)


def picture(
    axes: Axes, image: np.ndarray, left: float, top: float, *, framed: bool = False
) -> None:
    """An image in the unit square at (left, top), with a margin and maybe a frame."""
    pad = 0.05
    box = left + pad, left + 1 - pad, top + 1 - pad, top + pad
    axes.imshow(image.clip(0, 1), cmap="gray", vmin=0, vmax=1, extent=box)
    if framed:
        corners = [box[0], box[1], box[1], box[0], box[0]], [box[2], box[2], box[3], box[3], box[2]]
        axes.plot(*corners, color="#d55e00", lw=1.6, solid_joinstyle="miter")


def verdict_below(axes: Axes, x: float, y: float, text: str, right: bool) -> None:
    """A decision below its image, told by sign, weight and colour."""
    axes.text(
        x, y, text, ha="center", va="center", fontsize=7.5,
        color="#006b4f" if right else "#b34700", fontweight="normal" if right else "bold",
    )  # fmt: skip


def wrapped(text: str, width: int = 16) -> str:
    return "\n".join(textwrap.wrap(text, width, break_long_words=False))


def short_name(name: str, width: int = 9) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"


def one_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` images: the first of each class, then the second of each, and so on."""
    turn = pd.Series(labels).groupby(labels).cumcount().to_numpy()
    return np.lexsort((labels, turn))[:count]


def check_radii(epsilons: Iterable[float]) -> list[float]:
    """Radii far beyond the others: run to check that the attack reaches chance, not to be drawn."""
    values = sorted(set(epsilons))
    if len(values) > 3 and values[-1] > 2.5 * values[-2]:
        return values[-1:]
    return []


def radius_label(inputs: AnalysisInputs, attack: str) -> str:
    norms = inputs.accuracy.loc[inputs.accuracy["attack"] == attack, "norm"]
    return RADIUS_LABELS.get(norms.iloc[0], "radius") if len(norms) else "radius"
