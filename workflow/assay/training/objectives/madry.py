"""Adversarial training: the model's own loss on perturbed images.

A. Madry et al., Towards deep learning models resistant to adversarial attacks, ICLR 2018.
"""

from __future__ import annotations

from torch import Tensor

from assay.models.base import Classifier
from assay.training.adversary import Adversarial
from assay.training.objective import Batch


class Madry(Adversarial):
    """Minimises the mean of ``training_loss`` over the perturbed images of each batch."""

    def losses(self, model: Classifier, batch: Batch) -> dict[str, Tensor]:
        images = self.adversary(model, batch.images, batch.labels, batch.generator)
        return model.training_loss(images, batch.labels, batch.generator)
