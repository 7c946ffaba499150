"""DDN: gradient steps whose direction and length are decoupled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from assay.attacks.arguments import bad_setting, check_at_least, check_positive, check_target
from assay.attacks.best_so_far import BestSoFar
from assay.attacks.losses import cross_entropy, targeted_cross_entropy
from assay.attacks.minimal import MinimalNorm
from assay.attacks.queries import Queries
from assay.attacks.search import ascent
from assay.threat.ball import norms_of


@dataclass(frozen=True, kw_only=True)
class DDN(MinimalNorm):
    """A step along the unit gradient of the cross-entropy, then rescaled to the radius.

    The radius of an image shrinks by `gamma` while its iterate is misclassified and grows by
    `gamma` while it is not, so that iterates close in on the boundary from both sides. The step
    falls from 1 to 0.01 along a cosine. Every image takes all steps: the closest misclassified
    iterate is kept.

    Args:
        target: ``none``, or the class to drive an image to, see `Attack`.
        steps: gradient steps, at least 1.
        gamma: relative change of the radius per step, in (0, 1).
        initial_norm: Euclidean length of the first radius, above 0.

    Example:
        >>> DDN(steps=100).gamma
        0.05
    """

    norm: ClassVar[str] = "l2"
    source: ClassVar[str] = "Rony et al. 2019, arXiv:1811.09600"
    differences: ClassVar[tuple[str, ...]] = (
        "iterates are not rounded to 256 levels",
        "no radius grows beyond the farthest corner of [0, 1], as in Foolbox",
        "the iterate after the last step is evaluated, too",
    )

    target: str | int = "none"  # pyrefly: ignore[bad-override]
    steps: int = 80
    gamma: float = 0.05
    initial_norm: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_target(self.target)
        check_at_least(1, steps=self.steps)
        if not 0 < self.gamma < 1:
            raise bad_setting(
                "gamma", f"{self.gamma} is not a relative change of the radius", "use (0, 1)"
            )
        check_positive(initial_norm=self.initial_norm)

    @property
    def gradient_passes(self) -> int:
        return self.steps * self.eot_samples

    def _minimal_norm(self, queries: Queries) -> Tensor:
        origin = queries.images
        rows = torch.arange(len(origin), device=origin.device)
        loss = cross_entropy if queries.targets is None else targeted_cross_entropy
        corner = norms_of(torch.maximum(origin, 1 - origin), "l2")
        radius = torch.full_like(corner, self.initial_norm)
        best = BestSoFar(queries)
        x = origin.clone()
        for step in range(self.steps):
            _, logits, gradient = queries.gradient(x, rows, loss, targets=queries.targets)
            misclassified = best.note(x, rows, logits)
            length = 0.01 + 0.99 * (1 + math.cos(math.pi * step / self.steps)) / 2
            change = (x - origin).add_(ascent(queries, gradient, "l2"), alpha=length)
            radius = radius * torch.where(misclassified, 1 - self.gamma, 1 + self.gamma)
            radius = torch.minimum(radius, corner)
            scale = radius / norms_of(change, "l2").clamp_min(1e-12)
            x = (origin + change * scale[:, None, None, None]).clamp_(0.0, 1.0)
        best.note(x, rows, queries.logits(x, rows))
        return best.images
