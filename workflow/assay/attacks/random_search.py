"""Random perturbations that use only the victim's answers: baselines, and a control.

A search that does not beat them is defective, and so is an evaluation based on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from assay.attacks.arguments import check_at_least, check_norm, check_positive
from assay.attacks.attack import Attack
from assay.attacks.losses import margin
from assay.attacks.minimal import MinimalNorm
from assay.attacks.queries import Queries
from assay.attacks.search import BestIterate, reaches_goal
from assay.threat.ball import unit

# Candidates that lie in memory at once. Not the victim's batch: it may change no result.
_POINTS = 256


@dataclass(frozen=True, kw_only=True)
class GaussianNoiseSearch(MinimalNorm):
    """Gaussian noise of growing deviation, sampled for each; the first misclassified image counts.

    Several deviations of an image are evaluated in one pass, so that it may cost some queries more
    than its first success. Only the first misclassified one is evaluated by the repeats of a
    randomised victim. Views are not queried: no search continues from a noisy image.

    Args:
        norm: ``linf`` or ``l2``: in which the closest image is measured; the search is the same.
        deviations: how many, in equal steps from `largest` / `deviations`; at least 1.
        largest: the last deviation, above 0.

    Example:
        >>> GaussianNoiseSearch().deviations
        1000
    """

    source: ClassVar[str] = (
        "Rauber, Brendel, Bethge 2017, arXiv:1707.04131 (Foolbox's additive Gaussian noise)"
    )
    differences: ClassVar[tuple[str, ...]] = (
        "Foolbox 2 multiplies a deviation of e by e again, and stops at e^2 / sqrt(3)",
    )
    ignores_views: ClassVar[bool] = True
    uninformed: ClassVar[bool] = True
    refines: ClassVar[bool] = False
    access: ClassVar[str] = "decision"

    norm: str = "l2"  # pyrefly: ignore[bad-override]
    deviations: int = 1000
    largest: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_norm(self.norm, "GaussianNoiseSearch")
        check_at_least(1, deviations=self.deviations)
        check_positive(largest=self.largest)

    def _minimal_norm(self, queries: Queries) -> Tensor:
        found = queries.images.clone()
        live = torch.arange(len(found), device=found.device)
        done = 0
        while len(live) and done < self.deviations:
            several = min(max(1, _POINTS // len(live)), self.deviations - done)
            grid = torch.arange(done + 1, done + several + 1, device=found.device)
            deviation = self.largest / self.deviations * grid
            noise = queries.normal(len(live), several, *found.shape[1:])
            x = queries.images[live, None] + deviation[:, None, None, None] * noise
            x.clamp_(0.0, 1.0)
            logits = _logits(queries, x, live)
            misclassified = logits.argmax(dim=2) != queries.labels[live, None]
            # Among equal values argmax may name any, so that the first is made the largest.
            order = several - torch.arange(several, device=found.device)
            first = (misclassified * order).argmax(dim=1)
            candidates = _pick(x, first)
            won = reaches_goal(queries, candidates, live, _pick(logits, first))
            found[live[won]] = candidates[won]
            live = live[~won]
            done += several
        return found


@dataclass(frozen=True, kw_only=True)
class RandomDirection(Attack):
    """The worst of random points of the ball's surface: what a search must beat.

    ``linf``: corners, +-epsilon in every value; ``l2``: a Gaussian direction at length epsilon. An
    image leaves with the first batch that holds a misclassified point.

    Args:
        norm: ``linf`` or ``l2``.
        directions: points per image, at least 1.

    Example:
        >>> RandomDirection(directions=100).norm
        'linf'
    """

    source: ClassVar[str] = "Carlini et al. 2019, arXiv:1902.06705, section 4.5"
    differences: ClassVar[tuple[str, ...]] = ("L-infinity takes corners of the ball",)
    uninformed: ClassVar[bool] = True

    norm: str = "linf"  # pyrefly: ignore[bad-override]
    directions: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_norm(self.norm, "RandomDirection")
        check_at_least(1, directions=self.directions)

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        best = BestIterate(queries.images)
        live = torch.arange(len(best.images), device=best.images.device)
        left = self.directions
        while len(live) and left:
            several = min(max(1, _POINTS // len(live)), left)
            x = queries.images[live, None] + epsilon * self._directions(queries, len(live), several)
            x.clamp_(0.0, 1.0)
            logits = _logits(queries, x, live)
            labels = queries.labels[live].repeat_interleave(several)
            worst, which = margin(logits.flatten(0, 1), labels).view(-1, several).max(dim=1)
            candidates = _pick(x, which)
            hits = reaches_goal(queries, candidates, live, _pick(logits, which))
            spent = 1 - (left - several) / self.directions
            best.note(live, candidates, worst, hits, spent)
            live = live[~hits]
            left -= several
        queries.report(best.loss, best.last_improvement)
        return best.images

    def _directions(self, queries: Queries, n: int, several: int) -> Tensor:
        """(n, several, C, H, W) with norm 1."""
        shape = (n * several, *queries.images.shape[1:])
        sampled = queries.signs(*shape) if self.norm == "linf" else unit(queries.normal(*shape))
        return sampled.unflatten(0, (n, several))


def _logits(queries: Queries, x: Tensor, rows: Tensor) -> Tensor:
    """Logits (m, k, K) of candidates x (m, k, C, H, W) of m images."""
    logits = queries.logits(x.flatten(0, 1), rows.repeat_interleave(x.shape[1]))
    return logits.unflatten(0, x.shape[:2])


def _pick(values: Tensor, which: Tensor) -> Tensor:
    """values[i, which[i]] for values (m, k, ...)."""
    return values[torch.arange(len(values), device=values.device), which]
