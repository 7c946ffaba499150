"""Fewer grey levels before a trained network decides.

W. Xu, D. Evans, Y. Qi: Feature squeezing, NDSS 2018. A. Athalye, N. Carlini, D. Wagner: Obfuscated
gradients give a false sense of security, ICML 2018 (how such a step is attacked).
"""

from __future__ import annotations

import torch
from torch import Tensor

from assay.foundation.errors import ModelError
from assay.models.base import Classifier
from assay.models.wrapper import Wrapper


class Quantised(Wrapper):
    """The base's decision on images of a few grey levels.

    Args:
        base: the trained model.
        classes: number of classes K.
        shape: (C, H, W) of the images.
        bits: per value: 2**bits levels.

    Raises:
        ModelError: there is no such number of bits.
    """

    differentiable = False

    def __init__(
        self, *, base: Classifier, classes: int, shape: tuple[int, int, int], bits: int = 3
    ):
        super().__init__(base=base, classes=classes, shape=shape)
        if not 1 <= bits <= 8:
            raise ModelError(f"{bits} is not a number of bits from 1 to 8", where="settings.bits")
        self.bits = bits

    def changed(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The nearest level of each value, in [0, 1]."""
        highest = 2**self.bits - 1
        return (images * highest).round() / highest
