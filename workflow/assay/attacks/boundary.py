"""Boundary: from a misclassified image along the boundary to the original, by decisions only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from assay.attacks.arguments import bad_setting, check_at_least, check_target
from assay.attacks.best_so_far import BestSoFar
from assay.attacks.minimal import MinimalNorm
from assay.attacks.queries import Queries
from assay.threat.ball import norms_of

# Share of misclassified candidates at which the step length does not change.
_SUCCESS = 0.25
# A shorter step no longer changes an image in single precision.
_CONVERGED = 1e-7
_HALVINGS = 10


@dataclass(frozen=True, kw_only=True)
class Boundary(MinimalNorm):
    """A random walk on misclassified images: a step sideways, a step closer, kept if successful.

    It starts on the line from uniform noise to the image, where the decision changes. A candidate
    is one query: with x the image's closest misclassified iterate and d its distance, it moves
    sideways by s d, orthogonally to the way to the image in a random direction, back to the
    distance d, and closer by e d. The step e of each image grows by a factor when the candidate is
    misclassified and shrinks otherwise, such that it converges where a quarter of them are. An
    image leaves once its step is below single precision.

    The sideways step is s = sqrt(2 e). On a flat boundary a random sideways step gains c s g, with
    g ~ N(0, 1) and c the local geometry, and loses s^2 / 2 on returning to the sphere; the chance
    that the gain covers e is largest there, whatever c.

    Args:
        steps: candidates per image, at least 1.
        source_step: e at the start, in (0, 1).
        step_adaptation: factor by which e adapts, above 1.
        directions: noise images to try as a start; after that, an image of another class (or of the
            target class) among those attacked together.
        target: see `Attack`.

    Example:
        >>> Boundary(steps=1000).step_adaptation
        1.5
    """

    norm: ClassVar[str] = "l2"
    source: ClassVar[str] = "Brendel, Rauber, Bethge 2018, arXiv:1712.04248"
    differences: ClassVar[tuple[str, ...]] = (
        "steps adapt after every candidate instead of by counts over many, and the sideways step "
        "follows from the step closer instead of being adapted by queries of its own",
        "starts are bisected towards the image before the walk",
        "where no noise is misclassified, an image of another class is the start",
    )
    access: ClassVar[str] = "decision"

    steps: int = 25_000
    source_step: float = 0.01
    step_adaptation: float = 1.5
    directions: int = 25
    target: str | int = "none"  # pyrefly: ignore[bad-override]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_target(self.target)
        check_at_least(1, steps=self.steps)
        check_at_least(0, directions=self.directions)
        if not 0 < self.source_step < 1:
            raise bad_setting("source_step", f"{self.source_step} is not a step size", "use (0, 1)")
        if self.step_adaptation <= 1:
            raise bad_setting(
                "step_adaptation",
                f"{self.step_adaptation} does not change the step size",
                "use more than 1",
            )

    def _minimal_norm(self, queries: Queries) -> Tensor:
        best = BestSoFar(queries)
        live = self._start(queries, best)
        self._bisect(queries, best, live)
        step = torch.full((len(live),), self.source_step, device=live.device)
        for _ in range(self.steps):
            candidates = step_closer(
                queries.images[live],
                best.images[live],
                best.distance[live],
                queries.normal(len(live), *queries.images.shape[1:]),
                step,
            )
            hits = best.note(candidates, live, queries.logits(candidates, live))
            step = (step * self.step_adaptation ** (hits.float() - _SUCCESS)).clamp_max(0.5)
            converged = step < _CONVERGED
            if converged.any():
                live, step = live[~converged], step[~converged]
            if not len(live):
                break
        return best.images

    def _start(self, queries: Queries, best: BestSoFar) -> Tensor:
        """The images (m,) for which a misclassified one was found; `best` holds it."""
        left = torch.arange(len(queries.images), device=queries.images.device)
        for _ in range(self.directions):
            noise = queries.uniform(len(left), *queries.images.shape[1:])
            left = left[~best.note(noise, left, queries.logits(noise, left))]
            if not len(left):
                break
        else:
            self._start_at_others(queries, best, left)
        return best.distance.isfinite().nonzero().squeeze(1)

    @staticmethod
    def _start_at_others(queries: Queries, best: BestSoFar, rows: Tensor) -> None:
        """Tries for each of `rows` a random image of a class that would be a success."""
        if queries.targets is None:
            fits = queries.labels[None] != queries.labels[rows][:, None]
        else:
            fits = queries.labels[None] == queries.targets[rows][:, None]
        # The largest of random numbers, one for each image that fits: any of them, equally likely.
        largest, other = queries.uniform(*fits.shape).masked_fill(~fits, -1.0).max(dim=1)
        rows, other = rows[largest >= 0], other[largest >= 0]
        if len(rows):
            images = queries.images[other]
            best.note(images, rows, queries.logits(images, rows))

    @staticmethod
    def _bisect(queries: Queries, best: BestSoFar, rows: Tensor) -> None:
        origin = queries.images[rows]
        way = best.images[rows] - origin
        outer = torch.ones(len(rows), 1, 1, 1, device=rows.device)
        inner = torch.zeros_like(outer)
        for _ in range(_HALVINGS if len(rows) else 0):
            middle = (inner + outer) / 2
            x = origin + middle * way
            misclassified = best.note(x, rows, queries.logits(x, rows))[:, None, None, None]
            outer = torch.where(misclassified, middle, outer)
            inner = torch.where(misclassified, inner, middle)


def step_closer(
    origin: Tensor, best: Tensor, distance: Tensor, noise: Tensor, step: Tensor
) -> Tensor:
    """One candidate (m, C, H, W) in [0, 1] per image, closer than its closest misclassified image.

    Args:
        origin: (m, C, H, W) the images.
        best: (m, C, H, W) the closest misclassified image of each.
        distance: (m,) between them, L2.
        noise: (m, C, H, W) from N(0, 1): the direction sideways.
        step: (m,) in (0, 1): the share of the distance that a candidate is closer.

    Example:
        >>> origin, best = torch.full((1, 1, 1, 2), 0.5), torch.tensor([[[[0.9, 0.5]]]])
        >>> noise, step = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([0.1])
        >>> made = step_closer(origin, best, torch.tensor([0.4]), noise, step)
        >>> round((made - origin).norm().item(), 4)
        0.36
    """
    away = best - origin
    # Vectors of one number per image, so that the whole images are passed over seldom.
    along = (noise * away).sum(dim=(1, 2, 3)) / distance.square()
    across = (norms_of(noise, "l2").square() - (along * distance).square()).clamp_min(1e-12).sqrt()
    stretch = (2 * step).sqrt() * distance / across
    back = (1 + 2 * step).rsqrt()
    sideways = _each(back * (1 - stretch * along)) * away + _each(back * stretch) * noise
    change = (origin + sideways).clamp_(0.0, 1.0).sub_(origin)
    # The bounds may have brought it closer by more than the step already.
    shorten = ((1 - step) * distance / norms_of(change, "l2").clamp_min(1e-12)).clamp_max(1.0)
    return change.mul_(_each(shorten)).add_(origin)


def _each(numbers: Tensor) -> Tensor:
    return numbers[:, None, None, None]
