"""Models in the order of their accuracy, with letters for what the tests can tell apart."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import count, islice
from string import ascii_letters

import numpy as np
import pandas as pd

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
    table = _on_common_images(tests, [*CELL, "split"])
    table["group"] = table["group_pooled"] = _letters(table, tests, [*CELL, "split"])
    table["method"] = MCNEMAR
    if between is not None:
        several = (tests["split"] != POOLED).to_numpy()
        across = _on_common_images(tests[several], CELL).assign(split=POOLED, group_pooled="")
        table = pd.concat([table, across], ignore_index=True)
        pooled = table["split"] == POOLED
        table.loc[pooled, "group"] = _letters(table[pooled], between, CELL)
        methods = dict(between.groupby(CELL, observed=True, sort=False).method.unique())
        cells = zip(*(table.loc[pooled, name] for name in CELL), strict=True)
        table.loc[pooled, "method"] = [" and ".join(methods.get(cell, ())) for cell in cells]
        order = table.groupby(CELL, observed=True, sort=False).ngroup()
        table = table.iloc[order.argsort(kind="stable")].reset_index(drop=True)
    return table[RANKING_COLUMNS]


def _on_common_images(tests: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Rank, accuracy and n by cell and model, best first, on the images that all models share.

    Over several splits, these are the images of the splits that tested all models.
    """
    ids = list(dict.fromkeys([*by, "split"]))
    sides = [
        tests[[*ids, f"model_{side}", f"common_accuracy_{side}", "common_n"]].set_axis(
            [*ids, "model", "accuracy", "n"], axis=1
        )
        for side in "ab"
    ]
    models = pd.concat(sides).drop_duplicates([*ids, "model"])
    asked = models[by].drop_duplicates()
    tested = models.groupby(ids, observed=True, sort=False).model.transform("size")
    every = models.groupby(by, observed=True, sort=False).model.transform("nunique")
    models = models[(tested == every) & (models.n > 0)]
    models = models.assign(right=models.accuracy * models.n)
    table = models.groupby([*by, "model"], observed=True, sort=False)[["right", "n"]].sum()
    table = table.reset_index()
    # The same count, summed up in another order, is the same accuracy.
    table["accuracy"] = (table.right / table.n).round(12)
    cells = table.groupby(by, observed=True, sort=False)
    table["rank"] = cells.accuracy.rank(ascending=False, method="min").astype(int)
    left = asked.merge(table[by].drop_duplicates(), how="left", indicator=True)
    for cell in left.loc[left._merge == "left_only", by].itertuples(index=False, name=None):
        names = ", ".join(str(name) for name in cell)
        log.warning("%s: no image was tested on all models; they have no ranking", names)
    order = np.lexsort((table["rank"], cells.ngroup()))
    return table.iloc[order].reset_index(drop=True)


def _letters(ranked: pd.DataFrame, tests: pd.DataFrame, by: list[str]) -> pd.Series:
    """The letters of ranked models, from the tests of their cells."""
    apart: dict[tuple, list[tuple[str, str]]] = {}
    for *cell, a, b in zip(
        *(tests.loc[tests.significant, name] for name in (*by, "model_a", "model_b")), strict=True
    ):
        apart.setdefault(tuple(cell), []).append((a, b))
    tested = tests[tests.family != NO_FAMILY]
    tested = set(tested[by].itertuples(index=False, name=None))
    letters = pd.Series("", ranked.index, dtype=object)
    for cell, own in ranked.groupby(by, observed=True, sort=False):
        # Models that are all always right, or never, need no test to be alike.
        constant = own.accuracy.nunique() == 1 and own.accuracy.iloc[0] in (0, 1)
        if cell in tested or constant:
            found = letter_groups(list(own.model), apart.get(cell, ()))
            letters[own.index] = [found[name] for name in own.model]
    return letters


def letter_groups(ranked: Sequence[str], different: Collection[tuple[str, str]]) -> dict[str, str]:
    """Piepho's insert-and-absorb letters: two names share one if and only if they do not differ.

    The groups are those of `scikit_posthocs.compact_letter_display`, a test compares them. Letters
    here follow the rank, so that the best has the `a`, and there may be more than 52 groups.

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
