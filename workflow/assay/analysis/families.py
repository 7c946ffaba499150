"""Families of tests: which tests are corrected together, by which method, and which by none.

The comparisons that a study puts first are confirmatory: Holm's method keeps the probability of
any false finding among them below the level. All other tests are exploratory: Benjamini and
Hochberg's method keeps the expected share of false findings among the findings below it. Tests
that can find nothing, and tests of attacks that are no part of the evaluation, belong to neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from assay.analysis.attack_set import NORM, AttackSet, attack_sets
from assay.analysis.brief import StudyBrief
from assay.analysis.paired import CELL, Paired

ALPHA = 0.05
HEADLINE, EXPLORATORY, NO_FAMILY = "headline", "exploratory", ""
# Attacks of these roles are evaluated to price a defect or to check something.
UNCOUNTED_ROLES = ("as_published", "control")


@dataclass(frozen=True)
class Families:
    """Which family a test belongs to, as the study declares it.

    Attributes:
        models: models of the headline; None stands for all.
        cells: (attacks, epsilon) of the headline, epsilon None for all budgets of the attacks; None
            where no headline is declared: then all tests are one family.
        uncounted: attacks whose tests are in no family.
        uncounted_suites: suites all of whose attacks are uncounted, and so is their worst case.
    """

    models: frozenset[str] | None = None
    cells: tuple[tuple[AttackSet, float | None], ...] | None = None
    uncounted: frozenset[str] = frozenset()
    uncounted_suites: frozenset[str] = frozenset()

    @classmethod
    def of(cls, study: StudyBrief) -> Families:
        """From a study with its catalogue entries: ``headline``, and each attack's ``role``."""
        uncounted = {
            name for name, entry in study.attacks.items() if entry.get("role") in UNCOUNTED_ROLES
        }
        members = {name: set(entry.get("attacks", ())) for name, entry in study.suites.items()}
        models, cells = study.headline.models, study.headline.cells
        return cls(
            frozenset(models) if models else None,
            tuple((AttackSet.of(cell), cell.get("epsilon")) for cell in cells) if cells else None,
            frozenset(uncounted),
            frozenset(name for name, own in members.items() if own and own <= uncounted),
        )

    @property
    def together(self) -> list[str]:
        """The columns within which tests are corrected together."""
        return ["dataset"] if self.cells is None else ["dataset", "scheme"]

    def in_headline(self, cells: pd.DataFrame) -> np.ndarray:
        """(C,) whether cells are those of the headline or a worst case at one of its radii.

        Args:
            cells: (C,) frame with the columns :data:`assay.analysis.paired.CELL`.
        """
        if self.cells is None:
            return np.ones(len(cells), bool)
        attacks, epsilon = attack_sets(cells), cells.epsilon.to_numpy(float)
        found = np.zeros(len(cells), bool)
        for name, wanted in self.cells:
            found |= (attacks == name) & (True if wanted is None else epsilon == wanted)
        place = ["dataset", "scheme", "norm", "epsilon"]
        radii = cells.loc[found, place].drop_duplicates()
        at_radius = cells[place].merge(radii, how="left", indicator=True)._merge.eq("both")
        return found | ((cells.worst_case == NORM) & at_radius).to_numpy(bool)

    def of_tests(
        self,
        pairs: Paired,
        cell: np.ndarray,
        models: tuple[np.ndarray, np.ndarray] | None = None,
        *,
        over_splits: bool = False,
    ) -> np.ndarray:
        """The family of each test.

        Args:
            pairs: the decisions that are tested.
            cell: (T,) index of each test's cell in ``pairs.cells``.
            models: the (T,) indices of the two models that each test compares; without, a test
                compares all models of its cell.
            over_splits: whether a test compares over all splits of its cell.

        Returns:
            (T,) ``headline``, ``exploratory``, or ``""`` for tests in no family: those of
            uncounted attacks, and those of cells in which all models are right on all images or
            wrong on all images, where no pair of decisions can differ. For tests of the headline
            all models means those of the headline.
        """
        names = np.array(pairs.models, object)
        chosen = np.array([self.models is None or name in self.models for name in names], bool)
        constant, constant_chosen = _constant(pairs, chosen, over_splits)
        headline = self.in_headline(pairs.cells)[cell]
        if models is not None:
            headline = headline & chosen[models[0]] & chosen[models[1]]
        idle = np.where(headline & (models is not None), constant_chosen[cell], constant[cell])
        attack, suite = (pairs.cells[name].isin(known).to_numpy() for name, known in (
            ("attack", self.uncounted), ("suite", self.uncounted_suites)
        ))  # fmt: skip
        family = np.where(headline, HEADLINE, EXPLORATORY).astype(object)
        family[idle | (attack | suite)[cell]] = NO_FAMILY
        return family


def _constant(
    pairs: Paired, chosen: np.ndarray, over_splits: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(C,) whether all models of a cell are always right or never, and the same for the chosen."""
    count = len(pairs.cells)
    place = np.arange(count)
    if over_splits:
        place = pairs.cells.groupby(CELL, observed=True, sort=False).ngroup().to_numpy()
    known, right = (
        np.stack([np.bincount(place[pairs.cell], column, count) for column in columns.T], axis=1)
        if len(pairs.models)
        else np.zeros((count, 0))
        for columns in (pairs.right >= 0, pairs.right == 1)
    )
    found = []
    for of in (np.ones_like(chosen), chosen):
        never, always = (right == 0)[:, of].all(axis=1), (right == known)[:, of].all(axis=1)
        found.append((never | always)[place])
    return found[0], found[1]


def corrected(
    table: pd.DataFrame, p: str, families: Families, alpha: float = ALPHA
) -> pd.DataFrame:
    """A table of tests with what multiplicity leaves of each.

    Args:
        table: one test a row, with ``family`` and the columns within which families lie.
        p: the column of p-values; NaN is no test.
        families: which tests are corrected together.
        alpha: level of each family.

    Returns:
        The table with holm_p (within the headline, else NaN), q (Benjamini and Hochberg's, within
        the exploratory tests, else NaN), significant (holm_p or q below `alpha`; never in no
        family) and level: that at which its family tests it, `alpha` in no family.
    """
    table = table.assign(holm_p=np.nan, q=np.nan, level=alpha)
    for family, column, adjust, levels in (
        (HEADLINE, "holm_p", holm, holm_levels),
        (EXPLORATORY, "q", benjamini_hochberg, benjamini_hochberg_levels),
    ):
        own = table[table.family == family].groupby(families.together, observed=True, sort=False)
        for _, tests in own:
            table.loc[tests.index, column] = adjust(tests[p])
            table.loc[tests.index, "level"] = levels(tests[p], alpha)
    table["significant"] = (table.holm_p < alpha) | (table.q < alpha)
    return table


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment over one family; NaN stays NaN and is not counted.

    Source: Holm 1979, Scandinavian Journal of Statistics 6:65-70. Not by statsmodels, which
    collects the garbage of the whole process at each call: a quarter of a second.

    Example:
        >>> holm(np.array([0.01, 0.04, np.nan, 0.03])).tolist()
        [0.03, 0.06, nan, 0.06]
    """
    p = np.asarray(p, float)
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[p[known].argsort()]
    left = np.arange(len(order), 0, -1)
    adjusted[order] = np.maximum.accumulate(p[order] * left).clip(max=1.0)
    return adjusted


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's q of one family; NaN stays NaN and is not counted.

    Source: Benjamini and Hochberg 1995, Journal of the Royal Statistical Society B 57:289-300.
    """
    from statsmodels.stats.multitest import fdrcorrection

    p = np.asarray(p, float)
    adjusted = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    if known.any():
        adjusted[known] = fdrcorrection(p[known])[1]
    return adjusted


def holm_levels(p: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """The level at which Holm's procedure tests each hypothesis of one family; NaN stays NaN.

    It goes from the smallest p-value up and compares each with `alpha` divided by the number of
    tests that are not yet rejected. Where it stops, that level is the one of all tests that are
    left: a p-value below it would have been rejected.

    Args:
        p: p-values of the family.
        alpha: level of the family.

    Returns:
        Levels in (0, alpha], same shape.
    """
    p = np.asarray(p, float)
    levels = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    rejected = int((holm(p)[known] < alpha).sum())
    before = np.minimum(scipy.stats.rankdata(p[known], method="min") - 1, rejected)
    levels[known] = alpha / (known.sum() - before)
    return levels


def benjamini_hochberg_levels(p: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """The level at which Benjamini and Hochberg's procedure tests each hypothesis; NaN stays NaN.

    The procedure rejects the R tests with p < alpha R / m for the largest such R. A test that is
    not rejected would be if its p-value were below alpha r / m, with r the number of tests that
    were rejected if its p-value were 0.

    Args:
        p: p-values of the family.
        alpha: level of the family.

    Returns:
        Levels in (0, alpha], same shape.
    """
    p = np.asarray(p, float)
    levels = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    count = len(order)
    rank = np.arange(1, count + 1)
    rejected = int(np.max(rank * (p[order] < alpha * rank / max(count, 1)), initial=0))
    # With one p-value at 0, those below it in the order move up by one rank.
    moved = np.maximum.accumulate(rank * (p[order] < alpha * (rank + 1) / max(count, 1)))
    before = np.concatenate([[0], moved[:-1]]) if count else moved
    levels[order] = alpha * np.where(rank <= rejected, rejected, before + 1) / max(count, 1)
    return levels
