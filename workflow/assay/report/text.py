"""Numbers, lists and rows of the ledger as readers see them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd


def short_table(table: str) -> str:
    """Where a number was printed; a file of the paper's repository without its folders."""
    first, _, last = str(table).rpartition("/")
    return f"{first.split()[0]}: {last}" if first else last


def measured(row: Any) -> str:
    """What a number of the ledger measures: the metric, and the attack with its budget."""
    attack = f", {attacked(row)}" if row.attack else ""
    clean = row.attack == "none" and row.metric != "accuracy"
    return quantity(row) + ("" if clean else attack)


def quantity(row: Any) -> str:
    """The metric of a number of the ledger, and which of its kind: a key, an epoch, classes."""
    words = [str(row.key or row.metric).replace("_", " ")]
    if row.metric == "duration":
        words[0] += f" ({row.unit})"
    if not pd.isna(row.epoch):
        words.append(f"epoch {row.epoch:.0f}")
    if not pd.isna(row.true):
        words.append(f"true class {row.true:.0f}, predicted class {row.predicted:.0f}")
    return ", ".join(words)


def attacked(row: Any) -> str:
    """The attack of a number of the ledger: its word, its radius, and what its table varies."""
    if row.attack == "none":
        return "clean"
    setting = f", {row.setting} {row.level}" if row.setting else ""
    return f"{row.attack} {row.radius}".rstrip() + setting


def plural(count: object, noun: str) -> str:
    """A count with its noun.

    Example:
        >>> plural(1, "split"), plural("2 to 5", "split")
        ('1 split', '2 to 5 splits')
    """
    return f"{count} {noun}" if str(count) == "1" else f"{count} {noun}s"


def span(values: Iterable[float]) -> str:
    """The smallest and the largest of some numbers without decimals; one where both read the same.

    Example:
        >>> span([3, 1200, 40]), span([99.8, 100.3])
        ('3 to 1,200', '100')
    """
    known = pd.Series(values).dropna()
    low, high = f"{known.min():,.0f}", f"{known.max():,.0f}"
    return low if low == high else f"{low} to {high}"


def listed(words: Iterable[str]) -> str:
    """Words as a list in a sentence.

    Example:
        >>> listed(["A"]), listed(["A", "B"]), listed(["A", "B", "C"])
        ('A', 'A and B', 'A, B and C')
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def text_of(value: Any) -> str:
    """A text that may be missing."""
    return "" if value is None or pd.isna(value) else str(value)


def number(value: Any, *, as_printed: bool = False, signed: bool = False) -> str:
    """A number for reading, with three decimals, none for large ones; empty if missing."""
    if value is None or pd.isna(value):
        return ""
    form = ",.10g" if as_printed else ",.3f" if abs(value) < 100 else ",.0f"
    return f"{value:{'+' if signed else ''}{form}}".replace("-", "−")
