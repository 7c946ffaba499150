"""D41 for what readers see: accuracies that stand side by side must allow the comparison."""

from __future__ import annotations

import pandas as pd

from assay.analysis.accuracy import BALLS, over_norm
from assay.analysis.attack_set import SINGLE, SUITE, attack_sets
from assay.analysis.brief import StudyBrief
from assay.analysis.checks.evaluated import CLEAN, VERDICT_NORMS
from assay.analysis.checks.findings import FAIL, FLAG, percent, points
from assay.analysis.rows import PLACE
from assay.analysis.titles import attack_title, radius_text, title_of

CELL = ["suite", "attack", "worst_case", "norm", "epsilon"]
COLUMNS = [*PLACE, "model", "norm", "check", "figure", "status", "sentence"]
CHECK = "D41 display"
TOLERANCE = 1e-9


def lint_display(
    rows: pd.DataFrame,
    study: StudyBrief | None = None,
    says_n: bool = False,
) -> pd.DataFrame:
    """What a reader of one table, headline or curve would take from its rows, but must not.

    Args:
        rows: the accuracy rows that it shows: dataset, scheme, model, suite, attack, worst_case,
            norm, epsilon, n, samples, pooled, and ``clean``: the clean accuracy of the same images.
            With the column ``clean_shown``: the clean accuracy that stands beside the row, where it
            is not that of the model's clean row.
        study: the study as the plan gives it, for titles and how radii are written.
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
    status, study = FLAG if says_n else FAIL, study or StudyBrief()
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
    found["sentence"] = [
        sentence.format(
            attack=attack_title(study, attacks),
            at=f"ε = {radius_text(row.epsilon, study)}",
            model=title_of(study, "models", row.model),
        )
        for sentence, row, attacks in zip(
            found.sentence, found.itertuples(), attack_sets(found), strict=True
        )
    ]
    found["norm"] = found.norm.map(VERDICT_NORMS)
    return found[COLUMNS]


def _faults(rows: pd.DataFrame, figure, status: str, sentences) -> pd.DataFrame:
    names = [*PLACE, "model", *CELL]
    return rows[names].assign(figure=figure, status=status, sentence=list(sentences))


def _twice(rows: pd.DataFrame) -> pd.DataFrame:
    again = rows[rows.duplicated([*PLACE, "model", *CELL])]
    sentences = ["{attack} at {at} appears twice for {model}."] * len(again)
    return _faults(again, 1.0, FAIL, sentences)


def _above_own_clean(rows: pd.DataFrame) -> pd.DataFrame:
    gap = rows.pooled - rows.clean
    above = rows[rows.norm.isin(BALLS) & (gap > TOLERANCE)]
    gap = gap[above.index]
    sentences = [
        f"Under {{attack}} at {{at}}, the accuracy of {{model}} is {points(g)} above its clean "
        "accuracy on the same images."
        for g in gap
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
        f"The accuracy of {{model}} under {{attack}} at {{at}} is "
        f"{percent(row.pooled)}. The clean accuracy shown with it is {percent(beside[row.Index])}, "
        f"but on other images. On the same {row.samples} images, the clean accuracy is "
        f"{percent(row.clean)}."
        for row in above.itertuples()
    ]
    return _faults(above, (rows.pooled - beside)[above.index], status, sentences)


def _above_members(rows: pd.DataFrame) -> pd.DataFrame:
    """A worst case above the accuracy under one of its members on as many images."""
    one = rows[(rows.worst_case == SINGLE) & rows.norm.isin(BALLS)]
    # Across suites, as the worst cases over all attacks of a norm are, and within a suite.
    across = rows[over_norm(rows)]
    within = rows[rows.worst_case == SUITE]
    cell = [*PLACE, "model", "norm", "epsilon", "samples", "n"]
    found = []
    for worst, keys in ((across, cell), (within, [*cell, "suite"])):
        least = one.groupby(keys, observed=True).pooled.min().rename("least")
        joined = worst.merge(least, on=keys, how="inner")
        bad = joined[joined.pooled - joined.least > TOLERANCE]
        sentences = [
            f"{{attack}} at {{at}}: the accuracy of {{model}} is {percent(row.pooled)}, but "
            f"{percent(row.least)} under one of these attacks."
            for row in bad.itertuples()
        ]
        found.append(_faults(bad, bad.pooled - bad.least, FAIL, sentences))
    return pd.concat(found, ignore_index=True)


def _unequal(rows: pd.DataFrame, status: str) -> pd.DataFrame:
    """Models of one cell that were tested on fewer images than another model of it."""
    most = rows.groupby([*PLACE, *CELL], observed=True).samples.transform("max")
    fewer = rows[rows.samples < most]
    sentences = [
        f"{{attack}} at {{at}}: {{model}} was tested on {samples} images, another model on "
        f"{int(other)}."
        for samples, other in zip(fewer.samples, most[fewer.index], strict=True)
    ]
    return _faults(fewer, 1 - fewer.samples / most[fewer.index], status, sentences)
