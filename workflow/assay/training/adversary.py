"""The inner maximisation of adversarial training: projected gradient ascent on a whole batch.

A. Madry et al., Towards deep learning models resistant to adversarial attacks, ICLR 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from assay.foundation.errors import TrainingError
from assay.models.base import Classifier
from assay.threat.ball import random_point, step_inside, unit


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """Images of a batch at a high cross-entropy within a ball: every image takes every step.

    The network is queried in evaluation mode, so that the attack's batches are no part of its
    statistics and dropout does not blur the gradient; the weights' gradients are not computed.

    Args:
        norm: ``linf`` or ``l2``.
        epsilon: radius of the ball; images are in [0, 1].
        steps: gradient steps.
        relative_step: how many radii all steps together can go.
    """

    norm: str
    epsilon: float
    steps: int = 10
    relative_step: float = 2.5

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None) -> Adversary | None:
        """The adversary of a training's settings; None for none.

        Raises:
            TrainingError: a setting is unknown or impossible.
        """
        if not settings:
            return None
        try:
            made = cls(**settings)
        except TypeError as error:
            raise TrainingError(str(error), where="training.adversary") from error
        if made.norm not in ("linf", "l2"):
            raise TrainingError(
                f"'{made.norm}' is not a norm", where="training.adversary.norm",
                remedy="use linf or l2",
            )  # fmt: skip
        if made.epsilon <= 0 or made.steps < 1:
            raise TrainingError(
                f"epsilon {made.epsilon} and {made.steps} steps leave every image unchanged",
                where="training.adversary",
            )
        return made

    def __call__(
        self, model: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Perturbed `images` (B, C, H, W); the model is left in the mode that it was in."""
        training = model.training
        model.eval()
        found = random_point(images, self.epsilon, self.norm, generator)
        length = self.relative_step * self.epsilon / self.steps
        for _ in range(self.steps):
            with torch.enable_grad():
                leaf = found.detach().requires_grad_()
                loss = functional.cross_entropy(
                    model.logits(leaf, generator), labels, reduction="sum"
                )
                (gradient,) = torch.autograd.grad(loss, leaf)
            gradient = gradient.sign_() if self.norm == "linf" else unit(gradient)
            found = step_inside(found, gradient, length, images, self.epsilon, self.norm)
        model.train(training)
        return found
