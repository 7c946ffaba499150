"""Latent descent: towards the generative model's reconstruction of the best other class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from assay.attacks.arguments import check_at_least, check_norm, check_positive
from assay.attacks.attack import Attack
from assay.attacks.losses import margin, without
from assay.attacks.queries import Queries
from assay.attacks.search import BestIterate, ascent, reaches_goal
from assay.threat.ball import project


@dataclass(frozen=True, kw_only=True)
class LatentDescent(Attack):
    """x <- clip(project(x + step * direction(G_j(x) - x))), j the best wrong class at x.

    G_j(x) is the victim's own reconstruction of x under class j. No gradient is needed: at a latent
    code held fixed, 2 (x - G_j) *is* the gradient of class j's squared error.

    Args:
        norm: ``linf`` or ``l2``.
        steps: steps, at least 1.
        relative_step: how many radii all steps together can go.

    Example:
        >>> LatentDescent(norm="l2", steps=20).steps
        20
    """

    source: ClassVar[str] = "Schott et al. 2019, arXiv:1805.09190 (latent descent attack)"
    differences: ClassVar[tuple[str, ...]] = (
        "searches a ball instead of the line to one reconstruction with a binary search",
        "the class and its reconstruction are recomputed at each step",
    )

    access: ClassVar[str] = "reconstructions"

    norm: str = "linf"  # pyrefly: ignore[bad-override]
    steps: int = 40
    relative_step: float = 2.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_norm(self.norm, "latent descent")
        check_at_least(1, steps=self.steps)
        check_positive(relative_step=self.relative_step)

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        length = self.relative_step * epsilon / self.steps
        best, x = BestIterate(queries.images), queries.images.clone()
        live = torch.arange(len(x), device=x.device)
        for step in range(self.steps + 1):
            logits = queries.logits(x, live)
            hits = reaches_goal(queries, x, live, logits)
            best.note(live, x, margin(logits, queries.labels[live]), hits, step / self.steps)
            stay = ~hits
            if step == self.steps or not stay.any():
                break
            live, x, logits = live[stay], x[stay], logits[stay]
            others = without(logits, queries.labels[live]).argmax(dim=1)
            reconstructed = queries.reconstruct(x, live)[
                torch.arange(len(live), device=x.device), others
            ]
            x = x + length * ascent(queries, reconstructed - x, self.norm)
            x = project(x, queries.images[live], epsilon, self.norm).clamp_(0.0, 1.0)
        queries.report(best.loss, best.last_improvement)
        return best.images
