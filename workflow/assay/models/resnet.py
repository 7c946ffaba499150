"""ResNet-18 as torchvision has it, with a first layer that fits the images.

K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from assay.foundation.errors import ModelError
from assay.models.base import Classifier, choice, resized
from assay.models.published import read_published


class ResNet18(Classifier):
    """torchvision's ResNet-18 on images of any size and number of channels.

    The first convolution is replaced, with random weights, when the images do not have three
    channels or when it shall have a bias; otherwise a pretrained one is kept. The last layer is
    always new. Images are not normalised.

    Args:
        classes: number of classes.
        shape: (C, H, W) of the images.
        pretrained: start from torchvision's ImageNet-1k (V1) weights.
        pretrained_weights: their file; without it the network waits for weights of its own
            (``load_weights``) and can neither be trained nor attacked before.
        trainable: ``"all"``, or prefixes of the parameters that train (``conv1``, ``layer4``,
            ``fc`` ...); all others are frozen.
        first_layer_bias: give the first convolution a bias.
        batch_norm: ``update``: the running statistics follow the training images in frozen layers
            too, as happens unless one prevents it; ``frozen``: those of frozen layers stay.
        input_size: side to which images are resized; ``None`` keeps their size.

    Raises:
        ModelError: a setting is impossible, or the published weights cannot be read.
    """

    depth = 18

    # What `assay.data.fetch` fetches; `instead` is the entry that does without.
    published: ClassVar[Mapping[str, Any]] = {
        "path": "torchvision/resnet18-f37072fd.pth",
        "copies": [
            {
                "what": "torchvision's ResNet18_Weights.IMAGENET1K_V1",
                "digest": "sha256:f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
                "urls": ["https://download.pytorch.org/models/resnet18-f37072fd.pth"],
            }
        ],
        "instead": "resnet18",
    }

    def __init__(
        self,
        *,
        classes: int,
        shape: tuple[int, int, int],
        pretrained: bool = False,
        pretrained_weights: Path | None = None,
        trainable: str | list[str] = "all",
        first_layer_bias: bool = False,
        batch_norm: str = "update",
        input_size: int | None = None,
    ):
        super().__init__(classes=classes, shape=shape)
        self.input_size = (input_size, input_size) if input_size else self.shape[1:]
        self.batch_norm = choice("batch_norm", batch_norm, ("update", "frozen"))
        self.network = resnet18(weights=None)
        if pretrained and pretrained_weights is not None:
            self._start_from(Path(pretrained_weights))
        elif pretrained:
            self.awaits = self.published["copies"][0]["what"]
        if self.shape[0] != 3 or first_layer_bias:
            self.network.conv1 = nn.Conv2d(
                self.shape[0], 64, kernel_size=7, stride=2, padding=3, bias=first_layer_bias
            )
        self.network.fc = nn.Linear(512, classes)
        self._freeze(trainable)

    def features(self, images: Tensor) -> Tensor:
        """The averaged last feature map, (B, 512)."""
        net = self.network
        maps = net.maxpool(net.relu(net.bn1(net.conv1(resized(images, self.input_size)))))
        maps = net.layer4(net.layer3(net.layer2(net.layer1(maps))))
        return net.avgpool(maps).flatten(1)

    def logits(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.network.fc(self.features(images))

    def train(self, mode: bool = True) -> ResNet18:
        super().train(mode)
        if mode and self.batch_norm == "frozen":
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
                    module.eval()
        return self

    def _start_from(self, path: Path) -> None:
        try:
            self.network.load_state_dict(read_published(path))
        except RuntimeError as error:
            raise ModelError(
                "the published weights are of another architecture",
                where=path,
                remedy=f"put {self.published['path']} into the data mirror",
            ) from error
        self.pretrained = f"{self.published['copies'][0]['what']} ({path.name})"

    def _freeze(self, trainable: str | list[str]) -> None:
        if trainable == "all":
            return
        prefixes = [trainable] if isinstance(trainable, str) else list(trainable)
        parts = [name for name, part in self.network.named_children() if list(part.parameters())]
        for prefix in prefixes:
            if not any(_within(name, prefix) for name, _ in self.network.named_parameters()):
                raise ModelError(
                    f"'{prefix}' matches no layer",
                    where="settings.trainable",
                    remedy=f"use all, or a list out of {', '.join(parts)}",
                )
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(any(_within(name, prefix) for prefix in prefixes))


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
