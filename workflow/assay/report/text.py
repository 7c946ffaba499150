"""Numbers and rows of the ledger as readers see them."""

from __future__ import annotations

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


def text_of(value: Any) -> str:
    """A text that may be missing."""
    return "" if value is None or pd.isna(value) else str(value)


def number(value: Any, *, as_printed: bool = False, signed: bool = False) -> str:
    """A number for reading, with three decimals, none for large ones; empty if missing."""
    if value is None or pd.isna(value):
        return ""
    form = ",.10g" if as_printed else ",.3f" if abs(value) < 100 else ",.0f"
    return f"{value:{'+' if signed else ''}{form}}".replace("-", "−")
