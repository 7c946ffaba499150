"""Certified L2 radii: how far each image may be moved without another decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from assay.evaluation.measurements.base import Data, Measurement
from assay.foundation.arrays import Schema
from assay.models.base import Classifier


@dataclass(frozen=True, kw_only=True)
class Certificates(Measurement):
    """The certified L2 radius of each image, for models with a certificate."""

    arrays: ClassVar[Schema] = {
        "radii": (
            "float32",
            "image",
            "certified L2 radius, for images in [0, 1]; 0 where the unperturbed decision is wrong",
        ),
        "labels": ("integer", "image", "classes"),
        "samples": ("integer", "image", "rows of the data set"),
    }

    def measure(self, model: Classifier, data: Data) -> dict[str, np.ndarray]:
        # The noise of a randomised search.
        generator = data.generator("certify")
        radii = []
        for images, rows in data.batches(model, "certify"):
            radii.append(model.certified_radius(images, data.classes(rows), generator).cpu())
        return {
            "radii": torch.cat(radii).numpy(),
            "labels": data.own_labels,
            "samples": data.indices,
        }
