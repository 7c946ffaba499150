"""Prints the headline tables of a report and the address of its page.

Usage: python workflow/scripts/show_headline.py report/demo
"""

import argparse
import sys
from pathlib import Path

STUDIES = Path(__file__).resolve().parents[2] / "config/studies"


def main(folder: Path) -> str:
    """The text for the terminal.

    Args:
        folder: a report's folder, ``report/{scale}``.
    """
    import pandas as pd
    import yaml

    from assay.analysis.page import headline_text

    lines = []
    for headline in sorted(folder.glob("*/headline.csv")):
        name = headline.parent.name
        study = STUDIES / f"{name}.yaml"
        if study.is_file():
            name = f"{yaml.safe_load(study.read_text(encoding='utf-8'))['title']}: {name}"
        lines += [
            f"{name} (scale {folder.name})",
            headline_text(pd.read_csv(headline)),
            "",
        ]
    lines += [f"report            {(folder / 'index.html').resolve().as_uri()}"]
    if (folder / "report.html").is_file():
        lines += [f"snakemake report  {(folder / 'report.html').resolve().as_uri()}"]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    sys.stdout.write(main(parser.parse_args().folder) + "\n")
