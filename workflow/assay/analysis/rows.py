"""Outcome rows by the million: groups as whole numbers, and what tells one cell from another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from assay.foundation.split import Split

# What is never averaged over: networks of one data set differ by how it was split.
PLACE = ["dataset", "scheme"]
# What all models that met an attack share.
ATTACKED = [*PLACE, "suite", "attack"]


def with_scheme(outcomes: pd.DataFrame, *, routes: bool = False) -> pd.DataFrame:
    """The rows with the columns ``scheme``, a split's id without its index, and ``worst_case``.

    Rows of single views are left out, see :func:`worst_case_over_views`, unless `routes` asks for
    them.

    An outcome is that of one attack: its ``worst_case`` is empty (:mod:`assay.analysis.attack_set`
    has the other values).

    Two schemes divide the same images differently, so what networks of one scheme do is never
    averaged with what those of another do, although data set, model and attack are the same.
    """
    if "scheme" in outcomes:
        return outcomes
    if not routes:
        outcomes = worst_case_over_views(outcomes)
    splits = outcomes["split"].astype("category").cat
    names = [Split.of(name).scheme for name in splits.categories]
    codes, schemes = pd.factorize(np.array(names, dtype=object))
    outcomes = outcomes.assign(scheme=pd.Categorical.from_codes(codes[splits.codes], schemes))
    if "worst_case" in outcomes:
        return outcomes
    return outcomes.assign(worst_case=constant("", len(outcomes)))


def worst_case_over_views(outcomes: pd.DataFrame) -> pd.DataFrame:
    """The rows that accuracies are made of: one per sample, attack and epsilon.

    An attack with ``routes: each`` also has a row for each view (``route``). These rows are for
    audits of single routes; counted as samples, an image would count several times.
    """
    if "route" not in outcomes:
        return outcomes
    single = (outcomes["route"] != "").to_numpy()
    return outcomes[~single].reset_index(drop=True) if single.any() else outcomes


def of_one_suite(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The rows, but of an attack that stands in two suites those of the one on most images alone.

    Args:
        rows: rows of the outcome schema.
        by: columns that tell an image's evaluation from another, whichever its suite, ``attack``
            among them.
    """
    owner = [name for name in ("dataset", "model", "attack", "suite") if name in rows]
    seen = rows.groupby(owner, observed=True)["sample"].transform("size")
    order = np.argsort(-seen.to_numpy(), kind="stable")
    return rows.iloc[order].drop_duplicates(list(by)).sort_index(kind="stable")


def constant(text: str, count: int) -> pd.Categorical:
    """A column that has the same text in each of `count` rows."""
    return pd.Categorical.from_codes(np.zeros(count, np.int8), [text])


def several_schemes(table: pd.DataFrame) -> bool:
    """Whether rows of one data set come from several split schemes, and must say from which."""
    return bool((table.groupby("dataset", observed=True).scheme.nunique() > 1).any())


def group_index(*keys: pd.Series | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers rows by the combination of their keys, from 0 in order of appearance.

    What ``groupby(keys).ngroup()`` gives, at a tenth of its time where names are categories.

    Args:
        *keys: (N,) columns: categories, strings or numbers.

    Returns:
        (N,) the number of each row, and (G,) the first row of each number.

    Example:
        >>> numbers, first = group_index(np.array([7, 7, 5, 7]), np.array([1, 2, 1, 1]))
        >>> numbers.tolist(), first.tolist()
        ([0, 1, 2, 0], [0, 1, 2])
    """
    combined, size = np.zeros(len(keys[0]), np.int64), 1
    for key in keys:
        if isinstance(key.dtype, pd.CategoricalDtype):
            column = pd.Series(key).cat
            codes, count = column.codes.to_numpy(), len(column.categories)
        else:
            codes, values = pd.factorize(key)
            count = len(values)
        if size * count > np.iinfo(np.int64).max:
            combined, values = pd.factorize(combined)
            size = len(values)
        combined, size = combined * count + codes, size * count
    numbers, values = pd.factorize(combined)
    first = np.empty(len(values), np.int64)
    # Of several rows with one number the one that is assigned last stays: the first of them.
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]
    return numbers, first


def grouped(numbers: np.ndarray) -> list[np.ndarray]:
    """The rows of each number of :func:`group_index`, in the order of the numbers."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.cumsum(np.bincount(numbers))[:-1])


def means(values: pd.Series | np.ndarray, numbers: np.ndarray, count: int) -> np.ndarray:
    """(count,) means of the (N,) values by number; NaN is left out, and comes where nothing is."""
    values = np.asarray(values, dtype=float)
    known = ~np.isnan(values)
    if not known.all():
        values, numbers = values[known], numbers[known]
    with np.errstate(invalid="ignore"):
        return np.bincount(numbers, values, count) / np.bincount(numbers, minlength=count)


def over_splits(cells: pd.DataFrame, values: Mapping[tuple, float | None]) -> list[float]:
    """The mean over splits of values keyed (dataset, split, …) for rows of (dataset, scheme, …)."""
    found: dict[tuple, list[float]] = {}
    for (dataset, split, *rest), value in values.items():
        if value is not None:
            found.setdefault((dataset, Split.of(split).scheme, *rest), []).append(value)
    return [
        float(np.mean(found.get(key, [np.nan]))) for key in cells.itertuples(index=False, name=None)
    ]
