"""Projected gradient ascent in an L-infinity or an L2 ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from assay.attacks.base import Attack, Probe, project
from assay.attacks.losses import LOSSES, check_loss
from assay.foundation.errors import AttackError


@dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """x <- clip(project(x + step * direction(grad_x L(x, y)))), repeated.

    The direction is the gradient's sign (``linf``) or the gradient at unit length (``l2``). An
    image leaves the batch at the first iterate that breaks it, which the forward half of the next
    gradient tells without a pass of its own. The first restart runs alone, since it breaks most
    images; the others run for the survivors, all in one batch.

    Args:
        norm: ``linf`` or ``l2``.
        steps: gradient steps, at least 1.
        step: length of a step in the unit of epsilon; None: ``relative_step * epsilon / steps``.
        relative_step: how many radii all steps together can go, where `step` is None.
        random_start: start uniformly in the ball instead of at the image.
        restarts: independent runs; more than one needs the random start.
        loss: ``cross_entropy``, ``margin`` or ``training``. The training loss does not tell how
            close an image is to being broken, so with it the last iterate is judged, not the best.

    Example:
        >>> PGD(norm="l2", steps=20).steps
        20
    """

    source: ClassVar[str] = "Madry et al. 2018, arXiv:1706.06083"
    differences: ClassVar[tuple[str, ...]] = (
        "runs on every view of a defence and takes the union, image by image",
        "stops for an image at the first broken iterate and otherwise judges its best iterate",
        "an image broken within a smaller radius is not attacked again within a larger one",
    )
    uses_gradient: ClassVar[bool] = True

    norm: str = "linf"
    steps: int = 40
    step: float | None = None
    relative_step: float = 2.5
    random_start: bool = True
    restarts: int = 1
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        check_loss(self.loss)
        if self.norm not in ("linf", "l2"):
            raise _setting("norm", f"'{self.norm}' is not a norm of PGD", "use linf or l2")
        if self.steps < 1:
            raise _setting("steps", f"{self.steps} steps go nowhere", "use at least 1")
        if self.restarts < 1 or (self.restarts > 1 and not self.random_start):
            raise _setting(
                "restarts",
                f"{self.restarts} restarts, random_start {self.random_start}",
                "use at least 1, and more only with random_start: true",
            )
        if (self.relative_step if self.step is None else self.step) <= 0:
            raise _setting("step", "a step has a positive length", None)

    def _search(self, probe: Probe, epsilon: float, shared: Tensor | None) -> Tensor:
        rows = torch.arange(len(probe.images), device=probe.images.device)
        images, loss, broken = self._climb(probe, rows, epsilon)
        left = (~broken).nonzero().squeeze(1)
        if self.restarts > 1 and len(left):
            again = left.repeat(self.restarts - 1)
            others, heights, won = self._climb(probe, again, epsilon)
            heights = heights.masked_fill(won, torch.inf).view(-1, len(left))
            height, which = heights.max(dim=0)
            better = height > loss[left]
            chosen = others.view(-1, len(left), *others.shape[1:])[
                which, torch.arange(len(left), device=left.device)
            ]
            images[left[better]] = chosen[better]
        return images

    def _climb(self, probe: Probe, rows: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
        """One run from each of `rows`, which may name an image several times.

        Returns:
            Images (m, C, H, W), their loss (m,) and whether they are broken (m,). Once one run of
            an image has broken it, the image's other runs stop where they are.
        """
        origin = probe.images[rows]
        x = self._start(probe, origin, epsilon)
        length = self.relative_step * epsilon / self.steps if self.step is None else self.step
        climbed = LOSSES[self.loss]
        judges_best = climbed is not None and not self.as_published
        best = _Best(x)
        live = torch.arange(len(rows), device=x.device)
        for _ in range(self.steps):
            loss, logits, gradient = probe.gradient(x, rows[live], climbed)
            if judges_best:
                best.note(live, x, loss, self._hits(probe, x, rows[live], logits))
                finished = torch.isin(rows[live], rows[best.broken])
                if finished.any():
                    stay = ~finished
                    live, x, origin, gradient = live[stay], x[stay], origin[stay], gradient[stay]
                    if not len(live):
                        break
            x = project(x.add_(self._direction(gradient), alpha=length), origin, epsilon, self.norm)
            x.clamp_(0.0, 1.0)
        if not judges_best:
            return x, best.loss, best.broken
        if len(live):
            logits = probe.logits(x, rows[live])
            loss = climbed(logits, probe.labels[rows[live]])
            best.note(live, x, loss, self._hits(probe, x, rows[live], logits))
        return best.images, best.loss, best.broken

    @staticmethod
    def _hits(probe: Probe, x: Tensor, rows: Tensor, logits: Tensor) -> Tensor:
        """Which iterates the view calls broken and the true decision confirms: (m,) bool."""
        hits = logits.argmax(dim=1) != probe.labels[rows]
        if hits.any():
            hits[hits.clone()] = probe.confirm(x[hits], rows[hits])
        return hits

    def _start(self, probe: Probe, origin: Tensor, epsilon: float) -> Tensor:
        if not self.random_start:
            return origin.clone()
        if self.norm == "linf":
            change = (2 * probe.uniform(*origin.shape) - 1) * epsilon
        else:
            # A Gaussian direction, and a radius with equal mass per volume.
            change = _unit(probe.normal(*origin.shape))
            radius = probe.uniform(len(origin)) ** (1 / origin[0].numel())
            change = change * (epsilon * radius)[:, None, None, None]
        return (origin + change).clamp_(0.0, 1.0)

    def _direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign_() if self.norm == "linf" else _unit(gradient)


class _Best:
    """The best iterate of every run: the first broken one, else the one with the highest loss."""

    def __init__(self, start: Tensor):
        self.images = start.clone()
        self.loss = torch.full((len(start),), -torch.inf, device=start.device)
        self.broken = torch.zeros(len(start), dtype=torch.bool, device=start.device)

    def note(self, live: Tensor, images: Tensor, loss: Tensor, hits: Tensor) -> None:
        better = (loss > self.loss[live]) | hits
        runs = live[better]
        self.images[runs], self.loss[runs] = images[better], loss[better]
        self.broken[live[hits]] = True


def _unit(vectors: Tensor) -> Tensor:
    """Each (C, H, W) at Euclidean length 1; zero stays zero, whatever the scale."""
    largest = vectors.abs().amax(dim=(1, 2, 3), keepdim=True)
    scaled = vectors / largest.clamp_min(torch.finfo(vectors.dtype).tiny)
    length = scaled.flatten(1).norm(dim=1)[:, None, None, None]
    return scaled / length.clamp_min(1.0)


def _setting(name: str, what: str, remedy: str | None) -> AttackError:
    return AttackError(what, where=f"attack setting '{name}'", remedy=remedy)
