"""DDN against the closed form and a straightforward loop."""

import math

import pytest
import torch
from toys import SHAPE, Linear, generator, images_for, victim_of

from assay.attacks.ddn import DDN
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


def reference(image, label, steps, gamma=0.05):
    """The published loop for one image."""
    change, radius, best = torch.zeros_like(image), 1.0, None
    corner = float(torch.maximum(image, 1 - image).norm())
    for i in range(steps + 1):
        x = (image + change).requires_grad_()
        z = curved(x, None)
        (gradient,) = torch.autograd.grad(
            torch.nn.functional.cross_entropy(z, torch.tensor([label])), x
        )
        misclassified = int(z.argmax()) != label
        if misclassified and (best is None or change.norm() < best.norm()):
            best = change
        change = change + (0.01 + 0.99 * (1 + math.cos(math.pi * i / steps)) / 2) * gradient / (
            gradient.norm()
        )
        radius = min(radius * (1 - gamma if misclassified else 1 + gamma), corner)
        change = (image + change * radius / change.norm()).clamp(0, 1) - image
    return image + best


def test_the_distance_on_the_linear_model_is_the_closed_form():
    module = Linear().eval()
    images, labels = images_for(module)
    result = DDN()(victim_of(module), images, labels, [100.0], generator())
    with torch.no_grad():
        closed = module.margin(images).abs() / module.weight.norm()
    assert result.misclassified.all()
    assert (result.l2[0] >= closed - 1e-6).all()
    assert (result.l2[0] / closed).median() < 1.05


def test_it_finds_what_a_straightforward_loop_finds():
    images, labels = images_and_labels()
    result = DDN(steps=30)(victim(), images, labels, [100.0], generator())
    expected = torch.cat(
        [reference(i[None], int(y), 30) for i, y in zip(images, labels, strict=True)]
    )
    torch.testing.assert_close(result.images[0], expected, rtol=0, atol=1e-4)


def test_more_steps_never_find_a_farther_image_in_the_median():
    images, labels = images_and_labels()
    distances = [
        DDN(steps=steps)(victim(), images, labels, [100.0], generator()).l2.median()
        for steps in (10, 80)
    ]
    assert distances[1] < distances[0]


def test_a_target_is_met():
    images, labels = images_and_labels()
    result = DDN(target="least_likely")(victim(), images, labels, [100.0], generator())
    assert torch.equal(result.target, curved(images, None).argmin(1))
    assert (result.prediction[0] == result.target).float().mean() > 0.95


def test_every_step_costs_one_pass_each_way():
    images, labels = images_and_labels()
    result = DDN(steps=7)(victim(), images, labels, [100.0], generator())
    assert (result.backwards == 7).all()
    assert (result.forwards == 10).all()  # clean decision, seven steps, last look, verdict


def test_on_a_noisy_victim_the_closest_image_survives_fresh_noise():
    def noisy(x, g):
        return curved(x, g) + 0.3 * torch.randn(len(x), CLASSES, generator=g)

    images, labels = images_and_labels()
    target = victim(noisy, stochastic=True)
    certain = ~evaluate_images(target, images, labels, generator(), repeats=99).misclassified
    images, labels = images[certain], labels[certain]
    result = DDN(steps=40)(target, images, labels, [100.0], generator())
    again = evaluate_images(target, result.images[0], labels, generator(5), repeats=99)
    assert result.misclassified.float().mean() > 0.6
    assert again.misclassified_share.mean() > 0.4


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"gamma": 0.0}, {"gamma": 1.0}, {"initial_norm": 0}, {"target": "no"}]
)
def test_impossible_settings_are_named(wrong):
    with pytest.raises(AttackError, match=f"attack setting '{next(iter(wrong))}'"):
        DDN(**wrong)
