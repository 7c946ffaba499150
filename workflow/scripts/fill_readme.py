"""Puts a report's headline table, one figure and the ledger's counts on the README's first screen.

Usage: python workflow/scripts/fill_readme.py [report/workstation/millner2024]
Everything between the README's markers comes from the report's files; nothing is typed by hand.
"""

import argparse
from pathlib import Path

import pandas as pd

from assay.analysis.ledger import less_in_words
from assay.foundation.files import write_text

START, END = "<!-- headline -->", "<!-- /headline -->"
ROOT = Path(__file__).resolve().parents[2]


def headline(folder: Path, figure: str) -> str:
    """The Markdown between the markers.

    Args:
        folder: ``report/{scale}/{study}``, with headline.csv, ledger.csv and figures/.
        figure: name of the figure that is shown.
    """
    table = pd.read_csv(folder / "headline.csv")
    ledger = pd.read_csv(folder / "ledger.csv")
    scale, study = folder.parent.name, folder.name
    counts = ledger["verdict"].value_counts()
    shown = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    place = f"report/{scale}/{study}"
    caption = (folder / "figures" / f"{figure}.txt").read_text(encoding="utf-8").strip()
    words = (folder / "headline.md").read_text(encoding="utf-8").strip()
    return (
        f"**{study}, scale {scale}**\n\n{words}\n\n"
        f"![{figure}]({place}/figures/{figure}.svg)\n\n"
        f"<sub>{caption}</sub>\n\n"
        f"Of {len(ledger)} printed values: {shown}{less_in_words(ledger)} "
        f"([ledger]({place}/ledger.csv)). "
        f"All tables and figures: [{place}]({place}); n per cell up to {table['n'].max():.0f}.\n"
    )


def filled(readme: str, text: str) -> str:
    """The README with `text` between its markers."""
    before, rest = readme.split(START, 1)
    _, after = rest.split(END, 1)
    return f"{before}{START}\n{text}{END}{after}"


def main(folder: Path, figure: str) -> None:
    readme = ROOT / "README.md"
    write_text(readme, filled(readme.read_text(encoding="utf-8"), headline(folder, figure)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path("report/workstation/millner2024")
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    parser.add_argument("--figure", default="figure7")
    arguments = parser.parse_args()
    main(arguments.folder, arguments.figure)
