"""What the ledger says of one printed number: verdict, reason, and this run's number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

COMPARED_VERDICTS = ("reproduced", "differs")
VERDICTS = (*COMPARED_VERDICTS, "not run", "not comparable")
# What a printed number is: only results tell whether a paper's claims hold.
RESULT, SETTING, COUNT, DURATION = "result", "setting", "count", "duration"
RULE = {
    "tolerance": 0.02,
    "relative_tolerance": 0.02,
    "minimum_n": 100,
    "widest_interval": 0.07,
}
# How the reason begins where the scale asks for less than the catalogue.
CUT = "cut by the scale: "


class Agreement(NamedTuple):
    """The columns of the ledger that this run fills."""

    verdict: str
    reason: str
    reproduced: float = np.nan
    low: float = np.nan
    high: float = np.nan
    delta: float = np.nan
    n: float = np.nan
    compared_with: str = ""
    kind: str = RESULT
    agrees: float = np.nan


def compared(printed: float, value: float, low: float, high: float, margin: float) -> Agreement:
    """A printed number against an interval of this run, widened by `margin` on both sides."""
    agrees = low - margin <= printed <= high + margin
    where = "within" if agrees else "outside"
    low_text, high_text, margin_text = map(brief, (low, high, margin))
    reason = f"the printed value is {where} [{low_text}, {high_text}] ± {margin_text}"
    return Agreement(
        "reproduced" if agrees else "differs", reason, value, low, high, value - printed,
        agrees=float(agrees),
    )  # fmt: skip


def compared_setting(printed: float, value: float, owner: str) -> Agreement:
    """A printed setting against the one that `owner` has here."""
    same = bool(np.isclose(printed, value, rtol=1e-6))
    reason = "a setting; as printed" if same else f"a setting; this run has {value:,g}"
    return Agreement(
        "reproduced" if same else "differs", reason, value, delta=value - printed,
        compared_with=owner, agrees=float(same),
    )  # fmt: skip


def not_comparable(agreement: Agreement, reason: str) -> Agreement:
    """The same numbers without a verdict on them, for a reason that stands first."""
    tail = agreement.reason.partition("; ")[2]
    return agreement._replace(
        verdict="not comparable", delta=np.nan, agrees=np.nan,
        reason=f"{reason}; {tail}" if tail else reason,
    )  # fmt: skip


def cut(agreement: Agreement, cuts: Sequence[str]) -> Agreement:
    """The same numbers without a verdict, for what the scale cut; whether they agree stays."""
    return agreement._replace(
        verdict="not comparable",
        delta=np.nan,
        reason=f"{CUT}{', '.join(cuts)}; {agreement.reason}",
    )


# What papers call a setting whose key is torch's.
_WORDS = {"optimizer.lr": "learning rate", "optimizer.weight_decay": "weight decay"}


def changes(changed: Mapping[str, Sequence]) -> list[str]:
    """Settings that the scale changed, in words: ``10 of 100 generations``."""
    words = []
    for path, (here, whole) in changed.items():
        name = path.partition(".")[2]
        # A count may be cut; a rate, or a part of a schedule, is only another one.
        count = all(type(value) is int for value in (here, whole)) and "." not in name
        name = _WORDS.get(name) or name.replace(".", " ").replace("_", " ")
        words.append(
            f"{here:,} of {whole:,} {name}"
            if count and here < whole
            else f"{name} {here} instead of {whole}"
        )
    return words


def brief(value: float) -> str:
    """A number in a reason: three digits, or a large one without decimals."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
