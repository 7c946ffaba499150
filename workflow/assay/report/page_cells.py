"""Tables of the page: cells with a text to read and a value to sort by, and how columns are set."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from assay.report.text import number

# What stands where there is no number.
MISSING = frozenset(
    {"", "-", "–", "—", "−", "not run", "not checked", "not printed", "unknown", "n/a", "nan"}
)
BADGES = (
    "sound",
    "under-powered",
    "suspect",
    "broken",
    "pass",
    "weak",
    "flag",
    "fail",
    "reproduced",
    "differs",
    "not run",
    "not comparable",
)
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
_VALUE = re.compile(
    rf"(?P<bound>[<>≤≥~≈])?\s*(?P<sign>[-−–+])?"
    rf"(?:(?P<infinite>∞|inf)|(?P<digits>{_DIGITS})(?:[eE](?P<exponent>[-−+]?\d+))?)"
    rf"(?:(?:/|\s+of\s+)(?P<whole>{_DIGITS}))?\s*(?P<percent>%)?(?:\s?(?P<prefix>[MGT]))?"
    # What may follow a number without being part of it: spread, interval, remark, marks, letters.
    rf"(?:\s*(?:±\s*{_DIGITS}\s*%?|\[[^\]]*\]|\([^)]*\)|[†‡*§]|n\s*=\s*[\d,]+"
    rf"|points?|pixels?|px|images?)|\s+[A-Za-z]{{1,3}})*\s*"
)
_PREFIXES = {None: 1.0, "M": 1e6, "G": 1e9, "T": 1e12}
_CODE = re.compile("`")


def is_missing(text: str) -> bool:
    """Whether a cell's text says that there is no number."""
    return _CODE.sub("", text).strip() in MISSING


def value_of(text: str) -> float | None:
    """The number that a cell's text states, to sort by; None if it states none.

    Thousands have commas, minus may be U+2212, ``n/255`` and ``n of 30`` are fractions, ``%`` is a
    hundredth. A spread (``±``), an interval in brackets, a remark in parentheses, and letters of
    significance groups may follow. ``< 0.001`` is less than 0.001.

    Args:
        text: as it is shown.

    Example:
        >>> [value_of(text) for text in ("−0.2", "1,496", "0.98 ± 0.01 [0.9, 1.0] ab", "12 %")]
        [-0.2, 1496.0, 0.98, 0.12]
        >>> value_of("< 0.001") < 0.001, value_of("5-fold"), value_of("not run")
        (True, None, None)
    """
    found = _VALUE.fullmatch(_CODE.sub("", text).strip())
    if not found:
        return None
    value = math.inf
    if digits := found["digits"]:
        exponent = (found["exponent"] or "0").replace("−", "-")
        value = float(f"{digits.replace(',', '')}e{exponent}")
    if whole := found["whole"]:
        whole = float(whole.replace(",", ""))
        if whole == 0:
            return None
        value /= whole
    value *= _PREFIXES[found["prefix"]] * (0.01 if found["percent"] else 1.0)
    if found["sign"] in ("-", "−", "–"):
        value = -value
    towards = {"<": -math.inf, ">": math.inf}.get(found["bound"])
    return value if towards is None else math.nextafter(value, towards)


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what is read.
        value: what is sorted by; None sorts by the text, NaN sorts last in either direction.
        bold: whether it is marked.
    """

    text: str
    value: float | None = None
    bold: bool = False

    @classmethod
    def of(cls, text: str, *, bold: bool = False) -> Cell:
        """A cell of which the text is all that is known."""
        return cls(text, math.nan if is_missing(text) else value_of(text), bold)

    @property
    def data(self) -> str | None:
        """The attribute ``data-value``: a number, empty where one is missing, None for words."""
        if self.value is None:
            return None
        if math.isnan(self.value):
            return ""
        if math.isinf(self.value):
            return "Infinity" if self.value > 0 else "-Infinity"
        return f"{self.value:.17g}"


def number_cell(value: Any, *, missing: str = "", **form: bool) -> Cell:
    """A cell for a number of a tidy frame; see :func:`assay.report.text.number`."""
    text = number(value, **form)
    return Cell(text or missing, float(value) if text else math.nan)


def p_cell(value: float) -> Cell:
    """A cell for a p-value or q; a dash where there is none."""
    if pd.isna(value):
        return Cell("–", math.nan)
    return Cell("< 0.001" if value < 0.001 else f"{value:.3f}", float(value))


@dataclass(frozen=True)
class Column:
    """A table's column and how its cells are set: as number, short, sentence, text or badge."""

    name: str
    kind: str

    @classmethod
    def of(cls, name: str, cells: Iterable[Cell]) -> Column:
        cells = list(cells)
        known = [cell for cell in cells if not is_missing(cell.text)]
        # A cell without a number never turns a column of numbers into one of words.
        if known and all(cell.text in BADGES for cell in known):
            return cls(name, "badge")
        numbers = all(value_of(cell.text) is not None for cell in known)
        if numbers and any(cell.text for cell in cells):
            return cls(name, "number")
        longest = max((len(cell.text) for cell in cells), default=0)
        return cls(name, "short" if longest <= 28 else "text" if longest <= 60 else "sentence")


@dataclass(frozen=True)
class Table:
    """A table as the page shows it; texts among the cells are read by :meth:`Cell.of`."""

    id: str
    title: str
    caption: str
    columns: list[Column]
    rows: list[list[Cell]]
    links: list[tuple[str, str]] = field(default_factory=list)
    summary: str = ""
    """Words to fold the table behind; empty if it is open."""

    @classmethod
    def of(
        cls,
        id: str,
        title: str,
        caption: str,
        names: Sequence[str],
        rows: Iterable[Sequence[str | Cell]],
        links: Iterable[tuple[str, str]] = (),
        summary: str = "",
    ) -> Table:
        cells = [[c if isinstance(c, Cell) else Cell.of(c) for c in row] for row in rows]
        columns = [
            Column.of(name, [row[place] for row in cells]) for place, name in enumerate(names)
        ]
        return cls(id, title, caption, columns, cells, list(links), summary)


def cell_html(cell: Cell) -> Markup:
    """A cell as HTML: marked in bold, intervals set small, `code` between backticks."""
    html = str(escape(cell.text))
    html = re.sub(r"`(.+?)`", r"<code>\1</code>", html)
    html = re.sub(r"(\[[^\]]*\d[^\]]*\])", r'<span class="interval">\1</span>', html)
    return Markup(f"<strong>{html}</strong>" if cell.bold else html)
