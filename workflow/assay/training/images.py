"""The images of a training on its device, and how an epoch is divided into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from assay.foundation.seeds import rng_for
from assay.models.base import Classifier


@dataclass(frozen=True)
class Images:
    """Bytes and labels on the device, in the order of the indices.

    Attributes:
        pixels: (N, C, H, W) uint8.
        labels: (N,) int64.
    """

    pixels: Tensor
    labels: Tensor

    @classmethod
    def take(
        cls, images: np.ndarray, labels: np.ndarray, indices: np.ndarray, device: torch.device
    ) -> Images:
        """The chosen images of a data set.

        Args:
            images: (M, C, H, W) uint8, memory-mapped or not.
            labels: (M,) class indices.
            indices: (N,) which of them.
            device: where they go.
        """
        return cls(
            torch.from_numpy(np.ascontiguousarray(images[indices])).to(device),
            torch.from_numpy(np.asarray(labels)[indices].astype(np.int64)).to(device),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, chosen: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Chosen images (B, C, H, W), float in [0, 1], and their labels (B,)."""
        return self.pixels[chosen].float().div_(255), self.labels[chosen]


def remember(
    model: Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    indices: np.ndarray,
    *,
    names: Sequence[Any],
) -> None:
    """Gives a model the training images that it keeps, see `Classifier.remember`.

    Args:
        model: of most, `remembers` is 0, and nothing is done.
        images: (M, C, H, W) uint8, memory-mapped or not.
        labels: (M,) class indices.
        indices: (N,) which of them train.
        names: what the training is called, seed included; they decide which of these are kept.

    Raises:
        ModelError: a class without a training image.
    """
    if not model.remembers:
        return
    order = rng_for("remember", *names).permutation(indices)
    found = np.asarray(labels)[order]
    of_class = [order[found == k][: model.remembers] for k in range(model.classes)]
    kept = Images.take(images, labels, np.concatenate(of_class), torch.device("cpu"))
    model.remember(kept.pixels, kept.labels)


def batches(total: int, size: int) -> list[tuple[int, int]]:
    """First and last (excluded) position of each batch.

    A last batch of a single image joins the one before: batch normalisation cannot train on one.

    Example:
        >>> batches(5, 2)
        [(0, 2), (2, 5)]
    """
    starts = list(range(0, total, size))
    if len(starts) > 1 and total - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], total], strict=True))
