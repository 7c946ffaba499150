"""Combinators: what an adaptive adversary looks through."""

import pytest
import torch
from toys import SHAPE, Linear, generator, images_for

from assay.attacks.fgsm import FGSM
from assay.attacks.pgd import PGD
from assay.attacks.prediction import evaluate_images
from assay.attacks.victim import Victim, View
from assay.attacks.views import average_logits, bpda, eot, freeze
from assay.foundation.errors import AttackError

MODULE = Linear().eval()
IMAGES, LABELS = images_for(MODULE)


def noisy(scale=0.4):
    """The linear toy on images with fresh Gaussian noise: truly random."""

    def logits(x, g):
        return MODULE(x + scale * torch.randn(x.shape, generator=g))

    return logits


def random_victim(view, scale=0.4):
    return Victim(
        logits=noisy(scale),
        classes=2,
        shape=SHAPE,
        device="cpu",
        views={"view": view},
        stochastic=True,
    )


def gradient_noise(view):
    """How far two looks at the same images differ in their gradient, relative to its length."""
    victim = random_victim(view)
    first, second = (
        victim.gradient(view, IMAGES, LABELS, loss, generator(seed))[2]
        for seed in (1, 2)
        for loss in [lambda z, y: torch.nn.functional.cross_entropy(z, y, reduction="none")]
    )
    return float((first - second).norm() / first.norm())


def test_an_expectation_over_samples_steadies_loss_and_gradient():
    one, many = View(noisy()), eot(View(noisy()), 64)
    assert gradient_noise(many) < gradient_noise(one) / 4


def test_the_expected_loss_is_the_mean_of_the_losses():
    victim = random_victim(View(noisy()))
    view = eot(View(noisy()), 5)

    def loss(z, y):
        return torch.nn.functional.cross_entropy(z, y, reduction="none")

    value, logits, mean_gradient = victim.gradient(view, IMAGES[:3], LABELS[:3], loss, generator(7))
    leaf = IMAGES[:3].repeat(5, 1, 1, 1).requires_grad_()
    each = loss(noisy()(leaf, generator(7)), LABELS[:3].repeat(5))
    (gradient,) = torch.autograd.grad(each.sum() / 5, leaf)
    torch.testing.assert_close(value, each.detach().view(5, 3).mean(0))
    torch.testing.assert_close(mean_gradient, gradient.view(5, 3, *SHAPE).sum(0))
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(3))
    assert victim.forwards == victim.backwards == 15


def test_an_expectation_beats_one_draw_on_a_truly_random_defence():
    # Ripples of random height: they hardly move the decision and drown the slope of one draw.
    def logits(x, g):
        height = 4 * torch.randn(x.shape, generator=g)
        ripple = (height * torch.sin(60 * x) / 60).flatten(1).sum(1)
        return MODULE(x) + torch.stack([torch.zeros_like(ripple), ripple], 1)

    def standing(eot_samples):
        victim = Victim(logits=logits, classes=2, shape=SHAPE, device="cpu", stochastic=True)
        left = []
        for seed in range(3):
            clean = evaluate_images(victim, IMAGES, LABELS, generator(seed), repeats=25)
            attack = FGSM(eot_samples=eot_samples)
            result = attack(
                victim, IMAGES, LABELS, [0.04], generator(seed), repeats=25, clean=clean
            )
            left.append((~result.misclassified).float().mean())
        return float(torch.stack(left).mean())

    assert standing(30) < standing(1) - 0.1


def test_the_mean_of_logits_is_the_mean_of_logits():
    view = average_logits(View(noisy()), 6)
    mean = view.logits(IMAGES, generator(3))
    each = noisy()(IMAGES.repeat(6, 1, 1, 1), generator(3)).view(6, len(IMAGES), 2)
    torch.testing.assert_close(mean, each.mean(0))
    assert view.passes == 6


@pytest.mark.parametrize("combinator", [eot, average_logits])
def test_no_samples_average_nothing(combinator):
    with pytest.raises(AttackError, match="argument 'eot_samples'"):
        combinator(View(noisy()), 0)


def quantised(x, g):
    return MODULE((x * 8).round() / 8)


def test_bpda_beats_the_plain_gradient_on_a_step_function():
    through = bpda(View(quantised), lambda x, g: MODULE(x))
    misclassified = {}
    for name, view in {"plain": View(quantised), "bpda": through}.items():
        victim = Victim(logits=quantised, classes=2, shape=SHAPE, device="cpu", views={name: view})
        labels = quantised(IMAGES, None).argmax(1)
        result = FGSM()(victim, IMAGES, labels, [0.08], generator())
        misclassified[name] = result.misclassified.float().mean()
        assert (result.zero_gradients > 0).all() == (name == "plain")
    assert misclassified["plain"] == 0
    assert misclassified["bpda"] > 0.3


def test_bpda_says_what_the_view_says():
    view = bpda(View(quantised), lambda x, g: MODULE(x))
    leaf = IMAGES.clone().requires_grad_()
    torch.testing.assert_close(view.logits(leaf, generator()), quantised(IMAGES, None))
    assert view.passes == 2


def test_a_frozen_view_samples_the_same_numbers_again():
    fixed, free = freeze(View(noisy()), seed=3), View(noisy())
    g = generator()
    assert torch.equal(fixed.logits(IMAGES, g), fixed.logits(IMAGES, g))
    assert not torch.equal(free.logits(IMAGES, g), free.logits(IMAGES, g))
    assert not torch.equal(fixed.logits(IMAGES, g), freeze(View(noisy()), seed=4).logits(IMAGES, g))


@pytest.mark.parametrize("combinator", [eot, average_logits])
def test_equal_samples_are_made_once(combinator):
    view = View(lambda x, g: MODULE(x), deterministic=True)
    assert combinator(view, 5) is view
    assert combinator(View(noisy()), 5).passes == 5
    assert not bpda(view, noisy()).deterministic


def test_a_deterministic_victim_does_not_pay_for_samples():
    victims = [Victim.from_module(MODULE, classes=2, shape=SHAPE) for _ in range(2)]
    once, often = (
        PGD(steps=4, eot_samples=eot_samples)(victim, IMAGES, LABELS, [0.02], generator())
        for victim, eot_samples in zip(victims, (1, 5), strict=True)
    )
    assert torch.equal(once.images, often.images)
    assert torch.equal(once.counts, often.counts)
    assert victims[0].forwards == victims[1].forwards
    # One look through it is the final word, too.
    assert victims[1].is_decision(eot(victims[1].views["model"], 5))


def test_every_attack_can_average_over_samples():
    victim = random_victim(View(noisy(0.05)), 0.05)
    result = PGD(steps=4, eot_samples=7)(victim, IMAGES, LABELS, [0.1], generator(), repeats=5)
    spent = result.backwards[0][result.backwards[0] > 0]
    assert len(spent)
    assert (spent % 7 == 0).all()
