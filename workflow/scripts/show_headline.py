"""Prints the headline tables of a report and the address of its page.

Usage: python workflow/scripts/show_headline.py report/demo
"""

import argparse
import sys
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[2] / "config"


def main(folder: Path) -> str:
    """The text for the terminal.

    Args:
        folder: a report's folder, ``report/{scale}``.
    """
    import pandas as pd
    import yaml

    from assay.analysis.brief import StudyBrief
    from assay.report.page import headline_text

    def read(path: Path) -> dict:
        return yaml.safe_load(path.read_text(encoding="utf-8"))

    titles = {
        kind: {
            name: entry["title"] for name, entry in read(CONFIG / f"catalogue/{kind}.yaml").items()
        }
        for kind in ("datasets", "splits", "models")
    }
    lines = []
    for headline in sorted(folder.glob("*/headline.csv")):
        name = headline.parent.name
        study = CONFIG / f"studies/{name}.yaml"
        if study.is_file():
            name = f"{read(study)['title']}: {name}"
        lines += [
            f"{name} (scale {folder.name})",
            headline_text(pd.read_csv(headline), StudyBrief(titles=titles)),
            "",
        ]
    pages = {"this report": "index.html", "snakemake report": "report.html"}
    lines += [
        f"{what:16}  {(folder / name).resolve().as_uri()}"
        for what, name in pages.items()
        if (folder / name).is_file()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    sys.stdout.write(main(parser.parse_args().folder) + "\n")
