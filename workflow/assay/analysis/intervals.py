"""Intervals of proportions and of their paired differences."""

from __future__ import annotations

import numpy as np
import scipy


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
    from statsmodels.stats.proportion import proportion_confint

    k, n = np.asarray(k, float), np.asarray(n, float)
    n = np.where(n > 0, n, np.nan)
    low, high = proportion_confint(k, n, 1 - level, method="wilson")
    # Rounding would leave limits such as 2e-18 where the interval touches an edge.
    return np.where(k <= 0, 0 * n, low), np.where(k >= n, 1 + 0 * n, high)


def bonett_price(only_a, only_b, n, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Bonett and Price's adjusted Wald interval of a paired difference (2012)."""
    first, second = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    centre = first - second
    half = scipy.stats.norm.isf((1 - level) / 2) * np.sqrt((first + second - centre**2) / (n + 2))
    return np.maximum(centre - half, -1.0), np.minimum(centre + half, 1.0)
