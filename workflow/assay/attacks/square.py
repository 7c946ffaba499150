"""Square: random search over square windows, without gradients.

All images step together. A query index has one window side, so the windows of all images are one
index tensor: a proposal is written into the images by one scatter, and taken back by another where
it did not help. What a query costs beyond the forward pass falls with the window's area.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from assay.attacks.arguments import bad_setting, check_at_least, check_norm, check_target
from assay.attacks.attack import Attack
from assay.attacks.losses import margin, target_margin
from assay.attacks.queries import Queries
from assay.attacks.search import BestIterate, best_of, reaches_goal

# The window's share of the image halves after each of these proposals, of 10,000.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@dataclass(frozen=True, kw_only=True)
class Square(Attack):
    """Redraws one random window of the perturbation and keeps what raises the margin.

    ``linf``: the start is vertical stripes of +-epsilon, a proposal sets a window to +-epsilon,
    one sign per channel. ``l2``: the start is tiles of two opposite bumps, a proposal moves a
    window's share of the perturbation into another window and adds such a pair of bumps there; the
    whole has length epsilon. An image leaves at its first misclassified candidate. The first
    restart runs alone; the others run for the survivors, all in one batch.

    Args:
        norm: ``linf`` or ``l2``.
        queries: forward passes per image and restart, the start's included; at least 1.
        p_init: share of the image that the first windows cover, in (0, 1].
        rescale_schedule: shrink the windows as if `queries` were 10,000, instead of at fixed
            proposals.
        restarts: independent runs, at least 1.
        target: see `Attack`; the margin is then that of the target over every other class.

    Example:
        >>> Square(norm="l2", queries=1000).p_init
        0.8
    """

    source: ClassVar[str] = "Andriushchenko, Croce, Flammarion, Hein 2020, arXiv:1912.00049"
    differences: ClassVar[tuple[str, ...]] = (
        "p starts at 0.8 in both norms, as in AutoAttack; the paper has 0.1 for L2",
        "a window that would change nothing takes the opposite signs instead of being redrawn",
        "L2: what the bounds [0, 1] cut off is regained by a second scaling to length epsilon",
        "a proposal that does not change the margin is kept: the search can cross plateaus",
    )

    norm: str = "linf"  # pyrefly: ignore[bad-override]
    queries: int = 5000
    p_init: float = 0.8
    rescale_schedule: bool = False
    restarts: int = 1
    target: str | int = "none"  # pyrefly: ignore[bad-override]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_target(self.target)
        check_norm(self.norm, "Square")
        check_at_least(1, queries=self.queries, restarts=self.restarts)
        if not 0 < self.p_init <= 1:
            raise bad_setting("p_init", f"{self.p_init} is not a fraction", "use (0, 1]")

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        rows = torch.arange(len(queries.images), device=queries.images.device)
        best = best_of(self.restarts, rows, lambda runs: self._run(queries, runs, epsilon))
        queries.report(best.loss, best.last_improvement)
        return best.images

    def _run(self, queries: Queries, rows: Tensor, epsilon: float) -> BestIterate:
        """One run from each of `rows`, which may name an image several times.

        The loss is the margin, at most 0. After one run of an image succeeded, its other runs stop.
        """
        walk = _WALKS[self.norm](queries, rows, epsilon)
        best = BestIterate(walk.images)
        live = torch.arange(len(rows), device=rows.device)
        for query in range(self.queries):
            if query:
                walk.propose(self.window_side(query - 1, *walk.images.shape[2:]))
            mine = rows[live]
            logits = queries.logits(walk.images, mine)
            hits = reaches_goal(queries, walk.images, mine, logits)
            # A candidate that only the view misclassifies counts as a tie. Otherwise one sample of
            # a noisy view could never be replaced.
            value = _goal_margin(queries, mine, logits).clamp_max(0.0)
            kept = (value >= best.loss[live]) | hits
            walk.accept(kept)
            rising = (value > best.loss[live]) | hits
            best.last_improvement[live[rising]] = (query + 1) / self.queries
            best.loss[live] = torch.where(kept, value, best.loss[live])
            if hits.any():
                best.reached[live[hits]] = True
                leaving = torch.isin(mine, rows[best.reached])
                best.images[live[leaving]] = walk.images[leaving]
                live = live[~leaving]
                walk.narrow(~leaving)
                if not len(live):
                    break
        best.images[live] = walk.images
        return best

    def window_side(self, proposal: int, height: int, width: int) -> int:
        """Side of the windows of the proposal with this number, from 0."""
        if self.rescale_schedule:
            proposal = proposal * 10_000 // self.queries
        share = self.p_init / 2 ** bisect_left(HALVINGS, proposal)
        return min(max(round(math.sqrt(share * height * width)), 1), height, width)


def _goal_margin(queries: Queries, rows: Tensor, logits: Tensor) -> Tensor:
    """(m,) the margin by which the goal of the attack is reached; negative: not reached."""
    if queries.targets is None:
        return margin(logits, queries.labels[rows])
    return target_margin(logits, queries.targets[rows])


class SignWalk:
    """Perturbations of +-epsilon in every pixel.

    Attributes:
        images: (m, C, H, W), the candidates to evaluate.
    """

    def __init__(self, queries: Queries, rows: Tensor, epsilon: float):
        self._queries, self._epsilon = queries, epsilon
        self._origin = queries.images[rows]
        m, channels, _, width = self._origin.shape
        sign = _sign(queries.uniform(m, channels, 1, width))
        self.images = (self._origin + epsilon * sign).clamp_(0.0, 1.0)
        self._place = torch.empty((m, channels, 0), dtype=torch.int64, device=rows.device)
        self._old = self._new = self._origin.new_empty(m, channels, 0)

    def propose(self, side: int) -> None:
        m, channels, height, width = self.images.shape
        sampled = self._queries.uniform(m, 2 + channels)
        place = window_places(sampled[:, :2], side, height, width)
        self._place = place[:, None].expand(-1, channels, -1)
        self._old = self.images.flatten(2).gather(2, self._place)
        origin = self._origin.flatten(2).gather(2, self._place)
        shift = self._epsilon * _sign(sampled[:, 2:, None])
        new = (origin + shift).clamp_(0.0, 1.0)
        idle = (new == self._old).all(dim=2).all(dim=1)
        other = (origin - shift).clamp_(0.0, 1.0)
        self._new = torch.where(idle[:, None, None], other, new)
        self.images.flatten(2).scatter_(2, self._place, self._new)

    def accept(self, kept: Tensor) -> None:
        """Takes back what is not kept (m,) of the last proposal."""
        values = torch.where(kept[:, None, None], self._new, self._old)
        self.images.flatten(2).scatter_(2, self._place, values)

    def narrow(self, stay: Tensor) -> None:
        self.images, self._origin = self.images[stay], self._origin[stay]


class BumpWalk:
    """Perturbations of length epsilon, made of pairs of opposite bumps.

    Attributes:
        images: (m, C, H, W), the candidates to evaluate.
    """

    def __init__(self, queries: Queries, rows: Tensor, epsilon: float):
        self._queries, self._epsilon = queries, epsilon
        self._origin = queries.images[rows]
        m, channels, height, width = self._origin.shape
        side = max(1, min(height, width) // 5)
        down, across = height // side, width // side
        sampled = queries.uniform(m, 1 + channels, down, across, 1, 1)
        pair = bump_pair(side).to(rows.device)
        tiles = torch.where(sampled[:, :1] < 0.5, pair, pair.T) * _sign(sampled[:, 1:])
        tiles = tiles.transpose(3, 4).reshape(m, channels, down * side, across * side)
        top, left = (height - down * side) // 2, (width - across * side) // 2
        bottom, right = height - down * side - top, width - across * side - left
        self.images = self._at_length(functional.pad(tiles, (left, right, top, bottom)))
        self._last = self.images

    def propose(self, side: int) -> None:
        m, channels, height, width = self.images.shape
        side = min(max(side, 3) | 1, height, width)
        sampled = self._queries.uniform(m, 5 + channels)
        to, away = (
            window_places(sampled[:, at : at + 2], side, height, width)[:, None].expand(
                -1, channels, -1
            )
            for at in (0, 2)
        )
        change = (self.images - self._origin).flatten(2)
        mass = _mass(change)
        inside = change.gather(2, to)
        change.scatter_(2, away, 0.0).scatter_(2, to, 0.0)
        # Rounding may make either difference slightly negative.
        freed = (mass - _mass(change)).clamp_min(0.0)
        unused = (self._epsilon**2 - mass.sum(dim=1, keepdim=True)).clamp_min(0.0)
        pair = bump_pair(side).to(change.device)
        turned = torch.where(sampled[:, 4, None, None] < 0.5, pair, pair.T).flatten(1)[:, None]
        fresh = _unit(inside) + turned * _sign(sampled[:, 5:, None])
        change.scatter_(2, to, _unit(fresh) * (freed + unused / channels).sqrt())
        self._last = self.images
        self.images = self._at_length(change.view_as(self.images))

    def accept(self, kept: Tensor) -> None:
        """Takes back what is not kept (m,) of the last proposal."""
        self.images = torch.where(kept[:, None, None, None], self.images, self._last)

    def narrow(self, stay: Tensor) -> None:
        self.images, self._origin = self.images[stay], self._origin[stay]

    def _at_length(self, change: Tensor) -> Tensor:
        # What the bounds cut off in the first round, the second gives to the other pixels.
        for _ in range(2):
            scaled = _unit(change.flatten(1)).view_as(change).mul_(self._epsilon)
            images = scaled.add_(self._origin).clamp_(0.0, 1.0)
            change = images - self._origin
        return images


_WALKS = {"linf": SignWalk, "l2": BumpWalk}


def window_places(sampled: Tensor, side: int, height: int, width: int) -> Tensor:
    """Places (m, side * side) in a flattened image of windows with corners `sampled` (m, 2)."""
    room = torch.tensor([height - side + 1, width - side + 1], device=sampled.device)
    corner = torch.minimum((sampled * room).long(), room - 1)
    along = torch.arange(side, device=sampled.device)
    row, column = corner[:, :1] + along, corner[:, 1:] + along
    return (row[:, :, None] * width + column[:, None, :]).flatten(1)


@cache
def bump_pair(side: int) -> Tensor:
    """(side, side) two opposite bumps one above the other, of length 1 together."""
    upper = side // 2
    pair = torch.cat([_bump(upper, side), -_bump(side - upper, side)])
    return pair / pair.norm()


def _bump(height: int, width: int) -> Tensor:
    """(height, width) of length 1: sum_{j > d} 1 / j^2 at a distance of d rings from the middle.

    The sum ends at the outermost ring.
    """
    rows = (torch.arange(height) - height // 2).abs()
    columns = (torch.arange(width) - width // 2).abs()
    ring = torch.maximum(rows[:, None], columns[None])
    sums = torch.arange(1, max(height // 2, width // 2) + 2).double().pow(-2).cumsum(0)
    bump = (sums[-1] - torch.cat([sums.new_zeros(1), sums])[ring]).float()
    return bump / bump.norm()


def _sign(sampled: Tensor) -> Tensor:
    return torch.where(sampled < 0.5, -1.0, 1.0)


def _mass(change: Tensor) -> Tensor:
    return change.square().sum(dim=-1, keepdim=True)


def _unit(vectors: Tensor) -> Tensor:
    """Length 1 along the last dimension; zero stays zero."""
    return vectors / _mass(vectors).sqrt().clamp_min(1e-12)
