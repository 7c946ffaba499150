"""What figures are put together from: style, pictures, names, counts."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from assay.analysis.brief import StudyBrief
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.titles import attack_title, radius_text, title_of
from assay.foundation.errors import ConfigError
from assay.foundation.split import Split
from assay.report.spec import FigureSpec, HasModels, HasRadii
from assay.report.style import style
from assay.report.text import listed, plural, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.4  # inches: the text width of the page, so that 8 pt are read as 8 pt or more
LARGEST_CELL = 1.4  # inches: small images gain nothing from more
TALLEST = 12.0  # inches: more than a printed page cannot be read as one picture

RADIUS_LABELS = {
    "linf": "L∞ radius ε (pixel values in [0, 1])",
    "l2": "L2 radius ε (Euclidean; pixel values in [0, 1])",
    "l0": "pixels changed",
    "severity": "severity",
    "none": "ε",
}

Study = StudyBrief


@dataclass(frozen=True)
class Caption:
    """What is said below a figure, computed from what it shows.

    Attributes:
        text: what is shown and how to read it.
        counts: how many images, splits and so on stand behind it.
        datasets: ids of the data sets shown.
        models: ids of the models shown.
    """

    text: str
    counts: str
    datasets: Sequence[str] = ()
    models: Sequence[str] = ()


def styled(function: Callable[..., Figure]) -> Callable[..., Figure]:
    @wraps(function)
    def inside(*arguments: Any) -> Figure:
        with style():
            return function(*arguments)

    return inside


def nothing_to_draw(spec: FigureSpec, what: str) -> ConfigError:
    return ConfigError(
        what,
        where=f"figure '{spec.title or spec.kind}' of the study",
        remedy="name data sets, models and attacks that the study's grid runs",
    )


# --- words and counts -------------------------------------------------------------------------


def names_of(study: Study, kind: str, ids: Iterable[Any]) -> str:
    """Titles of some ids, or of attack sets, as a list in a sentence."""
    if kind == "attacks":
        return listed([attack_title(study, name) for name in ids])
    return listed([title_of(study, kind, name) for name in ids])


def scheme_title(study: Study, scheme: str) -> str:
    """The title of a split scheme without its number of splits, of which a scale may run fewer.

    Example:
        >>> titles = {"splits": {"r": "10 random splits by image"}}
        >>> scheme_title(StudyBrief(titles=titles), "r")
        'random splits by image'
    """
    return re.sub(r"^\d+ ", "", title_of(study, "splits", scheme))


def tested(rows: pd.DataFrame) -> str:
    """How many test images and splits stand behind each point of some accuracy rows."""
    n, splits = rows["n"].astype(int), rows["splits"].astype(int)
    return f"n = {span(n)} test images per point; {plural(span(splits), 'split')}"


def images_in_words(labels: Sequence[int] | np.ndarray, classes: int) -> str:
    """How many test images of how many classes a figure shows.

    Example:
        >>> images_in_words([0, 1, 2], 3)
        '3 test images, one of each of the 3 classes'
        >>> images_in_words([0, 1], 3)
        '2 test images, of 2 of the 3 classes'
        >>> images_in_words([0, 0, 1, 1], 2)
        '4 test images, 2 of each of the 2 classes'
    """
    _, each = np.unique(np.asarray(labels), return_counts=True)
    images = plural(len(labels), "test image")
    if len(each) == classes and each.min() == each.max():
        count = "one" if each[0] == 1 else str(each[0])
        return f"{images}, {count} of each of the {classes} classes"
    if len(each) == classes:
        return f"{images}, of all {classes} classes"
    return f"{images}, of {len(each)} of the {classes} classes"


def image_counts(count: int, splits: int = 1) -> str:
    return f"n = {plural(count, 'image')}; {plural(splits, 'split')}"


def verdicts_in_words(verdicts: pd.Series) -> str:
    """How many rows of a ledger have which verdict.

    Example:
        >>> verdicts_in_words(pd.Series(["differs", "reproduced", "differs"]))
        '2 differ and 1 reproduced'
    """
    counts = verdicts.value_counts()
    words = {"differs": "differ"}
    return listed([f"{n} {words.get(v, v) if n > 1 else v}" for v, n in counts.items()])


def split_words(study: Study, split: str) -> str:
    """A split in words.

    Example:
        >>> titles = {"splits": {"kfold": "Cross-validation"}}
        >>> split_words(StudyBrief(titles=titles), "kfold_0")
        'split 0 of “Cross-validation”'
    """
    scheme, index = Split.of(split)
    return f"split {index} of “{scheme_title(study, scheme)}”"


def places_in_words(places: set[tuple[str, str]], study: Study) -> Callable[[str, str], list[str]]:
    """A function that names a data set and a split scheme, as far as there are several."""
    datasets = {dataset for dataset, _ in places}

    def words(dataset: str, scheme: str) -> list[str]:
        named = [title_of(study, "datasets", dataset)] if len(datasets) > 1 else []
        split = scheme_title(study, scheme)
        return [*named, split] if len(places) > len(datasets) else named

    return words


def models_to_draw(spec: HasModels, study: Study, inputs: AnalysisInputs) -> list[str]:
    """The models to draw, in the study's order, as far as they have outcomes."""
    known = dict.fromkeys(inputs.accuracy["model"])
    wanted = spec.models or study.headline.models or known
    return [model for model in wanted if model in known]


def compared_places(rows: pd.DataFrame, study: Study) -> list[tuple[str, str]]:
    """For each data set the split scheme on which a figure of several models compares them.

    Networks of one data set differ by how it was split, so a figure keeps to one scheme: that on
    which most of the models exist; among equals the one that the study compares with print
    (``reported.splits``); then the first in the table.

    Args:
        rows: with the columns dataset, scheme and model, of the models to draw.
        study: the study as the plan gives it.
    """
    wanted = study.reported.splits
    counts = rows.groupby(["dataset", "scheme"], sort=False, observed=True)["model"].nunique()
    best: dict[str, tuple] = {}
    for (dataset, scheme), models in counts.items():
        rank = models, scheme == wanted
        if dataset not in best or rank > best[dataset][0]:
            best[dataset] = rank, scheme
    return [(dataset, scheme) for dataset, (_, scheme) in best.items()]


def at_places(rows: pd.DataFrame, places: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """The rows of some data sets and split schemes."""
    wanted = set(places)
    return rows[[key in wanted for key in zip(rows["dataset"], rows["scheme"], strict=True)]]


def other_splits_in_words(
    rows: pd.DataFrame, places: Sequence[tuple[str, str]], study: Study
) -> str:
    """A sentence on the split scheme of a figure, where its data sets were split in others too."""
    here = rows[rows["dataset"].isin([dataset for dataset, _ in places])]
    drawn = dict.fromkeys(scheme for _, scheme in places)
    others = [scheme for scheme in dict.fromkeys(here["scheme"]) if scheme not in drawn]
    if not others:
        return ""
    return (
        f" Split: {listed([scheme_title(study, name) for name in drawn])}. Also run, but not "
        f"shown: {listed([scheme_title(study, name) for name in others])}."
    )


def excluded_in_words(spec: FigureSpec) -> str:
    """A sentence on the models of the entry that the scale leaves out; empty if there are none."""
    titles = spec.excluded_models
    return f" Excluded at this scale: {listed(titles)}." if titles else ""


def short_name(name: str, width: int = 9) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"


def wrapped(text: str, width: int = 16) -> str:
    return "\n".join(textwrap.wrap(text, width, break_long_words=False))


# --- radii ------------------------------------------------------------------------------------


def radius_label(inputs: AnalysisInputs, attack: str) -> str:
    norms = inputs.accuracy.loc[inputs.accuracy["attack"] == attack, "norm"]
    return RADIUS_LABELS.get(norms.iloc[0], "radius") if len(norms) else "radius"


def drawn_radii(epsilons: Iterable[float], spec: HasRadii) -> np.ndarray:
    """Which radii the entry draws: those of its key ``radii``, and all where it has none; a mask.

    The unperturbed image, radius 0, is no radius of an attack and always stays.
    """
    epsilons = np.asarray(list(epsilons), dtype=float)
    if not spec.radii:
        return np.ones(len(epsilons), dtype=bool)
    return np.isin(epsilons, [0.0, *spec.radii])


def undrawn_in_words(run: Iterable[float], drawn: Iterable[float], study: Study) -> str:
    """A sentence on radii that were run and are not drawn; empty if there are none."""
    rest = sorted(set(run) - {0.0, *drawn})
    if not rest:
        return ""
    return f" Also run, but not shown: ε = {listed([radius_text(e, study) for e in rest])}."


# --- images -----------------------------------------------------------------------------------


def classes_of(study: Study, inputs: AnalysisInputs, key: tuple, labels: np.ndarray) -> list[str]:
    facts = inputs.facts.get(key[:3], {})
    entry = study.datasets.get(key[0], {})
    for names in (facts.get("classes"), entry.get("classes")):
        if isinstance(names, list):
            return names
    return [f"class {i}" for i in range(int(labels.max()) + 1)]


def one_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` images: the first of each class, then the second of each, and so on."""
    turn = pd.Series(labels).groupby(labels).cumcount().to_numpy()
    return np.lexsort((labels, turn))[:count]


def for_matplotlib(images: np.ndarray) -> np.ndarray:
    """(..., C, H, W) as matplotlib takes them: (..., H, W) grey or (..., H, W, 3)."""
    return images[..., 0, :, :] if images.shape[-3] == 1 else np.moveaxis(images, -3, -1)


def grid_figure(columns: float, rows: float) -> tuple[Figure, Axes]:
    """A figure of square cells and axes that fill it, as wide as the page and no taller than one.

    Args:
        columns: its width in cells.
        rows: its height in cells.
    """
    from matplotlib.figure import Figure

    cell = min(WIDTH / columns, TALLEST / rows, LARGEST_CELL)
    figure = Figure((columns * cell, rows * cell))
    return figure, figure.add_axes((0, 0, 1, 1))


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


def prediction_below(axes: Axes, x: float, y: float, text: str, right: bool) -> None:
    """A prediction below its image: right or wrong by sign, weight and colour."""
    axes.text(
        x, y, text, ha="center", va="center", fontsize=7.5,
        color="#006b4f" if right else "#b34700", fontweight="normal" if right else "bold",
    )  # fmt: skip


def row_label(axes: Axes, x: float, y: float, text: str, size: float = 8) -> None:
    """A rotated label beside a row of pictures, centred at (x, y)."""
    axes.text(x, y, text, rotation=90, ha="center", va="center", fontsize=size, linespacing=1.1)
