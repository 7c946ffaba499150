"""The L-BFGS attack against the closed form."""

import pytest
import torch
from toys import SHAPE, Linear, generator, images_for, victim_of

from assay.attacks.lbfgs import LBFGS
from assay.attacks.prediction import evaluate_images
from assay.attacks.victim import Victim
from assay.foundation.errors import AttackError

CLASSES = 4
WEIGHT = torch.randn(36, CLASSES, generator=torch.Generator().manual_seed(2))


def planes(x, g):
    return (x - 0.5).flatten(1) @ WEIGHT


def victim(logits=planes, **options):
    return Victim(logits=logits, classes=CLASSES, shape=SHAPE, device="cpu", **options)


def images_and_labels():
    images, _ = images_for(Linear().eval())
    return images, planes(images, None).argmax(1)


def closed_form(images, labels):
    """(n,) distance to the nearest of the planes between the label and another class."""
    logits = planes(images, None)
    gaps = (logits - logits.gather(1, labels[:, None])).abs()
    normals = (WEIGHT.T[:, None] - WEIGHT.T[None]).norm(dim=2)[labels]
    return (gaps / normals).scatter(1, labels[:, None], torch.inf).amin(1)


def test_the_distance_on_the_linear_model_is_the_closed_form():
    module = Linear().eval()
    images, labels = images_for(module)
    result = LBFGS()(victim_of(module), images, labels, [100.0], generator())
    with torch.no_grad():
        closed = module.margin(images).abs() / module.weight.norm()
    assert result.misclassified.all()
    assert (result.l2[0] >= closed - 1e-6).all()
    assert (result.l2[0] / closed).median() < 1.05


def test_several_classes_are_driven_to_as_one_target_at_a_small_price():
    images, labels = images_and_labels()
    result = LBFGS()(victim(), images, labels, [100.0], generator())
    ratio = result.l2[0] / closed_form(images, labels)
    assert result.misclassified.all()
    assert ratio.min() > 0.999
    assert ratio.median() < 1.25


def test_a_target_is_met():
    images, labels = images_and_labels()
    attack = LBFGS(target="least_likely")
    result = attack(victim(), images, labels, [100.0], generator())
    assert torch.equal(result.target, planes(images, None).argmin(1))
    assert (result.prediction[0] == result.target).all()


def test_an_image_alone_and_among_others_comes_equally_close():
    images, labels = images_and_labels()
    together = LBFGS()(victim(), images, labels, [100.0], generator()).l2[0]
    for row in range(4):
        one = slice(row, row + 1)
        alone = LBFGS()(victim(), images[one], labels[one], [100.0], generator()).l2[0]
        torch.testing.assert_close(alone, together[one], rtol=0.1, atol=1e-3)


def test_one_image_whose_logits_are_not_finite_does_not_spoil_the_others():
    images, labels = images_and_labels()
    before = LBFGS()(victim(), images[1:], labels[1:], [100.0], generator())

    def fragile(x, g):
        z = planes(x, g)
        spoilt = (x - images[:1]).flatten(1).norm(dim=1) < 1e-2
        moved = spoilt & (x != images[:1]).flatten(1).any(1)
        return torch.where(moved[:, None], torch.nan, z)

    result = LBFGS()(victim(fragile), images, labels, [100.0], generator())
    assert result.misclassified[0, 1:].all()
    assert result.l2[0, 1:].median() < 1.1 * before.l2.median()


def test_pixels_at_the_bounds_are_kept_inside():
    images, _ = images_and_labels()
    images = (images > 0.5).float()
    labels = planes(images, None).argmax(1)
    result = LBFGS()(victim(), images, labels, [100.0], generator())
    assert result.misclassified.all()
    assert result.images.min() >= 0
    assert result.images.max() <= 1


def test_on_a_noisy_victim_the_closest_image_survives_fresh_noise():
    def noisy(x, g):
        return planes(x, g) + 0.3 * torch.randn(len(x), CLASSES, generator=g)

    images, labels = images_and_labels()
    target = victim(noisy, stochastic=True)
    certain = ~evaluate_images(target, images, labels, generator(), repeats=99).misclassified
    images, labels = images[certain], labels[certain]
    result = LBFGS(binary_steps=6, steps=20)(target, images, labels, [100.0], generator())
    again = evaluate_images(target, result.images[0], labels, generator(5), repeats=99)
    assert result.misclassified.float().mean() > 0.6
    assert again.misclassified_share.mean() > 0.4


@pytest.mark.parametrize(
    "wrong", [{"binary_steps": 0}, {"steps": 0}, {"initial_weight": 0.0}, {"target": "no"}]
)
def test_impossible_settings_are_named(wrong):
    with pytest.raises(AttackError, match=f"attack setting '{next(iter(wrong))}'"):
        LBFGS(**wrong)
