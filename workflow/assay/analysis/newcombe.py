"""Newcombe's intervals of a difference of two proportions, independent or paired, and a test."""

from __future__ import annotations

import numpy as np
import scipy

LEVEL = 0.95


def newcombe(
    first: float, n_first: float, second: float, n_second: float, level: float = LEVEL
) -> tuple[float, float]:
    """Newcombe's interval of a difference of two independent proportions (his method 10).

    Args:
        first: proportion in [0, 1].
        n_first: trials behind it; may be fractional.
        second: the proportion that is taken off.
        n_second: trials behind it.
        level: coverage in (0, 1).

    Returns:
        Lower and upper limit of `first` - `second`, in [-1, 1].

    Source: Newcombe 1998, Statistics in Medicine 17:873-890.

    Example:
        >>> [round(limit, 4) for limit in newcombe(56 / 70, 70, 48 / 80, 80)]
        [0.0524, 0.3339]
    """
    z = float(scipy.stats.norm.isf((1 - level) / 2))
    return _newcombe(first, n_first, second, n_second, z)


def _newcombe(
    first: float, n_first: float, second: float, n_second: float, z: float
) -> tuple[float, float]:
    low_1, high_1 = _wilson(first, n_first, z)
    low_2, high_2 = _wilson(second, n_second, z)
    difference = first - second
    down = np.hypot(first - low_1, high_2 - second)
    up = np.hypot(high_1 - first, second - low_2)
    return float(difference - down), float(difference + up)


def _wilson(share: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's limits by the quantile; any quantile, where a level would round to 1."""
    spread = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    centre, whole = share + z**2 / (2 * n), 1 + z**2 / n
    return max((centre - spread) / whole, 0.0), min((centre + spread) / whole, 1.0)


def newcombe_p(first: float, n_first: float, second: float, n_second: float) -> float:
    """Two-sided p-value of equal proportions: 1 - the level at which the interval reaches 0.

    So that test and interval never contradict each other: p < 0.05 if and only if the 95 %
    interval of :func:`newcombe` does not contain 0.
    """
    if np.isclose(first, second, atol=1e-12):
        return 1.0
    if first < second:
        first, n_first, second, n_second = second, n_second, first, n_first

    def low(z: float) -> float:
        return _newcombe(first, n_first, second, n_second, z)[0]

    largest = 40.0
    if low(largest) > 0:
        return float(2 * scipy.stats.norm.sf(largest))
    return float(2 * scipy.stats.norm.sf(scipy.optimize.brentq(low, 0.0, largest)))


def newcombe_paired(
    both: float, only_first: float, only_second: float, neither: float, level: float = LEVEL
) -> tuple[float, float]:
    """Newcombe's interval of a difference of two paired proportions (his method 10).

    It joins Wilson's limits of either proportion by the correlation of the pairs, of which a
    positive one is corrected for continuity. statsmodels 0.15 has no interval for pairs.

    Args:
        both: pairs in which both are successes.
        only_first: pairs in which the first alone is.
        only_second: pairs in which the second alone is.
        neither: pairs in which none is; there is at least one pair.
        level: coverage in (0, 1).

    Returns:
        Lower and upper limit of the first proportion minus the second, in [-1, 1].

    Source: Newcombe 1998, Statistics in Medicine 17:2635-2650.

    Example:
        >>> [round(limit, 4) for limit in newcombe_paired(59, 6, 16, 80)]
        [-0.1186, -0.0046]
    """
    n, z = both + only_first + only_second + neither, float(scipy.stats.norm.isf((1 - level) / 2))
    first, second = both + only_first, both + only_second
    variance = first * (n - first) * second * (n - second)
    covariance = both * neither - only_first * only_second
    if covariance > 0:
        covariance = max(covariance - n / 2, 0)
    correlation = covariance / np.sqrt(variance) if variance else 0.0
    first, second = first / n, second / n
    (low_1, high_1), (low_2, high_2) = _wilson(first, n, z), _wilson(second, n, z)

    def joined(one: float, other: float) -> float:
        return np.sqrt(max(one**2 - 2 * correlation * one * other + other**2, 0.0))

    difference = first - second
    down, up = joined(first - low_1, high_2 - second), joined(high_1 - first, second - low_2)
    return float(difference - down), float(difference + up)
