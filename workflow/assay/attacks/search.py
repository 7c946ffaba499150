"""What searches share: the goal, the direction of ascent, the best iterate of every run."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from assay.attacks.queries import Queries
from assay.threat.ball import unit


def at_goal(queries: Queries, rows: Tensor, logits: Tensor) -> Tensor:
    """Which logits (m, K) of candidates of the images `rows` (m,) reach the goal: (m,) bool.

    The goal is another class than the true one, or the target. The view alone decides here.
    """
    predicted = logits.argmax(dim=1)
    if queries.targets is None:
        return predicted != queries.labels[rows]
    return predicted == queries.targets[rows]


def reaches_goal(queries: Queries, x: Tensor, rows: Tensor, logits: Tensor) -> Tensor:
    """Which candidates reach the goal of the attack, by the view and confirmed: (m,) bool.

    Args:
        queries: that made `logits` of `x`.
        x: (m, C, H, W) candidates.
        rows: (m,) the images that they are variants of.
        logits: (m, K) logits of the view for them.
    """
    hits = at_goal(queries, rows, logits)
    if hits.any():
        hits[hits.clone()] = queries.confirm(x[hits], rows[hits])
    return hits


def ascent(queries: Queries, gradient: Tensor, norm: str) -> Tensor:
    """The direction of steepest ascent per image: the sign (``linf``) or unit length (``l2``).

    Where a gradient (m, C, H, W) is zero in every pixel, a random direction replaces it, so that a
    search continues on a plateau. May overwrite `gradient`.
    """
    flat = (gradient == 0).flatten(1).all(dim=1)
    if flat.any():
        gradient[flat] = queries.normal(*gradient[flat].shape)
    return gradient.sign_() if norm == "linf" else unit(gradient)


class BestIterate:
    """The best iterate of every run: the first that reaches the goal, else that of highest loss.

    A run is one search of one image; several runs of an image may share a batch.

    Attributes:
        images: (m, C, H, W), at first the starts.
        loss: (m,) of `images`; -inf before the first iterate.
        reached: (m,) bool, which runs have reached the goal.
        last_improvement: (m,) the fraction of the budget at which the loss rose for the last time,
            or at which the goal was reached; NaN before the first iterate.

    Example:
        >>> best = BestIterate(torch.zeros(2, 1, 1, 1))
        >>> for at, loss in ((0.5, [1.0, 3.0]), (1.0, [2.0, 2.0])):
        ...     images = torch.full((2, 1, 1, 1), at)
        ...     best.note(torch.arange(2), images, torch.tensor(loss), torch.zeros(2).bool(), at)
        >>> best.images.flatten(), best.loss, best.last_improvement
        (tensor([1.0000, 0.5000]), tensor([2., 3.]), tensor([1.0000, 0.5000]))
    """

    def __init__(self, start: Tensor):
        self.images = start.clone()
        self.loss = torch.full((len(start),), -torch.inf, device=start.device)
        self.reached = torch.zeros(len(start), dtype=torch.bool, device=start.device)
        self.last_improvement = torch.full_like(self.loss, torch.nan)

    def note(self, runs: Tensor, images: Tensor, loss: Tensor, hits: Tensor, at: float) -> None:
        """Takes the iterates of some runs.

        Args:
            runs: (k,) their runs, none of them twice.
            images: (k, C, H, W) the iterates.
            loss: (k,) their losses.
            hits: (k,) bool, which of them reach the goal; such a run notes nothing afterwards.
            at: the fraction of a run's budget that is spent, 0 to 1.
        """
        better = (loss > self.loss[runs]) | hits
        chosen = runs[better]
        self.images[chosen], self.loss[chosen] = images[better], loss[better]
        self.reached[runs[hits]] = True
        self.last_improvement[chosen] = at

    def take_better(self, runs: Tensor, others: BestIterate) -> None:
        """Replaces what other runs of the same images surpass; reaching the goal surpasses all.

        Args:
            runs: (k,) runs of this object, none of which has reached the goal.
            others: r * k runs of the same images: the first of each, then the second of each, ...
        """
        if not len(runs):
            return
        value = others.loss.masked_fill(others.reached, torch.inf).view(-1, len(runs))
        top, which = value.max(dim=0)
        better = top > self.loss[runs]
        chosen = (which * len(runs) + torch.arange(len(runs), device=runs.device))[better]
        for name in ("images", "loss", "reached", "last_improvement"):
            getattr(self, name)[runs[better]] = getattr(others, name)[chosen]


def best_of(restarts: int, rows: Tensor, run: Callable[[Tensor], BestIterate]) -> BestIterate:
    """The best of several runs of each image. The first runs alone: it succeeds on most images.

    Args:
        restarts: runs per image, at least 1.
        rows: (n,) the images.
        run: searches from images (m,), which may be named several times, in one batch.
    """
    best = run(rows)
    left = (~best.reached).nonzero().squeeze(1)
    if restarts > 1 and len(left):
        best.take_better(left, run(rows[left].repeat(restarts - 1)))
    return best
