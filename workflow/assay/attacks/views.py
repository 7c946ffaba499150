"""Combinators: from a view of a defence to the view that an adaptive adversary uses.

Each takes a `View` and returns one, so that they nest: ``eot(bpda(view, surrogate), 20)``. Whatever
an adversary looks through, the true decision judges.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from assay.attacks.victim import Decision, View
from assay.foundation.errors import AttackError


def eot(view: View, draws: int) -> View:
    """Expectation over transformation: loss and gradient are means over independent draws.

    Athalye et al. 2018, arXiv:1707.07397. All draws of an image go through the network in one
    batch. What is averaged is the loss, whatever it is; see `average_logits` for the other order.
    A deterministic view is returned as it is, since its draws are equal.

    Args:
        view: a view whose looks differ.
        draws: looks per image, at least 1; a look costs as many passes.

    Raises:
        AttackError: `draws` is below 1.
    """
    if draws < 1:
        raise AttackError(f"{draws} EOT samples are too few", where="argument 'draws'")
    if view.deterministic:
        return view
    return dataclasses.replace(view, draws=view.draws * draws, passes=view.passes * draws)


def average_logits(view: View, draws: int) -> View:
    """The mean of the logits over independent draws, then one loss of it.

    For the margin this is `eot` as long as the second class is the same in all draws; for a loss
    that saturates it keeps the draws apart less than `eot` does.

    Args:
        view: a view whose looks differ.
        draws: looks per image, at least 1; a look costs as many passes.

    Raises:
        AttackError: `draws` is below 1.
    """
    if draws < 1:
        raise AttackError(f"{draws} EOT samples are too few", where="argument 'draws'")

    def logits(images: Tensor, generator: torch.Generator) -> Tensor:
        each = view.logits(images.repeat(draws, 1, 1, 1), generator)
        return each.unflatten(0, (draws, -1)).mean(dim=0)

    if view.deterministic:
        return view
    return dataclasses.replace(view, logits=logits, passes=view.passes * draws)


def bpda(view: View, backward: Decision) -> View:
    """Forward through the view, backward through a differentiable stand-in.

    Athalye, Carlini, Wagner 2018, arXiv:1802.00420. The logits are exactly the view's; their
    gradient is that of `backward` at the same images.

    Args:
        view: a view with a useless gradient (a quantiser, a search, a purifier).
        backward: ``(images (B, C, H, W), generator) -> (B, K)`` with a useful one, such as the
            network without its preprocessing.
    """

    def logits(images: Tensor, generator: torch.Generator) -> Tensor:
        with torch.no_grad():
            said = view.logits(images, generator)
        if not torch.is_grad_enabled():
            return said
        surrogate = backward(images, generator)
        return surrogate + (said - surrogate).detach()

    # The stand-in may be random.
    return dataclasses.replace(view, logits=logits, passes=view.passes + 1, deterministic=False)


def freeze(view: View, seed: int = 0) -> View:
    """The view with its randomness fixed: each look draws the same numbers again.

    What falls under one fixed draw and stands under the decision was protected by chance alone. The
    numbers belong to the places in a batch, so an image keeps its own as long as it keeps its place
    and the batch its size.

    Args:
        view: a view whose looks differ.
        seed: of the fixed draw.
    """

    def logits(images: Tensor, generator: torch.Generator) -> Tensor:
        fixed = torch.Generator(device=generator.device).manual_seed(seed)
        return view.logits(images, fixed)

    return dataclasses.replace(view, logits=logits)
