"""Models in the order of their accuracy, with letters for what the tests can tell apart."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import count, islice
from string import ascii_letters

import pandas as pd
from pandas.api.typing import DataFrameGroupBy

from assay.analysis.between_splits import MCNEMAR
from assay.analysis.families import NO_FAMILY
from assay.analysis.paired import CELL, POOLED

log = logging.getLogger(__name__)

RANKING_COLUMNS = [
    *CELL, "split", "rank", "model", "accuracy", "n", "group", "group_pooled", "method",
]  # fmt: skip


def ranking(tests: pd.DataFrame, between: pd.DataFrame | None = None) -> pd.DataFrame:
    """Models by accuracy under each attack and budget, with letters for what the tests can tell.

    Two models that share a letter are not significantly different (compact letter display). The
    models of a cell are ranked on the images that all of them were tested on; a cell without such
    images has no ranking, and a warning says so.

    Args:
        tests: the frame of :func:`assay.analysis.mcnemar.mcnemar`.
        between: the frame of :func:`assay.analysis.between_splits.between_splits` of the same
            outcomes. Without it the letters are McNemar's.

    Returns:
        One row per cell and model: rank (1 best; equal accuracies share the better rank and the
        next ones are skipped), model, accuracy and n (on the common images), group (letters, by
        `between` where it knows several splits), group_pooled (McNemar's letters of the pooled
        splits), method (the test of group). Schemes that test an image in several splits have
        rows for each split, with McNemar's letters of that split, and, with `between`, rows
        ``pooled`` over the splits that tested all models; McNemar's test does not apply to these,
        so their group_pooled is empty. Letters are empty where the tests are in no family.

    Source: Piepho 2004, Journal of Computational and Graphical Statistics 13:456-466.
    """
    across = {} if between is None else dict(iter(_by_cell(between)))
    rows: list[tuple] = []
    for ids, cell in _by_cell(tests):
        own = across.get(ids)
        for split, part in cell.groupby("split", sort=False):
            by = own if split == POOLED and own is not None else None
            rows += _ranked((*ids, split), part, part, by)
        if own is not None and POOLED not in set(cell["split"]):
            rows += _ranked((*ids, POOLED), cell, None, own)
    return pd.DataFrame(rows, columns=RANKING_COLUMNS)


def _by_cell(table: pd.DataFrame) -> DataFrameGroupBy:
    return table.groupby(CELL, observed=True, sort=False)


def _ranked(
    ids: tuple, tests: pd.DataFrame, pooled: pd.DataFrame | None, between: pd.DataFrame | None
) -> Iterator[tuple]:
    """Rows of one cell: accuracies from `tests`, letters from `between` and `pooled`."""
    models = _on_common_images(tests)
    if models.empty:
        names = ", ".join(str(name) for name in ids)
        log.warning("%s: no image was tested on all models; they have no ranking", names)
        return
    rank = models.accuracy.rank(ascending=False, method="min").astype(int)
    by_pooled = {} if pooled is None else _letters(models.accuracy, pooled)
    by_splits, method = by_pooled, MCNEMAR
    if between is not None:
        by_splits = _letters(models.accuracy, between)
        method = " and ".join(dict.fromkeys(between.method))
    for name, one in models.iterrows():
        letters = by_splits[name], by_pooled.get(name, "")
        yield (*ids, int(rank[name]), name, float(one.accuracy), int(one.n), *letters, method)


def _on_common_images(tests: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and n by model, best first, on the images of the splits that tested all models."""
    sides = [
        tests[["split", f"model_{side}", f"common_accuracy_{side}", "common_n"]].set_axis(
            ["split", "model", "accuracy", "n"], axis=1
        )
        for side in "ab"
    ]
    models = pd.concat(sides).drop_duplicates(["split", "model"])
    every = models.groupby("split").model.transform("size") == models.model.nunique()
    models = models[every & (models.n > 0)]
    models = models.assign(right=models.accuracy * models.n).groupby("model", sort=False)
    found = models[["right", "n"]].sum()
    # The same count, summed up in another order, is the same accuracy.
    found["accuracy"] = (found.right / found.n).round(12)
    return found.sort_values("accuracy", ascending=False, kind="stable")


def _letters(accuracy: pd.Series, tests: pd.DataFrame) -> dict[str, str]:
    """Letters by model from one cell's tests, for accuracies in descending order."""
    constant = accuracy.eq(0).all() or accuracy.eq(1).all()
    if (tests.family == NO_FAMILY).all() and not constant:
        return dict.fromkeys(accuracy.index, "")
    apart = tests[tests.significant]
    return letter_groups(list(accuracy.index), list(zip(apart.model_a, apart.model_b, strict=True)))


def letter_groups(ranked: Sequence[str], different: Collection[tuple[str, str]]) -> dict[str, str]:
    """Piepho's insert-and-absorb letters: two names share one if and only if they do not differ.

    Letters beyond the 52nd carry a number (``b2``, ``c2`` …); none of these is an ``a``.
    :func:`letters_of` reads them back.

    Args:
        ranked: names, best first; the best gets an ``a``.
        different: pairs of names that differ significantly.

    Returns:
        Letters by name.

    Example:
        >>> letter_groups(["x", "y", "z"], [("x", "z")])
        {'x': 'a', 'y': 'ab', 'z': 'b'}
    """
    place = {name: index for index, name in enumerate(ranked)}
    groups = [frozenset(ranked)]
    for pair in sorted(different, key=lambda pair: sorted(place[name] for name in pair)):
        halves = []
        for group in groups:
            halves += [group - {name} for name in pair] if group.issuperset(pair) else [group]
        unique = list(dict.fromkeys(halves))
        groups = [group for group in unique if not any(group < other for other in unique)]
    groups.sort(key=lambda group: sorted(place[name] for name in group))
    lettered = list(zip(islice(_names(), len(groups)), groups, strict=True))
    return {name: "".join(letter for letter, group in lettered if name in group) for name in ranked}


def _names() -> Iterator[str]:
    yield from ascii_letters
    for number in count(2):
        yield from (f"{letter}{number}" for letter in ascii_letters if letter != "a")


def letters_of(group: str) -> tuple[str, ...]:
    """The letters of a group one by one.

    Example:
        >>> letters_of("cZb2")
        ('c', 'Z', 'b2')
    """
    return tuple(re.findall(r"[A-Za-z]\d*", group))


def in_best_group(group: str) -> bool:
    """Whether these letters are shared with the best model of the cell."""
    return "a" in letters_of(group)


def leaders(
    between: pd.DataFrame,
    ranking: pd.DataFrame,
    margin: float,
    models: Collection[str] | None = None,
) -> pd.DataFrame:
    """The best model of each cell, and the models that are not inferior to it.

    A model is not inferior where the confidence interval of the paired difference (best - model)
    ends at or below the margin: it loses at most the margin. A model that the data cannot compare
    is not called non-inferior.

    Args:
        between: the frame of :func:`assay.analysis.between_splits.between_splits`.
        ranking: the frame of :func:`ranking`.
        margin: of accuracy, in [0, 1].
        models: models among which the best is sought; all, where None.

    Returns:
        One row per cell and model: best (whether its accuracy on the common images is the
        highest; several may tie), leads (whether it is best or not inferior), difference (best -
        model), low, high (its 95 % interval; 0 for the best model that the others are compared
        with, NaN where a pair was not tested).
    """
    chosen = ranking[ranking["split"] == POOLED]
    if models is not None:
        chosen = chosen[chosen.model.isin(models)]
    table = chosen[[*CELL, "model", "accuracy"]].reset_index(drop=True)
    cells = [table[name] for name in CELL]
    highest = table.groupby(cells, observed=True, sort=False).accuracy.transform("max")
    table["best"] = table.accuracy == highest
    first = table[table.best].drop_duplicates(CELL)
    table = table.merge(first[[*CELL, "model"]].rename(columns={"model": "reference"}), on=CELL)
    sides = ["difference", "low", "high"]
    pairs = between[[*CELL, "model_a", "model_b", *sides]]
    turned = pairs.rename(
        columns={"model_a": "model_b", "model_b": "model_a", "low": "high", "high": "low"}
    )
    turned[sides] *= -1
    both = pd.concat([pairs, turned]).rename(columns={"model_a": "reference", "model_b": "model"})
    table = table.merge(both, on=[*CELL, "reference", "model"], how="left")
    table.loc[table.model == table.reference, sides] = 0.0
    table["leads"] = table.best | (table.high <= margin)
    return table[[*CELL, "model", "best", "leads", *sides]]
