"""Reconstructions of example images by generative classifiers, before and after attacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from assay.evaluation.measurements.base import Data, Measurement
from assay.evaluation.samples import on_device
from assay.foundation.arrays import Schema
from assay.models.base import Classifier


@dataclass(frozen=True, kw_only=True)
class Reconstructions(Measurement):
    """What the generator of each class makes of example images, unperturbed and attacked.

    Of several budgets an image is shown at the smallest one that succeeded, or at the largest.
    """

    arrays: ClassVar[Schema] = {
        "{attack}/images": (
            "float16",
            "2 {attack}.image channel row column",
            "unperturbed and attacked images in [0, 1]",
        ),
        "{attack}/reconstructions": (
            "float16",
            "2 {attack}.image class channel row column",
            "the best reconstruction by the generator of each class",
        ),
        "{attack}/log_likelihoods": (
            "float32",
            "2 {attack}.image class",
            "log-likelihoods in nats, up to a constant of the image",
        ),
        "{attack}/predictions": ("integer", "2 {attack}.image", "predictions of the outcomes"),
        "{attack}/labels": ("integer", "{attack}.image", "classes"),
        "{attack}/epsilons": ("float64", "{attack}.image", "radius at which the image is shown"),
    }
    needs: ClassVar[tuple[str, ...]] = ("examples",)

    def measure(self, model: Classifier, data: Data) -> dict[str, np.ndarray]:
        found = {}
        for attack, stored in data.examples:
            labels, epsilons = stored["labels"], stored[f"{attack}/epsilons"]
            predicted = stored[f"{attack}/predictions"]
            order = np.argsort(epsilons)
            misclassified = (predicted != labels)[order]
            which = order[
                np.where(misclassified.any(axis=0), misclassified.argmax(axis=0), len(order) - 1)
            ]
            # A cap keeps an attack from some of its suite's images.
            rows = np.flatnonzero(predicted[which, np.arange(len(labels))] >= 0)
            which = which[rows]
            pairs = np.stack(
                [stored["clean/images"][rows], stored[f"{attack}/images"][which, rows]]
            )
            generator = data.generator("explain", attack)
            made = [model.explain(on_device(images, data.device), generator) for images in pairs]
            found |= {
                f"{attack}/images": pairs,
                f"{attack}/reconstructions": torch.stack([one for one, _ in made])
                .half().cpu().numpy(),
                f"{attack}/log_likelihoods": torch.stack([one for _, one in made]).cpu().numpy(),
                f"{attack}/predictions": np.stack(
                    [stored["clean/predictions"][0, rows], predicted[which, rows]]
                ),
                f"{attack}/labels": labels[rows],
                f"{attack}/epsilons": epsilons[which],
            }  # fmt: skip
        return found
