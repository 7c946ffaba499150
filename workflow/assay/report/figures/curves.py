"""What curves of accuracy share: rows that start at radius 0 on their own images, radius axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from assay.analysis.intervals import wilson
from assay.report.figures.parts import RADIUS_LABELS, WIDTH
from assay.report.style import SeriesStyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Times the smallest radius: from there on an axis is logarithmic.
WIDE = 20


def with_start(rows: pd.DataFrame) -> pd.DataFrame:
    """Curves of one attack that begin at radius 0 with the clean accuracy of their own images.

    Args:
        rows: rows of the accuracy table, of one data set, split scheme and attack, of any models.

    Returns:
        The rows by model and radius. All points of a curve stand on one set of images: of rows of a
        model that differ in suite, number of images or clean accuracy those stay that cover most
        radii, and among equals those with most images. Where the table knows the clean accuracy of
        a row's own images (column ``clean``) a row of radius 0 with its Wilson interval comes
        first; elsewhere the curve begins at its first radius.
    """
    rows = rows[rows["epsilon"] > 0]
    images = ["model", "suite", "n", "samples"]
    if "clean" in rows:
        rows = rows.assign(_clean=rows["clean"].round(9))
        images.append("_clean")
    counts = rows.groupby(images, sort=False, observed=True, dropna=False).epsilon.nunique()
    best = counts.rename("_radii").reset_index().sort_values(["_radii", "n"], kind="stable")
    rows = rows.merge(best.drop_duplicates("model", keep="last")[images], on=images)
    rows = rows.drop(columns="_clean", errors="ignore").drop_duplicates(["model", "epsilon"])
    if "clean" in rows:
        start = rows.sort_values("epsilon").drop_duplicates("model")
        start = start[start["clean"].notna()]
        low, high = wilson(start["clean"] * start["samples"], start["samples"])
        start = start.assign(epsilon=0.0, pooled=start["clean"], low=low, high=high)
        rows = pd.concat([start, rows])
    return rows.sort_values(["model", "epsilon"], kind="stable", ignore_index=True)


def norm_of(rows: pd.DataFrame) -> str:
    return str(rows["norm"].iloc[0])


def far_apart(radii: np.ndarray) -> bool:
    """Whether radii span more than :data:`WIDE` times the smallest of them."""
    radii = radii[radii > 0]
    return len(radii) > 0 and radii.max() > WIDE * radii.min()


def radius_axes(
    grid: Sequence[Axes],
    tables: Sequence[pd.DataFrame],
    room: float,
    label: Callable[[float], str],
) -> None:
    """Labels, ticks and limits of radius axes; panels of one norm share scale and limits.

    The scale is linear, and symmetric-logarithmic where radii span more than :data:`WIDE` times
    the smallest: linear up to that one, so that the unperturbed images have a place.

    Args:
        grid: the panels.
        tables: the rows that each of them draws.
        room: the least distance of two tick labels, as a share of the axis.
        label: the text of a radius.
    """
    for norm in dict.fromkeys(map(norm_of, tables)):
        mine = [(a, t) for a, t in zip(grid, tables, strict=True) if norm_of(t) == norm]
        radii = np.unique(np.concatenate([table["epsilon"].to_numpy(float) for _, table in mine]))
        least = radii[radii > 0].min() if (radii > 0).any() else 1.0
        wide = far_apart(radii)
        for axes, table in mine:
            axes.set_xlabel(RADIUS_LABELS.get(norm, norm))
            if wide:
                axes.set_xscale("symlog", linthresh=least)
                axes.set_xlim(-0.2 * least, 1.25 * radii[-1])
            else:
                axes.set_xlim(-0.04 * radii[-1], 1.04 * radii[-1])
            _ticks(axes, np.unique(table["epsilon"]), least if wide else None, room, label)


def _ticks(
    axes: Axes,
    radii: np.ndarray,
    least: float | None,
    room: float,
    label: Callable[[float], str],
) -> None:
    """A tick at each radius, but a label only where there is room for it."""
    place = radii
    if least is not None:
        with np.errstate(divide="ignore"):
            place = np.where(radii > least, 1 + np.log10(radii / least), radii / least)
    extent = max(np.ptp(axes.get_xlim()) if least is None else np.ptp(place), 1e-12)
    # From the largest down: the last radius of an axis is the one that must be readable.
    kept = [len(radii) - 1]
    for number in range(len(radii) - 2, -1, -1):
        gap = place[kept[-1]] - place[number]
        if gap > room * extent and (number == 0 or place[number] - place[0] > room * extent):
            kept.append(number)
    axes.set_xticks(radii, [""] * len(radii), minor=True)
    axes.set_xticks(radii[kept], [label(radius) for radius in radii[kept]])


def accuracy_panels(count: int) -> tuple[Figure, list[Axes], int]:
    """A figure of panels with one axis of accuracies.

    Args:
        count: panels, at least one; three stand in one row.

    Returns:
        The figure, its `count` axes and the number of columns.
    """
    from matplotlib.figure import Figure

    columns = 3 if count == 3 else min(2, count)
    rows = -(-count // columns)
    width = WIDTH if columns > 1 else WIDTH * 0.86
    figure = Figure((width, 0.55 + (3.0 if columns < 3 else 2.6) * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes in grid[:count]:
        axes.set_ylim(-0.02, 1.02)
    for axes in grid[::columns]:
        axes.set_ylabel("accuracy")
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, list(grid[:count]), columns


def accuracy_line(
    axes: Axes, x: pd.Series, rows: pd.DataFrame, style: SeriesStyle, label: str | None = None
) -> None:
    """A line of pooled accuracies over `x`, in the band from ``low`` to ``high``."""
    band = rows[["low", "high"]].to_numpy(float).T
    axes.fill_between(x, *band, color=style.colour, alpha=0.16, lw=0)
    axes.plot(
        x, rows["pooled"], color=style.colour, marker=style.marker, markeredgecolor="white",
        label=label,
    )  # fmt: skip
