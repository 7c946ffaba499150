"""Newcombe's interval and test of a difference of two independent proportions."""

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
