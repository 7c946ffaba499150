"""The inner maximisation of adversarial training: projected gradient ascent on a whole batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from assay.foundation.errors import TrainingError
from assay.models.base import Classifier
from assay.threat.ball import random_point, step_inside, unit
from assay.training.objective import Objective


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """Images of a batch at a high loss within a ball: every image takes every step.

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
        """Perturbed `images` (B, C, H, W) of high cross-entropy, from a random start in the ball.

        The model is left in the mode that it was in.
        """

        def cross_entropy(leaf: Tensor) -> Tensor:
            logits = model.logits(leaf, generator)
            return functional.cross_entropy(logits, labels, reduction="sum")

        with self.watching(model):
            start = random_point(images, self.epsilon, self.norm, generator)
            return self.ascend(images, start, cross_entropy)

    @contextmanager
    def watching(self, model: Classifier) -> Iterator[None]:
        """A block in which the model is in evaluation mode and computes in full precision: without
        a scaler the gradients of a pixel vanish in half precision.
        """
        training = model.training
        model.eval()
        try:
            with torch.autocast(next(model.parameters()).device.type, enabled=False):
                yield
        finally:
            model.train(training)

    def ascend(self, images: Tensor, start: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """Images (B, C, H, W) of high loss within the ball around `images`, clipped to [0, 1].

        Args:
            images: (B, C, H, W), the centres.
            start: (B, C, H, W), where the ascent begins.
            loss: images to the sum of their losses.
        """
        found = start
        length = self.relative_step * self.epsilon / self.steps
        for _ in range(self.steps):
            with torch.enable_grad():
                leaf = found.detach().requires_grad_()
                (gradient,) = torch.autograd.grad(loss(leaf), leaf)
            gradient = gradient.sign_() if self.norm == "linf" else unit(gradient)
            found = step_inside(found, gradient, length, images, self.epsilon, self.norm)
        return found


class Adversarial(Objective):
    """An objective with an inner attack; the accuracy on its images chooses the best weights.

    Args:
        adversary: ``training.adversary``.

    Raises:
        TrainingError: there is no adversary, or it is impossible.
    """

    def __init__(self, *, adversary: Mapping[str, Any] | None = None):
        made = Adversary.of(adversary)
        if made is None:
            raise TrainingError(
                "this objective needs an adversary",
                where="training.adversary",
                remedy="write for example adversary: {norm: linf, epsilon: 8/255, steps: 10}",
            )
        self.adversary = made

    def validate(
        self, model: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Parts of the loss on perturbed images, each (B,); ``clean_accuracy`` is that of the
        images as they are.
        """
        clean = model.validation_loss(images, labels, generator)["accuracy"]
        perturbed = self.adversary(model, images, labels, generator)
        parts = model.validation_loss(perturbed, labels, generator)
        return {**parts, "clean_accuracy": clean}
