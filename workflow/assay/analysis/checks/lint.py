"""Do the rows contradict themselves? Radii, gradients, repeated evaluations, counts."""

from __future__ import annotations

import numpy as np

from assay.analysis.accuracy import BALLS
from assay.analysis.checks.evaluated import HEADLINE, Evaluated
from assay.analysis.checks.findings import FAIL, FLAG, PASS, Finding, paired, percent, points
from assay.analysis.rows import group_index

EVALUATION = ["dataset", "split", "suite", "attack", "epsilon", "sample"]


def radii(run: Evaluated, norm: str) -> Finding | None:
    """D02: adversarial images lie inside their ball; nothing is NaN or infinite."""
    rows = run.of(norm)
    if norm in BALLS:
        # The comparison is written so that NaN is outside.
        limit = rows.epsilon.to_numpy(float) + run.limits["norm_slack"]
        outside = ~(rows[norm].to_numpy(float) <= limit)
        failed = "adversarial image(s) outside the radius, or NaN"
        passed = "Every image lies within its radius and every number is finite."
    else:
        outside = rows.linf.isna().to_numpy()
        failed = "image(s) with NaN"
        passed = "Every image and every number is finite."
    if outside.any():
        return Finding(outside.mean(), FAIL, f"{outside.sum()} {failed}.")
    numbers = int(rows.non_finite.sum())
    if numbers:
        return Finding(0.0, FLAG, f"{numbers} logits or gradients were not finite.")
    return Finding(0.0, PASS, passed)


def zero_gradients(run: Evaluated, norm: str) -> Finding | None:
    """D08: gradients that vanish everywhere leave an attack without direction.

    Counted where it matters: on the images that the worst case at their radius leaves.
    """
    cells = run.ball(norm, (HEADLINE,))
    cells = cells[cells.gradient]
    if cells.empty:
        return None
    zeros, passes = run.matrix("zero_gradients"), run.matrix("backwards")
    vanished = total = 0.0
    for epsilon, here in cells.groupby("epsilon"):
        left = run.fooled_at(norm, epsilon) == 0
        chosen = np.ix_(left, here.index)
        vanished += np.nansum(zeros[chosen])
        total += np.nansum(passes[chosen])
    if not total:
        return Finding(
            0.0, PASS, "The worst case fools every image, so no gradients remain to be checked."
        )
    share = float(vanished / total)
    status = PASS
    if share > run.limits["zero_gradient_flag"]:
        status = FAIL if share > run.limits["zero_gradient_fail"] else FLAG
    sentence = f"On images that no attack fools, {percent(share)} of the gradients were zero."
    return Finding(share, status, sentence)


def repeats(run: Evaluated, norm: str) -> Finding | None:
    """D27: how often a right prediction flips by the model's own randomness.

    It speaks of repeated evaluations alone: a deterministic model, of which none were made (a clean
    image then takes one pass, and one for log p(x)), has no such row.
    """
    unperturbed = run.of("clean")
    if len(unperturbed) and unperturbed.forwards.max() <= 2:
        return None
    rows = run.of(norm)
    right = rows[~rows.misclassified.to_numpy(bool)]
    if right.empty:
        return None
    share = float(right.misclassified_share.mean())
    status = FLAG if share > run.limits["prediction_flips"] else PASS
    which = "unperturbed" if norm == "clean" else "corrupted"
    sentence = (
        f"Right predictions on {which} images change in {percent(share)} of repeated evaluations."
    )
    return Finding(share, status, sentence)


def lint(run: Evaluated, norm: str) -> Finding:
    """D41: the rows contradict neither themselves nor each other."""
    rows, faults = run.of(norm), []
    _, first = group_index(*(rows[name] for name in EVALUATION))
    twice = len(rows) - len(first)
    if twice:
        faults.append(f"{twice} {'row appears' if twice == 1 else 'rows appear'} twice")
    if norm in BALLS:
        faults += _impossible(run, norm)
    if faults:
        return Finding(len(faults), FAIL, f"Impossible: {'; '.join(faults)}.")
    missing = run.missing.get(norm, 0.0)
    if missing > 0:
        return Finding(
            missing, FLAG,
            f"{percent(missing)} of the evaluations that ran on the other models are missing for "
            "this one.",
        )  # fmt: skip
    sentence = (
        "No row appears twice, and every evaluation that ran on the other models ran on this one."
    )
    return Finding(0.0, PASS, sentence)


def _impossible(run: Evaluated, norm: str) -> list[str]:
    """Attacked accuracy above the clean one of the same images, in whatever way."""
    rows, faults = run.of(norm), []
    wrong = rows.clean_prediction.to_numpy() != rows.label.to_numpy()
    kept = int((wrong & ~rows.misclassified.to_numpy(bool)).sum())
    if kept:
        faults.append(f"{kept} images are misclassified without perturbation but count as robust")
    for _, columns in run.sweeps(norm):
        for epsilon, column in columns.items():
            gain, _ = paired(run.clean, run.misclassified[:, column], run.images)
            if gain > run.limits["tolerance"]:
                title = run.cells.title[column]
                faults.append(
                    f"accuracy under {title} at {run.at(epsilon)} is {points(gain)} above the "
                    "clean accuracy of the same images"
                )
    return faults
