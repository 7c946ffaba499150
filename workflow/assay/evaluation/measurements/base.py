"""What a measurement is: arrays of one trained model, outside of attack suites.

Each module of this package holds one. Its class is a frozen value whose fields are its settings.
The plan reads the class from its source and never imports it, so what it declares is literal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from assay.attacks.torch_state import seeded
from assay.evaluation.samples import classes_on, on_device
from assay.foundation.arrays import Schema, check_arrays
from assay.foundation.errors import MeasurementError
from assay.foundation.places import located
from assay.foundation.progress import progress
from assay.foundation.registry import load_value
from assay.foundation.seeds import seed_for
from assay.models.base import Classifier


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a measurement may read beside the model.

    Attributes:
        images: (N, C, H, W) uint8, memory-mapped or not: the whole data set.
        labels: (N,) classes.
        indices: (M,) the evaluated test images among them.
        masks: (N, 1, H, W) uint8, 1 inside a lesion; None where no lesions are known.
        device: where to compute.
        seed: the run's seed; random numbers derive from it and from a name.
        shown: how many images figures may show.
        attack: the catalogue entry of the attack that the study names, for a measurement that
            needs one.
        epsilons: the radii of that attack.
        examples: names of attacks, each with the arrays of its suite's file of example images, for
            a measurement that needs examples.
    """

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray
    masks: np.ndarray | None = None
    device: torch.device | str = "cpu"
    seed: int = 1
    shown: int = 6
    attack: Mapping[str, Any] = field(default_factory=dict)
    epsilons: Sequence[float] = ()
    examples: Sequence[tuple[str, Mapping[str, np.ndarray]]] = ()

    @property
    def own_labels(self) -> np.ndarray:
        """(M,) the classes of the evaluated test images, in their order."""
        return self.labels[self.indices]

    def generator(self, *names: object) -> torch.Generator:
        """A generator on the device, seeded from names and the run's seed."""
        return torch.Generator(self.device).manual_seed(seed_for(*names, self.seed))

    def classes(self, rows: np.ndarray) -> Tensor:
        """(B,) the classes of rows (B,) of the data set, int64 on the device."""
        return classes_on(self.labels[rows], self.device)

    def batches(self, model: Classifier, desc: str) -> Iterator[tuple[Tensor, np.ndarray]]:
        """The evaluated images in batches that the model takes at once.

        Args:
            model: whose ``max_batch`` divides them.
            desc: what the progress bar says.

        Yields:
            Images (B, C, H, W) in [0, 1] on the device, and their rows (B,) of the data set.
        """
        parts = np.array_split(self.indices, max(1, -(-len(self.indices) // model.max_batch)))
        for part in progress(parts, desc=desc, unit="batch"):
            yield on_device(self.images[part], self.device), part


@dataclass(frozen=True, kw_only=True)
class Measurement(ABC):
    """A frozen value: what is measured, with which settings.

    A subclass declares :attr:`arrays`, the schema of what it returns (see
    :mod:`assay.foundation.arrays`), and :attr:`needs`. Both are literals.

    Attributes:
        arrays: name, then type, dimensions and meaning of each array.
        optional: names of arrays that may be missing, beside those with placeholders.
        needs: what a study has to say beside the models: ``attack`` (an attack and its epsilons) or
            ``examples`` (attacks whose example images are read).
        may_need: the same, where the measurement also works without.
        files: settings that name a file, absolute, in the working folder or in ``data_mirror``.
    """

    arrays: ClassVar[Schema] = {}
    optional: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    may_need: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def measure(self, model: Classifier, data: Data) -> dict[str, np.ndarray]:
        """Measures a trained model.

        Args:
            model: in evaluation mode, frozen, on the device of `data`.
            data: images and all else that may be read.

        Returns:
            Arrays that follow :attr:`arrays`.

        Raises:
            ModelError: the model has not what is measured.
            MeasurementError: a setting is impossible, or a file is missing.
        """


def make_measurement(
    entry: Mapping[str, Any], located_in: Mapping[str, Any] | None = None
) -> Measurement:
    """The measurement that a catalogue entry describes.

    Args:
        entry: ``implementation`` (``module:Class``) and ``settings``; ``name`` for messages.
        located_in: settings of ``config.yaml``, whose ``data_mirror`` may hold the files that the
            entry names.

    Raises:
        MeasurementError: a setting is unknown, or the class is no measurement.
        ConfigError: there is no such implementation.

    Example:
        >>> entry = {"implementation": "assay.evaluation.measurements.features:Features"}
        >>> make_measurement(entry)
        Features()
    """
    kind, settings = load_value(entry, Measurement, "measurement", MeasurementError)
    for key in kind.files:
        if settings.get(key) and (found := located(settings[key], located_in or {})):
            settings[key] = str(found)
    return kind(**settings)


def measured(measurement: Measurement, model: Classifier, data: Data) -> dict[str, np.ndarray]:
    """The arrays of a measurement, checked against its schema.

    A model without a generator draws from torch's global one, which each process seeds in another
    way: here it is seeded from the run's seed, and given back as it was.

    Args:
        measurement: what is measured.
        model: put into evaluation mode, frozen, and onto the device of `data`.
        data: what it may read.

    Raises:
        MeasurementError: the arrays do not follow the schema, or what `Measurement.measure` raises.
    """
    model = model.to(data.device).eval().requires_grad_(False)
    where = f"{type(measurement).__module__}:{type(measurement).__name__}"
    with seeded(seed_for("measure", where, data.seed), data.device):
        arrays = measurement.measure(model, data)
    check_arrays(arrays, measurement.arrays, where, optional=measurement.optional)
    return arrays
