"""Printed accuracies joined to this run's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from assay.analysis.inputs import AnalysisInputs
from assay.report.figures.parts import (
    TALLEST,
    WIDTH,
    Caption,
    Study,
    nothing_to_draw,
    styled,
    verdicts_in_words,
)
from assay.report.needs import Need, PrintedNumbers
from assay.report.spec import FigureSpec
from assay.report.style import COMPARED, FAINT, GREY
from assay.report.text import attacked, short_table, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Spec(FigureSpec):
    """A line from each printed accuracy to this run's, at most 12 inches tall."""


def needs(spec: Spec) -> list[Need]:
    """What the study must store."""
    return [PrintedNumbers()]


ROW, HEAD, MARGIN = 0.172, 1.5, 0.85  # inches a row, rows a table's name takes, inches around
PALE = (FAINT, "s")  # of pairs whose comparison means nothing


@styled
def draw(spec: Spec, study: Study, inputs: AnalysisInputs) -> Figure:
    """Printed accuracies (hollow) joined to this run's (filled, with interval), by table."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    rows = _drawn(inputs.ledger)
    if rows.empty:
        raise nothing_to_draw(spec, "no printed accuracy in the ledger that this run measured")
    figure = Figure((WIDTH, _height(rows)), layout="constrained")
    axes = figure.subplots()
    place, ticks = 0.0, []
    for table, group in rows.groupby("table", sort=False):
        axes.text(
            -0.01, place, short_table(table), transform=axes.get_yaxis_transform(), ha="right",
            va="center", fontweight="bold",
        )  # fmt: skip
        for row in group.itertuples():
            place += 1
            ticks.append((place, _row_label(row)))
            _dumbbell(axes, place, row)
        place += HEAD
    axes.set_yticks([t[0] for t in ticks], [t[1] for t in ticks])
    axes.set(xlim=(-0.02, 1.02), ylim=(place - 0.6, -0.8), xlabel="accuracy")
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    handles = [
        Line2D([], [], ls="", marker="o", color=GREY, markerfacecolor="white", label="printed")
    ]
    verdicts = {verdict: _colour_and_marker(verdict) for verdict in [*COMPARED, *rows["verdict"]]}
    handles += [
        Line2D([], [], ls="-", lw=2.6, color=colour, marker=marker, label=f"this run: {verdict}")
        for verdict, (colour, marker) in verdicts.items()
        if (rows["verdict"] == verdict).any()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure


def _colour_and_marker(verdict: str) -> tuple[str, str]:
    return COMPARED.get(verdict, PALE)


def _dumbbell(axes: Axes, place: float, row: Any) -> None:
    colour, marker = _colour_and_marker(row.verdict)
    compared = row.verdict in COMPARED
    axes.plot([row.reported, row.reproduced], [place] * 2, color=FAINT, lw=1.2, zorder=1)
    if not (pd.isna(row.low) or pd.isna(row.high)):
        axes.plot([row.low, row.high], [place] * 2, color=colour, lw=2.6, alpha=0.45, zorder=2)
    axes.plot(row.reproduced, place, marker, color=colour, zorder=4, ms=5 if compared else 4)
    note = f"{row.reproduced - row.reported:+.3f}".replace("-", "−") if compared else row.verdict
    axes.plot(
        row.reported, place, "o", color=GREY if compared else FAINT, markerfacecolor="white",
        markeredgewidth=1.1, zorder=3,
    )  # fmt: skip
    axes.text(
        1.035, place, note, transform=axes.get_yaxis_transform(), ha="left", va="center",
        fontsize=7.5, color=colour if compared else GREY,
    )  # fmt: skip


def _row_label(row: Any) -> str:
    return f"{row.model}, {attacked(row)}"


def _accuracies(ledger: pd.DataFrame) -> pd.DataFrame:
    """The printed accuracies."""
    return ledger[(ledger["metric"] == "accuracy") & ledger["reported"].between(0, 1)]


def _measured(ledger: pd.DataFrame) -> pd.DataFrame:
    """The printed accuracies that stand beside a number of this run."""
    rows = _accuracies(ledger)
    return rows[rows["reproduced"].notna()]


def _drawn(ledger: pd.DataFrame) -> pd.DataFrame:
    """As many measured rows as the tallest figure holds: compared ones first, in their order."""
    rows = _measured(ledger)
    order = rows.assign(pale=~rows["verdict"].isin(COMPARED)).sort_values("pale", kind="stable")
    count = len(order)
    while count > 1 and _height(order.head(count)) > TALLEST:
        count -= 1
    return rows.loc[order.index[:count].sort_values()]


def _height(rows: pd.DataFrame) -> float:
    return MARGIN + ROW * (len(rows) + HEAD * rows["table"].nunique())


def caption(spec: Spec, study: Study, inputs: AnalysisInputs) -> Caption:
    printed, rows = _accuracies(inputs.ledger), _drawn(inputs.ledger)
    measured = len(_measured(inputs.ledger))
    text = (
        "A line joins each printed accuracy (hollow) to that of this run (filled, with its 95 % "
        "Wilson interval). Green circle: reproduced. Orange diamond: differs. The number at the "
        f"right is this run minus the printed value. {len(rows)} printed accuracies are drawn: "
        f"{verdicts_in_words(rows['verdict'])}."
    )
    if not rows["verdict"].isin(COMPARED).all():
        text += (
            " Pale squares are not comparable. The ledger gives the reason. Their distance from "
            "the printed value says nothing about the paper."
        )
    if measured > len(rows):
        text += (
            f" {measured - len(rows)} more that are not comparable do not fit into "
            f"{TALLEST:g} inches; the ledger lists them."
            if rows["verdict"].isin(COMPARED).sum() == printed["verdict"].isin(COMPARED).sum()
            else f" {measured - len(rows)} more do not fit into {TALLEST:g} inches; the ledger "
            "lists them."
        )
    others = len(inputs.ledger) - len(printed)
    text += (
        f" Not drawn: {len(printed) - measured or 'no'} printed accuracies without a number of "
        f"this run, and {others or 'no'} printed values of other kinds (counts, settings, training "
        "curves)."
        " The rule in the configuration decides which values are reproduced."
    )
    n = rows["n"].dropna().astype(int)
    return Caption(text, f"n = {span(n)} test images" if len(n) else "n as in the ledger")


def alt(spec: Spec, study: Study) -> str:
    return (
        "Dot plot: each accuracy that the paper prints, joined by a line to that of this run. The "
        "ledger has the same numbers as a table."
    )
