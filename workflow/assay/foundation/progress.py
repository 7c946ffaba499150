"""One progress bar for all long work: lively on a terminal, sparse in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(
    iterable: Iterable[Item] | None = None,
    *,
    total: float | None = None,
    desc: str = "",
    unit: str = "it",
    initial: float = 0,
) -> tqdm:
    """A tqdm bar on standard error.

    On a terminal it moves five times a second; elsewhere it writes a line every ten seconds, so
    that a log stays readable.
    """
    live = sys.stderr.isatty()
    return tqdm(
        iterable,
        total=total,
        desc=desc,
        unit=unit,
        initial=initial,
        file=sys.stderr,
        mininterval=0.2 if live else 10.0,
        maxinterval=1.0 if live else 60.0,
        ascii=not live,
        dynamic_ncols=live,
        ncols=None if live else 100,
        leave=True,
    )
