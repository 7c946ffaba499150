"""Statistics as another job wrote them: read back to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Protocol, TypeVar

import pandas as pd

# Columns of written statistics that hold words, of which none is missing.
WORDS = (
    "dataset", "scheme", "suite", "attack", "worst_case", "norm", "split", "model", "model_a",
    "model_b", "note", "group", "group_pooled", "method", "family", "check", "status", "sentence",
    "file", "table", "metric", "verdict", "reason", "compared_with", "members", "code",
    "attacked", "radius", "setting", "level", "key", "unit", "remark",
)  # fmt: skip


class HasWritten(Protocol):
    """What some statistics of may be written already."""

    @property
    def written(self) -> Mapping[str, Path | str]:
        """Paths of CSV files by the name of the statistic."""
        ...


Source = TypeVar("Source", bound=HasWritten)


def read_where_written(
    compute: Callable[[Source], pd.DataFrame],
) -> Callable[[Source], pd.DataFrame]:
    """A statistic that is read where it is written already, and computed elsewhere.

    Args:
        compute: a method; of its object, ``written`` has the paths of statistics by the names of
            their methods.
    """

    @wraps(compute)
    def statistic(inputs: Source) -> pd.DataFrame:
        path = inputs.written.get(compute.__name__)
        return compute(inputs) if path is None else read_statistic(path)

    return statistic


def read_statistic(path: Path | str) -> pd.DataFrame:
    """A written statistic as it was computed: numbers to the last bit, words as words.

    Since version 3.1 pandas reads the number that is nearest to the text; earlier ones needed to be
    told so.
    """
    frame = pd.read_csv(
        path, dtype=dict.fromkeys(WORDS, str), keep_default_na=False, na_values=[""]
    )
    return frame.fillna({name: "" for name in WORDS if name in frame})
