"""A trained model with its data set and the test images that a scale evaluates it on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from assay.data.dataset import Dataset, load
from assay.evaluation.samples import evaluated_samples
from assay.models.base import Classifier, build, load_weights


def open_trained(
    files: Any, ids: Mapping[str, str], entry: Mapping[str, Any], samples: int | None, *, seed: int
) -> tuple[Dataset, np.ndarray, Classifier]:
    """What every job on a trained model begins with.

    Args:
        files: a job's input: its members ``images``, ``split`` and ``weights`` are paths.
        ids: ``dataset``, ``split`` and ``model``.
        entry: the model's catalogue entry.
        samples: how many test images are evaluated; None for all.
        seed: the run's.

    Returns:
        The data set, the evaluated images' indices into it (n,), and the model with its weights.

    Raises:
        DataError: the split has no test image.
        ModelError: the weights are missing, damaged, or of another architecture.
    """
    data = load(Path(files.images).parent)
    names = ids["dataset"], ids["split"]
    indices = evaluated_samples(data, files.split, samples, seed=seed, names=names)
    model = build(ids["model"], entry, classes=len(data.classes), shape=data.shape)
    load_weights(model, files.weights)
    return data, indices, model


def on_device(images: np.ndarray, device: torch.device | str) -> Tensor:
    """Stored images (B, C, H, W) uint8 as models take them: float in [0, 1], on `device`."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(device).float().div_(255)
