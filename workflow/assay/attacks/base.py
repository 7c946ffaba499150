"""What all attacks share: one call, one final method, and the means to search.

An attack is a printable, frozen value. A call runs its search on every view of the victim and
passes each proposal to one final method. This method clips and projects the proposal, queries the
true decision again and decides whether the attack succeeded. Subclasses only search: they can
neither leave the ball nor declare a success.

Who guarantees what:

* `Attack.__call__` the input is valid. Images that the victim misclassifies unperturbed are not
  changed and count as misclassified. An image on which the search through one view succeeded is
  not searched through the next (the result is the worst case over views, per image). With nested
  balls, an image misclassified at a small radius is not searched at a larger one.
* `_accept` a stored image lies in [0, 1] and in the ball, and its prediction is the victim's
  decision on exactly that image.
* `Queries` every pass is counted for the image it was spent on. Gradients that are zero or not
  finite are counted, and no number that is not finite reaches the search.

Success on a stochastic victim means: misclassified in a strict majority of independent repeats. A
single misclassification is no success, and confirming every iterate would cost more than the
search. The rule (`Queries.confirm`): if the view misclassifies an iterate, the true decision is
queried with all repeats, and the image leaves the search only if the decision agrees. After the
k-th rejection the next 2^k - 1 candidate successes for that image are ignored (exponential
back-off). The final method samples again, so repeated attempts do not bias the result. A
minimal-norm search may propose a slightly farther image if the final method rejects the closest one
(`Attack._again`). Each of these must win two votes, one in the search and one in the final method.
The reported distance is that of the image that the final method evaluated last.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from assay.attacks.losses import LOSSES, SATURATED, margin
from assay.attacks.victim import Victim, View
from assay.attacks.views import eot
from assay.foundation.errors import AttackError
from assay.threat.ball import project_and_clip, unit, usable_radius

_FORWARDS, _BACKWARDS, _ZERO_GRADIENTS, _NON_FINITE, _SATURATED = range(5)
# A proposal is nearly misclassified if this share of its repeats was wrong: it may be proposed
# again, at most so often.
NEARLY, _ATTEMPTS = 0.25, 8
TARGETS = ("none", "runner_up", "least_likely")


@dataclass(frozen=True)
class Prediction:
    """The true decision on n images.

    Attributes:
        prediction: (n,) int64. The wrong class with most votes if misclassified; else the label.
        misclassified: (n,) bool, wrong in a strict majority of repeats; never where not finite.
        misclassified_share: (n,) share of repeats that were wrong.
        log_scores: (n, K) log of the softmax's mean over repeats.
        finite: (n,) bool, all logits of all repeats were finite.
        log_px: (n,) nats, NaN where the victim has none or none was requested.
    """

    prediction: Tensor
    misclassified: Tensor
    misclassified_share: Tensor
    log_scores: Tensor
    finite: Tensor
    log_px: Tensor

    @property
    def scores(self) -> Tensor:
        """(n, K) class probabilities, mean over repeats."""
        return self.log_scores.exp()

    def at(self, rows: Tensor) -> Prediction:
        """The predictions for some of the images."""
        return Prediction(**{name: value[rows] for name, value in vars(self).items()})


def evaluate_images(
    victim: Victim,
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    *,
    repeats: int,
    log_px: bool = True,
) -> Prediction:
    """Evaluates the true decision on images, once or, if it is stochastic, `repeats` times.

    Args:
        victim: the model whose decision is evaluated.
        images: (n, C, H, W) in [0, 1].
        labels: (n,) true classes.
        generator: the randomness of the repeats.
        repeats: independent decisions per image on a stochastic victim.
        log_px: whether to compute log p(x) too; it costs a pass.
    """
    if victim.stochastic:
        sampled = victim.repeated_logits(images, repeats, generator)
    else:
        sampled = victim.logits(images, generator)[None]
    finite = sampled.isfinite().all(dim=2).all(dim=0)
    sampled = sampled.nan_to_num().float()
    predicted = sampled.argmax(dim=2)
    wrong = (predicted != labels).sum(dim=0)
    misclassified = (2 * wrong > len(sampled)) & finite
    votes = F.one_hot(predicted, victim.classes).sum(dim=0).scatter_(1, labels[:, None], -1)
    return Prediction(
        prediction=torch.where(misclassified, votes.argmax(dim=1), labels),
        misclassified=misclassified,
        misclassified_share=wrong / len(sampled),
        log_scores=sampled.log_softmax(dim=2).logsumexp(dim=0) - math.log(len(sampled)),
        finite=finite,
        log_px=(
            victim.log_px(images, generator)
            if log_px
            else torch.full((len(images),), torch.nan, device=images.device)
        ),
    )


@dataclass(frozen=True)
class Perturbed:
    """The result of an attack on N images at E epsilons, in the given order.

    Attributes:
        epsilons: the E budgets.
        images: (E, N, C, H, W) in [0, 1], within the budget.
        prediction, misclassified, misclassified_share, scores, log_px: (E, N) or (E, N, K), see
            `Prediction`.
        linf, l2, l0: (E, N), the largest absolute change of a value, the Euclidean length of the
            change, the number of pixels that changed in any channel.
        view: (E, N) int64, index into `views` of the search that found the image; 0: none.
        views: names, the first is "".
        counts: (5, E, N) int64, read through the properties below.
        clean_prediction: (N,) decision on the unperturbed images.
        target: (N,) int64, the class that a targeted attack drives each image to; -1: none.
    """

    epsilons: tuple[float, ...]
    images: Tensor
    prediction: Tensor
    misclassified: Tensor
    misclassified_share: Tensor
    scores: Tensor
    log_px: Tensor
    linf: Tensor
    l2: Tensor
    l0: Tensor
    view: Tensor
    views: tuple[str, ...]
    counts: Tensor
    clean_prediction: Tensor
    target: Tensor

    @property
    def forwards(self) -> Tensor:
        """(E, N) forward passes of the row: clean decision, search, final evaluation.

        Work that several rows share counts in each of them (FGSM's single gradient, the search at a
        smaller radius that a larger one inherits). `Victim.forwards` counts the passes that ran.
        """
        return self.counts[_FORWARDS]

    @property
    def backwards(self) -> Tensor:
        """(E, N) backward passes, counted like `forwards`."""
        return self.counts[_BACKWARDS]

    @property
    def zero_gradients(self) -> Tensor:
        """(E, N) gradients of the row's search that were zero in every pixel."""
        return self.counts[_ZERO_GRADIENTS]

    @property
    def non_finite(self) -> Tensor:
        """(E, N) losses, gradients, logits or proposals that were not finite."""
        return self.counts[_NON_FINITE]

    @property
    def saturated(self) -> Tensor:
        """(E, N) gradients taken where a softmax has underflowed; see `losses.cross_entropy`."""
        return self.counts[_SATURATED]

    @classmethod
    def untouched(
        cls, images: Tensor, clean: Prediction, epsilons: Sequence[float], views: Sequence[str]
    ) -> Perturbed:
        """The images before any search, to be filled row by row."""

        def each(value: Tensor) -> Tensor:
            return value.expand(len(epsilons), *value.shape).clone()

        zeros = torch.zeros(len(epsilons), len(images), device=images.device)
        return cls(
            epsilons=tuple(epsilons),
            images=each(images),
            prediction=each(clean.prediction),
            misclassified=each(clean.misclassified),
            misclassified_share=each(clean.misclassified_share),
            scores=each(clean.scores),
            log_px=each(clean.log_px),
            linf=zeros.clone(),
            l2=zeros.clone(),
            l0=zeros.long(),
            view=zeros.long(),
            views=("", *views),
            counts=zeros.long().expand(5, -1, -1).clone(),
            clean_prediction=clean.prediction,
            target=torch.full_like(clean.prediction, -1),
        )

    def copy(self) -> Perturbed:
        """One whose tensors may be written to."""
        return dataclasses.replace(
            self,
            **{
                name: value.clone()
                for name, value in vars(self).items()
                if isinstance(value, Tensor)
            },
        )

    def _inherit(self, larger: int, smaller: int, rows: Tensor) -> None:
        """A larger ball contains the smaller: images misclassified there are misclassified here."""
        for name in (
            "images",
            "prediction",
            "misclassified",
            "misclassified_share",
            "scores",
            "log_px",
            "linf",
            "l2",
            "l0",
            "view",
        ):
            value = getattr(self, name)
            value[larger, rows] = value[smaller, rows]
        self.counts[:, larger, rows] += self.counts[:, smaller, rows]


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
    ):
        self.images, self.labels, self.generator = images, labels, generator
        self.log_scores, self.targets, self.smallest = log_scores, targets, smallest
        self.batch = victim.max_batch
        self.counts = torch.zeros(5, len(images), dtype=torch.int64, device=images.device)
        self._victim, self._view, self._repeats = victim, view, repeats
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
        self._count(_FORWARDS, rows, self._view.passes)
        return self._finite_logits(logits, rows)

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
        self._count(_FORWARDS, rows, self._view.passes)
        self._count(_BACKWARDS, rows, self._view.passes)
        gradient = self._finite_gradient(gradient, rows)
        finite = value.isfinite()
        if logits is None:
            self._count(_NON_FINITE, rows, ~finite)
        else:
            # Logits that are not finite are counted themselves.
            self._count(_NON_FINITE, rows, ~finite & logits.isfinite().all(dim=1))
            logits = self._finite_logits(logits, rows)
            margins = margin(logits, logits.argmax(dim=1))
            self._count(_SATURATED, rows, margins < -SATURATED)
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
        self._count(_FORWARDS, rows, self._view.passes)
        self._count(_BACKWARDS, rows, self._view.passes * classes.shape[1])
        each = rows.repeat_interleave(classes.shape[1])
        gradients = self._finite_gradient(gradients.flatten(0, 1), each).view_as(gradients)
        gaps = gaps.masked_fill(~gaps.isfinite(), -torch.inf)
        return gaps, self._finite_logits(logits, rows), gradients

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
        self._count(_FORWARDS, rows, self._view.passes)
        return made

    def ranking(self) -> Tensor:
        """(n, K - 1) the wrong classes, from the most to the least likely one."""
        own = F.one_hot(self.labels, self.log_scores.shape[1]).bool()
        order = self.log_scores.masked_fill(own, -torch.inf).argsort(dim=1, descending=True)
        return order[:, :-1]

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
        self._count(_FORWARDS, rows, self._repeats if self._victim.stochastic else 1)
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
        passes = (self._repeats if victim.stochastic else 1) + victim.has_log_px
        self._count(_FORWARDS, rows, passes)
        self._count(_NON_FINITE, rows, (~usable).long() + ~prediction.finite)
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
        )
        queries.counts += self.counts[:, rows]
        return queries

    def _finite_gradient(self, gradient: Tensor, rows: Tensor) -> Tensor:
        # A sum is finite only if every summand is; the exact check is for the rare other case.
        if not gradient.sum().isfinite():
            bad = ~gradient.isfinite()
            self._count(_NON_FINITE, rows, bad.flatten(1).any(dim=1))
            gradient = gradient.masked_fill(bad, 0.0)
        self._count(_ZERO_GRADIENTS, rows, (gradient == 0).flatten(1).all(dim=1))
        return gradient

    def _finite_logits(self, logits: Tensor, rows: Tensor) -> Tensor:
        bad = ~logits.isfinite().all(dim=1)
        if bad.any():
            self._count(_NON_FINITE, rows, bad)
            replacement = F.one_hot(self.labels[rows], logits.shape[1]).to(logits.dtype)
            logits = torch.where(bad[:, None], replacement, logits)
        return logits

    def _count(self, what: int, rows: Tensor, by: int | Tensor) -> None:
        # A row may occur several times: restarts and populations are batched.
        amount = by.long() if isinstance(by, Tensor) else torch.full_like(rows, by)
        self.counts[what].index_add_(0, rows, amount)


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """A way to perturb images, as a value.

    Args:
        as_published: reproduce the publication's own code, including its defects: search on the
            first view only and each radius separately, and evaluate the last iterate instead of the
            best.
        eot_samples: expectation over transformation: each query of a view is a mean over this
            number of samples; a deterministic view needs one.
        first_view: search on the first view only, for sweeps that compare settings of one search.

    Class attributes:
        norm: what epsilon measures: ``linf``, ``l2``, ``l0`` (changed pixels), ``severity`` (the
            attack says of what) or ``none``.
        source: the paper.
        differences: how this implementation differs from it.
        access: what it needs of the victim: ``white_box`` (gradients), ``score``, ``decision``,
            ``reconstructions`` (of a generative model) or ``none``.
        ignores_views: whether it queries the true decision only. A view can cost more than the
            decision, and an attack that never continues from an iterate gains nothing by one.
        is_minimum_norm: whether one search for the minimal norm serves all epsilons.
        adds_up: whether the number of passes is the sum of its settings, not their product.
        nested: whether a success within a small radius counts at a larger one. True for searches;
            false for formulas such as FGSM, which define the image at each radius, and for targeted
            attacks, which continue if an image is misclassified as another class.
        target: ``none``, or the wrong class to drive an image to: ``runner_up`` (the likeliest) or
            ``least_likely``, by the decision on the unperturbed image. The definition of success
            stays the same: misclassified. Compare `prediction` with `target` to see whether the
            target was reached.
        identity_epsilon: the epsilon at which nothing changes.
    """

    norm: ClassVar[str]
    source: ClassVar[str]
    differences: ClassVar[tuple[str, ...]] = ()
    access: ClassVar[str] = "score"
    ignores_views: ClassVar[bool] = False
    is_minimum_norm: ClassVar[bool] = False
    adds_up: ClassVar[bool] = False
    nested: ClassVar[bool] = True
    identity_epsilon: ClassVar[float] = 0.0
    target: ClassVar[str] = "none"

    as_published: bool = False
    eot_samples: int = 1
    first_view: bool = False

    def __call__(
        self,
        victim: Victim,
        images: Tensor,
        labels: Tensor,
        epsilons: Sequence[float],
        generator: torch.Generator,
        *,
        repeats: int = 20,
        clean: Prediction | None = None,
        so_far: Perturbed | None = None,
    ) -> Perturbed:
        """Attacks images at each of several budgets.

        Args:
            victim: what is attacked.
            images: (N, C, H, W) float in [0, 1].
            labels: (N,) true classes in [0, K).
            epsilons: budgets >= 0 in the unit of `norm`, in any order.
            generator: the only source of randomness, the victim's included; on the victim's device
                or on the CPU, as the victim needs it.
            repeats: repeated evaluations per image of a stochastic victim.
            clean: the predictions for the unperturbed images, if they are known.
            so_far: the result of other attacks on these images at these epsilons. Only images on
                which they failed are searched, and the result is the worst case. It is not
                modified.

        Returns:
            The images within each budget and the victim's decisions on them.

        Raises:
            AttackError: an argument is unusable (named), or the victim's logits on the unperturbed
                images are not finite.
        """
        images, labels = usable_input(victim, images, labels, epsilons, repeats)
        # A minimal-norm search may be called with any large radius to read off its distance.
        if self.norm == "linf" and not self.is_minimum_norm:
            usable_radius(self.norm, epsilons, victim.shape)
        if clean is None:
            clean = evaluate_images(victim, images, labels, generator, repeats=repeats)
        if not clean.finite.all():
            raise AttackError(
                f"the logits of {int((~clean.finite).sum())} unperturbed images are not finite",
                where="victim",
                remedy="check the model's weights and its input range",
            )
        views: list[tuple[str, View | None]] = [("", None)]
        if self.access != "none":
            one = self.as_published or self.first_view
            known = {"decision": victim.decision} if self.ignores_views else victim.views
            views = list(known.items())[: 1 if one else None]
            views = [(name, eot(view, self.eot_samples)) for name, view in views]
        if so_far is None:
            result, before = Perturbed.untouched(images, clean, epsilons, []), 0
        else:
            if tuple(so_far.epsilons) != tuple(epsilons) or so_far.misclassified.shape[1] != len(
                images
            ):
                raise AttackError(
                    "it holds other epsilons or images than are attacked", where="argument 'so_far'"
                )
            result, before = so_far.copy(), len(so_far.views) - 1
        result = dataclasses.replace(result, views=(*result.views, *(name for name, _ in views)))
        targets = self._targets(clean, labels)
        if targets is not None:
            result.target.copy_(targets)
        ascending = sorted(
            (e for e, epsilon in enumerate(epsilons) if epsilon != self.identity_epsilon),
            key=lambda e: epsilons[e],
        )
        nested = self.nested and not self.as_published and targets is None
        for number, (_, view) in enumerate(views, start=before + 1):
            rows = (~result.misclassified[ascending]).any(dim=0).nonzero().squeeze(1)
            if not len(rows):
                break
            queries = Queries(
                victim,
                view,
                images[rows],
                labels[rows],
                generator,
                log_scores=clean.log_scores[rows],
                targets=None if targets is None else targets[rows],
                repeats=repeats,
                smallest=float(epsilons[ascending[0]]),
            )
            shared = self._prepare(queries)
            for place, e in enumerate(ascending):
                local = (~result.misclassified[e, rows]).nonzero().squeeze(1)
                if not len(local):
                    continue
                narrowed, open_rows = queries.narrow(local), rows[local]
                self._conclude(
                    result,
                    e,
                    number,
                    open_rows,
                    narrowed,
                    None if shared is None else shared[local],
                )
                if nested:
                    won = open_rows[result.misclassified[e, open_rows]]
                    for larger in ascending[place + 1 :]:
                        result._inherit(larger, e, won[~result.misclassified[larger, won]])
        if so_far is None:
            # The clean decision, which every row needs.
            result.forwards.add_((repeats if victim.stochastic else 1) + victim.has_log_px)
        return result

    def _conclude(
        self,
        result: Perturbed,
        e: int,
        number: int,
        rows: Tensor,
        queries: Queries,
        shared: Tensor | None,
    ) -> None:
        """Searches the images of `queries`, rows `rows` of the result, at one epsilon, and
        evaluates.

        What the final method rejects by few repeats may be proposed again, see `_again`.
        """
        epsilon = result.epsilons[e]
        which = torch.arange(len(rows), device=rows.device)
        proposal = self._search(queries, float(epsilon), shared)
        for attempt in range(_ATTEMPTS):
            if len(which):
                images, usable = project_and_clip(
                    proposal, queries.images[which], epsilon, self.norm
                )
                prediction = queries.final(images, which, usable)
                _accept(result, e, number, rows, which, queries, images, prediction, usable)
                if not attempt:
                    nearly = (
                        ~prediction.misclassified
                        & prediction.finite
                        & (prediction.misclassified_share >= NEARLY)
                    )
                    left = which[nearly]
                else:
                    left = left[~result.misclassified[e, rows[left]]]
            again = (
                self._again(queries, float(epsilon), shared, left, attempt) if len(left) else None
            )
            if again is None:
                break
            which, proposal = again
        result.counts[:, e, rows] += queries.counts

    @property
    def gradient_passes(self) -> int:
        """Backward passes per view for an image that is never misclassified, with ten classes.

        With a fixed budget: per epsilon. With a minimal-norm attack: for all epsilons together.
        """
        return 0

    def _targets(self, clean: Prediction, labels: Tensor) -> Tensor | None:
        """(N,) the class that each image is driven to, or None."""
        if self.target == "none":
            return None
        own = F.one_hot(labels, clean.log_scores.shape[1]).bool()
        if self.target == "runner_up":
            return clean.log_scores.masked_fill(own, -torch.inf).argmax(dim=1)
        return clean.log_scores.masked_fill(own, torch.inf).argmin(dim=1)

    def _prepare(self, queries: Queries) -> Tensor | None:
        """Work that all epsilons share, done once per view: (n, ...) or None."""
        return None

    @abstractmethod
    def _search(self, queries: Queries, epsilon: float, shared: Tensor | None) -> Tensor:
        """Proposes an image for every image of `queries`.

        Args:
            queries: the n images to attack and the means to query the victim.
            epsilon: the budget, > 0 unless the attack is neutral elsewhere.
            shared: what `_prepare` returned, for these images.

        Returns:
            (n, C, H, W). Proposals outside the bounds or the ball are projected afterwards.
        """

    def _again(
        self, queries: Queries, epsilon: float, shared: Tensor | None, rows: Tensor, attempt: int
    ) -> tuple[Tensor, Tensor] | None:
        """Proposes once more for images that the final method nearly accepted.

        Args:
            queries, epsilon, shared: as in `_search`.
            rows: (m,) the images of `queries`, of which `NEARLY` of the repeats were wrong.
            attempt: 0, 1, ...

        Returns:
            Some of the rows and their proposals, or None: there is no other proposal, as by
            default.
        """
        return None


def _accept(
    result: Perturbed,
    e: int,
    number: int,
    rows: Tensor,
    which: Tensor,
    queries: Queries,
    images: Tensor,
    prediction: Prediction,
    usable: Tensor,
) -> None:
    """Stores a proposal if it is the first, is misclassified, or lowers the true class's score.

    `rows` (n,) are the places of the queries' images in the result; the proposals (m, C, H, W) are
    those of the queries' images `which` (m,).
    """
    rows, origin, own = rows[which], queries.images[which], queries.labels[which][:, None]
    hurts = prediction.scores.gather(1, own) < result.scores[e, rows].gather(1, own)
    first = result.view[e, rows] == 0
    kept = usable & prediction.finite & (first | prediction.misclassified | hurts.squeeze(1))
    rows, images, prediction = rows[kept], images[kept], prediction.at(kept)
    change = (images - origin[kept]).flatten(2)
    result.images[e, rows] = images
    for name in ("prediction", "misclassified", "misclassified_share", "scores", "log_px"):
        value = getattr(result, name)
        value[e, rows] = getattr(prediction, name).to(value.dtype)
    result.linf[e, rows] = change.abs().amax(dim=(1, 2))
    result.l2[e, rows] = change.flatten(1).double().norm(dim=1).float()
    result.l0[e, rows] = (change != 0).any(dim=1).sum(dim=1)
    result.view[e, rows] = number


def reaches_goal(queries: Queries, x: Tensor, rows: Tensor, logits: Tensor) -> Tensor:
    """Which candidates reach the goal of the attack, by the view and confirmed: (m,) bool.

    Args:
        queries: that made `logits` of `x`.
        x: (m, C, H, W) candidates.
        rows: (m,) the images that they are variants of.
        logits: (m, K) logits of the view for them.
    """
    predicted = logits.argmax(dim=1)
    hits = (
        predicted != queries.labels[rows]
        if queries.targets is None
        else predicted == queries.targets[rows]
    )
    if hits.any():
        hits[hits.clone()] = queries.confirm(x[hits], rows[hits])
    return hits


def ascent(queries: Queries, gradient: Tensor, norm: str) -> Tensor:
    """The direction of steepest ascent per image: the sign (``linf``) or unit length (``l2``).

    Where a gradient (m, C, H, W) is zero in every pixel, a random direction replaces it, so that a
    search continues on a plateau. May overwrite `gradient`.
    """
    flat = (gradient == 0).flatten(1).all(dim=1)
    if flat.any():
        gradient[flat] = queries.normal(*gradient[flat].shape)
    return gradient.sign_() if norm == "linf" else unit(gradient)


def check_norm(norm: str, name: str, known: Sequence[str] = ("linf", "l2")) -> None:
    """Raises AttackError unless the attack called `name` has the norm."""
    if norm not in known:
        raise bad_setting("norm", f"'{norm}' is not a norm of {name}", f"use {' or '.join(known)}")


def check_target(target: str) -> None:
    """Raises AttackError unless `target` is a rule that names a target."""
    if target not in TARGETS:
        raise bad_setting(
            "target", f"'{target}' is not a target class rule", f"use {', '.join(TARGETS)}"
        )


def bad_setting(name: str, what: str, remedy: str | None = None) -> AttackError:
    """The error for an impossible setting of an attack."""
    return AttackError(what, where=f"attack setting '{name}'", remedy=remedy)


def usable_input(
    victim: Victim, images: Tensor, labels: Tensor, epsilons: Sequence[float], repeats: int
) -> tuple[Tensor, Tensor]:
    """Images and labels on the victim's device, or an AttackError that names the argument."""

    def wrong(where: str, what: str, remedy: str | None = None) -> AttackError:
        return AttackError(what, where=f"argument '{where}'", remedy=remedy)

    if not images.is_floating_point():
        raise wrong("images", f"{images.dtype} is not floating point", "divide 8-bit images by 255")
    if images.ndim != 4 or tuple(images.shape[1:]) != victim.shape:
        raise wrong(
            "images", f"shape {tuple(images.shape)} is not (N, {', '.join(map(str, victim.shape))})"
        )
    if not len(images):
        raise wrong("images", "the batch is empty")
    # The comparison is false for NaN, too.
    if not (images.amin() >= 0 and images.amax() <= 1):
        raise wrong("images", "values outside [0, 1]", "scale them; normalise inside the model")
    if labels.shape != (len(images),) or labels.is_floating_point():
        raise wrong("labels", f"{labels.dtype} {tuple(labels.shape)} is not one class per image")
    if labels.min() < 0 or labels.max() >= victim.classes:
        raise wrong("labels", f"a class outside 0 … {victim.classes - 1}")
    if not len(epsilons):
        raise wrong("epsilons", "no budget is given")
    for epsilon in epsilons:
        if not 0 <= epsilon < float("inf"):
            raise wrong("epsilons", f"{epsilon} is not a budget", "use finite numbers >= 0")
    if repeats < 1:
        raise wrong("repeats", f"{repeats} repeats are too few")
    return images.to(victim.device, torch.float32), labels.to(victim.device, torch.int64)
