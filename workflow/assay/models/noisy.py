"""Gaussian noise on the image before a trained network decides, averaged over several samples.

J. Cohen, E. Rosenfeld, Z. Kolter: Certified adversarial robustness via randomized smoothing,
ICML 2019.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from assay.foundation.errors import ModelError
from assay.models.base import Classifier
from assay.models.wrapper import Wrapper


class Noisy(Wrapper):
    """The logarithm of the base's mean class probability over noisy copies of the image.

    Args:
        base: the trained model.
        classes: number of classes K.
        shape: (C, H, W) of the images.
        deviation: standard deviation of the noise, for images in [0, 1].
        samples: noisy copies per decision.

    Raises:
        ModelError: a setting is impossible.
    """

    stochastic = True

    def __init__(
        self,
        *,
        base: Classifier,
        classes: int,
        shape: tuple[int, int, int],
        deviation: float = 0.25,
        samples: int = 10,
    ):
        super().__init__(base=base, classes=classes, shape=shape)
        if deviation < 0 or samples < 1:
            raise ModelError(
                f"deviation {deviation} and {samples} samples are impossible",
                where="settings",
                remedy="use a deviation of at least 0 and at least one sample",
            )
        self.deviation, self.samples, self.view_samples = deviation, samples, samples

    def changed(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images with noise; they may leave [0, 1], as in the paper."""
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        return images + self.deviation * noise

    def logits(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        sampled = [
            functional.log_softmax(super(Noisy, self).logits(images, generator), dim=1)
            for _ in range(self.samples)
        ]
        return torch.stack(sampled).logsumexp(dim=0) - math.log(self.samples)
