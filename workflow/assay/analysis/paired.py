"""What paired tests need of outcomes: which model is right on which image, cell by cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from assay.analysis.rows import ATTACKED, group_index, with_scheme

POOLED = "pooled"
CELL = ["dataset", "scheme", "suite", "attack", "worst_case", "norm", "epsilon"]


@dataclass(frozen=True)
class Paired:
    """What paired tests need of outcomes: a row per image and cell, a column per model.

    Five models take seventeen bytes per image, attack and budget, a fraction of their outcome rows,
    which may be read part by part (:meth:`joined`).

    Attributes:
        cells: frame of the cells (:data:`CELL` and ``split``), in order of appearance.
        cell: (R,) index into `cells` of each row.
        sample: (R,) the image of each row.
        right: (R, M) int8: 1 where the model is right, 0 where wrong, -1 where not tested.
        models: M names in order of appearance.
        repeated: (data set, scheme) pairs whose samples are tested in several splits.
    """

    cells: pd.DataFrame
    cell: np.ndarray
    sample: np.ndarray
    right: np.ndarray
    models: tuple[str, ...]
    repeated: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, outcomes: pd.DataFrame | Paired) -> Paired:
        """From rows of the outcome schema."""
        if isinstance(outcomes, cls):
            return outcomes
        rows = with_scheme(outcomes)
        codes, models = pd.factorize(rows.model)
        cell, first = group_index(*(rows[name] for name in (*CELL, "split")))
        sample = rows["sample"].to_numpy()
        row, first_row = group_index(cell, sample)
        right = np.full((len(first_row), len(models)), -1, np.int8)
        right[row, codes] = ~rows.misclassified.to_numpy(bool)
        cells = rows[[*CELL, "split"]].iloc[first].reset_index(drop=True)
        cells = cells.astype(dict.fromkeys((*CELL[:-1], "split"), object))
        names = tuple(map(str, models))
        repeated = frozenset(repeated_schemes(rows))
        cell, sample = cell[first_row].astype(np.int32), sample[first_row]
        return cls(cells, cell, sample, right, names, repeated)

    @classmethod
    def joined(cls, parts: Iterable[Paired]) -> Paired:
        """Parts as one, whether they have models, cells or images in common or not."""
        parts = list(parts)
        models = tuple(dict.fromkeys(name for part in parts for name in part.models))
        cells = pd.concat([part.cells for part in parts], ignore_index=True)
        number, first = group_index(*(cells[name] for name in cells))
        starts = np.cumsum([0, *(len(part.cells) for part in parts)])
        cell = np.concatenate(
            [number[start + part.cell] for part, start in zip(parts, starts, strict=False)]
        )
        sample = np.concatenate([part.sample for part in parts])
        row, first_row = group_index(cell, sample)
        right = np.full((len(first_row), len(models)), -1, np.int8)
        for part in parts:
            mine, row = row[: len(part.cell)], row[len(part.cell) :]
            for name, column in zip(part.models, part.right.T, strict=True):
                known = column >= 0
                right[mine[known], models.index(name)] = column[known]
        return cls(
            cells.iloc[first].reset_index(drop=True),
            cell[first_row].astype(np.int32),
            sample[first_row],
            right,
            models,
            frozenset().union(*(part.repeated for part in parts)),
        )

    @property
    def evaluations(self) -> Counter[tuple[str, str, str, str]]:
        """How many rows there are by :data:`ATTACKED`."""
        rows = self.cells.assign(rows=np.bincount(self.cell, minlength=len(self.cells)))
        return Counter(rows.groupby(ATTACKED).rows.sum().to_dict())

    def pooled(self) -> Paired:
        """Splits put together where no image is tested in two of them."""
        cells = self.cells
        apart = [key in self.repeated for key in zip(cells.dataset, cells.scheme, strict=True)]
        cells = cells.assign(split=cells["split"].where(apart, POOLED))
        cell, first = group_index(*(cells[name] for name in (*CELL, "split")))
        return replace(self, cells=cells.iloc[first].reset_index(drop=True), cell=cell[self.cell])


def repeated_schemes(outcomes: pd.DataFrame) -> set[tuple[str, str]]:
    """(Data set, scheme) whose samples are tested in several splits, which cannot be pooled."""
    rows = with_scheme(outcomes)
    scheme, first = group_index(rows.dataset, rows.scheme)
    _, tested = group_index(scheme, rows["split"], rows["sample"])
    scheme, sample = scheme[tested], rows["sample"].to_numpy()[tested]
    twice = np.bincount(scheme, minlength=len(first)) > np.bincount(
        scheme[group_index(scheme, sample)[1]], minlength=len(first)
    )
    return set(rows[["dataset", "scheme"]].iloc[first[twice]].itertuples(index=False, name=None))
