"""Intervals and paired tests: is a difference between two classifiers real, and could it be seen?

Everything takes outcome rows and gives a tidy frame. ``docs/statistics.md`` says in words what
each number means and why this test and not another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from string import ascii_letters
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, special, stats
from statsmodels.stats import contingency_tables
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from assay.analysis.rows import ATTACKED, grouped, keyed, numbered

ALPHA = 0.05
POWER = 0.8
POOLED = "pooled"
CELL = ["dataset", "scheme", "suite", "attack", "norm", "epsilon"]


def wilson(k, n, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's score interval of a proportion (statsmodels).

    Args:
        k: successes, scalar or array; may be fractional.
        n: trials, same shape; NaN comes back where it is 0.
        level: coverage in (0, 1).

    Returns:
        Lower and upper limits in [0, 1], same shape.

    Example:
        >>> [round(float(limit), 4) for limit in wilson(8, 10)]
        [0.4902, 0.9433]
    """
    k, n = np.asarray(k, float), np.asarray(n, float)
    n = np.where(n > 0, n, np.nan)
    low, high = proportion_confint(k, n, 1 - level, method="wilson")
    # Rounding would leave limits such as 2e-18 where the interval touches an edge.
    return np.where(k <= 0, 0 * n, low), np.where(k >= n, 1 + 0 * n, high)


@cache
def exact_p(b: int, c: int) -> float:
    """Two-sided exact (conditional) p-value of McNemar's test for `b` and `c` discordant pairs."""
    if b + c == 0:
        return 1.0
    return float(contingency_tables.mcnemar([[0, b], [c, 0]], exact=True).pvalue)


def mid_p(b: int, c: int) -> float:
    """Two-sided mid-p value of McNemar's test, less conservative than the exact one.

    Source: Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13:91, with
    their rule for b = c.
    """
    mass = float(stats.binom.pmf(b, b + c, 0.5))
    if b == c:
        return 1.0 - 0.5 * mass if b else 1.0
    return exact_p(b, c) - mass


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment over one family; NaN stays NaN and is not counted."""
    p = np.asarray(p, float)
    adjusted = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    if known.any():
        adjusted[known] = multipletests(p[known], method="holm")[1]
    return adjusted


def holm_levels(p: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """The level at which Holm's procedure judged each test of one family; NaN stays NaN.

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
    before = np.minimum(stats.rankdata(p[known], method="min") - 1, rejected)
    levels[known] = alpha / (known.sum() - before)
    return levels


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
    one_sided = float(special.betaincinv(fewest, n - fewest + 1, power))
    if one_sided >= psi:
        return one_sided
    low, high = stats.binom.ppf([1e-9, 1 - 1e-9], n, psi)
    discordant = np.arange(low, high + 1, dtype=int)
    weight = stats.binom.pmf(discordant, n, psi)
    # The most pairs on one side that are not significant yet.
    most = stats.binom.isf(alpha / 2, discordant, 0.5)

    def missed(difference: float) -> float:
        return power - weight @ special.bdtrc(most, discordant, (psi + difference) / (2 * psi))

    return float(optimize.brentq(missed, 0, psi, xtol=1e-6))


def mcnemar(
    outcomes: pd.DataFrame | Paired, *, alpha: float = ALPHA, power: float = POWER
) -> pd.DataFrame:
    """McNemar's test for every pair of models under every attack and budget.

    Two models are compared on the images that both were tested on in the same split. Folds are
    pooled. Where the samples of a split scheme occur in several splits (repeated random splits)
    pooled pairs would not be independent: such schemes get one row per split instead, and
    :func:`resampled_t` is the test across splits.

    Args:
        outcomes: rows of the outcome schema, or what is left of them for tests.
        alpha: level of the family of all tests of one data set, held by Holm's correction of the
            exact p-values.
        power: power of the minimum detectable difference, which is that at the level that Holm's
            correction left for the test.

    Returns:
        One row per data set, split scheme, suite, attack, epsilon, pair (and split, else
        ``pooled``): n, both_right, only_a_right, only_b_right, both_wrong, accuracy_a, accuracy_b,
        difference (a - b) with its 95 % interval low, high (Bonett and Price), exact_p, mid_p,
        holm_p, significant, level, minimum_detectable_difference, note.
    """
    pairs = Paired.of(outcomes).pooled()
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
                model_a=pairs.models[a],
                model_b=pairs.models[b],
                n=counts.sum(axis=1),
                both_right=counts[:, 3],
                only_a_right=counts[:, 2],
                only_b_right=counts[:, 1],
                both_wrong=counts[:, 0],
                unpaired=seen - counts.sum(axis=1),
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
    table["holm_p"] = table.groupby("dataset", sort=False).exact_p.transform(holm)
    table["significant"] = table.holm_p < alpha
    table["level"] = table.groupby("dataset", sort=False).exact_p.transform(holm_levels, alpha)
    table["minimum_detectable_difference"] = minimum_detectable_difference(
        n, (only_a + only_b) / n, alpha=table.level, power=power
    )
    table["note"] = [_mcnemar_note(row, power) for row in table.itertuples()]
    return table[_MCNEMAR_COLUMNS]


_MCNEMAR_COLUMNS = [
    *CELL, "split", "model_a", "model_b", "n", "both_right", "only_a_right", "only_b_right",
    "both_wrong", "accuracy_a", "accuracy_b", "difference", "low", "high", "exact_p", "mid_p",
    "holm_p", "significant", "level", "minimum_detectable_difference", "note",
]  # fmt: skip


def cochran_q(outcomes: pd.DataFrame | Paired) -> pd.DataFrame:
    """Cochran's Q: do all models have one accuracy, under each attack and budget?

    Args:
        outcomes: as in :func:`mcnemar`, of three models or more (with two, Q is McNemar's
            asymptotic statistic).

    Returns:
        One row per cell as in :func:`mcnemar`: models (how many), n (images all were tested on),
        q, df, p, holm_p (over the data set's cells). Where all models agree on every image
        nothing speaks against equality: q = 0, p = 1.
    """
    pairs = Paired.of(outcomes).pooled()
    rows = []
    for ids, mine in zip(pairs.cells.to_dict("records"), grouped(pairs.cell), strict=True):
        right = pairs.right[mine]
        models = (right >= 0).any(axis=0)
        right = right[:, models]
        right = right[(right >= 0).all(axis=1)]
        if models.sum() < 2 or not len(right):
            continue
        if (right == right[:, :1]).all():
            q, p = 0.0, 1.0
        else:
            result = contingency_tables.cochrans_q(right.astype(int))
            q, p = float(result.statistic), float(result.pvalue)
        count = int(models.sum())
        rows.append({**ids, "models": count, "n": len(right), "q": q, "df": count - 1, "p": p})
    table = pd.DataFrame(rows, columns=[*CELL, "split", "models", "n", "q", "df", "p"])
    table["holm_p"] = table.groupby("dataset", sort=False).p.transform(holm)
    return table


def corrected_resampled_t(differences, test_share: float) -> tuple[float, int, float]:
    """Student's t across resampled splits, with the variance that overlapping splits need.

    The variance of the mean difference is (1/J + n_test/n_train) s^2 instead of s^2/J, because
    the training sets of the J splits share images.

    Args:
        differences: J >= 2 differences of accuracy, one per split.
        test_share: n_test / n_train.

    Returns:
        t, degrees of freedom J - 1, and the two-sided p-value (1 where all differences are 0).

    Source: Nadeau and Bengio 2003, Machine Learning 52:239-281.
    """
    differences = np.asarray(differences, float)
    count = differences.size
    mean, variance = differences.mean(), differences.var(ddof=1)
    if np.isclose(variance, 0, atol=1e-15):
        return (0.0, count - 1, 1.0) if np.isclose(mean, 0) else (np.inf * mean, count - 1, 0.0)
    t = mean / np.sqrt((1 / count + test_share) * variance)
    return float(t), count - 1, float(2 * stats.t.sf(abs(t), count - 1))


def resampled_t(
    outcomes: pd.DataFrame | Paired, train_sizes: Mapping[tuple[str, str, str], int]
) -> pd.DataFrame:
    """The corrected resampled t-test for every pair of models, attack and budget.

    Two models of a split may have been trained on different numbers of images. n_train is then the
    smaller one, which gives the larger variance: the difference is never called more certain than
    it would be if both had been trained on as few images.

    Args:
        outcomes: as in :func:`mcnemar`.
        train_sizes: training images by (dataset, split, model); pairs with fewer than two splits
            of known sizes are left out.

    Returns:
        One row per cell and pair: splits, difference (mean of a - b), sd, test_share, t, df, p,
        holm_p (over the data set).
    """
    pairs = Paired.of(outcomes)
    cells = pairs.cells
    places = list(zip(cells.dataset, cells.split, strict=True))
    trained = [
        np.array([train_sizes.get((*place, model), np.nan) for place in places])
        for model in pairs.models
    ]
    rows = []
    for a, b in combinations(range(len(pairs.models)), 2):
        known = (pairs.right[:, a] >= 0) & (pairs.right[:, b] >= 0)
        gap = pairs.right[known, a] - pairs.right[known, b]
        n = np.bincount(pairs.cell[known], minlength=len(cells))
        total = np.bincount(pairs.cell[known], weights=gap, minlength=len(cells))
        with np.errstate(invalid="ignore"):
            splits = cells.assign(gap=total / n, share=n / np.minimum(trained[a], trained[b]))
        for ids, cell in splits.dropna().groupby(CELL, observed=True, sort=False):
            if len(cell) < 2:
                continue
            share = float(cell.share.mean())
            t, df, p = corrected_resampled_t(cell.gap, share)
            rows.append(
                (*ids, pairs.models[a], pairs.models[b], len(cell), cell.gap.mean(),
                 cell.gap.std(ddof=1), share, t, df, p)
            )  # fmt: skip
    names = ["model_a", "model_b", "splits", "difference", "sd", "test_share", "t", "df", "p"]
    table = pd.DataFrame(rows, columns=[*CELL, *names])
    table["holm_p"] = table.groupby("dataset", sort=False).p.transform(holm)
    return table


def ranking(tests: pd.DataFrame) -> pd.DataFrame:
    """Models by accuracy under each attack and budget, with letters for what the tests can tell.

    Two models that share a letter are not significantly different (compact letter display).

    Args:
        tests: the frame of :func:`mcnemar`.

    Returns:
        One row per cell and model: rank (1 best), model, accuracy, n, group (letters).

    Source: Piepho 2004, Journal of Computational and Graphical Statistics 13:456-466.
    """
    rows = []
    for ids, cell in tests.groupby([*CELL, "split"], observed=True, sort=False):
        sides = [
            cell[[f"model_{side}", f"accuracy_{side}", "n"]].set_axis(
                ["model", "accuracy", "n"], axis=1
            )
            for side in "ab"
        ]
        models = (
            pd.concat(sides)
            .groupby("model", sort=False)
            .agg({"accuracy": "mean", "n": "min"})
            .sort_values("accuracy", ascending=False, kind="stable")
        )
        apart = cell[cell.significant]
        letters = letter_groups(
            list(models.index), list(zip(apart.model_a, apart.model_b, strict=True))
        )
        rows += [
            (*ids, rank, model, one.accuracy, int(one.n), letters[model])
            for rank, (model, one) in enumerate(models.iterrows(), start=1)
        ]
    return pd.DataFrame(rows, columns=[*CELL, "split", "rank", "model", "accuracy", "n", "group"])


def letter_groups(ranked: Sequence[str], different: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Piepho's insert-and-absorb letters: two names share one if and only if they do not differ.

    Args:
        ranked: names, best first; the best gets an ``a``.
        different: pairs of names that differ significantly.

    Returns:
        Letters by name.

    Example:
        >>> letter_groups(["x", "y", "z"], [("x", "z")])
        {'x': 'a', 'y': 'ab', 'z': 'b'}
    """
    groups = [frozenset(ranked)]
    for pair in different:
        halves = []
        for group in groups:
            halves += [group - {name} for name in pair] if group.issuperset(pair) else [group]
        unique = list(dict.fromkeys(halves))
        groups = [group for group in unique if not any(group < other for other in unique)]
    place = {name: index for index, name in enumerate(ranked)}
    groups.sort(key=lambda group: sorted(place[name] for name in group))
    return {
        name: "".join(
            letter for letter, group in zip(ascii_letters, groups, strict=False) if name in group
        )
        for name in ranked
    }


@dataclass(frozen=True)
class Paired:
    """What paired tests need of outcomes: a row per image and cell, a column per model.

    Five models take seventeen bytes per image, attack and budget, a fraction of their outcome rows,
    which may be read part by part (:meth:`joined`).

    Attributes:
        cells: frame of the cells (:data:`CELL` and ``split``), in order of appearance.
        cell: (R,) index into `cells` of each row.
        sample: (R,) the image of each row.
        right: (R, M) int8: 1 where the model is right, 0 where wrong, -1 where not tested.
        models: M names in order of appearance.
        repeated: (data set, scheme) pairs whose samples are tested in several splits.
    """

    cells: pd.DataFrame
    cell: np.ndarray
    sample: np.ndarray
    right: np.ndarray
    models: tuple[str, ...]
    repeated: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, outcomes: pd.DataFrame | Paired) -> Paired:
        """From rows of the outcome schema."""
        if isinstance(outcomes, cls):
            return outcomes
        rows = keyed(outcomes)
        codes, models = pd.factorize(rows.model)
        cell, first = numbered(*(rows[name] for name in (*CELL, "split")))
        sample = rows["sample"].to_numpy()
        row, first_row = numbered(cell, sample)
        right = np.full((len(first_row), len(models)), -1, np.int8)
        right[row, codes] = ~rows.broken.to_numpy(bool)
        cells = rows[[*CELL, "split"]].iloc[first].reset_index(drop=True)
        cells = cells.astype(dict.fromkeys((*CELL[:-1], "split"), object))
        names = tuple(map(str, models))
        repeated = frozenset(repeated_schemes(rows))
        cell, sample = cell[first_row].astype(np.int32), sample[first_row]
        return cls(cells, cell, sample, right, names, repeated)

    @classmethod
    def joined(cls, parts: Iterable[Paired]) -> Paired:
        """Parts as one, whether they have models, cells or images in common or not."""
        parts = list(parts)
        models = tuple(dict.fromkeys(name for part in parts for name in part.models))
        cells = pd.concat([part.cells for part in parts], ignore_index=True)
        number, first = numbered(*(cells[name] for name in cells))
        starts = np.cumsum([0, *(len(part.cells) for part in parts)])
        cell = np.concatenate(
            [number[start + part.cell] for part, start in zip(parts, starts, strict=False)]
        )
        sample = np.concatenate([part.sample for part in parts])
        row, first_row = numbered(cell, sample)
        right = np.full((len(first_row), len(models)), -1, np.int8)
        for part in parts:
            mine, row = row[: len(part.cell)], row[len(part.cell) :]
            for name, column in zip(part.models, part.right.T, strict=True):
                known = column >= 0
                right[mine[known], models.index(name)] = column[known]
        return cls(
            cells.iloc[first].reset_index(drop=True),
            cell[first_row].astype(np.int32),
            sample[first_row],
            right,
            models,
            frozenset().union(*(part.repeated for part in parts)),
        )

    @property
    def evaluations(self) -> Counter[tuple[str, str, str, str]]:
        """How many rows there are by :data:`ATTACKED`."""
        rows = self.cells.assign(rows=np.bincount(self.cell, minlength=len(self.cells)))
        return Counter(rows.groupby(ATTACKED).rows.sum().to_dict())

    def pooled(self) -> Paired:
        """Splits put together where no image is tested in two of them."""
        cells = self.cells
        apart = [key in self.repeated for key in zip(cells.dataset, cells.scheme, strict=True)]
        cells = cells.assign(split=cells["split"].where(apart, POOLED))
        cell, first = numbered(*(cells[name] for name in (*CELL, "split")))
        return replace(self, cells=cells.iloc[first].reset_index(drop=True), cell=cell[self.cell])


def repeated_schemes(outcomes: pd.DataFrame) -> set[tuple[str, str]]:
    """(Data set, scheme) whose samples are tested in several splits, which cannot be pooled."""
    rows = keyed(outcomes)
    scheme, first = numbered(rows.dataset, rows.scheme)
    _, tested = numbered(scheme, rows["split"], rows["sample"])
    scheme, sample = scheme[tested], rows["sample"].to_numpy()[tested]
    twice = np.bincount(scheme, minlength=len(first)) > np.bincount(
        scheme[numbered(scheme, sample)[1]], minlength=len(first)
    )
    return set(rows[["dataset", "scheme"]].iloc[first[twice]].itertuples(index=False, name=None))


def bonett_price(only_a, only_b, n, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Bonett and Price's adjusted Wald interval of a paired difference (2012)."""
    first, second = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    centre = first - second
    half = stats.norm.isf((1 - level) / 2) * np.sqrt((first + second - centre**2) / (n + 2))
    return np.maximum(centre - half, -1.0), np.minimum(centre + half, 1.0)


def _mcnemar_note(row: Any, power: float) -> str:
    parts = []
    if not row.significant:
        detectable, at = row.minimum_detectable_difference, f"at Holm's level of {row.level:.2g}"
        parts.append(
            f"n.s.; {at}, no difference is significant on so few images"
            if np.isnan(detectable)
            else f"n.s.; {at}, a true difference of {detectable:.3f} would be found with "
            f"{power:.0%} power"
        )
    if row.unpaired:
        parts.append(f"{row.unpaired} images tested on one model only are left out")
    return "; ".join(parts)
