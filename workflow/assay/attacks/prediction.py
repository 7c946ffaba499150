"""The true decision on images: once, or the majority of repeats if it is stochastic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from assay.attacks.victim import Victim


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
