"""LPIPS: how different two images are to a network, by the package of its authors."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from assay.evaluation.measurements.base import Data, Measurement
from assay.evaluation.measurements.networks import (
    as_rgb,
    best_reconstructions,
    fill,
    read_state,
)
from assay.evaluation.samples import on_device
from assay.foundation.arrays import Schema
from assay.foundation.errors import MeasurementError
from assay.models.base import Classifier

TRUNKS = ("alex", "vgg", "squeeze")
# Pairs of images at once.
_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class LPIPS(Measurement):
    """The learned perceptual distance between pairs of images; 0 for equal ones.

    Where the study names ``attacks``, the pairs are example images before and after these attacks.
    Elsewhere they are test images and their reconstructions by the class that explains each best.
    The package holds the linear layers; the weights of the trunk come from a file.

    Args:
        trunk: ``alex``, ``vgg`` or ``squeeze``; the authors report ``alex``.
        weights: file of the trunk's ImageNet weights, with the names of torchvision
            (``features.0.weight`` …), as safetensors or as a state dict.
        side: height and width to which images are resized; 64 is that of the authors' data.
    """

    arrays: ClassVar[Schema] = {
        "distances": ("float32", "image", "LPIPS between a test image and its reconstruction"),
        "labels": ("integer", "image", "classes"),
        "samples": ("integer", "image", "rows of the data set"),
        "{attack}/distances": (
            "float32",
            "{attack}.radius {attack}.image",
            "LPIPS between an image and its attacked version; NaN where it was not attacked",
        ),
        "{attack}/epsilons": ("float64", "{attack}.radius", "radii of the attack"),
        "{attack}/labels": ("integer", "{attack}.image", "classes"),
    }
    optional: ClassVar[tuple[str, ...]] = ("distances", "labels", "samples")
    may_need: ClassVar[tuple[str, ...]] = ("examples",)
    files: ClassVar[tuple[str, ...]] = ("weights",)

    trunk: str = "alex"
    weights: str | None = None
    side: int | None = 64

    def __post_init__(self) -> None:
        if self.trunk not in TRUNKS:
            raise MeasurementError(
                f"'{self.trunk}' is no trunk",
                where="setting 'trunk'",
                remedy=f"use {', '.join(TRUNKS)}",
            )

    def measure(self, model: Classifier, data: Data) -> dict[str, np.ndarray]:
        distance = perceptual(self.trunk, self.weights or "").to(data.device)
        if data.examples:
            found = {}
            for attack, stored in data.examples:
                attacked = on_device(stored[f"{attack}/images"], data.device)
                clean = on_device(stored["clean/images"], data.device).expand_as(attacked)
                flat = self._apart(distance, clean.flatten(0, 1), attacked.flatten(0, 1))
                values = flat.view(attacked.shape[:2]).cpu().numpy()
                seen = stored[f"{attack}/predictions"] >= 0
                found |= {
                    f"{attack}/distances": np.where(seen, values, np.float32(np.nan)),
                    f"{attack}/epsilons": stored[f"{attack}/epsilons"],
                    f"{attack}/labels": stored["labels"],
                }
            return found
        generator = data.generator("lpips")
        distances = []
        for images, _ in data.batches(model, "lpips"):
            with torch.no_grad():
                made = best_reconstructions(model, images, generator)
            distances.append(self._apart(distance, images, made).cpu())
        return {
            "distances": torch.cat(distances).numpy(),
            "labels": data.own_labels,
            "samples": data.indices,
        }

    @torch.no_grad()
    def _apart(self, distance: nn.Module, first: Tensor, second: Tensor) -> Tensor:
        """(N,) between (N, C, H, W) and (N, C, H, W) in [0, 1]."""
        pairs = zip(first.split(_BATCH), second.split(_BATCH), strict=True)
        parts = [
            distance(as_rgb(a, self.side), as_rgb(b, self.side), normalize=True).flatten()
            for a, b in pairs
        ]
        return torch.cat(parts)


def perceptual(trunk: str, weights: str) -> nn.Module:
    """The network of the package `lpips`, frozen, with a trunk from a file.

    Args:
        trunk: one of :data:`TRUNKS`.
        weights: of the trunk, with torchvision's names.

    Raises:
        MeasurementError: the file is missing, damaged, or of another trunk.
    """
    # Only this measurement needs the package.
    import lpips

    state = read_state(weights, "weights")
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks torchvision for a network in an older way
        network = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
    # The package divides torchvision's `features` into slices, whose layers keep their numbers.
    names = {}
    for name in network.net.state_dict():
        _, layer, rest = name.split(".", 2)
        names[name] = f"features.{layer}.{rest}"
    fill(network.net, state, weights, "weights", names)
    return network.eval().requires_grad_(False)
