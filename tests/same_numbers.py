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


def with_worst_cases(frame: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """A table of before with the columns that name a worst case over attacks, as `like` has them.

    Before, the names of attacks held it: ``all <suite>``, ``worst case <norm>`` and
    ``worst case <norm>, all attacks``. Radii were rounded to nine digits.
    """
    if "worst_case" not in like or "worst_case" in frame:
        return frame
    names = frame["attack"].astype(str)
    kinds = {r"all .+": "suite", r"worst case \w+": "norm", r"worst case \w+, .+": "norm_all"}
    frame = frame.assign(worst_case="")
    for pattern, kind in kinds.items():
        frame.loc[names.str.fullmatch(pattern), ["attack", "worst_case"]] = "", kind
    missing = {name: like[name] for name in like.columns.difference(frame.columns)}
    return frame.assign(**missing)[list(like)]


# How a metric of before was called that held an epoch, classes or a key; their columns are new.
METRICS = {
    r"@epoch\d+": "", r"count_true\d+_pred\d+": "count", r"hyperparameter:.+": "hyperparameter",
    r"latent_dimensions|(?:encoder|decoder|discriminator)\..+": "architecture",
}  # fmt: skip


def as_printed(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two ledgers on the columns of the first, whose metrics and notes held facts as texts."""
    if not {"metric", "radius"} <= set(second) or "radius" in first:
        return first, second
    metrics = first["metric"].replace(METRICS, regex=True)
    attacks = first["attack"].replace("none?", "none")
    first = first.assign(metric=metrics, attack=attacks).drop(columns="note", errors="ignore")
    return first, second[list(first)]


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """A table with empty names as texts, radii to nine digits, and one name of a worst case."""
    names = [name for name in ("attack", "worst_case", "suite", "norm") if name in frame]
    frame = frame.assign(
        **{name: frame[name].astype(object).fillna("").astype(str) for name in names}
    )
    if "epsilon" in frame:
        frame = frame.assign(epsilon=frame["epsilon"].round(9))
    called = r"\ball [a-z0-9]+_[a-z0-9_]+|worst case over [a-z0-9_]+|Worst case over “[^”]*”"
    said = [name for name in ("reason", "compared_with") if name in frame]
    return frame.assign(
        **{name: frame[name].replace(called, "worst case", regex=True) for name in said}
    )


def difference(before: Path, after: Path) -> str | None:
    """What differs between two CSV files, in one line; None if nothing does."""
    first, second = renamed(pd.read_csv(before)), unmeasured(pd.read_csv(after))
    first, second = as_printed(first, second)
    first, second = plain(with_worst_cases(first, second)), plain(second)
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
