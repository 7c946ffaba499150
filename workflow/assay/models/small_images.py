"""The networks that papers on adversarial training use for MNIST, CIFAR-10 and SVHN.

They take images at their own size and do not normalise them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from assay.foundation.errors import ModelError
from assay.models.base import Classifier

# The smallest side of which the convolutions of SmallCNN and LeNet leave a pixel.
SMALLEST = 16


class _Network(Classifier):
    """A trunk that flattens images to features, and a linear layer."""

    trunk: nn.Sequential
    head: nn.Linear

    def features(self, images: Tensor) -> Tensor:
        """What the last layer sees, (B, F)."""
        return self.trunk(images)

    def logits(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.head(self.features(images))


class CifarResNet18(_Network):
    """ResNet-18 for small images: a convolution 3x3 first, and no max-pooling.

    Four stages of two basic blocks with `width`, 2, 4 and 8 times `width` channels; each but the
    first halves the sides. K. He et al., CVPR 2016, as the public code of TRADES (H. Zhang et al.,
    ICML 2019) and of most work on CIFAR-10 has it.

    Args:
        classes: number of classes K.
        shape: (C, H, W) of the images.
        width: channels of the first stage; 64 in the papers. A narrower network is a substitute.

    Raises:
        ModelError: the width is not positive.

    Example:
        >>> network = CifarResNet18(classes=10, shape=(3, 32, 32))
        >>> sum(part.numel() for part in network.parameters())
        11173962
    """

    depth = 18

    def __init__(self, *, classes: int, shape: tuple[int, int, int], width: int = 64):
        super().__init__(classes=classes, shape=shape)
        if width < 1:
            raise ModelError(
                f"{width} channels are impossible", where="settings.width", remedy="use 1 or more"
            )
        self.width = width
        layers: list[nn.Module] = [
            nn.Conv2d(self.shape[0], width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        before = width
        for stage in range(4):
            after, stride = width * 2**stage, 2 if stage else 1
            layers += [_block(before, after, stride), _block(after, after)]
            before = after
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(before, classes)


class SmallCNN(_Network):
    """Four convolutions and three linear layers: the network of TRADES for MNIST.

    H. Zhang et al., ICML 2019, arXiv:1901.08573, and its public code: convolutions 3x3 without
    padding (32, 32, pooling, 64, 64 channels, pooling), then 200, 200 and K units. Weights of the
    convolutions are Kaiming's, and the last layer starts at zero.

    Args:
        classes: number of classes K.
        shape: (C, H, W) of the images, sides of at least 16.
        dropout: after the first linear layer, in training.

    Raises:
        ModelError: the images are too small for it.

    Example:
        >>> network = SmallCNN(classes=10, shape=(1, 28, 28))
        >>> sum(part.numel() for part in network.parameters())
        312202
    """

    depth = 7

    def __init__(self, *, classes: int, shape: tuple[int, int, int], dropout: float = 0.5):
        super().__init__(classes=classes, shape=shape)
        pixels = _last_map(self.shape)
        self.trunk = nn.Sequential(
            nn.Conv2d(self.shape[0], 32, 3), nn.ReLU(),
            nn.Conv2d(32, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3), nn.ReLU(),
            nn.Conv2d(64, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * pixels, 200), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(200, 200), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(200, classes)
        for part in self.trunk:
            if isinstance(part, nn.Conv2d) and part.bias is not None:
                nn.init.kaiming_normal_(part.weight)
                nn.init.zeros_(part.bias)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)


class LeNet(_Network):
    """LeNet-5 with ReLU and max-pooling: the network of ME-Net for MNIST.

    Y. Yang et al., ICML 2019, arXiv:1905.11971, and its public code, which has it for 3x32x32;
    smaller images leave 16 smaller maps and a smaller first linear layer.

    Args:
        classes: number of classes K.
        shape: (C, H, W) of the images, sides of at least 16.

    Raises:
        ModelError: the images are too small for it.

    Example:
        >>> for shape in ((1, 28, 28), (3, 32, 32)):
        ...     network = LeNet(classes=10, shape=shape)
        ...     print(sum(part.numel() for part in network.parameters()))
        44426
        62006
    """

    depth = 5

    def __init__(self, *, classes: int, shape: tuple[int, int, int]):
        super().__init__(classes=classes, shape=shape)
        pixels = _last_map(self.shape)
        self.trunk = nn.Sequential(
            nn.Conv2d(self.shape[0], 6, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * pixels, 120), nn.ReLU(),
            nn.Linear(120, 84), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(84, classes)


def _block(before: int, after: int, stride: int = 1) -> BasicBlock:
    """A basic block of torchvision, with a projection where the shape changes."""
    shortcut = None
    if stride != 1 or before != after:
        shortcut = nn.Sequential(
            nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
        )
    return BasicBlock(before, after, stride, shortcut)


def _last_map(shape: tuple[int, int, int]) -> int:
    """Pixels of the last map: twice, convolutions take four of a side and a pooling halves it."""
    sides = [((side - 4) // 2 - 4) // 2 for side in shape[1:]]
    if min(sides) < 1:
        raise ModelError(
            f"images of {shape[1]}x{shape[2]} pixels are too small for its convolutions",
            where="shape",
            remedy=f"use images of at least {SMALLEST}x{SMALLEST} pixels",
        )
    return sides[0] * sides[1]
