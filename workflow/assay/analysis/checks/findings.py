"""What a check answers, and the exact tests by which it decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy

from assay.analysis.families import holm

PASS, WEAK, FLAG, FAIL = "pass", "weak", "flag", "fail"
# Doubtful first.
ORDER = {FAIL: 0, FLAG: 1, WEAK: 2, PASS: 3}


class Finding(NamedTuple):
    """One check's answer: its number, pass | weak | flag | fail, and what that means."""

    figure: float
    status: str
    sentence: str


class Suspicion(NamedTuple):
    """One comparison that may speak against an evaluation.

    Attributes:
        gap: share of images by which it goes the wrong way.
        p: one-sided exact p-value of that.
        sentence: what it means where it holds.
        excuse: why it would not count against the evaluation: one sentence, or empty.
    """

    gap: float
    p: float
    sentence: str
    excuse: str = ""


def decide(
    found: Sequence[Suspicion],
    limits: Mapping[str, float],
    passed: str,
    status: str,
    level: str = "significance",
) -> Finding:
    """The finding on all comparisons of one check, tested together.

    Args:
        found: the comparisons of one model in one norm: one family for Holm's correction.
        limits: the thresholds; gaps up to ``tolerance`` and p-values from ``limits[level]`` on are
            no evidence.
        passed: the sentence where there is none.
        status: ``flag`` or ``fail``, where there is evidence that no excuse covers. Where all of it
            is excused, the answer is ``weak``.
        level: the key of the test's level.
    """
    if not found:
        return Finding(0.0, PASS, passed)
    held = []
    # Holm's correction only ever raises a p-value.
    if any(one.gap > limits["tolerance"] and one.p < limits[level] for one in found):
        corrected = holm(np.array([one.p for one in found]))
        held = [
            (one, p)
            for one, p in zip(found, corrected, strict=True)
            if one.gap > limits["tolerance"] and p < limits[level]
        ]
    if not held:
        return Finding(max(one.gap for one in found), PASS, passed)
    accused = [pair for pair in held if not pair[0].excuse]
    worst, p = max(accused or held, key=lambda pair: pair[0].gap)
    sentence = f"{worst.sentence} (exact p = {p:.2g}, Holm)."
    if accused:
        return Finding(worst.gap, status, sentence)
    return Finding(worst.gap, WEAK, f"{sentence} {worst.excuse}")


def distinct_share(images: np.ndarray) -> float:
    """Distinct images per row: below 1 where several splits test one image, which is one trial.

    Args:
        images: (R,) the image of each row.
    """
    return len(np.unique(images)) / len(images) if len(images) else 1.0


def paired(fewer: np.ndarray, more: np.ndarray, images: np.ndarray) -> tuple[float, float]:
    """Whether one attack fools more images than another that should be at least as strong.

    Args:
        fewer: (R,) 1.0 where the attack that should not win fools the image, 0.0 where not, NaN
            where it was not run.
        more: (R,) the same of the attack that should fool at least as many.
        images: (R,) the image of each row.

    Returns:
        Share of the common rows that `fewer` fools in excess of `more` (negative if it fools
        fewer), and the one-sided p-value of McNemar's exact test. With no common row -1 and 1.
    """
    both = ~(np.isnan(fewer) | np.isnan(more))
    if not both.any():
        return -1.0, 1.0
    lost = int((fewer > more)[both].sum())
    gained = int((more > fewer)[both].sum())
    # Rows of one image are not independent: they count as often as there are distinct images.
    share = distinct_share(images[both])
    against, for_it = int(np.floor(lost * share)), int(np.ceil(gained * share))
    p = scipy.stats.binom.sf(against - 1, against + for_it, 0.5)
    return (lost - gained) / int(both.sum()), float(p)


def exceeds(count: int, images: np.ndarray, share: float) -> float:
    """One-sided exact p-value that a share of rows is above `share`.

    Args:
        count: how many of the rows.
        images: (R,) the image of each row; distinct images are the trials.
        share: the share under the null hypothesis, in [0, 1].
    """
    if not len(images):
        return 1.0
    trials = len(np.unique(images))
    hits = int(np.floor(count * trials / len(images)))
    return float(scipy.stats.binom.sf(hits - 1, trials, share))


def percent(share: float) -> str:
    """A share for reading: ``11.7 %``, without a decimal that is zero."""
    text = f"{100 * share:.1f}".removesuffix(".0").replace("-", "−")
    return f"{text} %"


def points(gap: float) -> str:
    """A difference of shares for reading: ``20 points``."""
    text = f"{100 * gap:.1f}".removesuffix(".0")
    return f"{text} point{'' if text == '1' else 's'}"
