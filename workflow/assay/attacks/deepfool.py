"""DeepFool: the way to the nearest boundary of the linearised victim, until it is crossed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from assay.attacks.arguments import check_at_least, check_norm
from assay.attacks.best_so_far import sharpened
from assay.attacks.losses import margin
from assay.attacks.minimal import MinimalNorm
from assay.attacks.queries import Queries
from assay.attacks.search import reaches_goal
from assay.threat.ball import unit

# A way of exactly the linear length ends on the boundary, where rounding decides.
_MARGIN = 1e-4


@dataclass(frozen=True, kw_only=True)
class DeepFool(MinimalNorm):
    """x <- clip(x + r), until the decision changes at clip(x0 + (1 + overshoot) * (x - x0)).

    With the gaps f_k = z_k - z_y and their gradients w_k at x, the step r leads to the nearest of
    the planes f_k + w_k . r = 0: along w_k by |f_k| / |w_k|_2 (``l2``), or along sign(w_k) by
    |f_k| / |w_k|_1 (``linf``).

    Args:
        norm: ``linf`` or ``l2``.
        steps: at most so many linearisations per image, at least 1.
        candidates: how many classes are considered, the image's own among them: the likeliest on
            the unperturbed image, at least 2. One less is the number of backward passes.
        overshoot: share by which the whole way is made longer, at least 0.
        final_steps: secant steps, a forward pass each, between the image and its misclassified
            iterate; they cut off what the last linearisation overshot, where the view is the
            decision (elsewhere the decision itself is bisected, see `MinimalNorm`). 0: as
            published.

    Example:
        >>> DeepFool(norm="l2").overshoot
        0.02
    """

    source: ClassVar[str] = "Moosavi-Dezfooli, Fawzi, Frossard 2016, arXiv:1511.04599"
    differences: ClassVar[tuple[str, ...]] = (
        "only the likeliest classes are candidates, as in the authors' code",
        "the decision is evaluated with the overshoot at every step, and iterates stay in [0, 1]",
        "1e-4 is added to the length of every step, as in Foolbox",
        "at the end a few secant steps along the whole way find its crossing of the boundary",
    )

    norm: str = "linf"  # pyrefly: ignore[bad-override]
    steps: int = 50
    candidates: int = 10
    overshoot: float = 0.02
    final_steps: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_norm(self.norm, "DeepFool")
        check_at_least(1, steps=self.steps)
        check_at_least(2, candidates=self.candidates)
        check_at_least(0, overshoot=self.overshoot, final_steps=self.final_steps)

    @property
    def gradient_passes(self) -> int:
        return self.steps * min(self.candidates - 1, 9) * self.eot_samples

    def _minimal_norm(self, queries: Queries) -> Tensor:
        classes = queries.ranking()[:, : self.candidates - 1]
        # Without and with overshoot. What the bounds cut off a step is gone: the next one makes up
        # for it where there is room. Summed beyond the bounds instead, the steps lead to twice as
        # many linearisations and 1.04 times as far on a robust MNIST network.
        at, x = queries.images.clone(), queries.images.clone()
        margins = torch.full_like(x[:, 0, 0, 0], -torch.inf)
        live = torch.arange(len(x), device=x.device)
        for step in range(self.steps + 1):
            # A forward pass costs less than the many backward passes of an image that is done.
            if step and len(live):
                logits = queries.logits(x[live], live)
                hits = reaches_goal(queries, x[live], live, logits)
                margins[live[hits]] = margin(logits[hits], queries.labels[live[hits]])
                live = live[~hits]
            if step == self.steps or not len(live):
                break
            # In pieces, because a gradient per class is several times as large as the images.
            for rows in live.split(queries.batch):
                gaps, _, gradients = queries.jacobian(at[rows], rows, classes[rows])
                at[rows] = (at[rows] + self._step(gaps, gradients)).clamp_(0.0, 1.0)
            way = at[live] - queries.images[live]
            x[live] = way.mul_(1 + self.overshoot).add_(queries.images[live]).clamp_(0.0, 1.0)
        misclassified = margins.isfinite().nonzero().squeeze(1)
        # The boundary of a view that is not the decision is no place to go back to.
        steps = self.final_steps if queries.certain else 0
        x[misclassified] = sharpened(
            queries, x[misclassified], misclassified, margins[misclassified], steps=steps
        )
        return x

    def _step(self, gaps: Tensor, gradients: Tensor) -> Tensor:
        """The shortest way to one of the planes: from (m, k), (m, k, C, H, W) to (m, C, H, W)."""
        dual = gradients.flatten(2).norm(p=1 if self.norm == "linf" else 2, dim=2)
        # No gradient, no way there; and none at all where this holds for every class.
        lengths = torch.where(dual > 0, gaps.abs() / dual, torch.inf)
        length, nearest = lengths.min(dim=1)
        gradient = gradients[torch.arange(len(gradients), device=gradients.device), nearest]
        length = torch.where(length.isfinite(), length + _MARGIN, 0.0)
        direction = gradient.sign() if self.norm == "linf" else unit(gradient)
        return length[:, None, None, None] * direction
