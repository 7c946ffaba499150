"""What minimal-norm searches share: the closest success so far, a bisected weight, an end."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from assay.attacks.losses import margin
from assay.attacks.queries import Queries
from assay.attacks.search import at_goal, reaches_goal
from assay.threat.ball import norms_of

# The wrong class must have this share of the true class's unperturbed margin: far more than the
# rounding of a logit, which depends on its batch and must not change the prediction.
SLACK = 1e-3


class BestSoFar:
    """The closest misclassified iterate of every image; while there is none, the latest iterate.

    Attributes:
        images: (n, C, H, W), at first the unperturbed ones.
        distance: (n,) Euclidean, infinite while no iterate is misclassified.
    """

    def __init__(self, queries: Queries):
        self.images = queries.images.clone()
        self.distance = torch.full_like(self.images[:, 0, 0, 0], torch.inf)
        self._queries = queries

    def note(self, x: Tensor, rows: Tensor, logits: Tensor) -> Tensor:
        """Evaluates one iterate of each of some images.

        The true decision is queried only for iterates that would be the closest, because a query of
        a stochastic victim costs many passes. For the others the view decides.

        Args:
            x: (m, C, H, W) in [0, 1].
            rows: (m,) the images of `queries` that they are variants of, none of them twice.
            logits: (m, K) logits of the view for them.

        Returns:
            (m,) bool, which of them reach the goal: are misclassified, or as the target.
        """
        misclassified = at_goal(self._queries, rows, logits)
        distance = norms_of(x - self._queries.images[rows], "l2")
        better = misclassified & (distance < self.distance[rows])
        if better.any():
            confirmed = self._queries.confirm(x[better], rows[better])
            misclassified[better] = confirmed
            better[better.clone()] = confirmed
        kept = better | self.distance[rows].isinf()
        self.images[rows[kept]] = x[kept]
        self.distance[rows[better]] = distance[better]
        return misclassified


def with_smallest_weights(
    queries: Queries, rounds: int, start: float, minimise: Callable[[Tensor, BestSoFar], Tensor]
) -> Tensor:
    """The closest misclassified iterates of several minimisations of distance plus weighted loss.

    Args:
        queries: the n images that are attacked.
        rounds: minimisations.
        start: the weight of the loss in the first one, above 0.
        minimise: takes weights (n,) and notes its iterates; returns on which images it succeeded
            (n,).

    Returns:
        (n, C, H, W).
    """
    best = BestSoFar(queries)
    weights = _Bisection(len(queries.images), start, queries.images.device)
    for _ in range(rounds):
        weights.note(minimise(weights.weight, best))
    return best.images


class _Bisection:
    """The search for the smallest weight of an image's loss at which the attack succeeds.

    Attributes:
        weight: (n,) to be tried next: ten times the last while no attempt succeeded, then the
            middle between the largest that did not and the smallest that did.
    """

    def __init__(self, n: int, start: float, device: torch.device):
        self.weight = torch.full((n,), start, device=device)
        self._lower = torch.zeros_like(self.weight)
        self._upper = torch.full_like(self.weight, torch.inf)

    def note(self, succeeded: Tensor) -> None:
        """Updates the weights, given the images (n,) on which the attack succeeded."""
        self._upper = torch.where(succeeded, self.weight, self._upper)
        self._lower = torch.where(succeeded, self._lower, self.weight)
        middle = (self._lower + self._upper) / 2
        self.weight = torch.where(self._upper.isinf(), 10 * self.weight, middle)


def sharpened(
    queries: Queries, found: Tensor, rows: Tensor, margins: Tensor, *, steps: int
) -> Tensor:
    """Misclassified images, moved along the lines from their originals to just beyond the edge.

    Secant steps on the margin. Usually they lead back; an image on the edge itself moves forward.

    Args:
        queries: whose images they are variants of.
        found: (m, C, H, W) misclassified images.
        rows: (m,) the images of `queries` that they are variants of, none of them twice.
        margins: (m,) margin of the likeliest wrong class there, by the view.
        steps: forward passes per image.

    Returns:
        (m, C, H, W), the last misclassified one of each line.
    """
    origin, better = queries.images[rows], found.clone()
    low, high = torch.zeros_like(margins), torch.ones_like(margins)
    behind, ahead = margin(queries.log_scores[rows], queries.labels[rows]), margins
    slack = SLACK * behind.abs()
    for _ in range(steps if len(rows) else 0):
        share = (slack - behind) / (ahead - behind).clamp_min(1e-12)
        # The original lies on the edge itself: by halves, since the secant has length zero.
        share = torch.where(share > 0, share, 0.5)
        place = low + (high - low) * share.clamp(0.0, 1.0 + 2 * SLACK)
        x = origin.lerp(found, place[:, None, None, None]).clamp_(0.0, 1.0)
        logits = queries.logits(x, rows)
        gap = margin(logits, queries.labels[rows])
        beyond = reaches_goal(queries, x, rows, logits) & (gap >= slack / 2)
        better[beyond] = x[beyond]
        low, behind = torch.where(beyond, low, place), torch.where(beyond, behind, gap)
        high, ahead = torch.where(beyond, place, high), torch.where(beyond, gap, ahead)
    return better
