"""Latent descent on a generative model whose reconstructions are known."""

import pytest
import torch
from toys import SHAPE, generator

from assay.attacks.latent_descent import LatentDescent
from assay.attacks.victim import Victim, View
from assay.foundation.errors import AttackError
from assay.threat.ball import TOLERANCE

PROTOTYPES = torch.rand((3, *SHAPE), generator=torch.Generator().manual_seed(4))
IMAGES = (
    PROTOTYPES.repeat(8, 1, 1, 1)
    + 0.1 * torch.randn((24, *SHAPE), generator=torch.Generator().manual_seed(5))
).clamp(0, 1)


def nearest(x, g):
    """log p(x | y) of three unit Gaussians around the prototypes."""
    return -0.5 * (x[:, None] - PROTOTYPES).flatten(2).square().sum(2)


LABELS = nearest(IMAGES, None).argmax(1)


def generative():
    view = View(nearest, reconstructions=lambda x, g: PROTOTYPES.expand(len(x), -1, -1, -1, -1))
    return Victim(logits=nearest, classes=3, shape=SHAPE, device="cpu", views={"latent": view})


def half_way():
    """The L2 distance to the boundary with the nearest other prototype."""
    score = nearest(IMAGES, None)
    own = score.gather(1, LABELS[:, None])
    gap = torch.cdist(PROTOTYPES.flatten(1), PROTOTYPES.flatten(1))[LABELS]
    return ((own - score) / gap.clamp_min(1e-9)).scatter(1, LABELS[:, None], torch.inf).amin(1)


def test_it_breaks_what_lies_within_reach_along_the_line_to_the_other_prototype():
    distance = half_way()
    epsilon = float(distance.median())
    result = LatentDescent(norm="l2", steps=40)(
        generative(), IMAGES, LABELS, [epsilon], generator()
    )
    # Prototypes in [0, 1] and images near them: the box hardly matters on the way.
    assert result.misclassified[0][distance < 0.9 * epsilon].all()
    assert not result.misclassified[0][distance > epsilon].any()
    assert result.l2.max() <= epsilon + TOLERANCE


def test_it_needs_no_gradient_and_works_in_linf_too():
    victim = generative()
    result = LatentDescent(steps=20)(victim, IMAGES, LABELS, [0.01, 0.5], generator())
    assert victim.backwards == 0
    assert result.misclassified[1].all()
    assert not result.misclassified[0].all()


def test_a_model_without_reconstructions_is_told_so():
    plain = Victim(logits=nearest, classes=3, shape=SHAPE, device="cpu")
    with pytest.raises(AttackError, match="no class-wise reconstructions"):
        LatentDescent()(plain, IMAGES, LABELS, [0.1], generator())
