"""The page's tables of results: the headline, the ledger, and tables as they were written."""

from __future__ import annotations

from typing import Any

import pandas as pd

from assay.analysis.attack_set import AttackSet
from assay.analysis.checks import VERDICTS
from assay.analysis.code_age import EARLIER
from assay.analysis.ledger import RESULT
from assay.analysis.ledger import VERDICTS as COMPARISONS
from assay.analysis.rows import PLACE
from assay.analysis.titles import attack_title
from assay.report.page_cells import Cell, Table, number_cell
from assay.report.page_study import (
    EARLIER_WORDS,
    MARK,
    StudyFiles,
    is_earlier,
    norm_title,
)
from assay.report.tables.cells import CLEAN, cells_in
from assay.report.text import measured, number, short_table, text_of

BARS = (
    "Each bar runs from 0 to 1. Its tick marks the pooled accuracy, its band the 95 % interval. "
    "Classifiers that share a letter in a column do not differ significantly. This does not mean "
    "that they are equal."
)


# --- headline ------------------------------------------------------------------------------------


def headline(files: StudyFiles) -> list[dict[str, Any]]:
    """The headline's tables, one per data set and split scheme, largest first."""
    words = files.table("headline").caption
    tables = []
    for number_of, (place, rows) in enumerate(files.places()):
        where = files.place(*place) or files.title("datasets", place[0])
        table = _headline_of(files, rows)
        table["id"] = f"table-{files.id}-headline" + (f"-{number_of + 1}" if number_of else "")
        table["title"] = f"{where}: accuracy of each classifier and verdict on its evaluation"
        table["caption"] = "" if number_of else f"{words} {BARS}"
        if is_earlier(rows).any():
            table["caption"] += f" {EARLIER_WORDS}"
        table["links"] = files.links("headline")
        tables.append(table)
    return tables


def _headline_of(files: StudyFiles, rows: pd.DataFrame) -> dict[str, Any]:
    cells = files.cells(rows)
    counted = rows[["n"]].assign(cell=cells_in(rows)).dropna()
    sizes = counted.groupby("cell", sort=False)["n"].unique()
    shared = {key: counts[0] for key, counts in sizes.items() if len(counts) == 1}
    # Where the file says under which title a row stands, that title names the budget, too.
    titles = {}
    if "column" in rows:
        titles = dict(zip(cells_in(rows), rows["column"], strict=True))
    columns = [_column(files, cell, titles.get(cell), shared.get(cell)) for cell in cells]
    lines = []
    verdicts = files.verdicts()
    for (dataset, scheme, model), own in rows.groupby([*PLACE, "model"], sort=False):
        # Of an attack that stands in two suites the row on more images is shown.
        own = own.sort_values("n", kind="stable")
        known = dict(zip(cells_in(own), own.itertuples(), strict=True))
        mine = verdicts[
            (verdicts["dataset"] == dataset)
            & (verdicts["scheme"] == scheme)
            & (verdicts["model"] == model)
        ]
        lines.append(
            {
                "name": files.title("models", model),
                "series_style": files.series_styles[model],
                "verdicts": _by_verdict(mine),
                "cells": [_headline_cell(known.get(key), key in shared) for key in cells],
            }
        )
    return {"columns": columns, "rows": lines}


def _column(
    files: StudyFiles, cell: tuple[AttackSet, float], title: str | None, n: float | None
) -> dict[str, Any]:
    """A column's name, and its budget and n where all its rows have one and no name has it."""
    attacks, epsilon = cell
    budget = "" if title or attacks == CLEAN else files.budget(attacks, epsilon)
    counted = "" if n is None or "n = " in (title or "") else f"n = {n:,.0f}"
    return {
        "name": title or attack_title(files.study, attacks),
        "details": [detail for detail in (budget, counted) if detail],
    }


def _by_verdict(verdicts: pd.DataFrame) -> list[tuple[str, str]]:
    """(verdict, norms in words) of one model, the best verdict first."""
    found = {}
    for row in verdicts.itertuples():
        found.setdefault(row.verdict, []).append(norm_title(row.norm))
    order = {word: place for place, word in enumerate(VERDICTS)}
    ranked = sorted(found.items(), key=lambda item: order.get(item[0], len(order)))
    return [(word, ", ".join(dict.fromkeys(norms))) for word, norms in ranked]


def _headline_cell(cell: Any, counted: bool) -> dict[str, Any] | None:
    """An accuracy with all that the file knows of it; None where it was not run."""
    if cell is None or pd.isna(cell.pooled):
        return None
    spread, clean = getattr(cell, "sd", None), getattr(cell, "clean", None)
    lines = []
    if not pd.isna(spread):
        lines.append(f"± {spread:.3f} over splits")
    if not pd.isna(clean) and cell.attack != "clean":
        lines.append(f"clean {clean:.3f}")
    if not counted:
        lines.append(f"n = {cell.n:,.0f}")
    return {
        "text": f"{cell.pooled:.3f}",
        "value": f"{cell.pooled:.17g}",
        "interval": f"{cell.low:.3f}, {cell.high:.3f}",
        "low": f"{cell.low:.4f}",
        "high": f"{cell.high:.4f}",
        "at": f"{cell.pooled:.4f}",
        "group": text_of(getattr(cell, "group", "")),
        "leads": bool(getattr(cell, "leads", False)),
        "earlier": getattr(cell, "code", "") == EARLIER,
        "lines": lines,
    }


# --- ledger --------------------------------------------------------------------------------------


def ledger(files: StudyFiles, summary: str) -> dict[str, Any]:
    """Every printed number beside this run's."""
    verdicts = files.ledger["verdict"]
    counts = verdicts[files.ledger["kind"] == RESULT].value_counts()
    order = [*COMPARISONS, *(v for v in verdicts.unique() if v not in COMPARISONS)]
    marked = is_earlier(files.ledger)
    rows = []
    for row, earlier in zip(files.ledger.itertuples(), marked, strict=True):
        compared = not pd.isna(row.reproduced)
        ends = (row.low, row.high) if compared and not pd.isna(row.low) else ()
        rows.append(
            {
                "place": short_table(row.table) + (f" {MARK}" if earlier else ""),
                "model": text_of(row.model),
                "measured": measured(row),
                "reported": number_cell(row.reported, as_printed=True),
                "reproduced": number_cell(row.reproduced),
                "interval": ", ".join(map(number, ends)),
                "delta": number_cell(row.delta, signed=True),
                "n": number_cell(row.n if compared else None, as_printed=True),
                "verdict": row.verdict,
                "reason": text_of(row.reason),
                "note": text_of(row.note),
            }
        )
    return {
        "rows": rows,
        "counts": [(verdict, int(counts[verdict])) for verdict in order if verdict in counts],
        "verdicts": [verdict for verdict in order if (verdicts == verdict).any()],
        "summary": summary,
        "caption": "Printed values that were not run are listed too. Square brackets hold the "
        "95 % Wilson interval of an accuracy, or the range over splits of any other number. The "
        "difference is this run minus the printed value."
        f"{' ' + EARLIER_WORDS if marked.any() else ''}",
        "links": files.links("ledger"),
    }


# --- tables as written ---------------------------------------------------------------------------


def written(files: StudyFiles, anchor: str, place: str, title: str) -> Table:
    """A table as it was written."""
    table = files.table(place)
    rows = [
        [Cell.of(text, bold=(row, column) in table.marks) for column, text in enumerate(texts)]
        for row, texts in enumerate(table.rows)
    ]
    return Table.of(anchor, title, table.caption, table.columns, rows, files.links(place))
