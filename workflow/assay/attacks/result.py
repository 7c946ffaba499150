"""The result of an attack: images within each budget, and the decisions on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.attacks.prediction import Prediction

# Rows of `Perturbed.counts`.
FORWARDS, BACKWARDS, ZERO_GRADIENTS, NON_FINITE, SATURATED = range(5)
# What belongs to a stored image: whoever takes another's image takes all of it.
STORED = (
    "images", "prediction", "misclassified", "misclassified_share", "scores", "log_px",
    "linf", "l2", "l0", "view", "best_loss", "last_improvement",
)  # fmt: skip


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
        best_loss: (E, N) float32, the search's own loss at the stored image; NaN where the search
            keeps no best iterate: formulas, one-pixel and minimal-norm attacks, and PGD as
            published or on the training loss, whose last iterate counts.
        last_improvement: (E, N) float32, the fraction of a run's budget at which its best loss rose
            for the last time: 1, still rising at the end; NaN like `best_loss`.
        silent_success: (E, N) bool, a candidate within the budget was misclassified by the view
            that was searched, but the stored image is not misclassified.
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
    best_loss: Tensor
    last_improvement: Tensor
    silent_success: Tensor
    counts: Tensor
    clean_prediction: Tensor
    target: Tensor

    @property
    def forwards(self) -> Tensor:
        """(E, N) forward passes of the row: clean decision, search, final evaluation.

        Work that several rows share counts in each of them (FGSM's single gradient, the search at a
        smaller radius that a larger one inherits). `Victim.forwards` counts the passes that ran.
        """
        return self.counts[FORWARDS]

    @property
    def backwards(self) -> Tensor:
        """(E, N) backward passes, counted like `forwards`."""
        return self.counts[BACKWARDS]

    @property
    def zero_gradients(self) -> Tensor:
        """(E, N) gradients of the row's search that were zero in every pixel."""
        return self.counts[ZERO_GRADIENTS]

    @property
    def non_finite(self) -> Tensor:
        """(E, N) losses, gradients, logits or proposals that were not finite."""
        return self.counts[NON_FINITE]

    @property
    def saturated(self) -> Tensor:
        """(E, N) gradients taken where a softmax has underflowed; see `losses.cross_entropy`."""
        return self.counts[SATURATED]

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
            best_loss=torch.full_like(zeros, torch.nan),
            last_improvement=torch.full_like(zeros, torch.nan),
            silent_success=zeros.bool(),
            counts=zeros.long().expand(5, -1, -1).clone(),
            clean_prediction=clean.prediction,
            target=torch.full_like(clean.prediction, -1),
        )

    def copy(self) -> Perturbed:
        """One whose tensors may be written to."""
        return self._with_each(Tensor.clone)

    def to(self, device: torch.device | str) -> Perturbed:
        """The same on a device; tensors that are there already are shared."""
        return self._with_each(lambda value: value.to(device))

    def _with_each(self, function: Callable[[Tensor], Tensor]) -> Perturbed:
        tensors = {n: function(v) for n, v in vars(self).items() if isinstance(v, Tensor)}
        return dataclasses.replace(self, **tensors)

    def inherit(self, larger: int, smaller: int, rows: Tensor) -> None:
        """A larger ball contains the smaller: images misclassified there are misclassified here."""
        for name in STORED:
            value = getattr(self, name)
            value[larger, rows] = value[smaller, rows]
        self.counts[:, larger, rows] += self.counts[:, smaller, rows]
