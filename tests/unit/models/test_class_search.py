"""The search for each class's code, on energies whose least is known: no model is involved."""

import pytest
import torch

from assay.models.class_search import ClassSearch, CodeAdam, SearchLimits, SignSteps, unrolled

B, K, D = 5, 3, 4


@pytest.fixture
def images():
    return torch.rand(B, 1, 2, 2, generator=torch.Generator().manual_seed(0))


def centres():
    return torch.randn(K, D, generator=torch.Generator().manual_seed(1))


def energy(images, codes):
    """Least, 0, where the code of class k is the image and the centre of k together."""
    wanted = images.flatten(1)[:, None] + centres()
    return (codes - wanted).square().sum(dim=2)


@pytest.mark.parametrize(("rule", "near"), [(CodeAdam, 1e-3), (SignSteps, 0.03)])
def test_every_rule_finds_the_code_of_least_energy_of_every_class(images, rule, near):
    start = torch.zeros(B, K, D)
    search = ClassSearch(rate=0.02, rule=rule)
    found = search.descend(images, start, energy, steps=600)
    wanted = images.flatten(1)[:, None] + centres()
    torch.testing.assert_close(found.codes, wanted, atol=near, rtol=0)
    assert (start == 0).all()
    assert (found.steps == 600).all()
    assert torch.equal(found.energy, energy(images, found.codes))


def test_sign_steps_all_have_the_length_of_the_rate(images):
    found = ClassSearch(rate=0.02, rule=SignSteps).descend(
        images, torch.zeros(B, K, D), energy, steps=1
    )
    assert torch.allclose(found.codes.abs(), torch.tensor(0.02))
    slope = -2 * (images.flatten(1)[:, None] + centres())
    assert torch.equal(found.codes.sign(), -slope.sign())


def test_codes_may_be_changed_images_that_stay_in_a_ball(images):
    """Inference in image space: the code is a change of the image, at most 0.1 in each pixel."""

    def in_image_space(images, changes):
        classes = torch.tensor([0.0, 0.5, 1.0])[None, :, None, None, None]
        return (images[:, None] + changes - classes).flatten(2).square().sum(dim=2)

    found = ClassSearch(
        rate=0.03, rule=SignSteps, project=lambda images, codes: codes.clamp_(-0.1, 0.1)
    ).descend(images, torch.zeros(B, K, 1, 2, 2), in_image_space, steps=20)
    assert found.codes.shape == (B, K, 1, 2, 2)
    torch.testing.assert_close(found.codes[:, 0], -images.clamp(max=0.1), atol=0.031, rtol=0)
    assert found.codes.abs().max() <= 0.1


def test_the_least_energy_is_that_of_the_whole_way(images):
    start = images.flatten(1)[:, None] + centres() + 1e-3
    search = ClassSearch(rate=0.5)
    ended = search.descend(images, start, energy, steps=3).energy
    least = search.least(images, start, energy, steps=3)
    assert (least <= energy(images, start)).all()
    assert (least < ended).all(), "long steps lead away from a start that is nearly the best"


def test_pieces_and_early_leaves_change_no_decision(images):
    whole = ClassSearch(rate=0.05).descend(images, torch.zeros(B, K, D), energy, steps=200)
    small = ClassSearch(rate=0.05, limits=SearchLimits(codes_at_once=2 * K))
    pieces = small.descend(images, torch.zeros(B, K, D), energy, steps=200)
    torch.testing.assert_close(pieces.codes, whole.codes)

    def apart(images, codes):
        return energy(images, codes) + torch.tensor([5.0, 0.0, 5.0])

    early = small.descend(images, torch.zeros(B, K, D), apart, steps=200, stop_early=True)
    assert (early.steps < 200).all()
    assert (early.energy.argmin(dim=1) == 1).all()


def test_a_search_differentiates_in_inference_mode_too(images):
    outside = ClassSearch(rate=0.1).descend(images, torch.zeros(B, K, D), energy, steps=5)
    with torch.inference_mode():
        inside = ClassSearch(rate=0.1).descend(images, torch.zeros(B, K, D), energy, steps=5)
    assert torch.equal(inside.codes, outside.codes)


def test_the_gradient_of_unrolled_steps_passes_through_them(images):
    def reached(images):
        start = torch.zeros(len(images), K, 1, D, dtype=images.dtype)
        return unrolled(
            images,
            start,
            lambda x, z: energy(x, z[:, :, 0]),
            steps=3,
            rate=0.05,
            final=lambda x, z: energy(x, z[:, :, 0]),
        )[:, 1].sum()

    leaf = images.double().requires_grad_()
    (gradient,) = torch.autograd.grad(reached(leaf), leaf)
    step = torch.zeros_like(leaf).index_put_(
        (torch.tensor(0), torch.tensor(0), torch.tensor(1), torch.tensor(1)),
        torch.tensor(1e-6, dtype=torch.float64),
    )
    with torch.no_grad():
        numeric = (reached(leaf + step) - reached(leaf - step)) / 2e-6
    torch.testing.assert_close(gradient[0, 0, 1, 1], numeric, rtol=1e-4, atol=1e-6)
