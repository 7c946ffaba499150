"""Carlini and Wagner's attack against the closed form and a straightforward loop."""

import pytest
import torch
from toys import SHAPE, Linear, generator, images_for, victim_of

from assay.attacks.carlini_wagner import CarliniWagner
from assay.attacks.prediction import evaluate_images
from assay.attacks.victim import Victim
from assay.foundation.errors import AttackError

CLASSES = 4
WEIGHT = torch.randn(36, CLASSES, generator=torch.Generator().manual_seed(2))


def curved(x, g):
    return torch.tanh(2 * (x - 0.5).flatten(1) @ WEIGHT) + 0.3 * (x - 0.5).flatten(1) @ WEIGHT


def victim(logits=curved, **options):
    return Victim(logits=logits, classes=CLASSES, shape=SHAPE, device="cpu", **options)


def images_and_labels():
    images, _ = images_for(Linear().eval(), n=16)
    return images, curved(images, None).argmax(1)


def reference(images, labels, rounds, steps):
    """The published search with PyTorch's Adam: the distances (n,) of the closest broken images."""
    space = torch.atanh(0.999999 * (2 * images - 1))
    start = (torch.tanh(space) + 1) / 2
    weight, low = torch.full((len(images),), 1e-2), torch.zeros(len(images))
    high, best = torch.full_like(weight, torch.inf), torch.full_like(weight, torch.inf)
    for _ in range(rounds):
        w = space.clone().requires_grad_()
        adam = torch.optim.Adam([w], lr=1e-2)
        succeeded = torch.zeros(len(images), dtype=torch.bool)
        for _ in range(steps):
            x = (torch.tanh(w) + 1) / 2
            z = curved(x, None)
            own = z.gather(1, labels[:, None]).squeeze(1)
            other = z.scatter(1, labels[:, None], -torch.inf).amax(1)
            loss = (x - start).square().sum((1, 2, 3)) + weight * (own - other).clamp(min=0)
            misclassified, distance = other > own, (x - images).detach().flatten(1).norm(dim=1)
            best = torch.where(misclassified & (distance < best), distance, best)
            succeeded |= misclassified
            adam.zero_grad()
            loss.sum().backward()
            adam.step()
        high, low = torch.where(succeeded, weight, high), torch.where(succeeded, low, weight)
        weight = torch.where(high.isinf(), 10 * weight, (low + high) / 2)
    return best


def test_the_distance_on_the_linear_model_is_the_closed_form():
    module = Linear().eval()
    images, labels = images_for(module)
    result = CarliniWagner()(victim_of(module), images, labels, [100.0], generator())
    with torch.no_grad():
        closed = module.margin(images).abs() / module.weight.norm()
    assert result.misclassified.all()
    assert (result.l2[0] >= closed - 1e-6).all()
    assert (result.l2[0] / closed).median() < 1.05


def test_it_finds_what_a_straightforward_loop_finds():
    images, labels = images_and_labels()
    attack = CarliniWagner(steps=60, abort_early=False)
    result = attack(victim(), images, labels, [100.0], generator())
    expected = reference(images, labels, 5, 60)
    assert torch.equal(result.misclassified[0], expected.isfinite())
    torch.testing.assert_close(
        result.l2[0][result.misclassified[0]],
        expected[result.misclassified[0]],
        rtol=1e-3,
        atol=1e-4,
    )


def test_leaving_early_saves_passes_and_no_distance():
    images, labels = images_and_labels()
    whole, early = (
        CarliniWagner(abort_early=abort)(victim(), images, labels, [100.0], generator())
        for abort in (False, True)
    )
    assert torch.equal(whole.misclassified, early.misclassified)
    assert early.l2.median() <= 1.02 * whole.l2.median()
    assert early.forwards.sum() < 0.9 * whole.forwards.sum()


def test_broken_iterates_are_seen_to_need_no_backward_pass():
    images, labels = images_and_labels()
    attack = CarliniWagner(initial_weight=10.0, binary_steps=1, abort_early=False)
    result = attack(victim(), images, labels, [100.0], generator())
    assert result.misclassified.all()
    assert result.backwards.sum() < 0.8 * result.forwards.sum()


def test_confidence_drives_iterates_beyond_the_boundary():
    images, labels = images_and_labels()
    target, leads = victim(), []
    for confidence in (0.0, 0.5):
        attack = CarliniWagner(
            confidence=confidence, binary_steps=1, initial_weight=5.0, abort_early=False
        )
        result = attack(target, images, labels, [100.0], generator())
        leads.append(result.l2.median())
        assert result.misclassified.all()
    assert leads[0] <= leads[1] * 1.5


def test_a_target_is_met():
    images, labels = images_and_labels()
    attack = CarliniWagner(target="least_likely", rate=0.05)
    result = attack(victim(), images, labels, [100.0], generator())
    assert torch.equal(result.target, curved(images, None).argmin(1))
    assert (result.prediction[0] == result.target).float().mean() > 0.95


def test_black_and_white_pixels_can_be_left_and_are_not_exceeded():
    images, labels = images_and_labels()
    images = (images > 0.5).float()
    labels = curved(images, None).argmax(1)
    result = CarliniWagner(rate=0.2, abort_early=False)(
        victim(), images, labels, [100.0], generator()
    )
    assert result.misclassified.float().mean() > 0.9
    assert result.images.min() >= 0
    assert result.images.max() <= 1


def test_on_a_noisy_victim_the_closest_image_survives_fresh_noise():
    def noisy(x, g):
        return curved(x, g) + 0.3 * torch.randn(len(x), CLASSES, generator=g)

    images, labels = images_and_labels()
    target = victim(noisy, stochastic=True)
    certain = ~evaluate_images(target, images, labels, generator(), repeats=99).misclassified
    images, labels = images[certain], labels[certain]
    attack = CarliniWagner(binary_steps=3, steps=40, initial_weight=1.0)
    result = attack(target, images, labels, [100.0], generator())
    again = evaluate_images(target, result.images[0], labels, generator(5), repeats=99)
    # The closest of many iterates lies where half of the draws are wrong: a toss for the verdict.
    assert result.misclassified.float().mean() > 0.4
    assert again.misclassified_share.mean() > 0.4


@pytest.mark.parametrize(
    "wrong",
    [
        {"binary_steps": 0},
        {"steps": 0},
        {"rate": 0.0},
        {"initial_weight": 0.0},
        {"confidence": -1.0},
        {"target": "no"},
    ],
)
def test_impossible_settings_are_named(wrong):
    with pytest.raises(AttackError, match=f"attack setting '{next(iter(wrong))}'"):
        CarliniWagner(**wrong)
