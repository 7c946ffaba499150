"""Pixels are dropped at random and estimated from the others before a trained network decides.

Y. Yang, G. Zhang, D. Katabi, Z. Xu: ME-Net, ICML 2019, arXiv:1905.11971. F. Tramer et al.: On
adaptive attacks to adversarial example defenses, NeurIPS 2020 (how it is attacked).
"""

from __future__ import annotations

import torch
from torch import Tensor

from assay.foundation.errors import ModelError
from assay.models.base import Classifier, choice
from assay.models.completion import ESTIMATORS
from assay.models.wrapper import Wrapper

# Masks per query of a view; the attack of Tramer et al. takes 41.
EOT_SAMPLES = 40


class Masked(Wrapper):
    """The base's decision on an image of which only a random part was kept.

    Each decision draws another mask. The rest of the image is estimated as a matrix of low rank
    (:mod:`assay.models.completion`). Attacks take the gradient of the identity for the estimate
    (BPDA), averaged over masks.

    Args:
        base: the trained model.
        classes: number of classes K.
        shape: (C, H, W) of the images.
        estimator: ``rank`` (which the public code calls USVT), ``usvt``, ``soft_impute`` or
            ``nuclear_norm``.
        observed: the probability with which a pixel is kept, in (0, 1]; the paper evaluates with
            0.5, or 0.9 where it trains with 0.8 to 1.
        channels: ``side_by_side``: the channels of an image are one wide matrix, and a pixel may be
            dropped in one of them; ``separate``: a matrix each, with one mask.
        eot_samples: masks per query of a view.

    Raises:
        ModelError: a setting is impossible.
    """

    stochastic = True
    differentiable = False

    def __init__(
        self,
        *,
        base: Classifier,
        classes: int,
        shape: tuple[int, int, int],
        estimator: str = "rank",
        observed: float = 0.5,
        channels: str = "side_by_side",
        eot_samples: int = EOT_SAMPLES,
    ):
        super().__init__(base=base, classes=classes, shape=shape)
        if not 0 < observed <= 1:
            raise ModelError(
                f"a share of {observed} of the pixels cannot be kept",
                where="settings.observed",
                remedy="use more than 0 and at most 1",
            )
        if eot_samples < 1:
            raise ModelError(
                f"{eot_samples} samples are impossible",
                where="settings.eot_samples",
                remedy="use 1 or more",
            )
        self.estimate = ESTIMATORS[choice("estimator", estimator, tuple(ESTIMATORS))]
        self.channels = choice("channels", channels, ("side_by_side", "separate"))
        self.observed, self.view_samples = observed, eot_samples

    def changed(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images (B, C, H, W) whose values outside a random mask are estimates, in [0, 1]."""
        b, c, h, w = images.shape
        wide = self.channels == "side_by_side"
        shape = (b, h, c * w) if wide else (b, h, w)
        mask = torch.rand(shape, generator=generator, device=images.device) < self.observed
        if wide:
            matrices = images.transpose(1, 2).reshape(b, h, c * w)
        else:
            matrices, mask = images.reshape(b * c, h, w), mask.repeat_interleave(c, 0)
        with torch.no_grad():
            found = self.estimate((2 * matrices - 1) * mask, mask)
        found = (found + 1) / 2
        return found.reshape(b, h, c, w).transpose(1, 2) if wide else found.reshape(images.shape)
