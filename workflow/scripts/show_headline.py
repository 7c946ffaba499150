"""Prints the headline tables of a report and the address of its page.

Usage: python workflow/scripts/show_headline.py report/demo
"""

import argparse
import sys
from pathlib import Path


def main(folder: Path) -> str:
    """The text for the terminal.

    Args:
        folder: a report's folder, ``report/{scale}``.

    Raises:
        ConfigError: the folder has no report, or the configuration has no such scale or study.
    """
    import pandas as pd

    from assay.analysis.brief import StudyBrief
    from assay.foundation.errors import ConfigError
    from assay.plan.configuration import read_configuration
    from assay.report.page import headline_text

    headlines = {path.parent.name: path for path in sorted(folder.glob("*/headline.csv"))}
    if not headlines:
        raise ConfigError("no study has a headline.csv", where=folder, remedy="run the workflow")
    configuration = read_configuration({"scale": folder.name, "studies": list(headlines)})
    titles = {
        kind: {name: entry["title"] for name, entry in configuration.catalogue[kind].items()}
        for kind in ("datasets", "splits", "models")
    }
    lines = []
    for name, path in headlines.items():
        lines += [
            f"{configuration.studies[name]['title']}: {name} (scale {folder.name})",
            headline_text(pd.read_csv(path), StudyBrief(titles=titles)),
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
    from assay.foundation.errors import AssayError

    try:
        sys.stdout.write(main(parser.parse_args().folder) + "\n")
    except AssayError as error:
        sys.exit(f"error: {error}")
