"""PGD that differentiates by queries: gradients estimated from forward passes alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from assay.attacks.arguments import (
    bad_setting,
    check_at_least,
    check_norm,
    check_positive,
    check_target,
)
from assay.attacks.attack import Attack
from assay.attacks.losses import LOSSES, TARGETED, check_loss
from assay.attacks.queries import Queries
from assay.attacks.search import BestIterate, ascent, reaches_goal
from assay.threat.ball import project

# Directions: NES samples N(0, I), SPSA random signs.
ESTIMATORS: dict[str, Callable[..., Tensor]] = {
    "nes": lambda queries, *shape: queries.normal(*shape),
    "spsa": lambda queries, *shape: queries.signs(*shape),
}
# Query points that lie in memory at once. Not the victim's batch: it may change no result.
_POINTS = 256


@dataclass(frozen=True, kw_only=True)
class ScoreBasedPGD(Attack):
    """PGD from the image itself along the mean of (L(x + h v) - L(x - h v)) v / 2h over random v.

    The queries of all images at one step share batches. An image leaves at its first misclassified
    iterate, before more queries are spent on it; otherwise the iterate of highest loss is
    evaluated.

    Args:
        norm: ``linf`` or ``l2``.
        estimator: ``nes``: v ~ N(0, I), or ``spsa``: v of random signs.
        queries: forward passes per step and image for the estimate, even, at least 2. One more
            evaluates the iterate.
        steps: at least 1.
        step: length of a step in the unit of epsilon; None: ``relative_step * epsilon / steps``.
        relative_step: how many radii all steps together can go, where `step` is None.
        smoothing: h, in (0, 0.5).
        loss: ``cross_entropy``, ``margin`` or ``dlr``.
        target: see `Attack`.

    Example:
        >>> ScoreBasedPGD(estimator="spsa", smoothing=0.01).queries
        200
    """

    source: ClassVar[str] = (
        "Ilyas, Engstrom, Athalye, Lin 2018, arXiv:1804.08598 (NES); "
        "Uesato, O'Donoghue, van den Oord, Kohli 2018, arXiv:1802.05666 (SPSA)"
    )
    differences: ClassVar[tuple[str, ...]] = (
        "the estimate is centred where x +- h lies in [0, 1], at most h away from the iterate",
        "SPSA's estimate drives signed or normalised steps instead of Adam's",
        "the step has a fixed length; NES's authors shorten it where the loss stalls",
    )

    norm: str = "linf"  # pyrefly: ignore[bad-override]
    estimator: str = "nes"
    queries: int = 200
    steps: int = 50
    step: float | None = None
    relative_step: float = 2.5
    smoothing: float = 0.001
    loss: str = "margin"
    target: str | int = "none"  # pyrefly: ignore[bad-override]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_target(self.target)
        check_norm(self.norm, "ScoreBasedPGD")
        check_loss(self.loss, targeted=self.target != "none", of_logits=True)
        if self.estimator not in ESTIMATORS:
            raise bad_setting(
                "estimator", f"'{self.estimator}' is unknown", f"use {' or '.join(ESTIMATORS)}"
            )
        if self.queries < 2 or self.queries % 2:
            raise bad_setting(
                "queries",
                f"{self.queries} queries cannot be split into pairs",
                "use an even number",
            )
        check_at_least(1, steps=self.steps)
        check_positive(step=self.relative_step if self.step is None else self.step)
        if not 0 < self.smoothing < 0.5:
            raise bad_setting("smoothing", f"{self.smoothing} is not a distance", "use (0, 0.5)")

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        length = self.relative_step * epsilon / self.steps if self.step is None else self.step
        live = torch.arange(len(queries.images), device=queries.images.device)
        x, best = queries.images.clone(), BestIterate(queries.images)
        for step in range(self.steps + 1):
            logits = queries.logits(x, live)
            value = self._value(queries, logits, live)
            hits = reaches_goal(queries, x, live, logits)
            best.note(live, x, value, hits, step / self.steps)
            live, x = live[~hits], x[~hits]
            if not len(live) or step == self.steps:
                break
            direction = ascent(queries, self.estimated_gradient(queries, x, live), self.norm)
            x = project(x + length * direction, queries.images[live], epsilon, self.norm)
            x.clamp_(0.0, 1.0)
        queries.report(best.loss, best.last_improvement)
        return best.images

    def estimated_gradient(self, queries: Queries, x: Tensor, rows: Tensor) -> Tensor:
        """The gradient of the loss at x (m, C, H, W), up to a positive factor."""
        centre = x.clamp(self.smoothing, 1 - self.smoothing)
        gradient = torch.zeros_like(x)
        pairs = torch.arange(self.queries // 2).split(max(1, _POINTS // (2 * len(x))))
        for several in pairs:
            aside = ESTIMATORS[self.estimator](queries, len(several), *x.shape)
            points = torch.stack([centre + self.smoothing * aside, centre - self.smoothing * aside])
            points = points.clamp_(0.0, 1.0).flatten(0, 2)
            repeated = rows.repeat(2 * len(several))
            value = self._value(queries, queries.logits(points, repeated), repeated)
            up, down = value.view(2, len(several), len(x))
            gradient += torch.einsum("pm,pmchw->mchw", up - down, aside)
        return gradient

    def _value(self, queries: Queries, logits: Tensor, rows: Tensor) -> Tensor:
        if queries.targets is None:
            return LOSSES[self.loss](logits, queries.labels[rows])
        return TARGETED[self.loss](logits, queries.labels[rows], queries.targets[rows])
