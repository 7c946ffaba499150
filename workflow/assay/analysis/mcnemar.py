"""McNemar's test of two models on the same images, and the difference that it could have found."""

from __future__ import annotations

from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import scipy

from assay.analysis.families import ALPHA, EXPLORATORY, NO_FAMILY, Families, corrected
from assay.analysis.intervals import bonett_price
from assay.analysis.paired import CELL, Paired

POWER = 0.8


@cache
def exact_p(b: int, c: int) -> float:
    """Two-sided exact (conditional) p-value of McNemar's test for `b` and `c` discordant pairs."""
    from statsmodels.stats import contingency_tables

    if b + c == 0:
        return 1.0
    return float(contingency_tables.mcnemar([[0, b], [c, 0]], exact=True).pvalue)


def mid_p(b: int, c: int) -> float:
    """Two-sided mid-p value of McNemar's test, less conservative than the exact one.

    Source: Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13:91, with
    their rule for b = c.
    """
    mass = float(scipy.stats.binom.pmf(b, b + c, 0.5))
    if b == c:
        return 1.0 - 0.5 * mass if b else 1.0
    return exact_p(b, c) - mass


def minimum_detectable_difference(
    n, discordance, *, alpha: float = ALPHA, power: float = POWER
) -> np.ndarray:
    """The smallest true difference of accuracies that McNemar's exact test would find.

    With psi the share of discordant pairs, their number is binomial (n, psi) and those that favour
    the better model are a share (psi + d) / (2 psi) of them; the difference d is the one at which
    the exact test rejects with probability `power`. A difference cannot exceed psi: where even
    d = psi is found too rarely (few discordant pairs were seen), psi = d is solved instead, all
    discordant pairs falling on one side, so that "none seen" never reads as "none missed".

    As the power is that of the test itself and not of a normal approximation, a difference that
    was observed and not found significant is always smaller.

    Args:
        n: pairs.
        discordance: observed share of discordant pairs in [0, 1].
        alpha: two-sided level of the one test, corrected for multiplicity (:func:`holm_levels`).
        power: probability of finding the difference.

    Returns:
        Differences in (0, 1]; NaN where n is so small that no result would be significant.

    Source: Duffy 1984, Biometrics 40:1005-1015.
    """
    cases = np.broadcast(n, discordance, alpha)
    found = [_detectable(int(n), float(psi), float(level), power) for n, psi, level in cases]
    return np.reshape(found, cases.shape)


@cache
def _detectable(n: int, psi: float, alpha: float, power: float) -> float:
    fewest = int(1 - np.log2(alpha)) + 1  # discordant pairs, all on one side, for p < alpha
    if n < fewest:
        return float("nan")
    one_sided = float(scipy.special.betaincinv(fewest, n - fewest + 1, power))
    if one_sided >= psi:
        return one_sided
    low, high = scipy.stats.binom.ppf([1e-9, 1 - 1e-9], n, psi)
    discordant = np.arange(low, high + 1, dtype=int)
    weight = scipy.stats.binom.pmf(discordant, n, psi)
    # The most pairs on one side that are not significant yet.
    most = scipy.stats.binom.isf(alpha / 2, discordant, 0.5)

    def missed(difference: float) -> float:
        return power - weight @ scipy.special.bdtrc(
            most, discordant, (psi + difference) / (2 * psi)
        )

    return float(scipy.optimize.brentq(missed, 0, psi, xtol=1e-6))


def mcnemar(
    outcomes: pd.DataFrame | Paired,
    *,
    families: Families | None = None,
    alpha: float = ALPHA,
    power: float = POWER,
) -> pd.DataFrame:
    """McNemar's test for every pair of models under every attack and budget.

    Two models are compared on the images that both were tested on in the same split. Folds are
    pooled. Where the samples of a split scheme occur in several splits (repeated random splits)
    pooled pairs would not be independent: such schemes get one row per split instead. The test
    that knows of splits is :func:`assay.analysis.between_splits.between_splits`.

    Args:
        outcomes: rows of the outcome schema, or what is left of them for tests.
        families: which tests are corrected together; without, all tests of a data set are one
            family that Holm's method corrects.
        alpha: level of each family.
        power: power of the minimum detectable difference, which is that at the level that the
            correction of its family left for the test.

    Returns:
        One row per data set, split scheme, suite, attack, epsilon, pair (and split, else
        ``pooled``): n, both_right, only_a_right, only_b_right, both_wrong, accuracy_a, accuracy_b,
        difference (a - b) with its 95 % interval low, high (Bonett and Price), exact_p, mid_p,
        family, holm_p, q, significant and level (see :func:`assay.analysis.families.corrected`,
        of exact_p), minimum_detectable_difference, note; and common_n, common_accuracy_a,
        common_accuracy_b: the images that all models of the cell were tested on, and the
        accuracies on these.
    """
    pairs, families = Paired.of(outcomes).pooled(), families or Families()
    common_n, common_accuracy = _common(pairs)
    tests = []
    for a, b in combinations(range(len(pairs.models)), 2):
        first, second = pairs.right[:, a], pairs.right[:, b]
        known = (first >= 0) & (second >= 0)
        # One bin per cell and joint result: 0 both wrong, 1 only b, 2 only a, 3 both right.
        joint = pairs.cell[known] * 4 + (first[known] * 2 + second[known])
        counts = np.bincount(joint, minlength=4 * len(pairs.cells)).reshape(-1, 4)
        either = (first >= 0) | (second >= 0)
        seen = np.bincount(pairs.cell[either], minlength=len(pairs.cells))
        tests.append(
            pairs.cells.assign(
                order=np.arange(len(pairs.cells)),
                a=a,
                b=b,
                model_a=pairs.models[a],
                model_b=pairs.models[b],
                n=counts.sum(axis=1),
                both_right=counts[:, 3],
                only_a_right=counts[:, 2],
                only_b_right=counts[:, 1],
                both_wrong=counts[:, 0],
                unpaired=seen - counts.sum(axis=1),
                common_n=common_n,
                common_accuracy_a=common_accuracy[:, a],
                common_accuracy_b=common_accuracy[:, b],
            )
        )
    if not tests:
        return pd.DataFrame(columns=_MCNEMAR_COLUMNS)
    table = pd.concat(tests, ignore_index=True)
    table = table[table.n > 0].sort_values("order", kind="stable", ignore_index=True)
    n, only_a, only_b = table.n, table.only_a_right, table.only_b_right
    table["accuracy_a"] = (table.both_right + only_a) / n
    table["accuracy_b"] = (table.both_right + only_b) / n
    table["difference"] = (only_a - only_b) / n
    table["low"], table["high"] = bonett_price(only_a, only_b, n)
    discordant = list(zip(only_a.tolist(), only_b.tolist(), strict=True))
    table["exact_p"] = [exact_p(*pair) for pair in discordant]
    table["mid_p"] = [mid_p(*pair) for pair in discordant]
    table["family"] = families.of_tests(pairs, table.order.to_numpy(), (table.a, table.b))
    table = corrected(table, "exact_p", families, alpha)
    table["minimum_detectable_difference"] = minimum_detectable_difference(
        n, (only_a + only_b) / n, alpha=table.level, power=power
    )
    table["note"] = [_mcnemar_note(row, power) for row in table.itertuples()]
    return table[_MCNEMAR_COLUMNS]


_MCNEMAR_COLUMNS = [
    *CELL, "split", "model_a", "model_b", "n", "both_right", "only_a_right", "only_b_right",
    "both_wrong", "accuracy_a", "accuracy_b", "difference", "low", "high", "exact_p", "mid_p",
    "family", "holm_p", "q", "significant", "level", "minimum_detectable_difference", "note",
    "common_n", "common_accuracy_a", "common_accuracy_b",
]  # fmt: skip


def _common(pairs: Paired) -> tuple[np.ndarray, np.ndarray]:
    """(C,) images that all models of a cell were tested on, (C, M) the accuracies on these."""
    count, known = len(pairs.cells), pairs.right >= 0
    tested = np.stack(
        [np.bincount(pairs.cell[column], minlength=count) > 0 for column in known.T], axis=1
    )
    whole = known.sum(axis=1) == tested.sum(axis=1)[pairs.cell]
    n = np.bincount(pairs.cell[whole], minlength=count)
    right = [np.bincount(pairs.cell[whole], column[whole] == 1, count) for column in pairs.right.T]
    with np.errstate(invalid="ignore"):
        accuracy = np.stack(right, axis=1) / n[:, None]
    return n, np.where(tested, accuracy, np.nan)


def _mcnemar_note(row: Any, power: float) -> str:
    parts = []
    if row.family == NO_FAMILY:
        parts.append("in no family of tests, so p is not corrected and no difference is claimed")
    elif not row.significant:
        method = "Benjamini and Hochberg's" if row.family == EXPLORATORY else "Holm's"
        detectable, at = row.minimum_detectable_difference, f"at {method} level of {row.level:.2g}"
        parts.append(
            f"n.s.; {at}, no difference is significant on so few images"
            if np.isnan(detectable)
            else f"n.s.; {at}, a true difference of {detectable:.3f} would be detected with "
            f"{power:.0%} power"
        )
    if row.unpaired:
        parts.append(f"{row.unpaired} images that were tested on one model only are excluded")
    return "; ".join(parts)
