"""A model's features of images: what projections and neighbours are computed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from assay.evaluation.measurements.base import Data, Measurement
from assay.foundation.arrays import Schema
from assay.models.base import Classifier


@dataclass(frozen=True, kw_only=True)
class Features(Measurement):
    """The deterministic representation before a model's last decision."""

    arrays: ClassVar[Schema] = {
        "features": ("float32", "image feature", "representation before the last decision"),
        "labels": ("integer", "image", "classes"),
        "samples": ("integer", "image", "rows of the data set"),
    }

    def measure(self, model: Classifier, data: Data) -> dict[str, np.ndarray]:
        features = []
        with torch.inference_mode():
            for images, _ in data.batches(model, "features"):
                features.append(model.features(images).float().cpu())
        return {
            "features": torch.cat(features).numpy(),
            "labels": data.own_labels,
            "samples": data.indices,
        }
