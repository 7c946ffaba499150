"""Training on completed images: the loss of images of which a new random part is kept each time.

Y. Yang, G. Zhang, D. Katabi, Z. Xu: ME-Net, ICML 2019, arXiv:1905.11971.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from assay.foundation.errors import TrainingError
from assay.models.base import Classifier
from assay.models.masked import Completion, check_share
from assay.threat.ball import random_point
from assay.training.adversary import Adversary
from assay.training.objective import Batch, Objective


class Masked(Objective):
    """Minimises ``training_loss`` of completed images, with an adversary of perturbed ones.

    Each image of a batch keeps its pixels with one of ten probabilities between two ends, drawn
    anew, and the first end is not among them. The adversary ascends through the estimate as through
    the identity (BPDA), with new masks at each step.

    Args:
        adversary: ``training.adversary``; None: images as they are.
        estimator: see :class:`assay.models.masked.Completion`.
        observed: the two ends, in (0, 1].
        levels: how many probabilities.
        channels: see :class:`assay.models.masked.Completion`.

    Raises:
        TrainingError: the adversary is impossible, or there are not two ends.
        ModelError: another setting is impossible.
    """

    def __init__(
        self,
        *,
        adversary: Mapping[str, Any] | None = None,
        estimator: str = "rank",
        observed: Sequence[float] = (0.4, 0.6),
        levels: int = 10,
        channels: str = "side_by_side",
    ):
        self.adversary = Adversary.of(adversary)
        self.completion = Completion(estimator=estimator, channels=channels)
        if len(observed) != 2 or levels < 1:
            raise TrainingError(
                f"{list(observed)} in {levels} levels are not probabilities between two ends",
                where="training.objective.observed",
                remedy="write for example observed: [0.4, 0.6]",
            )
        for end in observed:
            check_share(end, "training.objective.observed")
        self.observed, self.levels = tuple(observed), levels

    def losses(self, model: Classifier, batch: Batch) -> dict[str, Tensor]:
        images, generator = batch.images, batch.generator
        start, end = self.observed
        level = torch.randint(
            1, self.levels + 1, (len(images),), generator=generator, device=images.device
        )
        kept = start + level * (end - start) / self.levels
        images = self._perturbed(model, images, batch.labels, kept, generator)
        seen = self.completion.completed(images, kept, generator)
        return model.training_loss(seen, batch.labels, generator)

    def validate(
        self, model: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Parts of the loss, each (B,), where pixels are kept with the mean of the two ends."""
        kept = torch.full((len(images),), sum(self.observed) / 2, device=images.device)
        images = self._perturbed(model, images, labels, kept, generator)
        seen = self.completion.completed(images, kept, generator)
        return model.validation_loss(seen, labels, generator)

    def _perturbed(
        self,
        model: Classifier,
        images: Tensor,
        labels: Tensor,
        kept: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        if self.adversary is None:
            return images

        def cross_entropy(leaf: Tensor) -> Tensor:
            seen = self.completion.completed(leaf, kept, generator)
            logits = model.logits(leaf + (seen - leaf).detach(), generator)
            return functional.cross_entropy(logits, labels, reduction="sum")

        with self.adversary.watching(model):
            start = random_point(images, self.adversary.epsilon, self.adversary.norm, generator)
            return self.adversary.ascend(images, start, cross_entropy)
