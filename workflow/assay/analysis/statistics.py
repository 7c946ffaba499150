"""Intervals and paired tests: is a difference between two classifiers real, and could it be seen?

Everything takes outcome rows and gives a tidy frame. ``docs/statistics.md`` says in words what
each number means and why this test and not another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations
from string import ascii_letters

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats import contingency_tables
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

ALPHA = 0.05
POWER = 0.8
POOLED = "pooled"
CELL = ["dataset", "suite", "attack", "norm", "epsilon"]

# Budgets that differ only by floating-point noise are one budget.
EPSILON_DIGITS = 9


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


def minimum_detectable_difference(
    n, discordance, *, alpha: float = ALPHA, power: float = POWER
) -> np.ndarray:
    """The smallest true difference of accuracies that McNemar's test would find.

    Solves Connor's sample-size formula sqrt(n) d = z_alpha sqrt(psi) + z_beta sqrt(psi - d^2) for
    the difference d, where psi is the share of discordant pairs. A difference cannot exceed psi:
    where the formula asks for that (few discordant pairs were seen), psi = d is solved instead,
    all discordant pairs falling on one side, so that "none seen" never reads as "none missed".

    Args:
        n: pairs.
        discordance: observed share of discordant pairs in [0, 1].
        alpha: two-sided level of one test, not corrected for multiplicity.
        power: probability of finding the difference.

    Returns:
        Differences in (0, 1]; 1 where n is too small for any.

    Source: Connor 1987, Biometrics 43:207-211.
    """
    n, psi = np.asarray(n, float), np.asarray(discordance, float)
    a, b = stats.norm.isf(alpha / 2), stats.norm.isf(1 - power)
    usual = (
        np.sqrt(psi)
        * (np.sqrt(n) * a + np.sqrt(np.maximum(n * a**2 - (n + b**2) * (a**2 - b**2), 0)))
        / (n + b**2)
    )
    root = (np.sqrt(np.maximum((a * b) ** 2 - (n + b**2) * (a**2 - n), 0)) - a * b) / (n + b**2)
    one_sided = np.where(n > a**2, 1 - np.clip(root, 0, 1) ** 2, 1.0)
    return np.minimum(np.where((psi > 0) & (usual <= psi), usual, one_sided), 1.0)


def mcnemar(outcomes: pd.DataFrame, *, alpha: float = ALPHA, power: float = POWER) -> pd.DataFrame:
    """McNemar's test for every pair of models under every attack and budget.

    Two models are compared on the images that both were tested on in the same split. Folds are
    pooled. Where a data set's samples occur in several splits (repeated random splits) pooled
    pairs would not be independent: such data sets get one row per split instead, and
    :func:`resampled_t` is the test across splits.

    Args:
        outcomes: rows of the outcome schema.
        alpha: level of the family of all tests of one data set, held by Holm's correction of the
            exact p-values; also the level of the minimum detectable difference.
        power: power of the minimum detectable difference.

    Returns:
        One row per data set, suite, attack, epsilon, pair (and split, else ``pooled``): n,
        both_right, only_a_right, only_b_right, both_wrong, accuracy_a, accuracy_b, difference
        (a - b) with its 95 % interval low, high (Bonett and Price), exact_p, mid_p, holm_p,
        significant, minimum_detectable_difference, note.
    """
    pairs = _Paired(outcomes)
    tests = []
    for a, b in combinations(range(len(pairs.models)), 2):
        first, second = pairs.right[:, a], pairs.right[:, b]
        known = ~(np.isnan(first) | np.isnan(second))
        # One bin per cell and joint result: 0 both wrong, 1 only b, 2 only a, 3 both right.
        joint = pairs.cell[known] * 4 + (first[known] * 2 + second[known]).astype(int)
        counts = np.bincount(joint, minlength=4 * len(pairs.cells)).reshape(-1, 4)
        either = ~(np.isnan(first) & np.isnan(second))
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
    table["low"], table["high"] = _bonett_price(only_a, only_b, n)
    discordant = list(zip(only_a.tolist(), only_b.tolist(), strict=True))
    table["exact_p"] = [exact_p(*pair) for pair in discordant]
    table["mid_p"] = [mid_p(*pair) for pair in discordant]
    table["holm_p"] = table.groupby("dataset", sort=False).exact_p.transform(holm)
    table["significant"] = table.holm_p < alpha
    table["minimum_detectable_difference"] = minimum_detectable_difference(
        n, (only_a + only_b) / n, alpha=alpha, power=power
    )
    table["note"] = [
        _mcnemar_note(row.significant, row.minimum_detectable_difference, row.unpaired, power)
        for row in table.itertuples()
    ]
    return table[_MCNEMAR_COLUMNS]


_MCNEMAR_COLUMNS = [
    *CELL, "split", "model_a", "model_b", "n", "both_right", "only_a_right", "only_b_right",
    "both_wrong", "accuracy_a", "accuracy_b", "difference", "low", "high", "exact_p", "mid_p",
    "holm_p", "significant", "minimum_detectable_difference", "note",
]  # fmt: skip


def cochran_q(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Cochran's Q: do all models have one accuracy, under each attack and budget?

    Args:
        outcomes: rows of the outcome schema with three models or more (with two, Q is McNemar's
            asymptotic statistic).

    Returns:
        One row per cell as in :func:`mcnemar`: models (how many), n (images all were tested on),
        q, df, p, holm_p (over the data set's cells). Where all models agree on every image
        nothing speaks against equality: q = 0, p = 1.
    """
    pairs = _Paired(outcomes)
    rows = []
    complete = ~np.isnan(pairs.right)
    for cell, ids in enumerate(pairs.cells.to_dict("records")):
        mine = pairs.cell == cell
        models = complete[mine].any(axis=0)
        right = pairs.right[mine][:, models]
        right = right[~np.isnan(right).any(axis=1)]
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


def resampled_t(outcomes: pd.DataFrame, train_sizes: Mapping[tuple[str, str], int]) -> pd.DataFrame:
    """The corrected resampled t-test for every pair of models, attack and budget.

    Args:
        outcomes: rows of the outcome schema.
        train_sizes: training images by (dataset, split); cells with fewer than two splits of
            known size are left out.

    Returns:
        One row per cell and pair: splits, difference (mean of a - b), sd, test_share, t, df, p,
        holm_p (over the data set).
    """
    pairs = _Paired(outcomes, by_split=True)
    cells = pairs.cells
    trained = [train_sizes.get(key, np.nan) for key in zip(cells.dataset, cells.split, strict=True)]
    rows = []
    for a, b in combinations(range(len(pairs.models)), 2):
        gap = pairs.right[:, a] - pairs.right[:, b]
        known = ~np.isnan(gap)
        n = np.bincount(pairs.cell[known], minlength=len(cells))
        total = np.bincount(pairs.cell[known], weights=gap[known], minlength=len(cells))
        with np.errstate(invalid="ignore"):
            splits = cells.assign(gap=total / n, share=n / np.asarray(trained, float))
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


class _Paired:
    """Outcomes as one matrix: a row per image and cell, a column per model.

    Attributes:
        cells: frame of the cells (:data:`CELL` and ``split``), in order of appearance.
        cell: (R,) index into `cells` of each row.
        right: (R, M) 1.0 where the model is right, 0.0 where wrong, NaN where not tested.
        models: M names in order of appearance.
    """

    def __init__(self, outcomes: pd.DataFrame, *, by_split: bool = False):
        frame = outcomes[[*CELL, "split", "sample"]].astype({"split": object})
        frame["epsilon"] = frame.epsilon.round(EPSILON_DIGITS)
        fold = frame["split"]
        if not by_split:
            frame["split"] = fold.where(frame.dataset.isin(repeated_datasets(outcomes)), POOLED)
        codes, models = pd.factorize(outcomes.model)
        self.models = [str(name) for name in models]
        cell = frame.groupby([*CELL, "split"], observed=True, sort=False).ngroup().to_numpy()
        image = pd.DataFrame(
            {"cell": cell, "fold": pd.factorize(fold)[0], "sample": frame["sample"]}
        )
        row = image.groupby(["cell", "fold", "sample"], sort=False).ngroup().to_numpy()
        first = np.unique(cell, return_index=True)[1]
        cells = frame[[*CELL, "split"]].iloc[first].reset_index(drop=True)
        self.cells = cells.astype(dict.fromkeys(CELL[:-1], object))
        self.right = np.full((row.max(initial=-1) + 1, len(self.models)), np.nan)
        self.right[row, codes] = ~outcomes.broken.to_numpy(bool)
        self.cell = np.zeros(len(self.right), int)
        self.cell[row] = cell


def repeated_datasets(outcomes: pd.DataFrame) -> set[str]:
    """Data sets whose samples are tested in several splits, which then cannot be pooled."""
    tested = outcomes[["dataset", "split", "sample"]].drop_duplicates()
    return set(tested.dataset[tested.duplicated(["dataset", "sample"])].astype(str))


def _bonett_price(only_a, only_b, n, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Bonett and Price's adjusted Wald interval of a paired difference (2012)."""
    first, second = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    centre = first - second
    half = stats.norm.isf((1 - level) / 2) * np.sqrt((first + second - centre**2) / (n + 2))
    return np.maximum(centre - half, -1.0), np.minimum(centre + half, 1.0)


def _mcnemar_note(significant: bool, detectable: float, unpaired: int, power: float) -> str:
    parts = []
    if not significant:
        parts.append(
            f"n.s.; a true difference of {detectable:.3f} would be found with {power:.0%} power"
        )
    if unpaired:
        parts.append(f"{unpaired} images tested on one model only are left out")
    return "; ".join(parts)
