"""What analysis by synthesis minimises in training, with one encoder or one for each class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from assay.models.base import correct
from assay.models.grouped import log_prior, squared_errors
from assay.models.latent import kl_to_standard, sample

if TYPE_CHECKING:
    from assay.models.synthesis import AnalysisBySynthesis


def shared_loss(
    model: AnalysisBySynthesis, images: Tensor, labels: Tensor, generator: torch.Generator | None
) -> dict[str, Tensor]:
    """The loss of a model with one encoder for all classes; parts (B,), see its training_loss."""
    gaussian = model.encoded(images)
    codes = sample(gaussian, 1, generator)[0]
    error = squared_errors(images, model.decoders(codes.expand(-1, model.classes, -1)))
    parts = {
        "reconstruction": error.gather(1, labels[:, None]).squeeze(1),
        "discrimination": functional.cross_entropy(-error, labels, reduction="none"),
        **_prior_loss(model, gaussian, codes, codes[:0], generator),
    }
    parts = {name: part.squeeze(1) if part.ndim == 2 else part for name, part in parts.items()}
    weights = {"discrimination": model.gamma, "prior": model.beta, "discriminator": model.beta}
    total: Any = sum(weights.get(name, 1.0) * part for name, part in parts.items())
    return {"total": total, **parts, "accuracy": correct(-error, labels)}


def classwise_loss(
    model: AnalysisBySynthesis, images: Tensor, labels: Tensor, generator: torch.Generator | None
) -> dict[str, Tensor]:
    """Each class's network sees its own images; short columns are filled by repetition.

    Its discriminator also sees, for each of them, one of a random other class.
    """
    counts = labels.bincount(minlength=model.classes)
    order = labels.argsort(stable=True)
    first = counts.cumsum(0) - counts
    rows = torch.arange(int(counts.max()), device=labels.device)[:, None]
    # A class without an image in this batch borrows any, at no weight.
    place = (first + rows % counts.clamp_min(1)).clamp_max(len(labels) - 1)
    which = order[place]
    repeats = torch.zeros_like(labels).index_add_(
        0, which.flatten(), (counts > 0).expand_as(which).flatten().long()
    )
    weight = (labels[which] == torch.arange(model.classes, device=labels.device)).float()
    weight = weight / repeats[which].clamp_min(1)
    own = images[which]
    gaussian = model.encoders(own)
    codes = sample(gaussian, 1, generator)[0]
    error = (own - model.decoders(codes)).flatten(2).square().sum(dim=2)
    others = codes[:0]
    if model.discriminators is not None:
        others = model.encoders(images[images_of_other_classes(labels, which, generator)])[0]
    parts = {"reconstruction": error, **_prior_loss(model, gaussian, codes, others, generator)}
    weights = {"prior": model.beta, "discriminator": model.beta}
    parts["total"] = sum(weights.get(name, 1.0) * part for name, part in parts.items())
    return {
        name: torch.zeros_like(images[:, 0, 0, 0]).index_add(
            0, which.flatten(), (weight * part).flatten()
        )
        for name, part in parts.items()
    }


def _prior_loss(
    model: AnalysisBySynthesis,
    gaussian: tuple[Tensor, Tensor],
    codes: Tensor,
    others: Tensor,
    generator: torch.Generator | None,
) -> dict[str, Tensor]:
    """``prior`` and, with a discriminator, its own loss ``discriminator``; (B, 1 or K) each.

    Args:
        gaussian: of the encoders, two tensors (B, G, D).
        codes: draws from it, (B, G, D).
        others: codes of images of other classes, which are not the prior's either, or none.
        generator: draws from the prior.
    """
    if model.discriminators is None:
        return {"prior": kl_to_standard(gaussian)}
    fixed = {name: item.detach() for name, item in model.discriminators.named_parameters()}
    fooled = torch.func.functional_call(model.discriminators, fixed, (codes,))
    sampled = torch.randn(codes.shape, generator=generator, device=codes.device)
    made = functional.softplus(model.discriminators(codes.detach()))
    if len(others):
        made = (made + functional.softplus(model.discriminators(others.detach()))) / 2
    return {
        "prior": -log_prior(fooled),
        "discriminator": made - log_prior(model.discriminators(sampled)),
    }


def images_of_other_classes(
    labels: Tensor, like: Tensor, generator: torch.Generator | None
) -> Tensor:
    """For each place of columns of K classes an image of a uniformly random other class.

    Args:
        labels: (B,) of the batch.
        like: (R, K) any indices; gives the shape.
        generator: draws, for each place by itself, the class and then one of its images.

    Returns:
        (R, K) indices into the batch. Only classes that it holds are drawn; where it holds no other
        one, an own image stands in, which is nothing new to the discriminator.
    """
    classes = like.shape[1]
    counts = labels.bincount(minlength=classes)
    own = torch.eye(classes, dtype=torch.bool, device=labels.device)
    open_to = (counts > 0) & ~own
    open_to |= ~open_to.any(dim=1, keepdim=True) & (counts > 0)
    # The open classes of each column first, then one of them at random.
    listed = open_to.long().argsort(dim=1, descending=True, stable=True)
    lots = torch.rand((2, *like.shape), generator=generator, device=labels.device)
    column = torch.arange(classes, device=labels.device).expand_as(like)
    chosen = listed[column, (lots[0] * open_to.sum(dim=1)).long()]
    place = labels.argsort(stable=True)
    first = counts.cumsum(0) - counts
    return place[first[chosen] + (lots[1] * counts[chosen]).long()]
