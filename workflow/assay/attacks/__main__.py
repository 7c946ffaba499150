"""``python -m assay.attacks --list``: every attack of the catalogue in a table."""

from __future__ import annotations

import argparse
import sys

from tabulate import tabulate

from assay.attacks.catalogue import catalogue_rows


def main(arguments: list[str] | None = None) -> None:
    """Writes the catalogue to standard output.

    Gradient passes: those on one image on which the attack does not succeed, per view and epsilon.
    A minimal-norm attack needs them once for all epsilons.
    """
    parser = argparse.ArgumentParser(prog="python -m assay.attacks", description=main.__doc__)
    parser.add_argument("--list", action="store_true", required=True, help="list all attacks")
    parser.add_argument(
        "--format",
        default="simple",
        choices=["simple", "github", "tsv"],
        help="format of the table (default: simple)",
    )
    chosen = parser.parse_args(arguments)
    sys.stdout.write(
        tabulate(catalogue_rows(), headers="keys", tablefmt=chosen.format, disable_numparse=True)
        + "\n"
    )


if __name__ == "__main__":
    main()
