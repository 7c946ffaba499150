"""What the minimal-norm attacks share: one search, bisected, and evaluated at every epsilon."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from assay.attacks.attack import NEARLY, Attack
from assay.attacks.queries import Queries
from assay.threat.ball import norms_of

# Relative precision of the distance of the closest image.
PRECISION = 1 / 64
# The first step back towards the image; each further one is twice as long.
FIRST_STEP = 1 / 16
# Relative distances at which a randomised victim is evaluated if it rejects the closest image.
FARTHER = (1.02, 1.05, 1.1, 1.2, 1.4, 2.0)


@dataclass(frozen=True, kw_only=True)
class MinimalNorm(Attack):
    """Searches for the closest misclassified image, without a budget.

    The proposal is the closest image that the true decision misclassifies:

    * Where a query of the view equals the true decision (`Queries.certain`), the search's own
      result.
    * Elsewhere the search follows the boundary of the view, not that of the decision, and only some
      of its iterates are confirmed. Its result is confirmed and then moved back along the line to
      its image: by steps of doubled length until the decision rejects, and then by bisection
      between the closest confirmed and the rejected image, until these are
      `PRECISION` of the distance apart. Each of these images gets its own decision, of a randomised
      victim the majority of all repeats, regardless of earlier rejections.
    * A randomised victim's closest confirmed image has won one vote, partly by chance, and may lose
      the vote of the final method. Only then it is moved away, to `FARTHER` times its distance but
      not out of the ball, until an image wins two votes in a row: the search's and the final
      method's. The reported distance is that of the image that the final method accepted.

    At an epsilon, the final method projects a farther image into the ball and evaluates it there:
    half of the way may be enough on a curved boundary.

    Class attributes:
        refines: whether the result is moved back at all; false of searches whose result is a
            sample of a given distribution.
    """

    access: ClassVar[str] = "white_box"
    is_minimum_norm: ClassVar[bool] = True
    refines: ClassVar[bool] = True

    def _prepare(self, queries: Queries) -> Tensor:
        found = self._minimal_norm(queries)
        if queries.certain or not self.refines:
            return found
        moved = (found != queries.images).flatten(1).any(dim=1)
        return self._moved_back(queries, found, moved.nonzero().squeeze(1))

    def _search(self, queries: Queries, epsilon: float, shared: Tensor) -> Tensor:
        return shared

    def _again(
        self, queries: Queries, epsilon: float, shared: Tensor, rows: Tensor, attempt: int
    ) -> tuple[Tensor, Tensor] | None:
        if queries.certain or attempt == len(FARTHER):
            return None
        before = (1.0, *FARTHER)[attempt]
        # As far as the ball allows; where it allowed no more last time, nothing is left to
        # evaluate.
        most = epsilon / norms_of(shared[rows] - queries.images[rows], self.norm).clamp_min(1e-12)
        farther = most > 1.001 * before
        rows, most = rows[farther], most[farther]
        images = _along(queries, shared, rows, most.clamp_max(FARTHER[attempt]))
        hits, _ = queries.decide(images, rows)
        return rows[hits], images[hits]

    def _moved_back(self, queries: Queries, found: Tensor, rows: Tensor) -> Tensor:
        """`found` (n, C, H, W), where it is confirmed as close to its image as the decision allows.

        Args:
            queries: whose images they are variants of.
            found: (n, C, H, W); overwritten.
            rows: (m,) where it differs from the image.
        """
        line = found.clone()
        low, high = self._bracket(queries, line, rows)
        kept = high.isfinite()
        rows, low, high = rows[kept], low[kept], high[kept]
        found[rows] = _along(queries, line, rows, high)
        step = torch.full_like(high, FIRST_STEP)
        live = (high - low > PRECISION * high).nonzero().squeeze(1)
        while len(live):
            near, far = low[live], high[live]
            # While nothing was rejected: back by doubled steps, then by half the way.
            place = torch.where(
                near > 0, (near + far) / 2, torch.maximum(far - step[live], far / 2)
            )
            step[live] *= 2
            images = _along(queries, line, rows[live], place)
            hits, _ = queries.decide(images, rows[live])
            found[rows[live[hits]]] = images[hits]
            high[live] = torch.where(hits, place, far)
            low[live] = torch.where(hits, near, place)
            # Images that are misclassified at any distance lie on the boundary itself.
            going = (high[live] - low[live] > PRECISION * high[live]) & (high[live] > PRECISION)
            live = live[going]
        return found

    def _bracket(self, queries: Queries, line: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of the way to `line`: rejected last (m,), and confirmed, infinite where none
        is."""
        low = torch.zeros(len(rows), device=rows.device)
        high = torch.full_like(low, torch.inf)
        left = torch.arange(len(rows), device=rows.device)
        for factor in (1.0, *FARTHER):
            if not len(left):
                break
            place = torch.full_like(low[left], factor)
            hits, share = queries.decide(_along(queries, line, rows[left], place), rows[left])
            high[left[hits]] = factor
            left = left[~hits & (share >= NEARLY)]
            low[left] = factor
        return low, high

    @abstractmethod
    def _minimal_norm(self, queries: Queries) -> Tensor:
        """The closest misclassified image found for every image of `queries`: (n, C, H, W) in [0,
        1].

        Where none was found: the best try, or the image itself.
        """


def _along(queries: Queries, line: Tensor, rows: Tensor, share: Tensor) -> Tensor:
    """(m, C, H, W) at shares (m,) of the ways from the images `rows` to `line` (n, C, H, W)."""
    origin = queries.images[rows]
    way = line[rows] - origin
    return (origin + share[:, None, None, None] * way).clamp_(0.0, 1.0)
