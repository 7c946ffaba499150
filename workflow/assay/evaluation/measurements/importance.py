"""Whether a generative classifier's importance samples suffice (diagnostic D34)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from assay.evaluation.measurements.base import Data, Measurement
from assay.foundation.arrays import Schema
from assay.foundation.errors import MeasurementError, ModelError
from assay.models.base import Classifier
from assay.models.gbz import effective_share


@runtime_checkable
class ImportanceSampled(Protocol):
    """A generative classifier that estimates p(x, y) by importance samples.

    Attributes:
        samples: importance samples of one decision.
    """

    samples: int

    def importance_terms(
        self, images: Tensor, n: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """(n, B, K) float64 of images (B, C, H, W) in [0, 1]; their mean estimates p(x, y), in
        logarithms."""
        ...


@dataclass(frozen=True, kw_only=True)
class Importance(Measurement):
    """Effective sample sizes, and what more or fewer importance samples estimate.

    The estimates of one image are nested: those of n samples use the first n of the largest number.

    Args:
        sweep: numbers of samples, at least 1 each.
    """

    arrays: ClassVar[Schema] = {
        "per_decision": ("int64", "", "importance samples of one decision"),
        "sweep": ("int64", "number", "the numbers of samples that were tried"),
        "effective": (
            "float64",
            "image",
            "effective sample size of the decided class at `per_decision`, as a share of it",
        ),
        "share": ("float64", "number image", "the same at each number of samples"),
        "log_px": ("float64", "number image", "estimates of log p(x), in nats"),
        "log_pxy": ("float64", "number image", "estimates of log p(x, y) at the label, in nats"),
        "prediction": ("int64", "number image", "the decision at each number of samples"),
        "labels": ("int64", "image", "classes"),
        "samples": ("integer", "image", "rows of the data set"),
    }

    sweep: Sequence[int] = (1, 10, 100)

    def __post_init__(self) -> None:
        if not self.sweep or min(self.sweep) < 1:
            raise MeasurementError(
                f"{list(self.sweep)} are no numbers of samples",
                where="setting 'sweep'",
                remedy="write numbers of at least 1, for example [1, 10, 100]",
            )

    def measure(self, model: Classifier, data: Data) -> dict[str, np.ndarray]:
        sampled = _sampled(model)
        samples = sampled.samples
        most = max(*self.sweep, samples)
        generator = data.generator("importance")
        found: dict[str, list[Tensor]] = {}
        for images, rows in data.batches(model, "importance"):
            terms = sampled.importance_terms(images, most, generator)
            for name, value in _estimates(terms, data.classes(rows), samples, self.sweep).items():
                found.setdefault(name, []).append(value.cpu())
        return {
            "per_decision": np.asarray(samples, np.int64),
            "sweep": np.asarray(self.sweep, np.int64),
            "labels": data.own_labels.astype(np.int64),
            "samples": data.indices,
            **{name: torch.cat(values, dim=-1).numpy() for name, values in found.items()},
        }


def _sampled(model: object) -> ImportanceSampled:
    if not isinstance(model, ImportanceSampled):
        raise ModelError("the model takes no importance samples", where=type(model).__name__)
    return model


def _estimates(
    terms: Tensor, labels: Tensor, samples: int, sweep: Sequence[int]
) -> dict[str, Tensor]:
    """Of terms (n, B, K) and labels (B,): what `Importance` measures per image."""
    first = terms[:samples]
    joint = torch.stack([terms[:n].logsumexp(dim=0) - math.log(n) for n in sweep])
    own = labels.expand(len(sweep), -1)[..., None]
    return {
        "effective": _share(first, first.logsumexp(dim=0)),
        "share": torch.stack([_share(terms[:n], joint[s]) for s, n in enumerate(sweep)]),
        "log_px": joint.logsumexp(dim=2),
        "log_pxy": joint.gather(2, own).squeeze(2),
        "prediction": joint.argmax(dim=2),
    }


def _share(terms: Tensor, joint: Tensor) -> Tensor:
    """(B,) the effective share of terms (n, B, K) for the class that joint (B, K) decides on."""
    decided = joint.argmax(dim=1).expand(len(terms), -1)[..., None]
    return effective_share(terms.gather(2, decided).squeeze(2))
