"""Compares the tables of two reports, made before and after a change that changes no number.

    python tests/same_numbers.py before/report/smoke after/report/smoke

Prints a line for each table that differs and exits with 1 if there is one. Measured times and what
follows from them are excepted. Names that the change gives are put in `RENAMED` and taken out when
the next step begins.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

# Old to new: columns, and texts in columns of text.
RENAMED: dict[str, str] = {}
# Columns of measured times and memory; whether the code of the rows is today's.
MEASURED = {"seconds", "peak_mb", "hours", "seconds_per_image", "code"}
# Tables of nothing but measurements.
COSTS = {"costs.csv"}


def renamed(frame: pd.DataFrame) -> pd.DataFrame:
    """A table under the new names, without what is measured."""
    frame = unmeasured(frame.rename(columns=RENAMED))
    texts = frame.select_dtypes(exclude="number").columns
    return frame.assign(**{name: frame[name].replace(RENAMED) for name in texts})


def unmeasured(frame: pd.DataFrame) -> pd.DataFrame:
    """A table without measured columns, and a ledger without its durations."""
    if "kind" in frame:
        frame = frame[frame["kind"] != "duration"].reset_index(drop=True)
    return frame.drop(columns=MEASURED, errors="ignore")


def difference(before: Path, after: Path) -> str | None:
    """What differs between two CSV files, in one line; None if nothing does."""
    first, second = renamed(pd.read_csv(before)), unmeasured(pd.read_csv(after))
    try:
        pd.testing.assert_frame_equal(first, second, rtol=1e-9, atol=1e-12)
    except AssertionError as error:
        return " ".join(str(error).split())[:200]
    return None


def main(before: Path, after: Path) -> int:
    old = {path.relative_to(before) for path in before.rglob("*.csv") if path.name not in COSTS}
    new = {path.relative_to(after) for path in after.rglob("*.csv") if path.name not in COSTS}
    told = [f"{path}: only before" for path in sorted(old - new)]
    told += [f"{path}: only after" for path in sorted(new - old)]
    for path in sorted(old & new):
        if found := difference(before / path, after / path):
            told.append(f"{path}: {found}")
    sys.stdout.write("".join(f"{line}\n" for line in told))
    sys.stdout.write(f"{len(old & new)} tables compared, {len(told)} differ\n")
    return bool(told)


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:3])))
