"""Augmentations as tensor operations on whole batches, (B, C, H, W) in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from assay.foundation.errors import TrainingError

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrors each image left to right with probability one half."""
    chosen = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def shift(images: Tensor, generator: torch.Generator, *, pixels: int) -> Tensor:
    """Moves each image by up to `pixels` in both directions; black comes in from outside.

    The same as padding by `pixels` and cropping at random to the old size.
    """
    batch, _, height, width = images.shape
    offsets = torch.randint(
        2 * pixels + 1, (2, batch, 1), generator=generator, device=images.device
    )
    rows = offsets[0] + torch.arange(height, device=images.device)
    columns = offsets[1] + torch.arange(width, device=images.device)
    padded = functional.pad(images, [pixels] * 4).movedim(1, -1)
    each = torch.arange(batch, device=images.device)[:, None, None]
    return padded[each, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def noise(images: Tensor, generator: torch.Generator, *, deviation: float) -> Tensor:
    """Adds independent Gaussian noise to each value and clips to [0, 1]."""
    drawn = torch.randn(images.shape, generator=generator, device=images.device)
    return drawn.mul_(deviation).add_(images).clamp_(0.0, 1.0)


AUGMENTATIONS: Mapping[str, Callable[..., Tensor]] = {"flip": flip, "shift": shift, "noise": noise}


def augmentations(settings: Sequence[Mapping[str, Any]]) -> list[Augmentation]:
    """The augmentations that a training's ``augment`` list names, in its order.

    Args:
        settings: for example ``[{name: shift, pixels: 4}, {name: flip}]``.

    Raises:
        TrainingError: a name is unknown.
    """
    chosen = []
    for item in settings:
        keywords = dict(item)
        name = keywords.pop("name", None)
        if name not in AUGMENTATIONS:
            raise TrainingError(
                f"there is no augmentation '{name}'",
                where="training.augment",
                remedy=f"known are {', '.join(AUGMENTATIONS)}",
            )
        chosen.append(partial(AUGMENTATIONS[name], **keywords))
    return chosen
