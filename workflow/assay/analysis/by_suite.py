"""Accuracies and paired decisions of a whole study, with few of its rows in memory at a time."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from assay.analysis import accuracy
from assay.analysis.paired import CELL, Paired
from assay.analysis.rows import with_scheme

# Outcome rows of some columns, of those ids that are named.
Outcomes = Callable[..., pd.DataFrame]
# The distinct values of some ids among the outcome files of other ids.
Parts = Callable[..., list[dict[str, str]]]


class BySuite(NamedTuple):
    """What one pass over the outcomes gives.

    Attributes:
        accuracy: the frame of :func:`assay.analysis.accuracy.accuracy`, worst cases included.
        paired: whether each model was right on each image, under all attacks and worst cases.
        evaluations: how many rows each data set, split, model and attack has.
    """

    accuracy: pd.DataFrame
    paired: Paired
    evaluations: Counter[tuple[str, str, str, str]]


def by_suite(outcomes: Outcomes, parts: Parts, has_worst_case: Callable[[str], bool]) -> BySuite:
    """One pass over the outcomes, with the rows of one model and suite in memory at a time.

    A file holds all attacks of its suite, so that worst cases over suites are those of the whole.

    Args:
        outcomes: ``outcomes(columns, **ids)`` reads rows.
        parts: ``parts(*names, **ids)`` lists ids, in order of appearance.
        has_worst_case: whether the suite of an id has a worst case over its attacks.
    """
    tables, attacked, joined = [], [], []
    for suite in parts("dataset", "suite"):
        own, worst_cases = [], []
        for model in parts("model", **suite):
            rows = with_scheme(outcomes(accuracy.NEEDED, **suite, **model))
            combined = accuracy.worst_case(rows, alone=has_worst_case(suite["suite"]))
            tables.append(accuracy.accuracy(rows, combined))
            own.append(Paired.of(rows))
            worst_cases.append(Paired.of(combined))
        attacked.append(Paired.joined(own))
        joined.append(Paired.joined(worst_cases))
    everything = itertools.chain.from_iterable(zip(attacked, joined, strict=True))
    strongest, tests = _strongest(outcomes, parts)
    return BySuite(
        accuracy.in_reading_order([*tables, strongest] if tests else tables),
        Paired.joined([*everything, tests] if tests else everything),
        sum((pairs.evaluations for pairs in attacked), Counter()),
    )


def _strongest(outcomes: Outcomes, parts: Parts) -> tuple[pd.DataFrame, Paired | None]:
    """Worst cases over all suites: their accuracies, and what paired tests need of them.

    The suites of one model are in memory together, without the scores.
    """
    tables, tests = [], []
    for ids in parts("dataset", "model"):
        rows = accuracy.strongest(outcomes(accuracy.NEEDED_WORST_CASE, **ids))
        if len(rows):
            tables.append(accuracy.accuracy(rows, rows.iloc[:0]))
            tests.append(Paired.of(rows))
    if not tables:
        return pd.DataFrame(), None
    table = pd.concat(tables, ignore_index=True)
    table = table[accuracy.several_members(table)]
    cells = set(table[CELL].itertuples(index=False, name=None))
    return table, _of_cells(Paired.joined(tests), cells)


def _of_cells(pairs: Paired, cells: set[tuple]) -> Paired:
    """The rows of some cells (:data:`assay.analysis.paired.CELL`)."""
    keys = pairs.cells[CELL].itertuples(index=False, name=None)
    kept = np.array([key in cells for key in keys])
    rows = kept[pairs.cell]
    return replace(
        pairs, cells=pairs.cells[kept].reset_index(drop=True), sample=pairs.sample[rows],
        cell=(np.cumsum(kept) - 1)[pairs.cell[rows]].astype(np.int32), right=pairs.right[rows],
    )  # fmt: skip
