"""TRADES: cross-entropy on clean images, and the distance of the outputs on perturbed ones.

H. Zhang et al., Theoretically principled trade-off between robustness and accuracy, ICML 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from assay.foundation.errors import TrainingError
from assay.models.base import Classifier, correct
from assay.threat.ball import random_point
from assay.training.adversary import Adversarial
from assay.training.objective import Batch

# Standard deviation of the noise that the ascent starts with, as in the published code.
NOISE = 0.001
STARTS = ("near", "anywhere")


class Trades(Adversarial):
    """Minimises CE(f(x), y) + beta * KL(p(x) || p(x')), where x' maximises the divergence.

    Differences from the published code: for L2 the ascent takes normalised gradient steps, where
    the code lets SGD move the change; the step is that of ``training.adversary``.

    Args:
        adversary: ``training.adversary``.
        beta: weight of the divergence, at least 0; the paper has 1 and 6.
        start: where the ascent begins: ``near``, at Gaussian noise of deviation 0.001, as in the
            published code, or ``anywhere`` in the ball, as Dong et al. 2020 have it.

    Raises:
        TrainingError: beta is negative, the start unknown, or the adversary impossible.
    """

    def __init__(
        self,
        *,
        adversary: Mapping[str, Any] | None = None,
        beta: float = 6.0,
        start: str = "near",
    ):
        super().__init__(adversary=adversary)
        if beta < 0:
            raise TrainingError(f"{beta} is negative", where="training.objective.beta")
        if start not in STARTS:
            raise TrainingError(
                f"'{start}' is no start of the ascent",
                where="training.objective.start",
                remedy=f"use {' or '.join(STARTS)}",
            )
        self.beta, self.start = beta, start

    def losses(self, model: Classifier, batch: Batch) -> dict[str, Tensor]:
        if type(model).training_loss is not Classifier.training_loss:
            raise TrainingError(
                f"{type(model).__name__} is not trained by the cross-entropy of its logits",
                where="training.objective",
                remedy="use objective: madry, which takes the model's own loss",
            )
        images, labels, generator = batch.images, batch.labels, batch.generator
        perturbed = self._ascend(model, images, generator)
        logits = model.logits(images, generator)
        found = divergence(logits, model.logits(perturbed, generator))
        parts = model.loss_of(logits, labels)
        return {
            "total": parts["total"] + self.beta * found,
            "accuracy": correct(logits, labels),
            "clean": parts["total"],
            "divergence": found,
        }

    def _ascend(self, model: Classifier, images: Tensor, generator: torch.Generator) -> Tensor:
        """The images (B, C, H, W) within the ball whose outputs diverge most from the clean."""

        def divergence_at(leaf: Tensor) -> Tensor:
            return divergence(clean, model.logits(leaf, generator)).sum()

        if self.start == "near":
            noise = torch.randn(images.shape, generator=generator, device=images.device)
            start = images + NOISE * noise
        else:
            start = random_point(images, self.adversary.epsilon, self.adversary.norm, generator)
        with self.adversary.watching(model):
            with torch.no_grad():
                clean = model.logits(images, generator)
            return self.adversary.ascend(images, start, divergence_at)


def divergence(clean: Tensor, perturbed: Tensor) -> Tensor:
    """KL(softmax(clean) || softmax(perturbed)) of logits (B, K), in nats, shape (B,).

    Example:
        >>> divergence(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0]])).item()
        0.0
    """
    return functional.kl_div(
        functional.log_softmax(perturbed, dim=1),
        functional.log_softmax(clean, dim=1),
        reduction="none",
        log_target=True,
    ).sum(dim=1)
