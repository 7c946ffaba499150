"""Tables as files: CSV for machines, Markdown and LaTeX for eyes, JSON for the page."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from assay.foundation.files import atomic_path, write_text
from assay.report.tables.parts import Table
from assay.report.tables.stored import StoredTable

# Rows that no page holds, and letters that no column of one line holds.
LONG_TABLE, LONG_CELL = 40, 40
# Rows that a reader goes through; of a longer table only the CSV file has more.
MOST_ROWS = 500


def write_table(table: Table, stem: Path | str) -> list[Path]:
    """Writes `stem`.csv (tidy, full precision), .md, .tex (booktabs) and .json (for the page).

    Only the CSV file has more than :data:`MOST_ROWS` rows; the others say so.

    Returns:
        The four paths.
    """
    stem = Path(stem)
    csv, markdown, latex, stored = (
        stem.with_name(f"{stem.name}.{end}") for end in ("csv", "md", "tex", "json")
    )
    write_csv(table.tidy, csv)
    short = shortened(table, csv.name)
    write_text(markdown, to_markdown(short))
    write_text(latex, to_latex(short, label=f"tab:{stem.name}"))
    write_text(stored, StoredTable.of(short).to_json() + "\n")
    return [csv, markdown, latex, stored]


def shortened(table: Table, csv: str) -> Table:
    """The first :data:`MOST_ROWS` rows of a table, and where all of them are.

    Args:
        table: any table; one that is short enough stays as it is.
        csv: the name of the file with all rows.
    """
    rows = len(table.display)
    if rows <= MOST_ROWS:
        return table
    return dataclasses.replace(
        table,
        display=table.display.head(MOST_ROWS),
        bold=None if table.bold is None else table.bold.head(MOST_ROWS),
        caption=f"The first {MOST_ROWS} of {rows:,} rows; {csv} has all. {table.caption}",
    )


def write_csv(frame: pd.DataFrame, path: Path | str) -> None:
    """Writes a tidy frame, atomically, numbers in full precision."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False)


def to_markdown(table: Table) -> str:
    """The table and its caption in GitHub's Markdown."""
    frame = table.display.map(cell_markdown).rename(columns=cell_markdown)
    if table.bold is not None:
        frame = frame.mask(table.bold.to_numpy(), "**" + frame + "**")
    return f"{frame.to_markdown(index=False, disable_numparse=True)}\n\n{table.caption}\n"


def cell_markdown(text: object) -> str:
    """The text of a cell in a Markdown table."""
    return str(text).replace("|", r"\|")


def to_latex(table: Table, label: str) -> str:
    """The table and its caption in LaTeX; needs the packages booktabs and, if long, longtable."""
    frame = table.display.map(_tex)
    frame.columns = [_tex(name) for name in frame.columns]
    widest = (table.display[name].map(str).map(len).max() for name in table.display)
    columns = "".join("p{6cm}" if width > LONG_CELL else "l" for width in widest)
    long = len(frame) > LONG_TABLE
    styler = frame.style.hide(axis="index")
    if table.bold is not None:
        marks = np.where(table.bold.to_numpy(), "textbf:--rwrap;", "")
        styler = styler.apply(lambda _: marks, axis=None)
    return styler.to_latex(
        hrules=True, environment="longtable" if long else None, position=None if long else "htbp",
        position_float=None if long else "centering", caption=_tex(table.caption), label=label,
        column_format=columns,
    )  # fmt: skip


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "ε": r"$\varepsilon$",
    "∞": r"$\infty$", "−": "$-$", "–": "--", "×": r"$\times$", "₂": "$_2$",
}  # fmt: skip


def _tex(text: object) -> str:
    return "".join(_TEX.get(letter, letter) for letter in str(text))
