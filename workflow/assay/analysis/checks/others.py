"""Does anything fool images that the gradient attacks miss?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from assay.analysis.accuracy import BALLS
from assay.analysis.checks.evaluated import HEADLINE, Evaluated
from assay.analysis.checks.findings import (
    FLAG,
    Finding,
    Suspicion,
    decide,
    exceeds,
    paired,
    percent,
    points,
)  # fmt: skip


def gradient_free(run: Evaluated, norm: str) -> Finding | None:
    """D21: what a search without gradients finds inside a ball, a gradient attack must find."""
    cells = run.cells
    return _missed(
        run, norm, ~cells.gradient & ~cells.noise & cells.norm.isin(BALLS),
        "searches without gradients",
    )  # fmt: skip


def noise(run: Evaluated, norm: str) -> Finding | None:
    """D24: a natural change or noise inside a ball must not fool what a gradient cannot."""
    cells = run.cells
    return _missed(
        run, norm, (cells.norm == "severity") | cells.noise, "common corruptions and noise"
    )


def _missed(run: Evaluated, norm: str, others: pd.Series, what: str) -> Finding | None:
    """Images that `others` fool at a measured distance at which no gradient attack does."""
    balls = run.ball(norm)
    balls = balls[balls.gradient]
    if balls.empty or not others.any():
        return None
    others = others.to_numpy()
    size, misclassified, found = run.matrix(norm)[:, others], run.misclassified[:, others], []
    ran, right = ~np.isnan(misclassified), (run.clean == 0)[:, None]
    for epsilon, cells in balls.groupby("epsilon"):
        inside = ran & (size <= epsilon + run.limits["norm_slack"])
        if not (inside & right).any():
            continue
        # What is found beyond this radius is not found within it.
        theirs = np.where(ran.any(axis=1), (inside & (misclassified == 1)).any(axis=1), np.nan)
        known = run.fooled(cells)
        both = ~(np.isnan(theirs) | np.isnan(known))
        if both.any():
            cut = "" if (cells.cut == "").any() else cells.cut.iloc[0]
            words = epsilon, what, cut
            found += _suspicions(run, theirs[both], known[both], run.images[both], words)
    if not found:
        return None
    passed = f"At every radius, gradient attacks fool nearly all images that {what} fool."
    return decide(found, run.limits, passed, FLAG)


def _suspicions(
    run: Evaluated,
    theirs: np.ndarray,
    known: np.ndarray,
    images: np.ndarray,
    words: tuple[float, str, str],
) -> list[Suspicion]:
    """Whether they fool more images, and whether they fool many that no gradient attack does."""
    epsilon, what, cut = words
    gap, p = paired(theirs, known, images)
    missed = int((theirs > known).sum())
    share = missed / len(known)
    more = f"Within {run.at(epsilon)}, {what} fool {points(gap)} more images than gradient attacks"
    others = (
        f"Within {run.at(epsilon)}, {what} fool {percent(share)} of the images that no gradient "
        "attack fools"
    )
    return [
        Suspicion(gap, p, more, cut),
        Suspicion(share, exceeds(missed, images, run.limits["worst_case_gap"]), others, cut),
    ]


def published_and_corrected(run: Evaluated, norm: str) -> Finding | None:
    """D42: a corrected attack fools at least as many images as the published one."""
    cells, found, compared = run.ball(norm), [], False
    for pair in run.corrections:
        published = cells[cells.attack == pair["published"]]
        # A correction that prices one defect stands for no robust accuracy.
        corrected = cells[(cells.role == HEADLINE) & (cells.attack == pair["corrected"])]
        columns = dict(zip(corrected.epsilon, corrected.index, strict=True))
        for epsilon, before in zip(published.epsilon, published.index, strict=True):
            if epsilon not in columns:
                continue
            old, new = run.misclassified[:, before], run.misclassified[:, columns[epsilon]]
            if not (np.isfinite(old) & np.isfinite(new)).any():
                continue
            compared = True
            if run.nothing_left(norm, epsilon):
                continue
            gap, p = paired(old, new, run.images)
            correction = cells.loc[columns[epsilon]]
            sentence = (
                f"{correction.title} fools {points(gap)} fewer images than "
                f"{cells.title[before]}, which it corrects, at {run.at(epsilon)}; the worst case "
                "counts both"
            )
            found.append(Suspicion(gap, p, sentence, correction.cut))
    if not compared:
        return None
    passed = "No published attack fools significantly more images than its correction."
    return decide(found, run.limits, passed, FLAG, level="correction_significance")
