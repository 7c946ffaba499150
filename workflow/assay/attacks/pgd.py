"""Projected gradient ascent in an L-infinity or an L2 ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from assay.attacks.arguments import bad_setting, check_norm, check_positive, check_target
from assay.attacks.attack import Attack
from assay.attacks.losses import LOSSES, Loss, check_loss, loss_called
from assay.attacks.queries import Queries
from assay.attacks.search import BestIterate, ascent, best_of, reaches_goal
from assay.threat.ball import random_point, step_inside


@dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """x <- clip(project(x + step * direction(grad_x L(x, y)))), repeated.

    With `random_start` false it is BIM (Kurakin et al. 2017, arXiv:1607.02533), with `momentum` the
    momentum iterative method (Dong et al. 2018, arXiv:1710.06081).

    The direction is the gradient's sign (``linf``) or the gradient at unit length (``l2``). An
    image leaves the batch at its first misclassified iterate, which the forward half of the next
    gradient shows without a pass of its own. The first restart runs alone, since it succeeds on
    most images; the others run for the survivors, all in one batch.

    Args:
        norm: ``linf`` or ``l2``.
        steps: gradient steps; 0 evaluates the random starts themselves, which needs `random_start`.
        step: length of a step in the unit of epsilon; None: ``relative_step * epsilon / steps``.
        relative_step: how many radii all steps together can go, where `step` is None.
        random_start: start at random in the ball instead of at the image: uniformly (``linf``), or
            in a uniform direction at a uniform distance (``l2``).
        restarts: independent runs; more than one needs the random start.
        loss: ``cross_entropy``, ``margin``, ``dlr``, ``zero_masked_margin`` (a mistake of a public
            code) or ``training``. The training loss does not show how close an image is to the
            boundary, so with it the last iterate is evaluated, not the best.
        confidence: with the margin loss, how far beyond the boundary it still counts; None: any.
            50 is Carlini and Wagner's loss as Madry et al. use it.
        iterate: ``best``: a run ends at its first iterate that reaches the goal, else the one of
            highest loss is evaluated; ``last``: all steps are taken and the last iterate is
            evaluated, as in most publications' code and for images that are to be looked at.
        momentum: share of the last step's direction that is kept; gradients are then summed at
            L1 length 1.
        target: see `Attack`; the search is done when the target is met.

    Example:
        >>> PGD(norm="l2", steps=20).steps
        20
    """

    source: ClassVar[str] = "Madry et al. 2018, arXiv:1706.06083"
    differences: ClassVar[tuple[str, ...]] = (
        "runs on every view of a defence and takes the worst case, image by image",
        "stops for an image at its first misclassified iterate, else evaluates the best iterate",
        "an image misclassified within a smaller radius is not attacked again within a larger one",
    )
    access: ClassVar[str] = "white_box"

    norm: str = "linf"  # pyrefly: ignore[bad-override]
    steps: int = 40
    step: float | None = None
    relative_step: float = 2.5
    random_start: bool = True
    restarts: int = 1
    loss: str = "cross_entropy"
    confidence: float | None = None
    iterate: str = "best"
    momentum: float = 0.0
    target: str | int = "none"  # pyrefly: ignore[bad-override]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_target(self.target)
        check_loss(self.loss, targeted=self.target != "none")
        check_norm(self.norm, "PGD")
        if self.confidence is not None and (
            self.loss not in ("margin", "zero_masked_margin") or self.target != "none"
        ):
            raise bad_setting("confidence", "only the untargeted margin has one")
        if self.iterate not in ("best", "last"):
            raise bad_setting("iterate", f"'{self.iterate}' is unknown", "use best or last")
        if self.momentum < 0:
            raise bad_setting("momentum", f"{self.momentum} is negative", "use 0 or more")
        if self.steps < (0 if self.random_start else 1):
            raise bad_setting(
                "steps",
                f"{self.steps} steps are too few",
                "use at least 1, or 0 with random_start: true",
            )
        several = self.random_start and self.iterate == "best"
        if self.restarts < 1 or (self.restarts > 1 and not several):
            raise bad_setting(
                "restarts",
                f"{self.restarts} restarts, random_start {self.random_start}, "
                f"iterate {self.iterate}",
                "use at least 1, and more only with random_start: true and iterate: best",
            )
        check_positive(step=self.relative_step if self.step is None else self.step)

    @property
    def gradient_passes(self) -> int:
        return self.steps * self.restarts * self.eot_samples

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        rows = torch.arange(len(queries.images), device=queries.images.device)
        best = best_of(self.restarts, rows, lambda runs: self._climb(queries, runs, epsilon))
        queries.report(best.loss, best.last_improvement)
        return best.images

    def _climb(self, queries: Queries, rows: Tensor, epsilon: float) -> BestIterate:
        """One run from each of `rows`, which may name an image several times.

        After one run of an image reached the goal, its other runs stop. Where the loss shows no
        progress, or as published, the images are the last iterates and their loss stays unknown.
        """
        origin = queries.images[rows]
        x = origin.clone()
        if self.random_start:
            x = random_point(origin, epsilon, self.norm, queries.generator)
        length = self.step
        if length is None:
            length = self.relative_step * epsilon / max(self.steps, 1)
        climbed = self._climbed(queries)
        last = self.as_published or self.iterate == "last"
        ranks = None if last else climbed  # what is larger at a better iterate
        best = BestIterate(x)
        live = torch.arange(len(rows), device=x.device)
        velocity = torch.zeros_like(x) if self.momentum else None
        for k in range(self.steps):
            mine = rows[live]
            targets = None if queries.targets is None else queries.targets[mine]
            loss, logits, gradient = queries.gradient(x, mine, climbed, targets=targets)
            if ranks is not None:
                assert logits is not None  # the loss is a function of them
                hits = reaches_goal(queries, x, mine, logits)
                best.note(live, x, loss, hits, k / self.steps)
                if best.reached.any():
                    stay = ~torch.isin(mine, rows[best.reached])
                    if not stay.all():
                        live, x, origin = live[stay], x[stay], origin[stay]
                        gradient = gradient[stay]
                        velocity = None if velocity is None else velocity[stay]
                        if not len(live):
                            break
            if velocity is not None:
                share = gradient.abs().sum(dim=(1, 2, 3), keepdim=True).clamp_min(1e-30)
                velocity = self.momentum * velocity + gradient / share
                gradient = velocity.clone()
            direction = ascent(queries, gradient, self.norm)
            x = step_inside(x, direction, length, origin, epsilon, self.norm)
        if ranks is None:
            best.images = x
        elif len(live):
            mine = rows[live]
            logits = queries.logits(x, mine)
            truth = [queries.labels[mine]]
            if queries.targets is not None:
                truth.append(queries.targets[mine])
            hits = reaches_goal(queries, x, mine, logits)
            best.note(live, x, ranks(logits, *truth), hits, 1.0)
        return best

    def _climbed(self, queries: Queries) -> Loss | None:
        if self.confidence is None:
            return loss_called(self.loss, targeted=queries.targets is not None)
        margin = LOSSES[self.loss]
        return lambda logits, labels: margin(logits, labels).clamp_max(self.confidence)
