"""The images that a search attacks, and the one view that it may query; every pass is counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast, overload

import torch
import torch.nn.functional as F
from torch import Tensor

from assay.attacks.losses import LOSSES, SATURATED, margin, without
from assay.attacks.prediction import Prediction, evaluate_images
from assay.attacks.result import BACKWARDS, FORWARDS, NON_FINITE, ZERO_GRADIENTS
from assay.attacks.result import SATURATED as SATURATIONS
from assay.attacks.victim import Victim, View
from assay.threat.ball import NORM_NAMES, norms_of


class Queries:
    """The images that a search still attacks, and the one view that it may query.

    Attributes:
        images: (n, C, H, W) unperturbed, in [0, 1].
        labels: (n,) true classes.
        generator: the only source of randomness.
        log_scores: (n, K) log class probabilities of the decision on the unperturbed images.
        targets: (n,) the classes that a targeted attack drives the images to, or None.
        batch: images per pass that suit the victim.
        smallest: the smallest epsilon that is attacked, for searches that serve all of them.
        best_loss, last_improvement: (n,) of the search's proposals, see :meth:`report`.
        closest: (n,) the distance, in `norm`, of the closest candidate that the view misclassified;
            infinite where there was none, or where the norm is no distance.
    """

    def __init__(
        self,
        victim: Victim,
        view: View | None,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        *,
        log_scores: Tensor,
        targets: Tensor | None = None,
        repeats: int,
        smallest: float = 0.0,
        norm: str = "none",
    ):
        self.images, self.labels, self.generator = images, labels, generator
        self.log_scores, self.targets, self.smallest = log_scores, targets, smallest
        self.batch = victim.max_batch
        self.counts = torch.zeros(5, len(images), dtype=torch.int64, device=images.device)
        self.best_loss = torch.full((len(images),), torch.nan, device=images.device)
        self.last_improvement = self.best_loss.clone()
        self.closest = torch.full_like(self.best_loss, torch.inf)
        self._victim, self._repeats = victim, repeats
        # Without a view nothing but the decision is queried.
        self._view = cast(View, view)
        self._norm = norm
        self._rejections = torch.zeros_like(labels)
        self._backoff = torch.zeros_like(labels)

    def logits(self, candidates: Tensor, rows: Tensor) -> Tensor:
        """One forward pass through the view.

        Args:
            candidates: (m, C, H, W) in [0, 1].
            rows: (m,) the image of `queries` that each of them is a variant of.

        Returns:
            (m, K) logits. Those that are not finite are counted and replaced by a correct
            prediction.
        """
        logits = self._victim.forward(self._view, candidates, self.generator)
        self._count(FORWARDS, rows, self._view.passes)
        return self._seen(candidates, rows, self._finite_logits(logits, rows))

    def report(self, loss: Tensor, last_improvement: Tensor) -> None:
        """What the search knows of its proposals, for the outcomes; no number depends on it.

        Args:
            loss: (n,) the search's own loss at each proposal; not finite: unknown.
            last_improvement: (n,) the fraction of the budget, 0 to 1, at which the best loss rose
                for the last time; NaN: unknown.
        """
        self.best_loss = loss.masked_fill(~loss.isfinite(), torch.nan)
        self.last_improvement = last_improvement

    @overload
    def gradient(
        self,
        candidates: Tensor,
        rows: Tensor,
        loss: Callable[..., Tensor],
        labels: Tensor | None = None,
        targets: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]: ...

    @overload
    def gradient(
        self,
        candidates: Tensor,
        rows: Tensor,
        loss: None,
        labels: Tensor | None = None,
        targets: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor]: ...

    def gradient(
        self,
        candidates: Tensor,
        rows: Tensor,
        loss: Callable[..., Tensor] | None,
        labels: Tensor | None = None,
        targets: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """One forward and backward pass through the view.

        Args:
            candidates: (m, C, H, W) in [0, 1].
            rows: (m,) the image of `queries` that each of them is a variant of.
            loss: ``(logits, labels) -> (m,)``, with targets ``(logits, labels, targets) -> (m,)``;
                a large batch is passed in pieces. None: the view's training loss, which gives no
                logits, or the cross-entropy of a view that has none.
            labels: (m,) classes for the loss; None: the true ones.
            targets: (m,) classes for a targeted loss; None: the loss takes none.

        Returns:
            Loss (m,), logits (m, K) or None, gradient (m, C, H, W). They come from one pass, so the
            logits also show whether the candidates are misclassified. Numbers that are not finite
            are counted and replaced: loss -inf, logits of a correct prediction, gradient 0.
        """
        if loss is None and self._view.training_loss is None:
            loss = LOSSES["cross_entropy"]
        value, logits, gradient = self._victim.gradient(
            self._view,
            candidates,
            self.labels[rows] if labels is None else labels,
            loss,
            self.generator,
            targets,
        )
        self._count(FORWARDS, rows, self._view.passes)
        self._count(BACKWARDS, rows, self._view.passes)
        gradient = self._finite_gradient(gradient, rows)
        finite = value.isfinite()
        if logits is None:
            self._count(NON_FINITE, rows, ~finite)
        else:
            # Logits that are not finite are counted themselves.
            self._count(NON_FINITE, rows, ~finite & logits.isfinite().all(dim=1))
            logits = self._seen(candidates, rows, self._finite_logits(logits, rows))
            margins = margin(logits, logits.argmax(dim=1))
            self._count(SATURATIONS, rows, margins < -SATURATED)
        return value.masked_fill(~finite, -torch.inf), logits, gradient

    def jacobian(
        self, candidates: Tensor, rows: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One forward pass through the view and one back from each logit gap z_k - z_y.

        Args:
            candidates: (m, C, H, W) in [0, 1].
            rows: (m,) the image of `queries` that each of them is a variant of.
            classes: (m, c) the classes k.

        Returns:
            Gaps (m, c), logits (m, K) and the gaps' gradients (m, c, C, H, W). Numbers that are not
            finite are counted and replaced: gap -inf, logits of a correct prediction, gradient 0.
        """
        gaps, logits, gradients = self._victim.jacobian(
            self._view, candidates, self.labels[rows], classes, self.generator
        )
        self._count(FORWARDS, rows, self._view.passes)
        self._count(BACKWARDS, rows, self._view.passes * classes.shape[1])
        each = rows.repeat_interleave(classes.shape[1])
        gradients = self._finite_gradient(gradients.flatten(0, 1), each).view_as(gradients)
        gaps = gaps.masked_fill(~gaps.isfinite(), -torch.inf)
        logits = self._seen(candidates, rows, self._finite_logits(logits, rows))
        return gaps, logits, gradients

    def reconstruct(self, candidates: Tensor, rows: Tensor) -> Tensor:
        """The reconstructions of candidates by the view's generative model, one per class.

        Args:
            candidates: (m, C, H, W) in [0, 1].
            rows: (m,) the image of `queries` that each of them is a variant of.

        Returns:
            (m, K, C, H, W) in [0, 1], without gradient.

        Raises:
            AttackError: the view has no reconstructions.
        """
        made = self._victim.reconstruct(self._view, candidates, self.generator)
        self._count(FORWARDS, rows, self._view.passes)
        return made

    def ranking(self) -> Tensor:
        """(n, K - 1) the wrong classes, from the most to the least likely one."""
        return without(self.log_scores, self.labels).argsort(dim=1, descending=True)[:, :-1]

    def confirm(self, candidates: Tensor, rows: Tensor) -> Tensor:
        """Whether the true decision confirms that images are misclassified: (m,) bool.

        A view that is the decision of a deterministic victim needs no confirmation. Otherwise the
        decision is queried, and each rejection doubles the number of candidates of that image that
        are ignored.
        """
        if self.certain:
            return torch.ones_like(rows, dtype=torch.bool)
        due = self._backoff[rows] == 0
        self._backoff[rows] -= (~due).long()
        accepted = due.clone()
        if due.any():
            asked = rows[due]
            accepted[due], _ = self.decide(candidates[due], asked)
            rejected = asked[~accepted[due]]
            self._rejections[rejected] += 1
            self._backoff[rejected] = 2 ** self._rejections[rejected] - 1
        return accepted

    def decide(self, candidates: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The true decision on candidates, with all repeats, regardless of earlier rejections.

        Args:
            candidates: (m, C, H, W) in [0, 1].
            rows: (m,) the image of `queries` that each of them is a variant of.

        Returns:
            (m,) bool, which candidates reach the goal of the attack (misclassified or, with
            targets, the target class), and (m,) the share of repeats that were wrong.
        """
        prediction = evaluate_images(
            self._victim,
            candidates,
            self.labels[rows],
            self.generator,
            repeats=self._repeats,
            log_px=False,
        )
        self._count(FORWARDS, rows, self._repeats if self._victim.stochastic else 1)
        accepted = prediction.misclassified
        if self.targets is not None:
            accepted = accepted & (prediction.prediction == self.targets[rows])
        return accepted, prediction.misclassified_share

    def final(self, images: Tensor, rows: Tensor, usable: Tensor) -> Prediction:
        """The final evaluation of images (m, C, H, W) of the ball, variants of rows (m,).

        `usable` (m,) marks those that come from finite proposals; the others are counted.
        """
        victim = self._victim
        prediction = evaluate_images(
            victim, images, self.labels[rows], self.generator, repeats=self._repeats
        )
        self._count(FORWARDS, rows, victim.passes_of_decision(self._repeats))
        self._count(NON_FINITE, rows, (~usable).long() + ~prediction.finite)
        return prediction

    @property
    def certain(self) -> bool:
        """Whether one query of the view equals the true decision."""
        return self._victim.is_decision(self._view)

    def uniform(self, *shape: int) -> Tensor:
        """Numbers from U(0, 1), drawn from the queries' generator."""
        sampled = torch.rand(shape, generator=self.generator, device=self.generator.device)
        return sampled.to(self.images.device)

    def normal(self, *shape: int) -> Tensor:
        """Numbers from N(0, 1), drawn from the queries' generator."""
        sampled = torch.randn(shape, generator=self.generator, device=self.generator.device)
        return sampled.to(self.images.device)

    def signs(self, *shape: int) -> Tensor:
        """+1 or -1, each with probability 1/2, drawn from the queries' generator."""
        return (self.uniform(*shape) < 0.5).float().mul_(2).sub_(1)

    def narrow(self, rows: Tensor) -> Queries:
        """Queries for some of the images, with counters that start at the current counts."""
        queries = Queries(
            self._victim,
            self._view,
            self.images[rows],
            self.labels[rows],
            self.generator,
            log_scores=self.log_scores[rows],
            targets=None if self.targets is None else self.targets[rows],
            repeats=self._repeats,
            smallest=self.smallest,
            norm=self._norm,
        )
        queries.counts += self.counts[:, rows]
        queries.closest = self.closest[rows]
        return queries

    def _finite_gradient(self, gradient: Tensor, rows: Tensor) -> Tensor:
        # A sum is finite only if every summand is; the exact check is for the rare other case.
        if not gradient.sum().isfinite():
            bad = ~gradient.isfinite()
            self._count(NON_FINITE, rows, bad.flatten(1).any(dim=1))
            gradient = gradient.masked_fill(bad, 0.0)
        self._count(ZERO_GRADIENTS, rows, (gradient == 0).flatten(1).all(dim=1))
        return gradient

    def _finite_logits(self, logits: Tensor, rows: Tensor) -> Tensor:
        bad = ~logits.isfinite().all(dim=1)
        if bad.any():
            self._count(NON_FINITE, rows, bad)
            replacement = F.one_hot(self.labels[rows], logits.shape[1]).to(logits.dtype)
            logits = torch.where(bad[:, None], replacement, logits)
        return logits

    def _seen(self, candidates: Tensor, rows: Tensor, logits: Tensor) -> Tensor:
        """`logits`; notes the closest candidate that they misclassify, the image itself aside."""
        wrong = logits.argmax(dim=1) != self.labels[rows]
        if self._norm in NORM_NAMES and wrong.any():
            rows = rows[wrong]
            distance = norms_of(candidates[wrong] - self.images[rows], self._norm)
            distance = distance.masked_fill(distance == 0, torch.inf)
            self.closest.scatter_reduce_(0, rows, distance, "amin")
        return logits

    def _count(self, what: int, rows: Tensor, by: int | Tensor) -> None:
        # A row may occur several times: restarts and populations are batched.
        amount = by.long() if isinstance(by, Tensor) else torch.full_like(rows, by)
        self.counts[what].index_add_(0, rows, amount)
