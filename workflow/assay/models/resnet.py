"""ResNet-18 as torchvision has it, with a first layer that fits the images.

K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, CVPR 2016.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from assay.foundation.errors import ModelError
from assay.foundation.files import digest_file
from assay.models.base import Classifier, choice, resized

PUBLISHED = "resnet18-f37072fd.pth"  # torchvision's IMAGENET1K_V1; the name holds the sha256's head
MIRROR_PATH = f"torchvision/{PUBLISHED}"
URL = f"https://download.pytorch.org/models/{PUBLISHED}"

log = logging.getLogger(__name__)


class ResNet18(Classifier):
    """torchvision's ResNet-18 on images of any size and number of channels.

    The first convolution is made anew, with random weights, when the images have not three
    channels or when it shall have a bias; otherwise a pretrained one is kept. The last layer is
    always new. Images are not normalised.

    Args:
        classes: number of classes.
        shape: (C, H, W) of the images.
        pretrained: start from torchvision's ImageNet-1k (V1) weights.
        pretrained_weights: their file; ``None`` lets torch find or download it.
        trainable: ``"all"``, or prefixes of the parameters that train (``conv1``, ``layer4``,
            ``fc`` ...); all others are frozen.
        first_layer_bias: give the first convolution a bias.
        batch_norm: ``update``: the running statistics follow the training images in frozen layers
            too, as happens unless one prevents it; ``frozen``: those of frozen layers stay.
        input_size: side to which images are resized; ``None`` keeps their size.

    Raises:
        ModelError: a setting is impossible, or the published weights cannot be had.
    """

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
        if pretrained:
            self.network.load_state_dict(read_published(pretrained_weights))
            self.pretrained = f"ImageNet-1k V1 weights of torchvision ({PUBLISHED})"
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

    def _freeze(self, trainable: str | list[str]) -> None:
        if trainable == "all":
            return
        prefixes = [trainable] if isinstance(trainable, str) else list(trainable)
        parts = [name for name, part in self.network.named_children() if list(part.parameters())]
        for prefix in prefixes:
            if not any(_within(name, prefix) for name, _ in self.network.named_parameters()):
                raise ModelError(
                    f"'{prefix}' names no layer", where="settings.trainable",
                    remedy=f"use all, or a list out of {', '.join(parts)}",
                )
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(any(_within(name, prefix) for prefix in prefixes))


def read_published(path: Path | None = None) -> dict[str, Tensor]:
    """torchvision's ImageNet weights of ResNet-18, checked against their published digest.

    Args:
        path: the file; ``None`` takes it from torch's download folder, downloading it if needed.

    Raises:
        ModelError: the file is missing or damaged, or the download failed.
    """
    remedy = (
        f"put {PUBLISHED} (from {URL}) into the data mirror as {MIRROR_PATH}, "
        "or use the entry 'resnet18', which starts at random"
    )
    path = Path(path) if path else _downloaded(remedy)
    if not path.is_file():
        raise ModelError("the published ImageNet weights are not there", where=path, remedy=remedy)
    if not digest_file(path).startswith(path.stem.rpartition("-")[2]):
        raise ModelError(
            "the file is not the published one (its checksum differs)", where=path, remedy=remedy
        )
    return torch.load(path, map_location="cpu", weights_only=True)


def _downloaded(remedy: str) -> Path:
    target = Path(torch.hub.get_dir()) / "checkpoints" / PUBLISHED
    if not target.is_file():
        log.info("downloading %s", URL)
        target.parent.mkdir(parents=True, exist_ok=True)
        prefix = target.stem.rpartition("-")[2]
        try:
            torch.hub.download_url_to_file(URL, str(target), hash_prefix=prefix)
        except (OSError, RuntimeError) as error:
            raise ModelError(
                f"the published ImageNet weights cannot be downloaded ({error})",
                where="settings.pretrained", remedy=remedy,
            ) from error
    return target


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
