"""A trained model with its data set and the test images that a scale evaluates it on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.data.dataset import load
from assay.evaluation.samples import evaluated_samples
from assay.foundation.device import select_device, use_threads
from assay.foundation.files import digest_file, digest_of
from assay.foundation.provenance import provenance
from assay.models.base import build, load_weights


class TrainedJob:
    """What every job on a trained model needs, and the provenance of its results.

    Args:
        job: Snakemake's object: its input has ``images``, ``split`` and ``weights``, its params
            ``entry`` (the model's catalogue entry), ``evaluation``, ``seed`` and ``code``.

    Attributes:
        ids: ``dataset``, ``split``, ``model`` and what the job is about beside these: ``suite`` or
            ``measurement``.
        device: where it computes.
        data: the data set.
        indices: (n,), the evaluated test images.
        model: with its weights.

    Raises:
        ConfigError: the device is not there.
        DataError: the split has no test image.
        ModelError: the weights are missing, damaged, or of another architecture.
    """

    def __init__(self, job: Any):
        self._job, self._started = job, time.time()
        use_threads(job.threads)
        self.device = select_device(job.config.get("device", "auto"))
        params = job.params
        parts = ("dataset", "split", "model", "suite", "measurement")
        self.ids = {p: getattr(job.wildcards, p) for p in parts if hasattr(job.wildcards, p)}
        self.data = load(Path(job.input.images).parent)
        self.indices = evaluated_samples(
            self.data,
            job.input.split,
            params.evaluation["samples"],
            seed=params.seed,
            names=(self.ids["dataset"], self.ids["split"]),
        )
        self.model = build(
            self.ids["model"], params.entry, classes=len(self.data.classes), shape=self.data.shape
        )
        load_weights(self.model, job.input.weights)

    @property
    def seconds(self) -> float:
        """Since the job began."""
        return round(time.time() - self._started, 1)

    def facts(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What decides the job's result; `config` is what it was given beside code and files."""
        return {
            "code": self._job.params.code,
            "config": digest_of(config),
            "weights": digest_file(self._job.input.weights),
            "data": self.data.digest,
            "seed": self._job.params.seed,
            "device": str(self.device),
            "threads": self._job.threads,
        }

    def made(self, config: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """The provenance of the job's files, as of now."""
        return provenance(
            **self.facts(config),
            **self.ids,
            **more,
            scale=self._job.wildcards.scale,
            seconds=self.seconds,
        )
