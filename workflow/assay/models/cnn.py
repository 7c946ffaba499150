"""The discriminative counterpart of E-ABS: its encoder, and a linear layer.

A. Ju: PhD thesis, UC Berkeley 2021, chapter 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from assay.models.base import Classifier
from assay.models.grouped import DROPOUT, Encoders, layout_for


class CNN(Classifier):
    """Four convolutions and a linear layer on their last feature map.

    Args:
        classes: number of classes K.
        shape: (C, H, W) of the images.
        layout: the encoder's sizes, by name; None: those that fit the shape.
        dropout: of the features, in training.

    Raises:
        ModelError: no layout fits the images.
    """

    def __init__(
        self,
        *,
        classes: int,
        shape: tuple[int, int, int],
        layout: str | None = None,
        dropout: float = DROPOUT,
    ):
        super().__init__(classes=classes, shape=shape)
        encoder = Encoders(layout_for(layout, self.shape), 1, dropout)
        self.trunk = encoder.layers
        self.head = nn.Linear(encoder.features_dim, classes)
        self.depth = 1 + sum(isinstance(layer, nn.Conv2d) for layer in self.trunk.modules())

    def logits(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.head(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """The flattened last feature map, (B, F)."""
        return self.trunk(images).flatten(1)
