"""Combinators: from a view of a defence to the view that an adaptive adversary uses.

Each takes a `View`, a module or a function and returns a `View`, so that they nest:
``eot(bpda(view, surrogate), 20)``. Through whichever view an adversary searches, the true decision
decides success.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from assay.attacks.decision import Decision, as_decision, logits_of
from assay.attacks.torch_state import seeded
from assay.attacks.victim import View, as_view
from assay.foundation.errors import AttackError


def eot(view: View | Decision, eot_samples: int) -> View:
    """Expectation over transformation: loss and gradient are means over independent samples.

    Athalye et al. 2018, arXiv:1707.07397. All samples of an image pass the network in one
    batch. What is averaged is the loss, whatever it is; see `average_logits` for the other order.
    A deterministic view is returned as it is, since its samples are equal.

    Args:
        view: a view (or module, or function) whose evaluations of one image differ.
        eot_samples: EOT samples per evaluation, at least 1; each costs the passes of the view.

    Raises:
        AttackError: `eot_samples` is below 1.
    """
    if eot_samples < 1:
        raise AttackError(f"{eot_samples} EOT samples are too few", where="argument 'eot_samples'")
    view = as_view(view)
    if view.deterministic:
        return view
    return dataclasses.replace(
        view, eot_samples=view.eot_samples * eot_samples, passes=view.passes * eot_samples
    )


def one_sample(view: View) -> View:
    """The view with a single EOT sample per query, whatever number it declares."""
    return dataclasses.replace(view, eot_samples=1, passes=max(1, view.passes // view.eot_samples))


def average_logits(view: View | Decision, eot_samples: int) -> View:
    """The mean of the logits over independent samples, then one loss of it.

    For the margin this is `eot` as long as the second class is the same in all samples; for a loss
    that saturates it separates the samples less than `eot` does.

    Args:
        view: a view (or module, or function) whose evaluations of one image differ.
        eot_samples: EOT samples per evaluation, at least 1; each costs the passes of the view.

    Raises:
        AttackError: `eot_samples` is below 1.
    """
    if eot_samples < 1:
        raise AttackError(f"{eot_samples} EOT samples are too few", where="argument 'eot_samples'")

    view = as_view(view)

    def logits(images: Tensor, generator: torch.Generator) -> Tensor:
        each = logits_of(view.logits(images.repeat(eot_samples, 1, 1, 1), generator))
        return each.unflatten(0, (eot_samples, -1)).mean(dim=0)

    if view.deterministic:
        return view
    return dataclasses.replace(view, logits=logits, passes=view.passes * eot_samples)


def bpda(view: View | Decision, backward: View | Decision) -> View:
    """Forward through the view, backward through a differentiable substitute.

    Athalye, Carlini, Wagner 2018, arXiv:1802.00420. The logits are exactly the view's; their
    gradient is that of `backward` at the same images.

    Args:
        view: a view (or module, or function) with a useless gradient: a quantiser, a search, a
            purifier.
        backward: a view (or module, or function) with a useful one, such as the network without
            its preprocessing.

    Example:
        >>> network = torch.nn.Flatten().eval()
        >>> rounded = torch.nn.Sequential(torch.nn.Hardshrink(0.5), network).eval()
        >>> view = bpda(rounded, network)
        >>> view.logits(torch.tensor([[[[0.4, 0.6]]]]), torch.Generator())
        tensor([[0.0000, 0.6000]])
    """
    view, backward = as_view(view), as_decision(backward, "argument 'backward'")

    def logits(images: Tensor, generator: torch.Generator) -> Tensor:
        with torch.no_grad():
            predicted = logits_of(view.logits(images.detach().clone(), generator))
        if not torch.is_grad_enabled():
            return predicted
        surrogate = logits_of(backward(images, generator))
        predicted = predicted.to(surrogate.device, surrogate.dtype)
        return surrogate + (predicted - surrogate).detach()

    # The substitute may be random.
    return dataclasses.replace(view, logits=logits, passes=view.passes + 1, deterministic=False)


def freeze(view: View | Decision, seed: int = 0) -> View:
    """The view with its randomness fixed: each query draws the same numbers again.

    An image that is misclassified under one fixed sample but not by the decision was protected by
    chance alone. The numbers belong to the places in a batch, so an image keeps its own as long as
    it keeps its place and the batch its size.

    Args:
        view: a view (or module, or function) whose evaluations of one image differ.
        seed: of the fixed sample, of the generator that is passed in and of torch's global ones.
    """
    view = as_view(view)

    def logits(images: Tensor, generator: torch.Generator) -> Tensor:
        fixed = torch.Generator(device=generator.device).manual_seed(seed)
        with seeded(seed, images.device):
            return view.logits(images, fixed)

    return dataclasses.replace(view, logits=logits)
