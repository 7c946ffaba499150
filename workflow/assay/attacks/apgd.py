"""Auto-PGD: projected gradient ascent with momentum that chooses its steps by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from assay.attacks.arguments import bad_setting, check_at_least, check_norm
from assay.attacks.attack import Attack
from assay.attacks.losses import LOSSES, TARGETED, check_loss
from assay.attacks.queries import Queries
from assay.attacks.search import BestIterate, ascent, reaches_goal
from assay.threat.ball import project, unit

MOMENTUM = 0.25
# Values that one tensor of a wave of runs may hold (256 MiB): runs beyond it wait for the next.
WAVE = 2**26


@dataclass(frozen=True, kw_only=True)
class APGD(Attack):
    """PGD whose step starts at 2 epsilon and is halved where it stops paying.

    z = P(x_k + step * direction(grad L(x_k))), x_{k+1} = P(x_k + 3/4 (z - x_k) + 1/4 (x_k -
    x_{k-1})), P the projection onto ball and box; the first step has no momentum. At each of a few
    checkpoints (`checkpoints`) an image's step is halved, and it returns to its best iterate, if
    too few steps since the last checkpoint raised the loss, or if neither the step was halved there
    nor the best loss has risen since.

    Costs steps gradient passes and one forward pass per run: the start's counts, the last iterate
    needs no gradient. An image leaves at its first misclassified iterate; otherwise the iterate
    with the highest loss is evaluated.

    Args:
        norm: ``linf`` or ``l2``.
        steps: gradient steps per run, at least 1.
        restarts: independent runs, each from a random point on the ball's surface.
        loss: ``cross_entropy``, ``margin`` or ``dlr``.
        targets: None: climb the loss of the true class. k: in every restart one run towards each of
            the min(k, K - 1) likeliest wrong classes, on the targeted form of the loss. 9 with
            ``dlr`` is APGD-T.
        rho: share of steps that have to raise the loss for the step to be kept, in (0, 1].

    Example:
        >>> APGD(loss="dlr", targets=9).steps
        100
    """

    source: ClassVar[str] = "Croce, Hein 2020, arXiv:2003.01690"
    differences: ClassVar[tuple[str, ...]] = (
        "the first checkpoint counts the first step by the loss at the start, as in the paper; "
        "the public code compares it with zero",
        "an image leaves at its first misclassified iterate, with all its runs",
        "the last iterate gets no gradient, which nothing would use",
        "where a gradient is zero in every pixel, the step has a random direction",
        "two classes have no DLR, three no targeted DLR: the margin replaces it",
    )
    access: ClassVar[str] = "white_box"

    norm: str = "linf"  # pyrefly: ignore[bad-override]
    steps: int = 100
    restarts: int = 1
    loss: str = "cross_entropy"
    targets: int | None = None
    rho: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        check_norm(self.norm, "APGD")
        # It has to measure progress, step by step.
        check_loss(self.loss, targeted=self.targets is not None, of_logits=True)
        check_at_least(1, steps=self.steps, restarts=self.restarts)
        if self.targets is not None and self.targets < 1:
            raise bad_setting("targets", f"{self.targets} classes", "use at least 1, or null")
        if not 0 < self.rho <= 1:
            raise bad_setting(
                "rho", f"{self.rho} is not a fraction of the steps", "use 0 < rho <= 1"
            )

    @property
    def gradient_passes(self) -> int:
        return self.steps * self.restarts * (self.targets or 1) * self.eot_samples

    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        aims = None if self.targets is None else queries.ranking()[:, : self.targets]
        per_restart = 1 if aims is None else aims.shape[1]
        best = BestIterate(queries.images)
        left = torch.arange(len(queries.images), device=queries.images.device)
        runs = self.restarts * per_restart
        run = 0
        while run < runs and len(left):
            # The first run is alone, since it succeeds on most images that can be attacked. The
            # others share batches: an attack usually succeeds within a few steps of the right run,
            # and waiting for that run costs more than the few extra steps of the others.
            fit = max(1, WAVE // (len(left) * queries.images[0].numel()))
            wave = torch.arange(run, min(run + (fit if run else 1), runs), device=left.device)
            rows = left.repeat(len(wave))
            aim = None
            if aims is not None:
                aim = aims[rows, (wave % per_restart).repeat_interleave(len(left))]
            best.take_better(left, self._climb(queries, rows, aim, epsilon))
            left = left[~best.reached[left]]
            run += len(wave)
        queries.report(best.loss, best.last_improvement)
        return best.images

    def _climb(
        self, queries: Queries, rows: Tensor, aim: Tensor | None, epsilon: float
    ) -> BestIterate:
        """One run from each of `rows` (m,), which may name an image several times, towards `aim`.

        After one run of an image reached the goal, its other runs stop.
        """
        loss_of = (LOSSES if aim is None else TARGETED)[self.loss]
        ball = _Ball(queries.images[rows], epsilon, self.norm)
        x = ball.clip_(self._start(queries, ball.origin, epsilon))
        loss, logits, gradient = queries.gradient(x, rows, loss_of, targets=aim)
        best, fresh = BestIterate(x), reaches_goal(queries, x, rows, logits)
        # Everything below is compact: one entry per active run; `live` holds their indices.
        live = torch.arange(len(rows), device=x.device)
        best.note(live, x, loss, fresh, 0.0)
        direction = ascent(queries, gradient, self.norm)
        best_direction = direction.clone()
        step = torch.full_like(loss, 2 * epsilon)[:, None, None, None]
        improvements = torch.zeros_like(live)
        before, checked, halved = None, loss.clone(), torch.ones_like(fresh)
        checks = dict(self.checkpoints())
        for k in range(self.steps):
            if fresh.any():
                # Leaving at once costs less than a hundredth of the image's next pass.
                stay = ~torch.isin(rows[live], rows[best.reached])
                live, x, step, ball = live[stay], x[stay], step[stay], ball.at(stay)
                loss, improvements, checked, halved = (
                    loss[stay],
                    improvements[stay],
                    checked[stay],
                    halved[stay],
                )
                direction, best_direction = direction[stay], best_direction[stay]
                before = None if before is None else before[stay]
                if not len(live):
                    break
            z = ball.clip_(torch.addcmul(x, step, direction))
            if before is not None:
                # x + (1 - a) (z - x) + a (x - before), in the memory of the iterate before.
                before.mul_(-MOMENTUM).add_(x, alpha=2 * MOMENTUM).add_(z, alpha=1 - MOMENTUM)
                z = ball.clip_(before)
            before, x, last_loss = x, z, loss
            mine, aimed = rows[live], None if aim is None else aim[live]
            if k == self.steps - 1:
                logits = queries.logits(x, mine)
                truth = [queries.labels[mine]] if aimed is None else [queries.labels[mine], aimed]
                loss = loss_of(logits, *truth)
            else:
                loss, logits, gradient = queries.gradient(x, mine, loss_of, targets=aimed)
                direction = ascent(queries, gradient, self.norm)
            fresh = reaches_goal(queries, x, mine, logits)
            improvements += loss > last_loss
            better = (loss > best.loss[live]).nonzero().squeeze(1)
            best_direction[better] = direction[better]
            best.note(live, x, loss, fresh, (k + 1) / self.steps)
            if k + 1 in checks:
                stuck = (improvements <= self.rho * checks[k + 1]) | (
                    ~halved & (best.loss[live] <= checked)
                )
                back = (stuck & ~fresh).nonzero().squeeze(1)
                step[back] /= 2
                # The loss is still that of the last iterate: the next improvement is counted
                # against it.
                x.index_copy_(0, back, best.images[live[back]])
                direction.index_copy_(0, back, best_direction[back])
                halved, checked = stuck, best.loss[live]
                improvements.zero_()
        return best

    def checkpoints(self) -> list[tuple[int, int]]:
        """(step, steps since the last one): after 22 %, then in gaps that shrink by 3 % to 6 %.

        Example:
            >>> APGD(steps=100).checkpoints()[:4]
            [(22, 22), (41, 19), (57, 16), (70, 13)]
        """
        gap, shrink, least = (max(int(s * self.steps), 1) for s in (0.22, 0.03, 0.06))
        places, at = [], gap
        while at <= self.steps:
            places.append((at, gap))
            gap = max(gap - shrink, least)
            at += gap
        return places

    def _start(self, queries: Queries, origin: Tensor, epsilon: float) -> Tensor:
        """A point (m, C, H, W) on the surface of each ball."""
        if self.norm == "l2":
            return origin + epsilon * unit(queries.normal(*origin.shape))
        change = 2 * queries.uniform(*origin.shape) - 1
        largest = change.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
        return origin + change * (epsilon / largest)


class _Ball:
    """The balls around some images, cut by the box [0, 1]."""

    def __init__(self, origin: Tensor, epsilon: float, norm: str):
        self.origin, self._epsilon, self._norm = origin, epsilon, norm
        if norm == "linf":
            self._low = (origin - epsilon).clamp_(min=0.0)
            self._high = (origin + epsilon).clamp_(max=1.0)

    def at(self, rows: Tensor) -> _Ball:
        return _Ball(self.origin[rows], self._epsilon, self._norm)

    def clip_(self, images: Tensor) -> Tensor:
        """Moves images (m, C, H, W) into their balls, in place where that is possible."""
        if self._norm == "linf":
            return torch.clamp(images, self._low, self._high, out=images)
        return project(images, self.origin, self._epsilon, self._norm).clamp_(0.0, 1.0)
