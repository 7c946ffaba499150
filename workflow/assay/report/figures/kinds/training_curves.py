"""Losses and accuracy over epochs, beside the paper's own curves."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.printed import id_of
from assay.analysis.titles import title_of
from assay.foundation.keys import ABSENT
from assay.foundation.split import Split
from assay.report.figures.parts import (
    WIDTH,
    Caption,
    Study,
    excluded_in_words,
    names_of,
    nothing_to_draw,
    places_in_words,
    styled,
)
from assay.report.figures.reported import compared, in_file
from assay.report.spec import Drawn, FigureSpec, Reported
from assay.report.style import GREY, SeriesStyle
from assay.report.text import plural, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


@dataclass(frozen=True, kw_only=True)
class Spec(FigureSpec):
    """Loss terms and accuracy over epochs, one line per split."""

    models: Drawn
    reported: Reported = ABSENT


PART_TITLES = {
    "loss": "Loss",
    "reconstruction": "Reconstruction",
    "kl": "KL divergence",
    "classification": "Classification",
    "accuracy": "Accuracy",
}
# Inches: a row of panels, the title of a block, the legend.
PANEL, TITLE, LEGEND = 1.95, 0.3, 0.35
COLUMNS = 3
SIDES = {
    "train": (SeriesStyle("#0072b2", "o"), "-", "training"),
    "val": (SeriesStyle("#d55e00", "s"), "--", "validation"),
}


@styled
def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """Losses by part and accuracy over epochs; splits thin, their mean thick, the paper's grey.

    Each network of each data set and split scheme has its own block of panels, with its title above
    where there are several.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    trainings = {
        unit: histories
        for unit, histories in _trainings(spec.models, inputs).items()
        if _history_parts(histories)
    }
    if not trainings:
        raise nothing_to_draw(spec, f"there is no training history of {', '.join(spec.models)}")
    reported = _reported_curves(spec, study, inputs)
    where = places_in_words({(dataset, scheme) for dataset, scheme, _ in trainings}, study)
    several = len({model for *_, model in trainings}) > 1
    heights = [
        (TITLE if len(trainings) > 1 else 0) + PANEL * -(-len(_history_parts(histories)) // COLUMNS)
        for histories in trainings.values()
    ]
    figure = Figure((WIDTH, LEGEND + sum(heights)), layout="constrained")
    figure.get_layout_engine().set(wspace=0.08)
    blocks = figure.subfigures(len(trainings), 1, height_ratios=heights, squeeze=False).ravel()
    printed = False
    for block, ((*place, model), histories) in zip(blocks, trainings.items(), strict=True):
        names = [*where(*place), *([title_of(study, "models", model)] if several else [])]
        if names:
            block.suptitle(textwrap.fill(", ".join(names), 90), fontsize="medium")
        known = {
            column: curve
            for (name, column), curve in reported.items()
            if name == model and compared(study, place[1])
        }
        printed |= _block(block, histories, known)
    handles = [
        Line2D([], [], ls=line, color=series_style.colour, lw=1.8, label=name)
        for series_style, line, name in SIDES.values()
    ]
    if printed:
        handles += [
            Line2D(
                [], [], ls=":", color=GREY, marker=series_style.marker, markersize=3.5, lw=1.1,
                markerfacecolor="white", label=f"{name}, as printed",
            )
            for series_style, _, name in SIDES.values()
        ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure


def _block(block: SubFigure, histories: list[pd.DataFrame], known: dict[str, pd.Series]) -> bool:
    """Draws one network's panels; says whether any has a printed curve."""
    from matplotlib.ticker import MaxNLocator

    parts = _history_parts(histories)
    columns = min(COLUMNS, len(parts))
    grid = block.subplots(-(-len(parts) // columns), columns, squeeze=False).ravel()
    printed = False
    for axes, part in zip(grid, parts, strict=False):
        for side in SIDES:
            column = f"{side}_{part}"
            printed |= column in known
            _curves(axes, side, column, histories, known.get(column))
        axes.set_title(PART_TITLES.get(part, part.replace("_", " ").capitalize()))
        axes.set_xlabel("epoch")
        axes.set_ylabel("accuracy" if part == "accuracy" else "nats per image")
        left, right = axes.get_xlim()
        axes.set_xlim(min(left, -0.5 + axes.dataLim.x0), max(right, 0.5 + axes.dataLim.x1))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    for axes in grid[len(parts) :]:
        axes.set_axis_off()
    return printed


def _curves(
    axes: Axes, side: str, column: str, histories: list[pd.DataFrame], known: pd.Series | None
) -> None:
    series_style, line, _ = SIDES[side]
    curves = pd.concat([h.set_index("epoch")[column] for h in histories if column in h], axis=1)
    axes.plot(curves.index, curves, line, color=series_style.colour, lw=0.6, alpha=0.45)
    # A single epoch is a point, which a line alone would not show.
    mark = series_style.marker if len(curves) == 1 else ""
    axes.plot(
        curves.index, curves.mean(axis=1), line, color=series_style.colour, lw=1.8, marker=mark
    )
    if known is not None:
        axes.plot(
            known.index + curves.index.min(),
            known,
            ":",
            color=GREY,
            lw=1.1,
            marker=series_style.marker,
            markersize=3.5,
            markerfacecolor="white",
        )


def caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> Caption:
    trainings = _trainings(spec.models, inputs)
    models = list(dict.fromkeys(model for *_, model in trainings))
    text = (
        f"Training (solid) and validation (dashed) curves of {names_of(study, 'models', models)}: "
        "the loss and its parts in nats per image, and the accuracy. Thin lines are single "
        "splits, the thick line is their mean."
    )
    printed = {model for model, _ in _reported_curves(spec, study, inputs)}
    if any(name in printed and compared(study, scheme) for _, scheme, name in trainings):
        batches = in_file(inputs.reported, spec)["batch"].dropna().unique()
        text += " Grey dots: the digitised curve of the paper"
        text += f", its sums over a batch divided by {batches[0]}." if len(batches) else "."
    facts = [f for (_, _, name), f in inputs.facts.items() if name in models]
    sizes = [
        f"n = {span(pd.Series([f[key] for f in facts]))} {words} images per split"
        for key, words in (("train_n", "training"), ("val_n", "validation"))
        if facts and all(key in f for f in facts)
    ]
    splits = pd.Series([len(histories) for histories in trainings.values()])
    return Caption(
        f"{text} The curves describe the training, not the robustness of the model."
        f"{excluded_in_words(spec)}",
        "; ".join([*sizes, plural(span(splits), "split")]),
        list(dict.fromkeys(dataset for dataset, *_ in trainings)),
        models,
    )


def _trainings(
    models: Iterable[str], inputs: AnalysisInputs
) -> dict[tuple[str, str, str], list[pd.DataFrame]]:
    """Histories of all splits by (data set, split scheme, model), model by model."""
    found: dict[tuple[str, str, str], list[pd.DataFrame]] = {}
    for model in models:
        for (dataset, split, name), history in sorted(inputs.history.items()):
            if name == model:
                key = dataset, Split.of(split).scheme, model
                found.setdefault(key, []).append(history)
    return found


def _history_parts(histories: list[pd.DataFrame]) -> list[str]:
    """The measured quantities in reading order: the loss, its parts, the accuracy."""
    if not histories:
        return []
    names = [c.removeprefix("train_") for c in histories[0] if c.startswith("train_")]
    inner = [name for name in names if name not in ("loss", "accuracy", "total")]
    return [name for name in ("loss", *inner, "accuracy") if name in names]


def _reported_curves(
    spec: Spec, study: Study, inputs: AnalysisInputs
) -> dict[tuple[str | None, str], pd.Series]:
    """Printed curves by (model, column), each over epochs counted from zero."""
    rows = in_file(inputs.reported, spec)
    rows = rows[rows["epoch"].notna()].astype({"epoch": int})
    rows = rows.assign(value=rows["value"] / rows["batch"].fillna(1).astype(int))
    return {
        (id_of(study, "models", model), column): group.set_index("epoch")["value"].sort_index()
        for (model, column), group in rows.groupby(["model", "metric"])
    }


def alt(spec: Spec, study: Study) -> str:
    return (
        f"Line charts of loss and accuracy over the epochs of training of "
        f"{names_of(study, 'models', spec.models)}, for training and validation images."
    )
