"""What an accuracy is measured under: one attack, or the worst case over several of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from assay.analysis.rows import group_index
from assay.foundation.errors import ConfigError

# Values of the column `worst_case`: over the attacks of a suite, over those of a norm that saw the
# same images, and over all of a norm, on the images that all of them saw. A single attack has none.
SINGLE, SUITE, NORM, NORM_ALL = "", "suite", "norm", "norm_all"
# Keys by which a study names what is shown, and the worst case that each stands for.
KEYS = {"attack": SINGLE, "suite": SUITE, "norm": NORM}
# The column that holds the name, by worst case.
NAMED_BY = {SINGLE: "attack", SUITE: "suite", NORM: "norm", NORM_ALL: "norm"}
# The columns that together tell one set of attacks from another.
COLUMNS = ["attack", "worst_case", "suite", "norm"]


@dataclass(frozen=True, order=True)
class AttackSet:
    """One attack, or the attacks whose worst case counts: all of a suite or of a norm.

    Attributes:
        worst_case: a value of the column of that name: ``""``, ``suite``, ``norm``, ``norm_all``.
        name: of the attack, the suite or the norm.
    """

    worst_case: str
    name: str

    @classmethod
    def of(cls, item: AttackSet | str | Mapping, where: str = "attack") -> AttackSet:
        """From an item of a study file: ``pgd``, ``{suite: thesis_linf}`` or ``{norm: linf}``.

        A cell of a table has such keys, too, and may have others.

        Raises:
            ConfigError: the item has none of these keys, or several.

        Example:
            >>> AttackSet.of("pgd")
            AttackSet(worst_case='', name='pgd')
            >>> AttackSet.of({"suite": "thesis_linf", "epsilon": 0.3})
            AttackSet(worst_case='suite', name='thesis_linf')
        """
        if isinstance(item, AttackSet):
            return item
        if isinstance(item, str):
            return cls(SINGLE, item)
        keys = [key for key in KEYS if key in item]
        if len(keys) != 1:
            raise ConfigError(
                f"names {' and '.join(keys)} at once" if keys else "names no attack",
                where=where,
                remedy="write one key of attack, suite (worst case over a suite) and norm (worst "
                "case over a norm)",
            )
        return cls(KEYS[keys[0]], item[keys[0]])

    def __str__(self) -> str:
        return f"worst case over {self.name}" if self.worst_case else self.name

    @property
    def item(self) -> str | dict[str, str]:
        """As a study file names it; see :meth:`of`."""
        return {NAMED_BY[self.worst_case]: self.name} if self.worst_case else self.name

    @property
    def columns(self) -> dict[str, str]:
        """The columns ``attack`` and ``worst_case`` of its rows."""
        return {"attack": "" if self.worst_case else self.name, "worst_case": self.worst_case}

    def among(self, rows: pd.DataFrame) -> pd.Series:
        """(N,) whether each row of a table with :data:`COLUMNS` is of this set."""
        named = rows[NAMED_BY[self.worst_case]] == self.name
        return named & (rows["worst_case"] == self.worst_case)


def of_word(named: Any, norm: object) -> AttackSet | None:
    """What a study maps an attack of a paper to: one item for all norms, or one for each.

    Args:
        named: the value of ``reported.attacks``: an item (:meth:`AttackSet.of`), or a mapping from
            printed norms to items; None where the study maps nothing.
        norm: the printed norm.

    Example:
        >>> of_word({"Linf": {"suite": "thesis_linf"}, "L2": "ddn"}, "L2")
        AttackSet(worst_case='', name='ddn')
    """
    if isinstance(named, Mapping) and not KEYS.keys() & named.keys():
        named = named.get(norm)
    return None if named is None else AttackSet.of(named)


def attack_sets(rows: pd.DataFrame) -> np.ndarray:
    """(N,) the :class:`AttackSet` of each row of a table with :data:`COLUMNS`."""
    number, first = group_index(*(rows[name] for name in COLUMNS))
    found = np.empty(len(first), object)
    for place, row in enumerate(rows[COLUMNS].iloc[first].itertuples(index=False)):
        found[place] = AttackSet(row.worst_case, getattr(row, NAMED_BY[row.worst_case]))
    return found[number]


def read_table(path: Path | str) -> pd.DataFrame:
    """A CSV file of rows with (some of) :data:`COLUMNS`, in which an empty name is a text.

    A single attack has no ``worst_case``, a worst case no ``attack`` and one over a norm no
    ``suite``. pandas would read them as missing numbers. In a file of an earlier version, without
    ``worst_case``, every row is taken for that of a single attack.
    """
    table = pd.read_csv(path, dtype=dict.fromkeys(COLUMNS, str))
    if "attack" in table and "worst_case" not in table:
        table.insert(table.columns.get_loc("attack") + 1, "worst_case", "")
    return table.fillna({name: "" for name in COLUMNS if name in table})


def among(rows: pd.DataFrame, items: list) -> np.ndarray:
    """(N,) whether each row is of one of the sets that a study names by these items."""
    wanted = {AttackSet.of(item) for item in items}
    return np.fromiter((found in wanted for found in attack_sets(rows)), bool, len(rows))
