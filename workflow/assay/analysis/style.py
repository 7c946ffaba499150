"""The look of figures and numbers: one style sheet, colours that do not need colour vision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandas as pd

from assay.analysis.attack_set import NORM_ALL, SINGLE, SUITE, AttackSet
from assay.foundation.radius import Labels
from assay.foundation.resources import resource

STYLE_SHEET = resource("report/assay.mplstyle")

# Okabe and Ito (2008), ordered so that neighbours also differ in lightness; contrast with white
# is at least 3:1, so yellow and sky blue are left out.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#a6478a", "#4d5966", "#8c6d1f", "#5b4fc4", "#b3293e")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")

# Norms in words, and what the analysis names as one where no ball is searched.
NORMS = {
    "none": "clean", "clean": "clean", "linf": "L∞", "l2": "L2", "l0": "pixels",
    "severity": "corruptions", "corruptions": "corruptions",
}  # fmt: skip

GREY = "#6b7682"
FAINT = "#b4bcc6"

# Verdicts of rows that were compared: never by colour alone.
COMPARED = {"reproduced": ("#00795a", "o"), "differs": ("#c2500a", "D")}


@dataclass(frozen=True)
class SeriesStyle:
    """How one series is drawn: always a colour *and* a marker."""

    colour: str
    marker: str


def style() -> AbstractContextManager[None]:
    """The style sheet as a context; both drawing and saving happen inside it."""
    import matplotlib.style  # not at the top: the page needs the colours alone

    return matplotlib.style.context(["default", STYLE_SHEET])


def series_styles(names: Iterable[str]) -> dict[str, SeriesStyle]:
    """A colour and a marker for each name, by its position, so that all figures of a study agree.

    With more names than colours the markers shift, so that a pair never comes twice.
    """
    shift = len(COLOURS)
    return {
        name: SeriesStyle(COLOURS[i % shift], MARKERS[(i + i // shift) % len(MARKERS)])
        for i, name in enumerate(dict.fromkeys(names))
    }


def radius_text(epsilon: float, study: Mapping[str, Any]) -> str:
    """A radius as the study writes it; one that it does not write, as short as it can be.

    Args:
        epsilon: a number of a column ``epsilon``, or a stored radius.
        study: the study as the plan gives it; ``radii`` has the labels.

    Example:
        >>> radius_text(16 / 255, {"radii": ["16/255"]}), radius_text(0.3, {})
        ('16/255', '0.3')
    """
    return labels_of(study)(epsilon)


def labels_of(study: Mapping[str, Any]) -> Labels:
    """How the study writes its radii."""
    return _labels(tuple(study.get("radii", ())))


@lru_cache
def _labels(radii: tuple[str, ...]) -> Labels:
    return Labels(radii)


def attack_title(study: Mapping[str, Any], attack: AttackSet | str | Mapping[str, Any]) -> str:
    """An attack's title, or that of a worst case over several attacks.

    Args:
        study: the study as the plan gives it.
        attack: an attack set, or an item that names one (:meth:`AttackSet.of`).

    Example:
        >>> attack_title({}, {"norm": "linf"}), attack_title({}, {"suite": "blackbox"})
        ('Worst case over attacks, L∞', 'Worst case over “blackbox”')
    """
    found = AttackSet.of(attack)
    if found.worst_case == SINGLE:
        return title_of(study, "attacks", found.name)
    if found.worst_case == SUITE:
        return f"Worst case over “{title_of(study, 'suites', found.name)}”"
    over = "all attacks" if found.worst_case == NORM_ALL else "attacks"
    return f"Worst case over {over}, {NORMS.get(found.name, found.name)}"


def title_of(study: Mapping[str, Any], kind: str, name: str) -> str:
    return study.get("titles", {}).get(kind, {}).get(name, name)


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
