"""A model's features of images: what projections and neighbours are computed on."""

from __future__ import annotations

import numpy as np
import torch

from assay.evaluation.trained import on_device
from assay.foundation.progress import progress
from assay.models.base import Classifier


def extract(
    model: Classifier, images: np.ndarray, indices: np.ndarray, *, device: torch.device | str
) -> np.ndarray:
    """The deterministic representation before a model's last decision.

    Args:
        model: any classifier; put into evaluation mode.
        images: (N, C, H, W) uint8, memory-mapped or not.
        indices: (M,) which of them.
        device: where to compute.

    Returns:
        (M, F) float32.
    """
    model = model.to(device).eval()
    parts = np.array_split(indices, max(1, -(-len(indices) // model.max_batch)))
    features = []
    with torch.inference_mode():
        for part in progress(parts, desc="features", unit="batch"):
            features.append(model.features(on_device(images[part], device)).float().cpu())
    return torch.cat(features).numpy()
