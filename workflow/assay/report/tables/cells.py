"""Cells of tables of accuracies: which images they stand on, what is marked, and their text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from assay.analysis.attack_set import AttackSet, attack_sets
from assay.analysis.rows import PLACE

CLEAN = AttackSet.of("clean")
# How close to the best a marked accuracy is, where config/config.yaml does not say it.
MARGIN = 0.02
# More attacks than these are counted in a caption instead of named.
MOST_NAMED = 6
# What a paired test of two models is about.
COMPARED = [*PLACE, "suite", "attack", "worst_case", "norm", "epsilon"]

Cell = tuple[AttackSet, float]
Unit = tuple[str, str, str]


def cells_in(rows: pd.DataFrame) -> list[Cell]:
    """The (attack set, epsilon) pair of each row."""
    return list(zip(attack_sets(rows), rows.epsilon, strict=True))


def keys_in(rows: pd.DataFrame) -> list[tuple]:
    """(Data set, scheme, model, attack set, epsilon) of each row."""
    units = rows[[*PLACE, "model"]].itertuples(index=False, name=None)
    return [(*unit, *cell) for unit, cell in zip(units, cells_in(rows), strict=True)]


@dataclass
class ImageSet:
    """Attacks and radii of a table whose accuracies stand on the same images.

    Attributes:
        cells: (attack set, epsilon) pairs, in the table's order.
        images: by data set, split scheme and model what tells its images: n, distinct images,
            splits and the accuracy on them unperturbed.
    """

    cells: list[Cell] = field(default_factory=list)
    images: dict[Unit, tuple] = field(default_factory=dict)

    def holds(self, images: Mapping[Unit, tuple]) -> bool:
        """Whether every model that is in both was tested on the same images."""
        return all(self.images.get(unit, known) == known for unit, known in images.items())

    @property
    def counts(self) -> set[tuple[int, int]]:
        """(n, splits) of the models."""
        return {(n, splits) for n, _, splits, _ in self.images.values()}


class Column(NamedTuple):
    """A column of a table whose columns are attacks, or a line of one whose lines are.

    Attributes:
        title: with n, where not all columns stand on the same images.
        cells: the first of them that a model has is shown.
        clean: show the accuracy on the same images without the attack.
        counted: n stands in each cell.
        beside: the cells whose clean accuracy is displayed with this column, in order; none where
            the whole table has one clean accuracy for each model, or none at all.
    """

    title: str
    cells: tuple[Cell, ...]
    clean: bool = False
    counted: bool = False
    beside: tuple[Cell, ...] = ()


class Shown(NamedTuple):
    """What one cell shows of the accuracy row of (data set, scheme, model, attack set, epsilon)."""

    key: tuple
    clean: bool = False
    counted: bool = False


def leading(
    rows: pd.DataFrame, differences: pd.DataFrame, margin: float, value: str = "pooled"
) -> np.ndarray:
    """Marks the best model of each attack and radius and those that are not worse by a margin.

    A model is not worse where the 95 % interval of its paired difference from the best one lies
    above minus the margin. Nothing is marked where the evaluation of the best is not sound, where
    models were tested on different images, or where all would be marked. The mark goes from the
    best downwards and stops at the first model that has not earned it, so that no marked number
    stands below one without a mark.

    Args:
        rows: accuracy rows with the column ``verdict``.
        differences: one row per cell and pair of models: model_a, model_b, low, high (the interval
            of a - b).
        margin: largest difference of accuracy that counts as none.
        value: the column that is printed.

    Returns:
        (N,) mask.
    """
    printed = rows[value].round(3)
    keys = [rows[name] for name in COMPARED]
    top = printed == printed.groupby(keys).transform("max")
    sound = rows.verdict == "sound"
    first = rows.model.where(rows[value] == rows[value].groupby(keys).transform("max"))
    pairs = rows[[*COMPARED, "model"]].assign(best=first.groupby(keys).transform("first"))
    ours, theirs = (
        differences[[*COMPARED]].assign(best=differences[a], model=differences[b], most=most)
        for a, b, most in (("model_a", "model_b", differences.high),
                           ("model_b", "model_a", -differences.low))
    )  # fmt: skip
    known = pd.concat([ours, theirs]).drop_duplicates([*COMPARED, "best", "model"])
    gap = pairs.merge(known, on=[*COMPARED, "best", "model"], how="left").most.to_numpy(float)
    close = sound & (top | (gap <= margin))
    # Models of one printed number are marked together or not at all, and none below another.
    close = close.groupby([*keys, printed]).transform("all")
    order = np.argsort(-printed.to_numpy(), kind="stable")
    marks = close.iloc[order].groupby([key.iloc[order] for key in keys]).cummin().sort_index()
    every = marks.groupby(keys).transform("all")
    return (marks & _alike(rows, keys) & ~every).to_numpy(bool)


def bold_words(
    rows: pd.DataFrame,
    margin: float,
    title: Callable[[AttackSet, float], str],
    value: str = "pooled",
) -> str:
    """What bold means in a table of these rows, and where there is none and why.

    Args:
        rows: the rows that the table shows, with ``verdict`` and ``leads``.
        margin: that of the marks.
        title: words for an (attack set, epsilon) pair.
        value: the column that the table prints.
    """
    keys = [rows[name] for name in COMPARED]
    compared = rows[rows.model.groupby(keys).transform("nunique") > 1]
    if compared.empty:
        return ""
    keys = [compared[name] for name in COMPARED]
    sentences = ["No accuracy is bold."]
    if compared.leads.any():
        sentences = [
            "Bold: the highest accuracy, and accuracies that with 95 % confidence are at most "
            f"{margin:g} below it (paired difference)."
        ]
    printed = compared[value].round(3)
    top = printed == printed.groupby(keys).transform("max")
    apart = printed.groupby(keys).transform("nunique") > 1
    doubted = compared[top & apart & (compared.verdict != "sound")]
    if len(doubted):
        names = list(dict.fromkeys(cells_in(doubted)))
        where = ", ".join(title(*name) for name in names)
        several = compared[PLACE].drop_duplicates().shape[0] > 1
        if several or len(names) > MOST_NAMED:
            cells = compared[COMPARED].drop_duplicates().shape[0]
            where = f"{doubted[COMPARED].drop_duplicates().shape[0]} of {cells} comparisons"
        sentences.append(f"None is bold where the best model's evaluation is not sound: {where}.")
    if len(compared[~_alike(compared, keys)]):
        sentences.append("Models that were tested on different images are not compared.")
    return " ".join(sentences)


def _alike(rows: pd.DataFrame, keys: list[pd.Series]) -> pd.Series:
    """Whether the models of a row's cell were tested on as many images and splits."""
    return rows[["n", "samples", "splits"]].groupby(keys).transform("nunique").eq(1).all(axis=1)


def image_sets(rows: pd.DataFrame, cells: Sequence[Cell]) -> list[ImageSet]:
    """Cells of a table grouped by the images that they stand on, in order of appearance.

    Args:
        rows: accuracy rows.
        cells: the table's (attack set, epsilon) pairs; those without rows join the first group.
    """
    found: dict[Cell, dict[Unit, tuple]] = {cell: {} for cell in cells}
    for cell, row in zip(cells_in(rows), rows.itertuples(), strict=True):
        if cell in found:
            images = (int(row.n), int(row.samples), int(row.splits), round(row.clean, 9))
            found[cell][row.dataset, row.scheme, row.model] = images
    groups: list[ImageSet] = []
    for cell, images in found.items():
        group = next((group for group in groups if group.holds(images)), None)
        if group is None:
            groups.append(group := ImageSet())
        group.cells.append(cell)
        group.images.update(images)
    return groups


def columns_of(
    rows: pd.DataFrame, cells: Sequence[Cell], title: Callable[[AttackSet, float], str]
) -> list[Column]:
    """The columns of a table whose columns are attacks (or the lines, where lines are).

    Where all stand on the same images these are the cells. Else cells of the same images stand
    together, each says its n, and each group has the accuracy on its images unperturbed, so that
    an attacked accuracy is never compared with the clean accuracy of other images.
    """
    groups = image_sets(rows, cells)
    shown = {splits for group in groups for _, splits in group.counts}
    columns: list[Column] = []
    for group in groups:
        counts = group.counts
        counted = len(counts) > 1
        text = ""
        if len(groups) > 1 and len(counts) == 1:
            text = count_text(*next(iter(counts)), several=len(shown) > 1)
        beside = tuple(group.cells) if len(groups) > 1 else ()
        own = [
            Column(title(*cell) + text, (cell,), counted=counted, beside=beside)
            for cell in group.cells
        ]
        if len(groups) > 1 and group.images and not any(found == CLEAN for found, _ in group.cells):
            head = f"Clean, same images{text}"
            if any(column.title == head for column in columns):
                head = f"Clean, images of {title(*group.cells[0])}{text}"
            own.insert(0, Column(head, tuple(group.cells), clean=True, counted=counted))
        columns += own
    return columns


def count_text(n: int, splits: int, *, several: bool) -> str:
    """How many images an accuracy stands on, in brackets; splits where tables have several."""
    if not several:
        return f" (n = {n:,})"
    return f" (n = {n:,}, {splits} split{'s' if splits != 1 else ''})"


def entries_of(
    columns: Sequence[Column], unit: Unit, rows: pd.DataFrame, *, counted: bool = True
) -> dict[str, Shown]:
    """What a line of a table shows in each column, for one model."""
    known = set(keys_in(rows))
    entries = {}
    for column in columns:
        keys = [(*unit, *cell) for cell in column.cells]
        key = next((key for key in keys if key in known), keys[0])
        entries[column.title] = Shown(key, column.clean, column.counted and counted)
    return entries


def displayed(columns: Sequence[Column], rows: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """What a reader of a table sees, for :func:`assay.analysis.checks.lint_display`.

    Args:
        columns: the table's columns (or lines).
        rows: the accuracy rows that it shows.

    Returns:
        The rows with ``clean_shown``, the clean accuracy that is displayed with each, NaN where the
        table has one for all; and whether every cell says its number of images.
    """
    beside = {cell: column.beside for column in columns for cell in column.cells}
    keys = keys_in(rows)
    clean = dict(zip(keys, rows.clean, strict=True))
    shown = []
    for *unit, attacks, epsilon in keys:
        others = [(*unit, *cell) for cell in beside.get((attacks, epsilon), ())]
        shown.append(next((clean[key] for key in others if key in clean), np.nan))
    says_n = all(column.counted or "(n = " in column.title for column in columns)
    return rows.assign(clean_shown=shown), says_n
