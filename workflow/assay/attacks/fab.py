"""Fast adaptive boundary attack: minimal-norm, by projections onto linearised boundaries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from assay.attacks.arguments import bad_setting, check_at_least, check_norm
from assay.attacks.best_so_far import sharpened
from assay.attacks.losses import margin
from assay.attacks.minimal import MinimalNorm
from assay.attacks.queries import Queries
from assay.attacks.search import reaches_goal
from assay.threat.ball import norms_of, unit

# How far from the image a restart may begin where nothing was found yet: the public code's epsilon.
REACH = {"linf": 0.3, "l2": 1.0}
FINAL_STEPS = 3
# A move to an edge that is closer than this (in the norm) changes no pixel in single precision.
_TIE = 1e-7
# How far such an edge is crossed instead.
_ACROSS = 1e-4


@dataclass(frozen=True, kw_only=True)
class FAB(MinimalNorm):
    """x <- (1 - a) (x + eta d) + a (x_0 + eta d_0), repeated; d, d_0 lead to a linearised edge.

    Around the iterate x the gap z_k - z_y between a wrong class and the true one is taken as
    linear. d and d_0 are the shortest moves within the box (`shortest_move`) from x and from the
    image x_0 to where that gap closes (a little beyond it where it is already zero), and
    a = min(|d| / (|d| + |d_0|), alpha_max) keeps x near the image. Where x is misclassified, the
    search continues from x_0 + beta (x - x_0). At the end a few secant steps between the image and
    the closest misclassified iterate remove the overshoot of eta.

    Costs steps gradient passes and one forward pass per run, and three forward passes at the end:
    the pass that linearises the gap also shows whether the iterate is misclassified.

    Args:
        norm: ``linf`` or ``l2``, what is minimised.
        steps: projections per run, at least 1.
        restarts: independent runs; the first begins at the image, the others at random within half
            the distance found so far.
        targets: None: at every step, head for the closest of the linearised edges to all K - 1
            wrong classes, which takes K - 1 backward passes. k: in every restart one run towards
            each of the min(k, K - 1) likeliest wrong classes, one backward pass per step (FAB-T).
        alpha_max: largest weight of the way that starts at the image, in [0, 1].
        eta: overshoot of a step beyond the edge, at least 1.
        beta: share of the way from the image that is kept after a success, in (0, 1).
        stop_within: images misclassified within the smallest requested radius leave before the
            next run, as within AutoAttack; its distance is then not the smallest. A randomised
            victim's images stay.

    Example:
        >>> FAB(norm="l2", targets=9).steps
        100
    """

    source: ClassVar[str] = "Croce, Hein 2020, arXiv:1907.02044"
    differences: ClassVar[tuple[str, ...]] = (
        "after a success the edge linearised at the misclassified iterate is also used at the "
        "point where the search continues; a gradient for that point would double the passes",
        "the final search runs once, on the best of all runs, and stops a thousandth of the "
        "unperturbed margin beyond the edge, where no rounding decides",
        "the radius of a restart is half the distance found so far, over all earlier runs",
        "target classes are ranked by the true decision on the unperturbed image",
        "an edge closer than single precision resolves is crossed by 1e-4, where the published "
        "step is none",
    )

    norm: str = "linf"  # pyrefly: ignore[bad-override]
    steps: int = 100
    restarts: int = 1
    targets: int | None = None
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    stop_within: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_norm(self.norm, "FAB")
        check_at_least(1, steps=self.steps, restarts=self.restarts)
        if self.targets is not None and self.targets < 1:
            raise bad_setting("targets", f"{self.targets} classes", "use at least 1, or null")
        if not 0 <= self.alpha_max <= 1:
            raise bad_setting("alpha_max", f"{self.alpha_max} is not a weight", "use 0 … 1")
        if self.eta < 1:
            raise bad_setting(
                "eta", f"{self.eta} ends before the decision boundary", "use at least 1"
            )
        if not 0 < self.beta < 1:
            raise bad_setting("beta", f"{self.beta} is not a backward step", "use 0 < beta < 1")

    @property
    def gradient_passes(self) -> int:
        return self.steps * self.restarts * (self.targets or 9) * self.eot_samples

    def _minimal_norm(self, queries: Queries) -> Tensor:
        best = _Closest(queries, self.norm)
        ranking = queries.ranking()
        # One run per column: towards all classes at once, or towards one after the other.
        runs = [ranking] if self.targets is None else ranking[:, : self.targets].split(1, dim=1)
        everyone = torch.arange(len(queries.images), device=queries.images.device)
        for restart in range(self.restarts):
            for classes in runs:
                x = queries.images
                if restart:
                    x = self._start(queries, best.distance)
                searched = everyone
                if self.stop_within and queries.certain:
                    searched = everyone[best.distance > queries.smallest]
                    if not len(searched):
                        break
                # No image leaves a run, so each batch runs to its end while it is in the cache.
                for rows in searched.split(queries.batch):
                    self._run(queries, rows, x[rows], classes[rows], best)
        # Where the view is not the decision, the decision itself is bisected afterwards.
        if queries.certain:
            best.sharpen(FINAL_STEPS)
        return best.images

    def _run(
        self, queries: Queries, rows: Tensor, x: Tensor, classes: Tensor, best: _Closest
    ) -> None:
        """One run of images `rows` (m,) from `x`, towards the closest of `classes` (m, c)."""
        origin = queries.images[rows]
        own, start = torch.arange(len(rows), device=x.device), origin.flatten(1)
        for _ in range(self.steps):
            gaps, logits, gradients = queries.jacobian(x, rows, classes)
            hits = best.note(x, rows, logits)
            gradients, way = gradients.flatten(2), x.flatten(1) - start
            # By the linear model: the gaps at the image, and where the search continues.
            changes = (gradients @ way[:, :, None]).squeeze(2)
            kept = torch.where(hits, self.beta, 1.0)[:, None]
            from_image = gaps - changes
            gaps = from_image + kept * changes
            nearest = self._nearest(gaps, gradients)
            gradient = gradients[own, nearest]
            flat = torch.addcmul(start, way, kept)
            moves = shortest_move(
                torch.cat([flat, start]),
                gradient.repeat(2, 1),
                self._residuals(
                    torch.cat([gaps[own, nearest], from_image[own, nearest]]), gradient.repeat(2, 1)
                ),
                self.norm,
            )
            size = norms_of(moves, self.norm).clamp_min_(1e-8)
            here, there = moves.chunk(2)
            near, far = size.chunk(2)
            alpha = (near / (near + far)).clamp_max_(self.alpha_max)[:, None]
            flat = (flat + self.eta * here).lerp_(start + self.eta * there, alpha)
            x = flat.clamp_(0.0, 1.0).view_as(origin)
        best.note(x, rows, queries.logits(x, rows))

    def _nearest(self, gaps: Tensor, gradients: Tensor) -> Tensor:
        """The class (m,) of the closest linearised edge: gaps (m, c), their gradients (m, c, D)."""
        if gaps.shape[1] == 1:
            return torch.zeros_like(gaps[:, 0], dtype=torch.int64)
        dual = self._dual(gradients)
        return (gaps.abs() / dual.clamp_min(1e-12)).argmin(dim=1)

    def _residuals(self, gaps: Tensor, gradients: Tensor) -> Tensor:
        """What moves (m,) add to gaps (m,) with gradients (m, D): up to the edge, or beyond it.

        On the edge itself, where the two best logits are equal, the way there is no move at all.
        """
        dual = self._dual(gradients)
        return torch.where(gaps.abs() > _TIE * dual, -gaps, _ACROSS * dual)

    def _dual(self, gradients: Tensor) -> Tensor:
        """Norms of gradients (..., D) in which a gap over them is a distance."""
        return gradients.norm(p=1 if self.norm == "linf" else 2, dim=-1)

    def _start(self, queries: Queries, distance: Tensor) -> Tensor:
        """A random point (n, C, H, W) at half the distance found so far, or at half of `REACH`."""
        radius = distance.clamp_max(REACH[self.norm])[:, None, None, None] / 2
        if self.norm == "l2":
            change = unit(queries.normal(*queries.images.shape))
        else:
            change = 2 * queries.uniform(*queries.images.shape) - 1
            change /= change.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
        return (queries.images + radius * change).clamp_(0.0, 1.0)


class _Closest:
    """The closest misclassified iterate of every image of `queries`.

    Attributes:
        images: (n, C, H, W), the image itself where nothing was found.
        distance: (n,), infinite where nothing was found.
    """

    def __init__(self, queries: Queries, norm: str):
        self._queries, self._norm = queries, norm
        self.images = queries.images.clone()
        self.distance = torch.full((len(self.images),), torch.inf, device=self.images.device)
        self._margin = torch.zeros_like(self.distance)

    def note(self, x: Tensor, rows: Tensor, logits: Tensor) -> Tensor:
        """Evaluates candidates (m, C, H, W) of distinct images; returns which succeed (m,)."""
        hits = reaches_goal(self._queries, x, rows, logits)
        if hits.any():
            x, misclassified = x[hits], rows[hits]
            margins = margin(logits[hits], self._queries.labels[misclassified])
            distance = norms_of(x - self._queries.images[misclassified], self._norm)
            closer = distance < self.distance[misclassified]
            which = misclassified[closer]
            self.images[which] = x[closer]
            self.distance[which], self._margin[which] = distance[closer], margins[closer]
        return hits

    def sharpen(self, steps: int) -> None:
        rows = self.distance.isfinite().nonzero().squeeze(1)
        self.images[rows] = sharpened(
            self._queries, self.images[rows], rows, self._margin[rows], steps=steps
        )


def shortest_move(points: Tensor, normals: Tensor, residuals: Tensor, norm: str) -> Tensor:
    """The shortest d with normal . d = residual and point + d in the box [0, 1].

    Along the way every coordinate moves in the direction that helps until it reaches its bound: in
    the L-infinity norm all by the same t, in L2 by t |w_i|. So in both norms the residual that is
    covered is sum_i a_i min(t, s_i), with s_i the t at which coordinate i reaches its bound and
    a = |w| or w^2. This rises concavely and piecewise linearly in t, hence Newton's method from
    t = 0 never oversteps and ends exactly, in a handful of rounds (each is a few sweeps, where
    sorting the s_i takes longer than all of them).

    Args:
        points: (m, D) in [0, 1].
        normals: (m, D), any values.
        residuals: (m,), of any sign.
        norm: ``linf`` or ``l2``, the length to be minimised.

    Returns:
        (m, D). Where the box does not reach the plane: the move to the corner nearest to it. Where
        a normal is zero: no move.

    Example:
        >>> shortest_move(
        ...     torch.full((1, 2), 0.9), torch.tensor([[1.0, 1.0]]), torch.tensor([-0.4]), "linf"
        ... )
        tensor([[-0.2000, -0.2000]])
    """
    # At scale 1, so that no square underflows.
    scale = normals.abs().amax(dim=1).clamp_min_(torch.finfo(normals.dtype).tiny)
    ahead = (normals * (residuals.sign() / scale)[:, None]).clamp_(-1.0, 1.0)
    residuals = residuals.abs() / scale
    size, sign = ahead.abs(), ahead.sign()
    walls = (sign.clamp(min=0.0) - points).abs_()
    if norm == "linf":
        weights, moves = size, sign
    else:
        walls /= size.clamp_min(1e-12)
        weights, moves = size.square(), ahead
    t = torch.zeros_like(residuals)
    swept = torch.empty_like(walls)
    for _ in range(normals.shape[1]):
        torch.minimum(walls, t[:, None], out=swept)
        missing = residuals - swept.mul_(weights).sum(dim=1)
        # Written to floats, the comparison is several times as fast as through a mask.
        slope = torch.gt(walls, t[:, None], out=swept).mul_(weights).sum(dim=1)
        # No slope: every coordinate is at its bound.
        further = torch.where(slope > 0, missing / slope.clamp_min(1e-30), 0.0)
        going = further > 1e-6 * t
        if not going.any():
            break
        t = torch.where(going, t + further, t)
    return torch.minimum(walls, t[:, None], out=swept).mul_(moves)
