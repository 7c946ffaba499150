"""Joint training of API-Net: cross-entropy of the scores that its inference gives.

X. Dong, H. Liu, R. Ji, L. Cao, Q. Ye, J. Liu, Q. Tian: API-Net: Robust generative classifier via a
single discriminator, ECCV 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from assay.models.base import Classifier
from assay.models.image_search import ImageSearch, changed_images, own_scores
from assay.training.adversary import Adversarial
from assay.training.objective import Batch


class Api(Adversarial):
    """Minimises -log softmax(s)_y of the scores s_c = log p(c|z_c) of perturbed images.

    The images are perturbed against the network itself (z = x). Then the search of inference
    (:mod:`assay.models.api`) changes each of them for every class, in evaluation mode, and the
    scores are computed in training mode.

    Args:
        adversary: ``training.adversary``.
        radius: of the search, in (0, 1].
        step: its step.
        steps: how many.
        noise: standard deviation of the noise that it begins with.
        as_coded: the batch statistics of the public code: the changed images of each class are a
            batch of their own, and the images and the perturbed ones pass the network in training
            mode, too, which moves the running statistics and nothing else. False: the changed
            images of all classes are one batch.

    Raises:
        TrainingError: the adversary is missing or impossible.
        ModelError: the search is impossible.
    """

    def __init__(
        self,
        *,
        adversary: Mapping[str, Any] | None = None,
        radius: float,
        step: float = 0.007,
        steps: int = 8,
        noise: float = 0.001,
        as_coded: bool = False,
    ):
        super().__init__(adversary=adversary)
        self.search = ImageSearch(radius=radius, step=step, steps=steps, noise=noise)
        self.as_coded = as_coded

    def losses(self, model: Classifier, batch: Batch) -> dict[str, Tensor]:
        images, labels, generator = batch.images, batch.labels, batch.generator
        perturbed = self.adversary(model, images, labels, generator)
        with self.adversary.watching(model):
            changes = self.search.run(model.logits, perturbed, model.classes, generator).codes
        seen = changed_images(perturbed, changes)
        if not self.as_coded:
            return model.loss_of(own_scores(model.logits(seen, generator), model.classes), labels)
        with torch.no_grad():
            model.logits(images, generator)
            model.logits(perturbed, generator)
        per_class = seen.unflatten(0, (-1, model.classes)).unbind(dim=1)
        logits = torch.stack([model.logits(part, generator) for part in per_class], dim=1)
        return model.loss_of(own_scores(logits.flatten(0, 1), model.classes), labels)

    def validate(
        self, model: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Parts of the loss of the scores, each (B,), on perturbed images; ``clean_accuracy`` is
        that of the scores of the images as they are.
        """
        perturbed = self.adversary(model, images, labels, generator)
        clean, found = (
            model.loss_of(
                -self.search.run(model.logits, part, model.classes, generator).energy, labels
            )
            for part in (images, perturbed)
        )
        return {**found, "clean_accuracy": clean["accuracy"]}
