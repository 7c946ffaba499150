"""D41 for what readers see: accuracies that stand side by side must allow the comparison."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from assay.analysis.accuracy import BALLS
from assay.analysis.checks.evaluated import CLEAN, VERDICT_NORMS
from assay.analysis.checks.findings import FAIL, FLAG, at, percent, points

PLACE = ["dataset", "scheme"]
CELL = ["suite", "attack", "norm", "epsilon"]
COLUMNS = [*PLACE, "model", "norm", "check", "figure", "status", "sentence"]
CHECK = "D41 display"
TOLERANCE = 1e-9


def lint_display(
    rows: pd.DataFrame,
    titles: Mapping[str, Mapping[str, str]] | None = None,
    says_n: bool = False,
) -> pd.DataFrame:
    """What a reader of one table, headline or curve would take from its rows, but must not.

    Args:
        rows: the accuracy rows that it shows: dataset, scheme, model, suite, attack, norm, epsilon,
            n, samples, pooled, and ``clean``: the clean accuracy of the same images. With the
            column ``clean_shown``: the clean accuracy that stands beside the row, where it is not
            that of the model's clean row.
        titles: titles by kind (``attacks``, ``models``) and id, for the sentences.
        says_n: whether each cell says its number of images.

    Returns:
        One row per fault, none where there is none: dataset, scheme, model, norm (of verdicts),
        check, figure, status (flag | fail), sentence. It fails where a row stands twice, an
        attacked accuracy lies above the clean one of its own images, or a worst case above one of
        its members. An attacked accuracy above a clean accuracy that stands beside it, but is that
        of other images, flags, or fails where the cells do not say their n; as does one cell whose
        models were tested on different numbers of images.
    """
    rows = rows.reset_index(drop=True)
    status = FLAG if says_n else FAIL
    found = pd.concat(
        [
            _twice(rows),
            _above_own_clean(rows),
            _above_shown_clean(rows, status),
            _above_members(rows),
            _unequal(rows, status),
        ],
        ignore_index=True,
    )
    found["check"] = CHECK
    words = titles or {}
    attacks, models = words.get("attacks", {}), words.get("models", {})
    found["sentence"] = [
        sentence.format(attack=attacks.get(attack, attack), model=models.get(model, model))
        for sentence, attack, model in zip(found.sentence, found.attack, found.model, strict=True)
    ]
    found["norm"] = found.norm.map(VERDICT_NORMS)
    return found[COLUMNS]


def _faults(rows: pd.DataFrame, figure, status: str, sentences) -> pd.DataFrame:
    names = [*PLACE, "model", "attack", "norm"]
    return rows[names].assign(figure=figure, status=status, sentence=list(sentences))


def _twice(rows: pd.DataFrame) -> pd.DataFrame:
    again = rows[rows.duplicated([*PLACE, "model", *CELL])]
    sentences = [
        f"{{attack}} at {at(epsilon)} appears twice for {{model}}." for epsilon in again.epsilon
    ]
    return _faults(again, 1.0, FAIL, sentences)


def _above_own_clean(rows: pd.DataFrame) -> pd.DataFrame:
    gap = rows.pooled - rows.clean
    above = rows[rows.norm.isin(BALLS) & (gap > TOLERANCE)]
    gap = gap[above.index]
    sentences = [
        f"Under {{attack}} at {at(epsilon)}, the accuracy of {{model}} is {points(g)} above its "
        "clean accuracy on the same images."
        for epsilon, g in zip(above.epsilon, gap, strict=True)
    ]
    return _faults(above, gap, FAIL, sentences)


def _above_shown_clean(rows: pd.DataFrame, status: str) -> pd.DataFrame:
    """An attacked accuracy above the clean one printed beside it, which other images gave."""
    shown = rows[rows.norm == CLEAN].groupby([*PLACE, "model"], observed=True).pooled.min()
    beside = rows.merge(shown.rename("shown"), on=[*PLACE, "model"], how="left").shown
    beside.index = rows.index
    if "clean_shown" in rows:
        beside = rows.clean_shown.fillna(beside)
    other_images = (rows.clean - beside).abs() > TOLERANCE
    above = rows[rows.norm.isin(BALLS) & other_images & (rows.pooled - beside > TOLERANCE)]
    sentences = [
        f"The accuracy of {{model}} under {{attack}} at {at(row.epsilon)} is "
        f"{percent(row.pooled)}. The clean accuracy shown with it is {percent(beside[row.Index])}, "
        f"but on other images. On the same {row.samples} images, the clean accuracy is "
        f"{percent(row.clean)}."
        for row in above.itertuples()
    ]
    return _faults(above, (rows.pooled - beside)[above.index], status, sentences)


def _above_members(rows: pd.DataFrame) -> pd.DataFrame:
    """A worst case above the accuracy under one of its members on as many images."""
    one = rows[(rows.suite != "") & rows.norm.isin(BALLS)]
    one = one[one.attack != "all " + one.suite.astype(str)]
    # Across suites, as the worst cases over all attacks of a norm are, and within a suite.
    across = rows[(rows.suite == "") & rows.norm.isin(BALLS)]
    within = rows[(rows.suite != "") & (rows.attack == "all " + rows.suite.astype(str))]
    cell = [*PLACE, "model", "norm", "epsilon", "samples", "n"]
    found = []
    for worst, keys in ((across, cell), (within, [*cell, "suite"])):
        least = one.groupby(keys, observed=True).pooled.min().rename("least")
        joined = worst.merge(least, on=keys, how="inner")
        bad = joined[joined.pooled - joined.least > TOLERANCE]
        sentences = [
            f"{{attack}} at {at(row.epsilon)}: the accuracy of {{model}} is "
            f"{percent(row.pooled)}, but {percent(row.least)} under one of these attacks."
            for row in bad.itertuples()
        ]
        found.append(_faults(bad, bad.pooled - bad.least, FAIL, sentences))
    return pd.concat(found, ignore_index=True)


def _unequal(rows: pd.DataFrame, status: str) -> pd.DataFrame:
    """Models of one cell that were tested on fewer images than another model of it."""
    most = rows.groupby([*PLACE, *CELL], observed=True).samples.transform("max")
    fewer = rows[rows.samples < most]
    sentences = [
        f"{{attack}} at {at(epsilon)}: {{model}} was tested on {samples} images, another model on "
        f"{int(other)}."
        for epsilon, samples, other in zip(
            fewer.epsilon, fewer.samples, most[fewer.index], strict=True
        )
    ]
    return _faults(fewer, 1 - fewer.samples / most[fewer.index], status, sentences)
