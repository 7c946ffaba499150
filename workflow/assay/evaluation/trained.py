"""A trained model with its data set and the test images that a scale evaluates it on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from assay.data.dataset import load
from assay.evaluation.samples import evaluated_samples
from assay.foundation.device import select_device, use_threads
from assay.foundation.files import digest_file, digest_of
from assay.foundation.provenance import provenance
from assay.models.base import build, load_weights


class TrainedJob:
    """What every job on a trained model needs, and the provenance of its results.

    Args:
        ids: ``dataset``, ``split``, ``model`` and what the job is about beside these: ``suite`` or
            ``measurement``.
        scale: the scale's name.
        images: the data set's file of images; its other files lie beside it.
        split: the split's file.
        weights: the network's file.
        entry: the model's catalogue entry.
        samples: test images that are evaluated; None: all.
        seed: of the whole run.
        code: digest of the job's code.
        threads: CPU threads to use.
        device: ``auto``, or the name of one.

    Attributes:
        ids: as given.
        device: where it computes.
        data: the data set.
        indices: (n,), the evaluated test images.
        model: with its weights.

    Raises:
        ConfigError: the device is not there.
        DataError: the split has no test image.
        ModelError: the weights are missing, damaged, or of another architecture.
    """

    def __init__(
        self,
        *,
        ids: Mapping[str, str],
        scale: str,
        images: Path | str,
        split: Path | str,
        weights: Path | str,
        entry: Mapping[str, Any],
        samples: int | None,
        seed: int,
        code: str,
        threads: int,
        device: str = "auto",
    ):
        self._started = time.time()
        self._scale, self._weights, self._code = scale, weights, code
        self._seed, self._threads = seed, threads
        use_threads(threads)
        self.device = select_device(device)
        self.ids = dict(ids)
        self.data = load(Path(images).parent)
        self.indices = evaluated_samples(
            self.data, split, samples, seed=seed, names=(ids["dataset"], ids["split"])
        )
        self.model = build(
            ids["model"], entry, classes=len(self.data.classes), shape=self.data.shape
        )
        load_weights(self.model, weights)

    @property
    def seconds(self) -> float:
        """Since the job began."""
        return round(time.time() - self._started, 1)

    def facts(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What decides the job's result; `config` is what it was given beside code and files."""
        return {
            "code": self._code,
            "config": digest_of(config),
            "weights": digest_file(self._weights),
            "data": self.data.digest,
            "seed": self._seed,
            "device": str(self.device),
            "threads": self._threads,
        }

    def made(self, config: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """The provenance of the job's files, as of now."""
        return provenance(
            **self.facts(config),
            **self.ids,
            **more,
            scale=self._scale,
            seconds=self.seconds,
        )


def on_device(images: np.ndarray, device: torch.device | str) -> Tensor:
    """Stored images (B, C, H, W) uint8 as models take them: float in [0, 1], on `device`."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(device).float().div_(255)
