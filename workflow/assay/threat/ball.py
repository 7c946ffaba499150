"""The ball of a norm around an image: projection, random starts, steps that stay inside.

Attacks and adversarial training share it. It imports no attack and no model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from assay.foundation.errors import AttackError

# Single precision rounds a sum of pixels by up to 6e-8; no radius is exceeded by more than this.
TOLERANCE = 1e-6
NORM_NAMES = {"linf": "L-infinity", "l2": "L2", "l0": "L0"}


def norms_of(changes: Tensor, norm: str) -> Tensor:
    """How large changes of images are.

    Args:
        changes: (m, C, H, W), or (m, D) unless pixels are counted.
        norm: ``linf``, ``l2``, or ``l0``: the pixels that changed in any channel.

    Returns:
        (m,) float.

    Example:
        >>> change = torch.tensor([[[[0.3, 0.0, -0.4]]]])
        >>> [round(norms_of(change, norm).item(), 3) for norm in ("linf", "l2", "l0")]
        [0.4, 0.5, 2.0]
    """
    if norm == "l0":
        return (changes != 0).any(dim=1).flatten(1).sum(dim=1).float()
    flat = changes.flatten(1)
    return flat.abs().amax(dim=1) if norm == "linf" else flat.norm(dim=1)


def project_and_clip(
    proposal: Tensor, origin: Tensor, epsilon: float, norm: str
) -> tuple[Tensor, Tensor]:
    """Moves proposals into [0, 1] and into the ball around their origin.

    Args:
        proposal: (n, C, H, W), any values.
        origin: (n, C, H, W) in [0, 1].
        epsilon: radius of the ball.
        norm: ``linf``, ``l2``, ``l0``; ``severity`` and ``none`` have no ball.

    Returns:
        The images (n, C, H, W), within `TOLERANCE` of the ball, and which proposals were finite
        (n,); the others are replaced by their origin.

    Raises:
        AttackError: the proposals are not images of the origin's shape.
    """
    if proposal.shape != origin.shape:
        raise AttackError(
            f"the attack returned images of shape {tuple(proposal.shape)}, "
            f"not {tuple(origin.shape)}",
            where="attack",
        )
    usable = proposal.isfinite().flatten(1).all(dim=1)
    if not usable.all():
        proposal = torch.where(usable[:, None, None, None], proposal, origin)
    # Towards the origin, which lies in the box, a projection cannot leave the box again.
    return project(proposal.clamp(0.0, 1.0), origin, epsilon, norm), usable


def project(images: Tensor, origin: Tensor, epsilon: float, norm: str) -> Tensor:
    """The point of the ball around `origin` that is closest to each image (n, C, H, W)."""
    if norm == "linf":
        return torch.minimum(torch.maximum(images, origin - epsilon), origin + epsilon)
    if norm == "l2":
        change = images - origin
        length = change.flatten(1).double().norm(dim=1)
        factor = (epsilon / length.clamp_min(1e-30)).clamp_max(1.0).to(images.dtype)
        return torch.where(
            (length <= epsilon)[:, None, None, None],
            images,
            origin + change * factor[:, None, None, None],
        )
    if norm == "l0":
        change = (images - origin).abs().amax(dim=1).flatten(1)
        allowed = min(int(epsilon), change.shape[1])
        largest = change.topk(allowed, dim=1).indices
        mask = torch.zeros_like(change, dtype=torch.bool).scatter_(1, largest, True)
        return torch.where(mask.view(-1, 1, *images.shape[2:]), images, origin)
    return images


def random_point(origin: Tensor, epsilon: float, norm: str, generator: torch.Generator) -> Tensor:
    """A random start in the ball around each image (n, C, H, W), clipped to [0, 1].

    Uniform (``linf``), or in a uniform direction at a uniform distance (``l2``): with equal mass
    per volume nearly all starts would lie on the surface, beside the way there: the attack
    succeeded on 3 of 128 images fewer on a robust MNIST network.
    """
    if norm == "linf":
        sampled = torch.rand(origin.shape, generator=generator, device=origin.device)
        change = (2 * sampled - 1) * epsilon
    else:
        change = unit(torch.randn(origin.shape, generator=generator, device=origin.device))
        sampled = torch.rand(len(origin), generator=generator, device=origin.device)
        change = change * (epsilon * sampled)[:, None, None, None]
    return (origin + change).clamp_(0.0, 1.0)


def step_inside(
    images: Tensor, direction: Tensor, length: float, origin: Tensor, epsilon: float, norm: str
) -> Tensor:
    """`images` moved along `direction` and put back into the ball and [0, 1]; overwrites them."""
    images.add_(direction, alpha=length)
    if norm == "linf":
        # In place and without the ball's corners as tensors: half the time of `project`.
        return images.sub_(origin).clamp_(-epsilon, epsilon).add_(origin).clamp_(0.0, 1.0)
    return project(images, origin, epsilon, norm).clamp_(0.0, 1.0)


def unit(vectors: Tensor) -> Tensor:
    """Each (C, H, W) at Euclidean length 1; zero stays zero, whatever the scale."""
    largest = vectors.abs().amax(dim=(1, 2, 3), keepdim=True)
    scaled = vectors / largest.clamp_min(torch.finfo(vectors.dtype).tiny)
    length = scaled.flatten(1).norm(dim=1)[:, None, None, None]
    return scaled / length.clamp_min(1.0)


def usable_radius(
    norm: str,
    epsilons: Sequence[float],
    shape: tuple[int, int, int],
    where: str = "argument 'epsilons'",
) -> None:
    """Raises AttackError where a ball of images (C, H, W) in [0, 1] has no such radius.

    A larger radius than the cube's own holds every image: somebody meant another unit.
    """
    channels, height, width = shape
    widest, what = {
        "linf": (1.0, "the range of a pixel"),
        "l2": (
            math.sqrt(channels * height * width),
            f"the diagonal of {channels}x{height}x{width}",
        ),
        "l0": (height * width, f"the number of pixels of {height}x{width}"),
    }.get(norm, (math.inf, ""))
    for epsilon in epsilons:
        if epsilon > widest:
            pixels = f"write '{epsilon:g}/255'" if norm == "linf" and epsilon <= 255 else None
            raise AttackError(
                f"{epsilon:g} is no {NORM_NAMES[norm]} radius of images in [0, 1]: "
                f"it exceeds {widest:g}, {what}",
                where=where,
                remedy=pixels or "use the unit of images in [0, 1]",
            )
        if norm == "l0" and epsilon != int(epsilon):
            raise AttackError(
                f"{epsilon:g} is no number of pixels", where=where, remedy="use a whole number"
            )
