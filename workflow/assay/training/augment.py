"""Augmentations as tensor operations on whole batches, (B, C, H, W) in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from assay.foundation.errors import TrainingError

# What comes in from outside, and torch's word for it.
FILLS: Mapping[str, str] = {"black": "constant", "edge": "replicate"}

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrors each image left to right with probability one half."""
    chosen = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def shift(
    images: Tensor,
    generator: torch.Generator,
    *,
    pixels: int | None = None,
    share: float | None = None,
    fill: str = "black",
) -> Tensor:
    """Moves each image by up to `pixels`, or a `share` of its sides, in both directions.

    The same as padding the image and cropping at random to the old size. What comes in from
    outside is ``black``, or repeats the ``edge``.

    Raises:
        TrainingError: not one of `pixels` and `share` is given, or the fill is unknown.
    """
    if (pixels is None) == (share is None) or fill not in FILLS:
        raise TrainingError(
            f"pixels {pixels}, share {share} and fill '{fill}' do not define how images move",
            where="training.augment: shift",
            remedy=f"give pixels or share, and as fill one of {', '.join(FILLS)}",
        )
    batch, _, height, width = images.shape
    down, right = (round(share * side) if share is not None else pixels or 0
                   for side in (height, width))  # fmt: skip
    offsets = [
        torch.randint(2 * most + 1, (batch, 1), generator=generator, device=images.device)
        for most in (down, right)
    ]
    rows = offsets[0] + torch.arange(height, device=images.device)
    columns = offsets[1] + torch.arange(width, device=images.device)
    padded = functional.pad(images, [right, right, down, down], mode=FILLS[fill]).movedim(1, -1)
    each = torch.arange(batch, device=images.device)[:, None, None]
    return padded[each, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def noise(images: Tensor, generator: torch.Generator, *, deviation: float) -> Tensor:
    """Adds independent Gaussian noise to each value and clips to [0, 1]."""
    added = torch.randn(images.shape, generator=generator, device=images.device)
    return added.mul_(deviation).add_(images).clamp_(0.0, 1.0)


AUGMENTATIONS: Mapping[str, Callable[..., Tensor]] = {"flip": flip, "shift": shift, "noise": noise}


def augmentations(settings: Sequence[Mapping[str, Any]]) -> list[Augmentation]:
    """The augmentations that a training's ``augment`` list names, in its order.

    Args:
        settings: for example ``[{name: shift, pixels: 4}, {name: flip}]``.

    Raises:
        TrainingError: a name is unknown.
    """
    chosen: list[Augmentation] = []
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
