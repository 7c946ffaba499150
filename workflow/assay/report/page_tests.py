"""The page's tables of tests: rankings, differences of classifiers, checks of evaluations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from assay.analysis.checks import ORDER as STATUS_ORDER
from assay.analysis.checks import VERDICTS
from assay.analysis.families import EXPLORATORY
from assay.analysis.families import HEADLINE as HEADLINE_FAMILY
from assay.analysis.rows import PLACE
from assay.report.page_cells import Cell, Table, number_cell, p_cell
from assay.report.page_study import (
    EARLIER_WORDS,
    MARK,
    StudyFiles,
    is_earlier,
    norm_title,
    split_cell,
    split_number,
)
from assay.report.tables.cells import cells_in
from assay.report.text import number, text_of

VERDICT_WORDS = {
    "sound": "every check passes",
    "under-powered": "a check is inconclusive: the scale or the attack's budget is too small",
    "suspect": "a check found a reason for doubt",
    "broken": "a check failed",
}


# --- significance --------------------------------------------------------------------------------


def significance(files: StudyFiles) -> list[Table]:
    """Rankings and tests of the headline's attacks; tests of the headline's family come first."""
    tables = [_ranking(files)]
    if files.between_splits is not None and len(files.between_splits):
        tables += _by_family(files, files.between_splits, "between", _between_splits)
    return [*tables, *_by_family(files, files.mcnemar, "mcnemar", _mcnemar)]


def _ranking(files: StudyFiles) -> Table:
    frame = files.headline_rows(files.ranking)
    letters = {"Group": "group"}
    if "group_pooled" in frame and not (frame["group_pooled"] == frame["group"]).all():
        letters = {"Group": "group", "Group by the pooled test": "group_pooled"}
    rows = [
        [
            files.attack(*cell),
            number_cell(row.rank, as_printed=True),
            files.title("models", row.model),
            number_cell(row.accuracy),
            *(text_of(getattr(row, name)) for name in letters.values()),
            number_cell(row.n, as_printed=True),
        ]
        for cell, row in zip(cells_in(frame), frame.itertuples(), strict=True)
    ]
    words = (
        " The second letter is from McNemar's test on the pooled splits."
        if len(letters) > 1
        else ""
    )
    if "method" in frame and len(frame):
        words += f" Tests: {', '.join(dict.fromkeys(frame['method'].dropna()))}."
    return _placed(
        files,
        frame,
        f"table-{files.id}-ranking",
        "Ranking with significance groups",
        "Classifiers ranked by accuracy under the attacks of the headline. The linked files have "
        "all attacks. Ranks and letters apply within one attack, data set and split (or the pooled "
        "splits). Classifiers that share a letter do not differ significantly. This does not mean "
        f"that they are equal.{words}",
        ["Attack", "Rank", "Classifier", "Accuracy", *letters, "n"],
        rows,
        files.links("statistics/ranking"),
    )


def _by_family(
    files: StudyFiles,
    tests: pd.DataFrame,
    name: str,
    table: Callable[[StudyFiles, pd.DataFrame, str, int, bool], Table],
) -> list[Table]:
    """A table of the headline's family of tests, and a folded one of the others."""
    frame = files.headline_rows(tests)
    anchor = f"table-{files.id}-{name}"
    if "family" not in frame:
        return [table(files, frame, anchor, len(tests), False)]
    first = frame["family"].fillna("") == HEADLINE_FAMILY
    if not first.any() or first.all():
        return [table(files, frame, anchor, len(tests), True)]
    rest = frame[~first].assign(order=(frame["family"].fillna("") != EXPLORATORY)[~first])
    rest = rest.sort_values(["single", "order", "place"], kind="stable")
    return [
        table(files, frame[first], anchor, len(tests), True),
        table(files, rest, f"{anchor}-exploratory", len(tests), True),
    ]


def _mcnemar(
    files: StudyFiles, frame: pd.DataFrame, anchor: str, total: int, families: bool
) -> Table:
    rows = [
        [
            files.attack(*cell),
            files.title("models", row.model_a),
            files.title("models", row.model_b),
            number_cell(row.n, as_printed=True),
            number_cell(row.difference, signed=True),
            number_cell(row.only_a_right, as_printed=True),
            number_cell(row.only_b_right, as_printed=True),
            p_cell(row.exact_p),
            p_cell(row.mid_p),
            *_corrected(row, families),
            "yes" if row.significant else "n.s.",
            # Missing where so few images can show no difference at all.
            number_cell(row.minimum_detectable_difference, missing="–"),
        ]
        for cell, row in zip(cells_in(frame), frame.itertuples(), strict=True)
    ]
    return _placed(
        files,
        frame,
        anchor,
        "McNemar's test for each pair of classifiers" + _family_title(frame),
        f"{len(rows)} of {total} tests: those under the attacks of the headline. The linked files "
        "have all tests. The difference is accuracy A minus accuracy B on the same images. "
        f"{_correction_words(families)} Not significant (n.s.) does not mean equal. The last "
        "column is the smallest true difference that the exact test detects with 80 % power at its "
        "corrected level. A dash: with so few images, no difference can be significant.",
        [
            "Attack", "A", "B", "n", "Difference", "Only A right", "Only B right", "Exact p",
            "Mid-p", *_corrected_names(families), "Significant", "Smallest detectable",
        ],
        rows,
        files.links("statistics/mcnemar"),
    )  # fmt: skip


def _between_splits(
    files: StudyFiles, frame: pd.DataFrame, anchor: str, total: int, families: bool
) -> Table:
    rows = [
        [
            files.attack(*cell),
            files.title("models", row.model_a),
            files.title("models", row.model_b),
            text_of(row.method),
            number_cell(row.splits, as_printed=True),
            Cell(
                f"{number(row.difference, signed=True)} "
                f"[{number(row.low, signed=True)}, {number(row.high, signed=True)}]",
                float(row.difference),
            ),
            p_cell(row.p),
            *_corrected(row, families),
            "yes" if row.significant else "n.s.",
        ]
        for cell, row in zip(cells_in(frame), frame.itertuples(), strict=True)
    ]
    return _placed(
        files,
        frame,
        anchor,
        "Differences between classifiers, tested across splits" + _family_title(frame),
        f"{len(rows)} of {total} tests: those under the attacks of the headline. The linked files "
        "have all tests. The difference is accuracy A minus accuracy B. Brackets hold its interval "
        "by the method of the row, which accounts for the spread over splits. "
        f"{_correction_words(families)}",
        [
            "Attack", "A", "B", "Method", "Splits", "Difference", "p", *_corrected_names(families),
            "Significant",
        ],
        rows,
        files.links("statistics/between_splits"),
    )  # fmt: skip


def _corrected(row: Any, families: bool) -> list[Cell]:
    found = [p_cell(row.holm_p)]
    return [*found, p_cell(getattr(row, "q", float("nan")))] if families else found


def _corrected_names(families: bool) -> list[str]:
    return ["Holm p", "q"] if families else ["Holm p"]


def _correction_words(families: bool) -> str:
    if not families:
        return "Holm's correction is over all tests of the data set."
    return (
        "Holm p is corrected within the headline's family of tests. q is the false discovery rate "
        "(Benjamini and Hochberg) of an exploratory test. A test in no family has neither."
    )


def _family_title(frame: pd.DataFrame) -> str:
    if "family" not in frame:
        return ""
    families = set(frame["family"].fillna(""))
    if families == {HEADLINE_FAMILY}:
        return ": the headline's family"
    return ": exploratory" if HEADLINE_FAMILY not in families else ""


# --- checks --------------------------------------------------------------------------------------


def evaluation_card(files: StudyFiles) -> dict[str, Any]:
    """One verdict per model and norm, with the checks that decided it."""
    verdicts = files.verdicts()
    norms = list(dict.fromkeys(verdicts["norm"]))
    titles = dict.fromkeys(map(norm_title, norms))
    rows = []
    for (dataset, scheme, model), own in verdicts.groupby([*PLACE, "model"], sort=False):
        found = {norm_title(row.norm): row for row in own.itertuples()}
        rows.append(
            {
                "name": files.title("models", model),
                "detail": files.place(dataset, scheme),
                "cells": [
                    {
                        "verdict": found[norm].verdict,
                        "because": text_of(found[norm].because),
                        "order": _place_of(found[norm].verdict),
                    }
                    if norm in found
                    else None
                    for norm in titles
                ],
            }
        )
    return {
        "id": f"table-{files.id}-verdicts",
        "title": "Can each evaluation be trusted? One verdict per classifier and norm",
        "caption": "A verdict is about the evaluation, not about the classifier. The checks that "
        "decided a verdict are listed below it.",
        "legend": list(VERDICT_WORDS.items()),
        "columns": list(titles),
        "rows": rows,
        "links": files.links("checks"),
    }


def _place_of(verdict: str) -> int:
    return VERDICTS.index(verdict) if verdict in VERDICTS else len(VERDICTS)


def checks_table(files: StudyFiles) -> Table:
    """What each check found, doubtful findings first."""
    frame = files.checks.sort_values(
        "status", key=lambda status: status.map(STATUS_ORDER), kind="stable"
    )
    norms = "norm" in frame
    rows = [
        [
            files.title("models", row.model),
            *([norm_title(text_of(row.norm))] if norms else []),
            Cell(row.status, STATUS_ORDER.get(row.status)),
            text_of(row.check),
            text_of(row.sentence),
        ]
        for row in frame.itertuples()
    ]
    counts = frame["status"].value_counts()
    reported = ", ".join(
        f"{counts[status]} {status}" for status in STATUS_ORDER if status in counts
    )
    return _placed(
        files,
        frame,
        f"table-{files.id}-checks",
        "Automatic checks of the evaluation",
        f"{len(rows)} checks: {reported}. Doubtful findings come first. "
        "Weak: the scale or the budget "
        "is too small for a conclusion. Passing all checks does not prove that no stronger attack "
        "exists.",
        ["Classifier", *(["Norm"] if norms else []), "Status", "Check", "Finding"],
        rows,
        files.links("checks"),
    )


# --- what tables of statistics share -------------------------------------------------------------


def _placed(
    files: StudyFiles, frame: pd.DataFrame, id: str, title: str, caption: str,
    names: Sequence[str], rows: list[list[str | Cell]], links: list[tuple[str, str]],
) -> Table:  # fmt: skip
    """A table of a frame's rows: with data set, scheme and split if these are not all one."""
    head: dict[str, list[str | Cell]] = {}
    if frame["dataset"].nunique() > 1:
        head["Data set"] = [files.title("datasets", name) for name in frame["dataset"]]
    if files.schemes:
        head["Split scheme"] = [files.title("splits", name) for name in frame["scheme"]]
    if "split" in frame and frame["split"].map(split_number).any():
        head["Split"] = [split_cell(split) for split in frame["split"]]
    if head:
        # Behind the first column, which stays in sight when a wide table is scrolled.
        leads = zip(*head.values(), strict=True)
        rows = [[row[0], *lead, *row[1:]] for lead, row in zip(leads, rows, strict=True)]
    marked = is_earlier(frame)
    if marked.any():
        rows = [
            [_marked(row[0]), *row[1:]] if earlier else row
            for row, earlier in zip(rows, marked, strict=True)
        ]
        caption = f"{caption} {EARLIER_WORDS}"
    summary = f"{title} ({len(rows)} rows)" if id.endswith("-exploratory") else ""
    return Table.of(id, title, caption, [names[0], *head, *names[1:]], rows, links, summary)


def _marked(cell: str | Cell) -> Cell:
    cell = cell if isinstance(cell, Cell) else Cell.of(cell)
    return Cell(f"{cell.text} {MARK}", cell.value)
