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


def wilson_of_shares(shares, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a mean of shares, such as those of an image's repeated evaluations.

    The number of trials is the effective one: that of single yes-or-no trials whose mean would
    vary as much as this one, m (1 - m) / (variance of the mean). Shares that are all 0 or 1 give
    Wilson's interval of a proportion. Where all shares are equal, their number is taken.

    Args:
        shares: (n,) in [0, 1], of independent units.
        level: coverage in (0, 1).

    Returns:
        Lower and upper limit in [0, 1]; NaN without shares.

    Source: Franco, Little, Louis, Slud 2019, Journal of Survey Statistics and Methodology
    7:334-364.

    Example:
        >>> [round(limit, 4) for limit in wilson_of_shares([1] * 8 + [0] * 2)]
        [0.4902, 0.9433]
        >>> [round(limit, 4) for limit in wilson_of_shares([0.8] * 5 + [0.7, 0.9] * 5)]
        [0.7556, 0.8381]
    """
    shares = np.asarray(shares, float)
    if not len(shares):
        return float("nan"), float("nan")
    mean, variance = shares.mean(), shares.var()
    # Rounded numbers such as 0.6 have a variance of about 1e-33.
    trials = mean * (1 - mean) / variance * len(shares) if variance > 1e-12 else len(shares)
    low, high = wilson(mean * trials, trials, level)
    return float(low), float(high)
