"""Numbers that papers print: the files of ``config/reported/``, a row for each number.

What a row says of its number is in columns. Only `note` is prose, and nothing reads it but people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pandas as pd

from assay.foundation.errors import ConfigError
from assay.foundation.numbers import number
from assay.foundation.radius import Radius
from assay.foundation.suggestions import did_you_mean


@dataclass(frozen=True)
class Column:
    """A column of a file of printed numbers.

    Attributes:
        form: what a cell holds: ``text``, ``number``, ``count`` (a whole number from 0) or
            ``radius``.
        meaning: the column in a sentence, for the documentation.
        required: whether each file has the column. Other columns may be missing: no row fills them.
        filled: whether each row fills it.
        choices: the only values; any if empty.
    """

    form: str
    meaning: str
    required: bool = True
    filled: bool = False
    choices: tuple[str, ...] = ()


COLUMNS = {
    "study": Column("text", "the paper"),
    "table": Column("text", "where the number is printed", filled=True),
    "dataset": Column("text", "the data set, in the words of the paper"),
    "model": Column("text", "the model, in the words of the paper"),
    "attack": Column("text", "the attack, in the words of the paper; `none` for clean images"),
    "attacked": Column(
        "text", "`unknown` where the source does not say whether the images were attacked",
        required=False, choices=("unknown",),
    ),
    "norm": Column("text", "the norm of the radius, or `factor` for a severity"),
    "epsilon": Column("number", "the radius or severity as a decimal, which may be rounded"),
    "radius": Column("radius", "the same, exact: `8/255`, `0.3`; it rounds to `epsilon`"),
    "setting": Column("text", "what else the rows of a table vary", required=False),
    "level": Column("text", "the value of `setting` in this row", required=False),
    "metric": Column("text", "what the number measures", filled=True),
    "key": Column(
        "text", "which `hyperparameter`, which size of an `architecture`, the `duration` of what",
        required=False,
    ),
    "epoch": Column("count", "the epoch of a point of a training curve, from 0", required=False),
    "true": Column("count", "true class of a confusion `count`", required=False),
    "predicted": Column("count", "predicted class of a confusion `count`", required=False),
    "value": Column("number", "the number, a rate as a fraction; empty if not printed"),
    "std": Column("number", "its printed standard deviation"),
    "unit": Column(
        "text", "unit of a loss or a duration", required=False,
        choices=("nats", "seconds", "minutes", "hours"),
    ),
    "batch": Column(
        "count", "images that a loss is the sum over; empty for the mean over images",
        required=False,
    ),
    "remark": Column(
        "text", "doubt about the number: the paper contradicts itself (`conflict`), or the cell is "
        "suspect or a misprint", required=False, choices=("conflict", "suspect", "misprint"),
    ),
    "note": Column("text", "anything else, in words; nothing is read from it"),
}  # fmt: skip

# Columns that a metric cannot do without.
NEEDED = {
    **dict.fromkeys(("train_loss", "val_loss"), ("epoch", "unit")),
    **dict.fromkeys(("train_accuracy", "val_accuracy"), ("epoch",)),
    **dict.fromkeys(("hyperparameter", "architecture"), ("key",)),
    "count": ("true", "predicted"),
    "duration": ("key", "unit"),
}


def read_reported(paths: Iterable[Path | str]) -> pd.DataFrame:
    """Reads files of ``config/reported/``, below each other.

    Args:
        paths: the files.

    Returns:
        :data:`COLUMNS` and ``file``, the name of each row's file. Texts are empty where a cell is;
        numbers are NaN there and counts NA. Radii are texts that :class:`Radius` takes.

    Raises:
        ConfigError: a file cannot be read, has other columns, or a cell is not what its column
            holds; the message names file, line, column and remedy.

    Example:
        >>> list(read_reported([]))[:3]
        ['study', 'table', 'dataset']
    """
    frames = [_read(Path(path)) for path in paths]
    empty = pd.DataFrame(columns=[*COLUMNS, "file"])
    return pd.concat(frames, ignore_index=True) if frames else empty


def _read(path: Path) -> pd.DataFrame:
    try:
        texts = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read as CSV ({error})", where=path) from error
    _check_columns(texts, path)
    texts = texts.reindex(columns=list(COLUMNS), fill_value="").apply(
        lambda cells: cells.str.strip()
    )
    for line, row in enumerate(texts.to_dict("records"), start=2):
        _check_row(row, f"{path}: line {line}")
    frame = pd.DataFrame({name: _FORMS[c.form](texts[name]) for name, c in COLUMNS.items()})
    return frame.assign(file=path.name)


def _check_columns(texts: pd.DataFrame, path: Path) -> None:
    """Refuses a file without a required column or with one that nothing reads."""
    missing = [name for name, column in COLUMNS.items() if column.required and name not in texts]
    if missing:
        remedy = "add them; config/README.md says what they hold"
        raise ConfigError(f"columns missing: {missing}", where=path, remedy=remedy)
    for name in texts:
        if name not in COLUMNS:
            remedy = did_you_mean(name, COLUMNS, f"known are {', '.join(COLUMNS)}")
            raise ConfigError(f"there is no column '{name}'", where=path, remedy=remedy)


def _check_row(row: dict[str, str], where: str) -> None:
    """Refuses a row with a cell that is not what its column holds, or with half of a fact."""
    for name, column in COLUMNS.items():
        if row[name] or column.filled:  # most cells are empty
            _check_cell(row[name], column, f"{where}: {name}")
    for first, second in (("epsilon", "radius"), ("radius", "epsilon"), ("setting", "level"),
                          ("level", "setting")):  # fmt: skip
        if row[first] and not row[second]:
            raise _lacks(second, f"{first} is '{row[first]}'", where, "fill both or none")
    for name in NEEDED.get(row["metric"], ()):
        if not row[name]:
            remedy = f"give {COLUMNS[name].meaning}"
            raise _lacks(name, f"the metric is '{row['metric']}'", where, remedy)
    if row["radius"]:
        decimal = Decimal(row["epsilon"])
        half = Decimal(5).scaleb(int(decimal.as_tuple().exponent) - 1)
        if abs(Decimal(Radius(row["radius"])) - decimal) > half:
            raise ConfigError(
                f"'{row['radius']}' is not epsilon, {row['epsilon']}", where=f"{where}: radius",
                remedy="write the radius that the decimal rounds",
            )  # fmt: skip


def _check_cell(text: str, column: Column, where: str) -> None:
    if not text:
        if column.filled:
            raise ConfigError("the cell is empty", where=where, remedy=f"give {column.meaning}")
    elif column.choices and text not in column.choices:
        known = f"write {' or '.join(column.choices)}, or leave the cell empty"
        remedy = did_you_mean(text, column.choices, known)
        raise ConfigError(f"'{text}' is not known", where=where, remedy=remedy)
    elif column.form == "count" and not (text.isascii() and text.isdigit()):
        remedy = "write one such as 3, or leave the cell empty"
        raise ConfigError(f"'{text}' is not a whole number", where=where, remedy=remedy)
    elif column.form == "number" and "/" in text:
        remedy = "write a decimal here; quotients belong into the column radius"
        raise ConfigError(f"'{text}' is a quotient", where=where, remedy=remedy)
    elif column.form in ("number", "radius"):
        number(text, where)


def _lacks(name: str, because: str, where: str, remedy: str) -> ConfigError:
    return ConfigError(f"the cell is empty, but {because}", where=f"{where}: {name}", remedy=remedy)


def _numbers(cells: pd.Series) -> pd.Series:
    return cells.map(lambda text: float(text) if text else float("nan")).astype(float)


def _counts(cells: pd.Series) -> pd.Series:
    return cells.map(lambda text: int(text) if text else pd.NA).astype("Int64")


_FORMS: dict[str, Callable[[pd.Series], pd.Series]] = {
    "text": lambda cells: cells, "radius": lambda cells: cells,
    "number": _numbers, "count": _counts,
}  # fmt: skip
