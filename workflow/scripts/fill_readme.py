"""Puts a report's headline, its sentences and one figure on the README's first screen.

Usage: python workflow/scripts/fill_readme.py [report/workstation/millner2024] [--figure figure7]
The text between the README's markers is made from the files of the report and the study's entries
in config/.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.analysis.brief import StudyBrief
    from assay.report.tables.stored import StoredTable

START, END = "<!-- headline -->", "<!-- /headline -->"
ROOT = Path(__file__).resolve().parents[2]


def study_of(folder: Path) -> StudyBrief:
    """The study of a report's folder with its titles, as the plan gives it to the analysis."""
    from assay.plan.configuration import read_configuration
    from assay.plan.plan import make_plan

    chosen = {"scale": folder.parent.name, "studies": [folder.name]}
    return make_plan(read_configuration(chosen)).brief(folder.name)


def headline(folder: Path, figure: str, study: StudyBrief) -> str:
    """The Markdown between the markers.

    Args:
        folder: ``report/{scale}/{study}``, with the files of a report.
        figure: id of the figure that is shown.
        study: the study, as :func:`study_of` gives it.
    """
    from assay.plan import paths
    from assay.report.page_study import StudyFiles
    from assay.report.page_words import brief, earlier_code, facts, short_name

    files = StudyFiles(study, folder.parent)
    place = paths.at(paths.STUDY, scale=folder.parent.name, study=folder.name)
    known = dict(facts(files))
    data = next(known.pop(name) for name in list(known) if name.startswith("data set"))
    counts = "; ".join(f"{name}: {value}" for name, value in known.items())
    table = first_screen(files.table("headline"), study)
    caption = (folder / "figures" / f"{figure}.txt").read_text(encoding="utf-8").strip()
    title = study.figures[figure]["title"]
    # In the README's table no row can be marked by itself: one sentence says it of all.
    lines = [f"{sentence.partition('; ')[0]}.\n" for sentence in earlier_code(files)]
    for heading, sentences in brief(files):
        lines += [f"**{heading}**\n"] if heading else []
        lines += [f"- {sentence}" for sentence in sentences]
        lines.append("")
    return (
        f"**{data}: {study.title} ({short_name(study)})**\n\n{counts}.\n\n"
        + "\n".join(lines)
        + f"\n{table}\n\n"
        f"![{title}]({place}/figures/{figure}.svg)\n\n"
        f"<sub>{title}. {caption}</sub>\n\n"
        f"[Ledger: every printed number beside this run's]({place}/ledger.csv). "
        f"[All tables and figures]({place}).\n"
    )


def first_screen(stored: StoredTable, study: StudyBrief) -> str:
    """The headline table for a narrow page: a row for each attack, a column for each classifier.

    Of several split schemes it shows the one that the study compares with print.

    Args:
        stored: the headline, a row for each classifier.
        study: the study; ``titles`` and ``reported``.
    """
    import pandas as pd

    from assay.report.tables.files import cell_markdown

    table, words = pd.DataFrame(stored.in_markdown(), columns=stored.columns), stored.caption
    if "Split scheme" in table:
        scheme = study.titles["splits"][study.reported.splits]
        table = table[table["Split scheme"] == scheme].drop(columns="Split scheme")
        words = f"Splits: {scheme}. {words}"
    table = table.set_index("Model").T
    titles, lines = [], []
    for title, cells in zip(table.index, table.to_numpy(), strict=True):
        counts = {found[0] for cell in cells if (found := re.search(r" \(n = .*?\)", cell))}
        if len(counts) == 1:
            title += counts.pop()
            cells = [re.sub(r" \(n = .*?\)", "", cell) for cell in cells]
        titles.append(title)
        lines.append(cells)
    shown = pd.DataFrame(lines, columns=table.columns)
    shown.insert(0, "", titles)
    shown = shown.map(cell_markdown).rename(columns=cell_markdown)
    return f"{shown.to_markdown(index=False, disable_numparse=True)}\n\n{words}"


def filled(readme: str, text: str) -> str:
    """The README with `text` between its markers."""
    before, rest = readme.split(START, 1)
    _, after = rest.split(END, 1)
    return f"{before}{START}\n{text}{END}{after}"


def main(folder: Path, figure: str) -> None:
    from assay.foundation.files import write_text

    readme = ROOT / "README.md"
    text = headline(folder, figure, study_of(folder))
    write_text(readme, filled(readme.read_text(encoding="utf-8"), text))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path("report/workstation/millner2024")
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    parser.add_argument("--figure", default="figure7", help="id of the figure (default: figure7)")
    arguments = parser.parse_args()
    main(arguments.folder, arguments.figure)
