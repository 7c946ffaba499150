"""The Fréchet distance between test images and their reconstructions (FID), by torchmetrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from assay.evaluation.measurements.base import Data, Measurement
from assay.evaluation.measurements.networks import as_rgb, best_reconstructions, read_network
from assay.foundation.arrays import Schema
from assay.foundation.errors import MeasurementError
from assay.models.base import Classifier


@dataclass(frozen=True, kw_only=True)
class FID(Measurement):
    """The Fréchet distance between features of test images and of their reconstructions.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), with means and covariances of the features. The
    reconstruction of an image is that of the class that explains it best. The published FID has the
    features of an Inception network trained on ImageNet; with another network the distances compare
    models, but not with published values.

    Args:
        network: file of the feature network. TorchScript; or, with `architecture`, weights as
            safetensors or as a state dict. It takes (B, 3, H, W) and gives (B, F).
        architecture: ``module:Name`` of what builds the network, called without arguments.
        side: height and width to which images are resized; None keeps their size.
        mean: of the channels, subtracted from images in [0, 1].
        deviation: of the channels, by which these are divided then.
    """

    arrays: ClassVar[Schema] = {
        "fid": ("float64", "", "Fréchet distance, at least 0; smaller is more alike"),
        "images": ("int64", "", "test images, and as many reconstructions"),
        "features": (
            "int64",
            "",
            "length of the features; with fewer images than that the distance is biased upwards",
        ),
    }
    files: ClassVar[tuple[str, ...]] = ("network",)

    network: str | None = None
    architecture: str | None = None
    side: int | None = None
    mean: float = 0.0
    deviation: float = 1.0

    def measure(self, model: Classifier, data: Data) -> dict[str, np.ndarray]:
        network = read_network(self.network or "", "network", self.architecture)
        features = _Features(self, network, data.images.shape[1:])
        distance = frechet(features.to(data.device), data.device)
        generator = data.generator("fid")
        if len(data.indices) < 2:
            raise MeasurementError(
                "of one image there is no covariance",
                where="measurement 'fid'",
                remedy="raise evaluation.samples of the scale",
            )
        for images, _ in data.batches(model, "fid"):
            with torch.no_grad():
                distance.update(images, real=True)
                distance.update(best_reconstructions(model, images, generator), real=False)
        return {
            "fid": np.asarray(distance.compute().item(), np.float64),
            "images": np.asarray(len(data.indices), np.int64),
            "features": np.asarray(features.num_features, np.int64),
        }


def frechet(features: nn.Module, device: torch.device | str):
    """An empty Fréchet distance of torchmetrics.

    Args:
        features: (B, C, H, W) in [0, 1] to (B, F), with the attribute ``num_features`` F.
        device: where its sums are.
    """
    # Only this measurement needs the package.
    from torchmetrics.image.fid import FrechetInceptionDistance

    return FrechetInceptionDistance(feature=features, normalize=True).to(device)


class _Features(nn.Module):
    """The features of images in [0, 1], float64: torchmetrics returns their type."""

    def __init__(self, settings: FID, network: nn.Module, shape: Sequence[int]):
        super().__init__()
        self._settings, self.network = settings, network
        self.num_features = self._length(shape)

    def forward(self, images: Tensor) -> Tensor:
        images = as_rgb(images, self._settings.side)
        values = self.network((images - self._settings.mean) / self._settings.deviation)
        return values.flatten(1).double()

    def _length(self, shape: Sequence[int]) -> int:
        try:
            return self(torch.zeros(2, *shape)).shape[1]
        except (RuntimeError, AttributeError) as error:
            side = self._settings.side
            size = (3, side, side) if side else (3, *shape[1:])
            raise MeasurementError(
                f"the network makes no features of images of {size} "
                f"({str(error).strip().splitlines()[-1]})",
                where=self._settings.network,
                remedy="set settings.side to the height and width that it takes",
            ) from error
