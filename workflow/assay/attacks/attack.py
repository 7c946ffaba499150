"""What all attacks share: one call, one final method, and the means to search.

An attack is a printable, frozen value. A call runs its search on every view of the victim and
passes each proposal to one final method. This method clips and projects the proposal, queries the
true decision again and decides whether the attack succeeded. Subclasses only search: they can
neither leave the ball nor declare a success.

Who guarantees what:

* `Attack.__call__` the input is valid.
* `Attack._search_all` images that the victim misclassifies unperturbed are not changed and count as
  misclassified. An image on which the search through one view succeeded is not searched through the
  next (the result is the worst case over views, per image). With nested balls, an image
  misclassified at a small radius is not searched at a larger one.
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
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from assay.attacks.arguments import bad_setting, check_views, usable_input
from assay.attacks.losses import without
from assay.attacks.prediction import Prediction, evaluate_images
from assay.attacks.queries import Queries
from assay.attacks.result import Perturbed
from assay.attacks.victim import Victim, View
from assay.attacks.views import eot, one_sample
from assay.foundation.errors import AttackError
from assay.threat.ball import TOLERANCE, norms_of, project_and_clip, usable_radius

# A proposal is nearly misclassified if this share of its repeats was wrong: it may be proposed
# again, at most so often.
NEARLY, _ATTEMPTS = 0.25, 8
# What the true decision is called among the views.
DECISION = "decision"


class Store(Protocol):
    """Where the state after each member of an ensemble is kept, so that a stopped run continues."""

    def load(self, member: str) -> Perturbed | None:
        """What was saved after a member, or None."""

    def save(self, member: str, result: Perturbed) -> None:
        """Stores the state after a member."""


@dataclass(frozen=True)
class Inputs:
    """The checked arguments of one call, see `Attack.__call__`."""

    victim: Victim
    images: Tensor
    labels: Tensor
    epsilons: Sequence[float]
    generator: torch.Generator
    repeats: int
    clean: Prediction


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """A way to perturb images, as a value.

    Args:
        as_published: reproduce the publication's own code, including its defects: search on the
            first view only and each radius separately, and evaluate the last iterate instead of the
            best.
        eot_samples: expectation over transformation: each query of a view is a mean over this
            number of samples; a deterministic view needs one.
        own_samples: a view that declares a number of samples itself takes `eot_samples` times as
            many; false: exactly `eot_samples`, as an attack that was published with one or with
            twenty.
        first_view: search on the first view only, for sweeps that compare settings of one search.
        views: names of the views to search on, in this order; None: all. A victim that has none of
            them, as an undefended network, is searched on all of its views. ``decision``: the true
            decision itself, for attacks without gradients.

    Class attributes:
        norm: what epsilon measures: ``linf``, ``l2``, ``l0`` (changed pixels), ``severity`` (the
            attack says of what) or ``none``.
        source: the paper.
        differences: how this implementation differs from it.
        access: what it needs of the victim: ``white_box`` (gradients), ``score``, ``decision``,
            ``reconstructions`` (of a generative model) or ``none``.
        ignores_views: whether it queries the true decision only. A view can cost more than the
            decision, and an attack that never continues from an iterate gains nothing by one.
        uninformed: whether it draws at random, whatever the victim answers: a baseline.
        is_minimum_norm: whether one search for the minimal norm serves all epsilons.
        adds_up: whether the number of passes is the sum of its settings, not their product.
        nested: whether a success within a small radius counts at a larger one. True for searches;
            false for formulas such as FGSM, which define the image at each radius, and for targeted
            attacks, which continue if an image is misclassified as another class.
        target: ``none``, or the wrong class to drive an image to: ``runner_up`` (the likeliest) or
            ``least_likely``, by the decision on the unperturbed image, or a class in [0, K), where
            images of that class are driven to their runner-up. The definition of success stays
            the same: misclassified. Compare `prediction` with `target` to see whether the target
            was reached.
        identity_epsilon: the epsilon at which nothing changes.
    """

    # A subclass makes a setting of the norm or the target, which no type checker foresees.
    norm: ClassVar[str]
    source: ClassVar[str]
    differences: ClassVar[tuple[str, ...]] = ()
    access: ClassVar[str] = "score"
    ignores_views: ClassVar[bool] = False
    uninformed: ClassVar[bool] = False
    is_minimum_norm: ClassVar[bool] = False
    adds_up: ClassVar[bool] = False
    nested: ClassVar[bool] = True
    identity_epsilon: ClassVar[float] = 0.0
    target: ClassVar[str | int] = "none"

    as_published: bool = False
    eot_samples: int = 1
    own_samples: bool = True
    first_view: bool = False
    views: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.views is not None:
            check_views(self.views)
            name = type(self).__name__
            if self.searches_no_view:
                raise bad_setting("views", f"{name} searches on no view of a model", "leave it out")
            if DECISION in self.views and self.access not in ("score", "decision"):
                raise bad_setting("views", f"{name} needs more than the decision", "name views")
            object.__setattr__(self, "views", tuple(self.views))

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
        store: Store | None = None,
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
            store: keeps what an ensemble has found after each member; other attacks keep nothing.

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
        if so_far is not None:
            same_images = so_far.misclassified.shape[1] == len(images)
            if not same_images or tuple(so_far.epsilons) != tuple(epsilons):
                raise AttackError(
                    "it holds other epsilons or images than are attacked", where="argument 'so_far'"
                )
        inputs = Inputs(victim, images, labels, epsilons, generator, repeats, clean)
        return self._search_all(inputs, so_far, store)

    def _search_all(
        self, inputs: Inputs, so_far: Perturbed | None, store: Store | None
    ) -> Perturbed:
        """Searches on each view the images that are still correct."""
        victim, images, labels = inputs.victim, inputs.images, inputs.labels
        epsilons, clean = inputs.epsilons, inputs.clean
        views = self._searched(victim)
        if so_far is None:
            result, before = Perturbed.untouched(images, clean, epsilons, []), 0
        else:
            result, before = so_far.copy(), len(so_far.views) - 1
        result = dataclasses.replace(result, views=(*result.views, *views))
        targets = self._targets(clean, labels)
        if targets is not None:
            result.target.copy_(targets)
        ascending = sorted(
            (e for e, epsilon in enumerate(epsilons) if epsilon != self.identity_epsilon),
            key=lambda e: epsilons[e],
        )
        for number, view in enumerate(views.values(), start=before + 1):
            rows = (~result.misclassified[ascending]).any(dim=0).nonzero().squeeze(1)
            if not len(rows):
                break
            queries = Queries(
                victim,
                view,
                images[rows],
                labels[rows],
                inputs.generator,
                log_scores=clean.log_scores[rows],
                targets=None if targets is None else targets[rows],
                repeats=inputs.repeats,
                smallest=float(epsilons[ascending[0]]),
                norm=self.norm,
            )
            self._search_view(result, number, ascending, rows, queries)
        result.silent_success.logical_and_(~result.misclassified)
        if so_far is None:
            # The clean decision, which every row needs.
            result.forwards.add_(victim.passes_of_decision(inputs.repeats))
        return result

    @property
    def searches_no_view(self) -> bool:
        """Whether no view of a victim is queried, so that none can be chosen."""
        return self.access == "none" or self.ignores_views

    def searched_views(self, victim: Victim) -> list[str]:
        """The names of the views that the attack searches on; [""] if it searches none."""
        return list(self._searched(victim))

    def _searched(self, victim: Victim) -> dict[str, View | None]:
        """The views that the attack searches on, by name; one without a name if it searches none.

        Each with the attack's own expectation over samples.
        """
        if self.access == "none":
            return {"": None}
        known = {**victim.views, DECISION: victim.decision}
        every = [DECISION] if self.ignores_views else list(victim.views)
        chosen = [name for name in self.views or () if name in known] or every
        one = self.as_published or self.first_view
        found = {name: known[name] for name in chosen[: 1 if one else None]}
        if not self.own_samples:
            found = {name: one_sample(view) for name, view in found.items()}
        return {name: eot(view, self.eot_samples) for name, view in found.items()}

    def _search_view(
        self,
        result: Perturbed,
        number: int,
        ascending: Sequence[int],
        rows: Tensor,
        queries: Queries,
    ) -> None:
        """Searches the images of `queries`, rows `rows` of the result, at all epsilons."""
        nested = self.nested and not self.as_published and queries.targets is None
        shared = self._prepare(queries)
        for place, e in enumerate(ascending):
            local = (~result.misclassified[e, rows]).nonzero().squeeze(1)
            if not len(local):
                continue
            narrowed, open_rows = queries.narrow(local), rows[local]
            part = None if shared is None else shared[local]
            self._conclude(result, e, number, open_rows, narrowed, part)
            if nested:
                won = open_rows[result.misclassified[e, open_rows]]
                for larger in ascending[place + 1 :]:
                    result.inherit(larger, e, won[~result.misclassified[larger, won]])

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
        which = left = torch.arange(len(rows), device=rows.device)
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
        result.silent_success[e, rows] |= queries.closest <= epsilon + TOLERANCE

    @property
    def most_eot_samples(self) -> int:
        """Samples that a query of a view averages over, at most."""
        return self.eot_samples

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
        if self.target == "least_likely":
            return without(-clean.log_scores, labels).argmax(dim=1)
        runner_up = without(clean.log_scores, labels).argmax(dim=1)
        if not isinstance(self.target, int):
            return runner_up
        classes = clean.log_scores.shape[1]
        if self.target >= classes:
            raise bad_setting(
                "target",
                f"{self.target} is none of the victim's {classes} classes",
                f"use 0 … {classes - 1}",
            )
        return torch.where(labels == self.target, runner_up, self.target)

    def _prepare(self, queries: Queries) -> Tensor | None:
        """Work that all epsilons share, done once per view: (n, ...) or None."""
        return None

    @abstractmethod
    def _search(self, queries: Queries, epsilon: float, shared: Any) -> Tensor:
        """Proposes an image for every image of `queries`.

        Args:
            queries: the n images to attack and the means to query the victim.
            epsilon: the budget, > 0 unless the attack is neutral elsewhere.
            shared: what `_prepare` returned, a tensor or None, for these images.

        Returns:
            (n, C, H, W). Proposals outside the bounds or the ball are projected afterwards.
        """

    def _again(
        self, queries: Queries, epsilon: float, shared: Any, rows: Tensor, attempt: int
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
    change = images - origin[kept]
    result.images[e, rows] = images
    for name in ("prediction", "misclassified", "misclassified_share", "scores", "log_px"):
        value = getattr(result, name)
        value[e, rows] = getattr(prediction, name).to(value.dtype)
    result.linf[e, rows] = norms_of(change, "linf")
    result.l2[e, rows] = norms_of(change.double(), "l2").float()
    result.l0[e, rows] = norms_of(change, "l0").long()
    result.view[e, rows] = number
    result.best_loss[e, rows] = queries.best_loss[which][kept]
    result.last_improvement[e, rows] = queries.last_improvement[which][kept]
