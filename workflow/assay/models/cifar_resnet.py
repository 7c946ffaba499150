"""Residual networks of depth 6n + 2 and three widths, after those for CIFAR-10.

K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, CVPR 2016, section
4.2, as D. Rodriguez et al. 2022 have them in their public code (Keras' example).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from assay.foundation.errors import ModelError
from assay.models.base import Classifier
from assay.models.keras_like import BATCH_NORM, he_normal, squared_kernels

WIDTHS = (16, 32, 64)
POOL = 8


class CifarResNet(Classifier):
    """Three stages of n basic blocks with 16, 32 and 64 channels, each half as large as before.

    ResNet-50 in this family has 0.77 million weights and is not torchvision's with 25 million.
    Shortcuts are projections where the width changes. The last map is averaged in cells of 8x8,
    (or of the whole map, where that is smaller) and flattened, so the last layer grows with the
    images.

    Args:
        classes: number of classes K.
        shape: (C, H, W) of the images.
        depth: 6n + 2: 8, 20, 32, 50.
        l2: weight of the sum of squared kernels in the training loss.

    Raises:
        ModelError: there is no network of that depth.
    """

    max_batch = 32

    def __init__(
        self, *, classes: int, shape: tuple[int, int, int], depth: int = 20, l2: float = 1e-4
    ):
        super().__init__(classes=classes, shape=shape)
        blocks, rest = divmod(depth - 2, 6)
        if blocks < 1 or rest:
            raise ModelError(
                f"no network of this family has {depth} layers",
                where="settings.depth",
                remedy="use 6n + 2: 8, 14, 20, 26, 32, 38, 44, 50",
            )
        self.depth, self.l2 = depth, l2
        self.stem = _convolution(self.shape[0], WIDTHS[0], 3)
        layers, before = [], WIDTHS[0]
        for stage, width in enumerate(WIDTHS):
            for k in range(blocks):
                layers.append(_Block(before, width, 2 if stage and not k else 1))
                before = width
        self.blocks = nn.Sequential(*layers)
        sides = [-(-side // 4) for side in self.shape[1:]]
        self.pool = tuple(min(POOL, side) for side in sides)
        cells = [side // cell for side, cell in zip(sides, self.pool, strict=True)]
        self.head = nn.Linear(WIDTHS[-1] * cells[0] * cells[1], classes)
        he_normal(self.head)

    def features(self, images: Tensor) -> Tensor:
        """The averaged last feature map, flattened: (B, 64) per cell of 8x8."""
        maps = self.blocks(functional.relu(self.stem(images)))
        return functional.avg_pool2d(maps, self.pool).flatten(1)

    def logits(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.head(self.features(images))

    def penalty(self) -> Tensor:
        """`l2` times the sum of squared kernels."""
        return self.l2 * squared_kernels(self)


class _Block(nn.Module):
    """Two convolutions and what went into them."""

    def __init__(self, before: int, width: int, stride: int):
        super().__init__()
        self.first = _convolution(before, width, 3, stride)
        self.second = _convolution(width, width, 3)
        self.shortcut = None
        if stride != 1 or before != width:
            self.shortcut = nn.Conv2d(before, width, 1, stride)
            he_normal(self.shortcut)

    def forward(self, maps: Tensor) -> Tensor:
        kept = maps if self.shortcut is None else self.shortcut(maps)
        return functional.relu(self.second(functional.relu(self.first(maps))) + kept)


def _convolution(before: int, width: int, kernel: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, width, kernel, stride, padding=kernel // 2)
    he_normal(convolution)
    return nn.Sequential(convolution, nn.BatchNorm2d(width, **BATCH_NORM))
