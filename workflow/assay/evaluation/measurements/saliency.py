"""Saliency maps of decisions, before and after an attack, and whether they peak at the lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from captum.attr import IntegratedGradients
from captum.attr import Saliency as Gradient
from scipy.ndimage import gaussian_filter
from torch import Tensor

from assay.attacks.catalogue import make_attack
from assay.evaluation.measurements.base import Data, Measurement
from assay.evaluation.samples import in_turn, on_device
from assay.foundation.arrays import Schema
from assay.foundation.errors import MeasurementError
from assay.foundation.progress import progress
from assay.models.base import Classifier

METHODS = ("gradient", "integrated_gradients")


@dataclass(frozen=True, kw_only=True)
class Saliency(Measurement):
    """Saliency maps, features and decisions of images, unperturbed and attacked at some radii.

    A map is the magnitude of what the pixels contribute to the logit of the decided class, summed
    over channels and smoothed; maps come from captum. The classes take turns among the images, so
    that the first few, whose pictures and maps are stored, show all of them.

    Args:
        methods: ``gradient`` (Simonyan et al. 2014) or ``integrated_gradients`` (Sundararajan et
            al. 2017, from a black image).
        integrated_steps: points between a black image and the image, at which gradients are taken
            (Gauss-Legendre).
        mapped_images: images of which maps are made, at most, where lesions are known; elsewhere
            only those shown.
        blur: standard deviation of the smoothing, as a share of the side; Rodriguez et al. (2022)
            have 5 pixels of 224.
    """

    arrays: ClassVar[Schema] = {
        "images": (
            "float32",
            "version shown channel row column",
            "images in [0, 1]: the unperturbed ones, then those attacked at each radius",
        ),
        "maps/{method}": ("float16", "version shown row column", "smoothed maps, at least 0"),
        "predictions": ("int64", "version image", "decisions"),
        "features": ("float16", "version image feature", "features, see `Features`"),
        "labels": ("integer", "image", "classes"),
        "samples": ("integer", "image", "rows of the data set"),
        "epsilons": ("float64", "version", "radii; 0 of the unperturbed images"),
        "pointing/{method}": (
            "float64",
            "version mapped",
            "1 where the maximum of the map lies in the lesion, 0 elsewhere, NaN without a lesion",
        ),
        "mass/{method}": ("float64", "version mapped", "share of the map within the lesion"),
        "lesion_share": (
            "float64",
            "mapped",
            "the lesion's share of the image, which is what chance finds; NaN without a lesion",
        ),
    }
    optional: ClassVar[tuple[str, ...]] = ("lesion_share",)
    needs: ClassVar[tuple[str, ...]] = ("attack",)

    methods: Sequence[str] = METHODS
    integrated_steps: int = 16
    mapped_images: int = 60
    blur: float = 5 / 224

    def __post_init__(self) -> None:
        for method in self.methods:
            if method not in METHODS:
                raise MeasurementError(
                    f"'{method}' is no method",
                    where="setting 'methods'",
                    remedy=f"use {' or '.join(METHODS)}",
                )

    def measure(self, model: Classifier, data: Data) -> dict[str, np.ndarray]:
        attack = make_attack(data.attack)
        indices = in_turn(data.indices, data.labels)
        x = on_device(data.images[indices], data.device)
        y, generator = data.classes(indices), data.generator("saliency")
        found = attack(model.victim(data.device), x, y, list(data.epsilons), generator).images
        versions = [x, *found]
        stored: dict[str, list[np.ndarray]] = {}

        def store(name: str, values: Tensor | np.ndarray) -> None:
            stored.setdefault(name, []).append(np.asarray(values))

        shown = data.shown
        mapped = shown if data.masks is None else max(shown, self.mapped_images)
        lesions = None if data.masks is None else data.masks[indices[:mapped], 0].astype(bool)
        for version in progress(versions, desc="saliency", unit="version"):
            predictions, features = _evaluated(model, version)
            store("images", version[:shown].cpu())
            store("predictions", predictions.cpu())
            store("features", features.cpu().half())
            for method in self.methods:
                maps = self.maps(model, version[:mapped], predictions[:mapped], method)
                store(f"maps/{method}", maps[:shown].astype(np.float16))
                if lesions is not None:
                    pointing, mass = at_lesions(maps, lesions)
                    store(f"pointing/{method}", pointing)
                    store(f"mass/{method}", mass)
        arrays = {name: np.stack(values) for name, values in stored.items()}
        if lesions is not None:
            share = lesions.mean(axis=(1, 2))
            arrays["lesion_share"] = np.where(share > 0, share, np.nan)
        return {
            **arrays,
            "labels": data.labels[indices],
            "samples": indices,
            "epsilons": np.array([0.0, *data.epsilons]),
        }

    def maps(self, model: Classifier, images: Tensor, classes: Tensor, method: str) -> np.ndarray:
        """Smoothed maps of what pixels contribute to the logits of `classes`.

        Args:
            model: frozen, in evaluation mode.
            images: (B, C, H, W) in [0, 1].
            classes: (B,) whose logits are differentiated.
            method: one of :data:`METHODS`.

        Returns:
            (B, H, W) float, at least 0.
        """
        parts = []
        for piece, target in zip(
            images.split(model.max_batch), classes.split(model.max_batch), strict=True
        ):
            leaf = piece.detach().clone().requires_grad_()
            if method == "gradient":
                values = Gradient(model.logits).attribute(leaf, target=target)
            else:
                values = IntegratedGradients(model.logits).attribute(
                    leaf,
                    target=target,
                    n_steps=self.integrated_steps,
                    internal_batch_size=model.max_batch,
                )
            parts.append(values.detach().abs().sum(dim=1).cpu())
        maps = torch.cat(parts).numpy()
        sides = (self.blur * side for side in maps.shape[1:])
        return gaussian_filter(maps, sigma=(0, *sides))


def at_lesions(maps: np.ndarray, lesions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether maps (B, H, W) peak inside lesions (B, H, W) bool, and their share inside.

    The pointing game of Zhang et al. 2016 without its tolerance, and the energy-based one of Wang
    et al. 2020.

    Returns:
        (B,) each, NaN where an image has no lesion; a map of zeros points nowhere.
    """
    flat, inside = maps.reshape(len(maps), -1), lesions.reshape(len(maps), -1)
    total = flat.sum(axis=1)
    peak = flat.argmax(axis=1)
    hit = np.where(total > 0, inside[np.arange(len(flat)), peak], False).astype(float)
    mass = np.divide((flat * inside).sum(axis=1), total, out=np.zeros(len(flat)), where=total > 0)
    there = inside.any(axis=1)
    return np.where(there, hit, np.nan), np.where(there, mass, np.nan)


@torch.no_grad()
def _evaluated(model: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Decisions (B,) and features (B, F)."""
    pieces = images.split(model.max_batch)
    logits = torch.cat([model.logits(piece) for piece in pieces])
    return logits.argmax(dim=1), torch.cat([model.features(piece).float() for piece in pieces])
