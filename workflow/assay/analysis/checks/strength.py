"""Are the attacks strong enough? Checks of attacks against themselves and of the worst case.

A comparison speaks against an evaluation only at radii where the worst case leaves images: where it
leaves none, there is none to doubt.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

from assay.analysis.checks.evaluated import HEADLINE, SWEEP, Evaluated
from assay.analysis.checks.findings import (
    FAIL,
    FLAG,
    PASS,
    WEAK,
    Finding,
    Suspicion,
    decide,
    exceeds,
    paired,
    percent,
    points,
)  # fmt: skip

OF_A_SWEEP = "It is one setting of a sweep, not the evaluation."
OVERSHOOTS = "A single step in a larger ball can overshoot."
# In a ball as large as the cube of all images an attack can reach every image.
EVERY_IMAGE = {"linf": 1.0}


def _excuse(cell: pd.Series) -> str:
    """Why a weak attack would not speak against the evaluation."""
    return OF_A_SWEEP if cell.role == SWEEP else cell.cut


def more_steps(run: Evaluated, norm: str) -> Finding | None:
    """D16: an attack fools at least as many images as its own single step, or at fewer steps."""
    found, compared = [], False
    for epsilon, cells in run.ball(norm).groupby("epsilon"):
        doubtful = not run.nothing_left(norm, epsilon)
        for fewer, more in _own_fewer_steps(run, cells):
            compared = True
            if not doubtful:
                continue
            gap, p = paired(run.misclassified[:, fewer], run.misclassified[:, more], run.images)
            sentence = (
                f"{cells.title[more]} fools {points(gap)} fewer images than {cells.title[fewer]} "
                f"at {run.at(epsilon)}, although it takes more steps of the same kind"
            )
            found.append(Suspicion(gap, p, sentence, _excuse(cells.loc[more])))
    if not compared:
        return None
    passed = "No attack fools significantly fewer images than it does with fewer steps."
    return decide(found, run.limits, passed, FAIL)


def _own_fewer_steps(run: Evaluated, cells: pd.DataFrame) -> Iterator[tuple[int, int]]:
    """Columns (fewer steps, more steps) of attacks that differ in nothing else, at one radius."""
    column = dict(zip(cells.attack, cells.index, strict=True))
    mine = {
        name: run.attacks[name] for name in column if run.attacks[name].role in (HEADLINE, SWEEP)
    }
    for name, attack in mine.items():
        if attack.single_step in column:
            yield column[attack.single_step], column[name]
    same: dict[str, dict[float, int]] = {}
    for name, attack in mine.items():
        if attack.but_steps:
            same.setdefault(attack.but_steps, {}).setdefault(attack.steps, column[name])
    for by_steps in same.values():
        yield from pairwise(by_steps[steps] for steps in sorted(by_steps))


def monotone(run: Evaluated, norm: str) -> Finding | None:
    """D17: a larger ball cannot make an attack weaker, and radius 0 is the clean image."""
    found, compared = [], False
    for _, columns in run.sweeps(norm, (HEADLINE, SWEEP)):
        for (smaller, small), (epsilon, large) in pairwise(columns.items()):
            compared = True
            if not run.nothing_left(norm, epsilon):
                found.append(_rise(run, norm, (smaller, small), (epsilon, large)))
        if columns.index[0] == 0:
            compared = True
            found += _not_clean(run, columns.iloc[0])
    if not compared:
        return None
    passed = "Accuracy does not rise significantly as the radius grows."
    return decide(found, run.limits, passed, FLAG)


def _rise(
    run: Evaluated, norm: str, small: tuple[float, int], large: tuple[float, int]
) -> Suspicion:
    """Whether an attack misses images at a radius that it fools at the next smaller one."""
    (smaller, before), (epsilon, after) = small, large
    cell = run.cells.loc[after]
    less, more = run.misclassified[:, before], run.misclassified[:, after].copy()
    # What another attack fools at the larger radius is not missing from the worst case there.
    more[(less == 1) & (more == 0) & (run.fooled_at(norm, epsilon) == 1)] = 1
    gap, p = paired(less, more, run.images)
    sentence = (
        f"{cell.title} fools {points(gap)} fewer images at {run.at(epsilon)} than at "
        f"{run.at(smaller)}, and no other attack fools them"
    )
    return Suspicion(gap, p, sentence, OVERSHOOTS if cell.single else _excuse(cell))


def _not_clean(run: Evaluated, column: int) -> list[Suspicion]:
    """Whether radius 0 differs from the clean image, in either direction."""
    zero, title = run.misclassified[:, column], run.cells.title[column]
    pairs = ((run.clean, zero), (zero, run.clean))
    tests = [paired(*pair, run.images) for pair in pairs]
    return [
        Suspicion(
            gap,
            p,
            f"At radius 0, accuracy under {title} and clean accuracy differ by {points(gap)}",
        )
        for gap, p in tests
    ]


def severity(run: Evaluated, norm: str) -> Finding | None:
    """D17 of natural perturbations: the most severe does not beat the mildest.

    Between them accuracy may wobble: a classifier that gives up may pick another class at each
    severity. Only a severity that grows with the change of the image orders anything.
    """
    found, size = [], run.matrix("l2")
    for _, columns in run.sweeps("severity"):
        mild, severe = columns.iloc[0], columns.iloc[-1]
        if mild == severe or np.nanmean(size[:, mild]) >= np.nanmean(size[:, severe]):
            continue
        gap, p = paired(run.misclassified[:, mild], run.misclassified[:, severe], run.images)
        sentence = (
            f"Under {run.cells.title[severe]}, accuracy at severity {columns.index[-1]:g} is "
            f"{points(gap)} higher than at severity {columns.index[0]:g}"
        )
        found.append(Suspicion(gap, p, sentence))
    if not found:
        return None
    passed = "No corruption gives higher accuracy at its largest severity than at its smallest."
    return decide(found, run.limits, passed, FLAG)


def reaches_chance(run: Evaluated, norm: str) -> Finding | None:
    """D18: with radius enough, the worst case leaves no more than chance.

    That it leaves more says nothing about the gradient as long as nobody ran a larger radius: the
    answer is ``weak``. It is evidence where the ball holds every image.
    """
    cells = run.ball(norm)
    if cells.empty:
        return None
    chance, level = 1 / run.classes, run.limits["significance"]
    largest = cells.epsilon.max()
    last = cells[cells.epsilon == largest]
    seen = ~np.isnan(run.worst_case(last))
    images = run.images[seen]
    # An image that is fooled at a smaller radius is fooled at the largest.
    left = run.fooled(cells)[seen] == 0
    right = run.clean[seen] == 0
    share, clean = float(left.mean()), float(right.mean())
    if exceeds(int(right.sum()), images, chance) >= level:
        return Finding(
            clean, WEAK,
            f"On {len(right)} images, clean accuracy ({percent(clean)}) is not significantly above "
            f"chance ({percent(chance)}), so no attack can be assessed.",
        )  # fmt: skip
    worst = f"At the largest radius, {run.at(largest)}, worst-case accuracy is {percent(share)}"
    if not cells.gradient.any():
        sentence = f"No attack in this norm uses the gradient. {worst}."
        return Finding(share, WEAK, sentence)
    p = exceeds(int(left.sum()), images, chance)
    if p >= level:
        sentence = f"{worst}, not significantly more than chance ({percent(chance)})."
        return Finding(share, PASS, sentence)
    above = f"{worst}, above chance ({percent(chance)}; exact p = {p:.2g})."
    gradient = last[last.gradient]
    cut = "" if gradient.empty or (gradient.cut == "").any() else gradient.cut.iloc[0]
    if largest >= EVERY_IMAGE.get(norm, np.inf) and not cut and len(gradient):
        return Finding(
            share, FLAG, f"{above} This ball holds every image, so the gradient misleads."
        )
    return Finding(share, WEAK, f"{above} {cut or 'No larger radius was run.'}")


def worst_case_gap(run: Evaluated, norm: str) -> Finding | None:
    """D20: if the worst case is far below the best attack, no attack is strong by itself."""
    found, compared = [], False
    for epsilon, cells in run.ball(norm, (HEADLINE,)).groupby("epsilon"):
        doubtful = not run.nothing_left(norm, epsilon)
        known = ~np.isnan(run.misclassified[:, cells.index])
        # Attacks on fewer images are compared on these; all others on theirs.
        for count in sorted(set(known.sum(axis=0))):
            members = cells[known.sum(axis=0) >= count]
            rows = np.all(~np.isnan(run.misclassified[:, members.index]), axis=1)
            if len(members) < 2 or not rows.any():
                continue
            compared = True
            if doubtful:
                found.append(_gap(run, members, rows, epsilon))
    if not compared:
        return None
    passed = "The worst case over attacks is close to the best of them."
    return decide(found, run.limits, passed, FLAG)


def _gap(run: Evaluated, members: pd.DataFrame, rows: np.ndarray, epsilon: float) -> Suspicion:
    fooled = run.misclassified[np.ix_(rows, members.index)]
    gap = float(fooled.max(axis=1).mean() - fooled.mean(axis=0).max())
    best = members.iloc[fooled.mean(axis=0).argmax()]
    p = exceeds(round(gap * len(fooled)), run.images[rows], run.limits["worst_case_gap"])
    sentence = (
        f"The worst case over {len(members)} attacks at {run.at(epsilon)} fools {points(gap)} more "
        f"images than the best of them, {best.title}"
    )
    return Suspicion(gap, p, sentence, best.cut)
