"""CBR-LargeT: five wide convolutions.

M. Raghu, C. Zhang, J. Kleinberg, S. Bengio: Transfusion, NeurIPS 2019, as D. Rodriguez et al. 2022
(BMC Medical Informatics and Decision Making 22:160) have it in their public code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from assay.foundation.errors import ModelError
from assay.models.base import Classifier, choice
from assay.models.keras_like import BATCH_NORM, glorot_uniform

WIDTHS = (32, 64, 128, 256, 512)
KERNEL = 7
# The smallest side with which five valid convolutions and four poolings leave one pixel.
SMALLEST = 217


class CBRLargeT(Classifier):
    """Convolution 7x7, batch norm, ReLU, five times; poolings after the first four; the mean.

    Args:
        classes: number of classes K.
        shape: (C, H, W) of the images.
        padding: ``valid``, as published, for images of at least 217 pixels; ``same`` for smaller
            ones, the same weights on maps that only the poolings make smaller.

    Raises:
        ModelError: nothing is left of the images, or the padding is unknown.
    """

    max_batch = 32
    channels_last = False
    depth = len(WIDTHS) + 1

    def __init__(self, *, classes: int, shape: tuple[int, int, int], padding: str = "valid"):
        super().__init__(classes=classes, shape=shape)
        choice("padding", padding, ("valid", "same"))
        if padding == "valid" and min(self.shape[1:]) < SMALLEST:
            height, width = self.shape[1:]
            raise ModelError(
                f"images of {height}x{width} pixels are too small: without padding the "
                f"convolutions need {SMALLEST}",
                where="settings.padding",
                remedy="use 'padding: same' (cbr_larget_same), or larger images",
            )
        margin = KERNEL // 2 if padding == "same" else 0
        layers: list[nn.Module] = []
        for k, (before, width) in enumerate(zip((self.shape[0], *WIDTHS), WIDTHS, strict=False)):
            layers += [
                nn.Conv2d(before, width, KERNEL, padding=margin),
                nn.BatchNorm2d(width, **BATCH_NORM),
                nn.ReLU(inplace=True),
            ]
            if k + 1 < len(WIDTHS):
                layers.append(nn.MaxPool2d(3, 2, padding=1 if padding == "same" else 0))
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Linear(WIDTHS[-1], classes)
        for layer in [*self.trunk, self.head]:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                glorot_uniform(layer)

    def features(self, images: Tensor) -> Tensor:
        """The averaged last feature map, (B, 512)."""
        return self.trunk(images).mean(dim=(2, 3))

    def logits(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.head(self.features(images))
