"""Attacks that drive an image to a certain class."""

import pytest
import torch
from toys import generator

from assay.attacks.boundary import Boundary
from assay.attacks.carlini_wagner import CarliniWagner
from assay.attacks.ddn import DDN
from assay.attacks.fgsm import FGSM
from assay.attacks.lbfgs import LBFGS
from assay.attacks.pgd import PGD
from assay.attacks.prediction import evaluate_images
from assay.attacks.score_based import ScoreBasedPGD
from assay.attacks.square import Square
from assay.attacks.victim import Victim
from assay.foundation.errors import AttackError

SHAPE, CLASSES = (1, 6, 6), 5
WEIGHT = torch.randn(36, CLASSES, generator=torch.Generator().manual_seed(2))
IMAGES = 0.3 + 0.4 * torch.rand((40, *SHAPE), generator=torch.Generator().manual_seed(3))


def logits(x, g):
    return (x - 0.5).flatten(1) @ WEIGHT


LABELS = logits(IMAGES, None).argmax(1)


def victim():
    return Victim(logits=logits, classes=CLASSES, shape=SHAPE, device="cpu")


def target_of(rule):
    order = logits(IMAGES, None).argsort(1, descending=True)
    return order[:, 1] if rule == "runner_up" else order[:, -1]


@pytest.mark.parametrize("rule", ["runner_up", "least_likely"])
@pytest.mark.parametrize(
    "attack",
    [
        lambda rule: PGD(steps=20, target=rule),
        lambda rule: PGD(norm="l2", steps=20, target=rule, loss="margin", restarts=2),
        lambda rule: PGD(steps=20, target=rule, loss="dlr", momentum=0.5),
    ],
    ids=["linf", "l2", "momentum"],
)
def test_images_arrive_at_the_named_target(attack, rule):
    attack = attack(rule)
    budget = 2.5 if attack.norm == "l2" else 0.4
    result = attack(victim(), IMAGES, LABELS, [budget], generator())
    assert torch.equal(result.target, target_of(rule))
    met = result.prediction[0] == result.target
    assert met.float().mean() > 0.9
    assert torch.equal(result.misclassified[0], result.prediction[0] != LABELS)


def driven_to(target):
    """That class, and the runner-up of its own images."""
    return torch.where(target == LABELS, target_of("runner_up"), target)


@pytest.mark.parametrize("target", [0, CLASSES - 1])
@pytest.mark.parametrize(
    "kind", [PGD, FGSM, DDN, CarliniWagner, LBFGS, Square, Boundary, ScoreBasedPGD]
)
def test_images_are_driven_to_one_class_and_its_own_images_to_their_runner_up(kind, target):
    small = {
        PGD: {"steps": 20},
        Boundary: {"steps": 20},
        ScoreBasedPGD: {"steps": 10, "queries": 40},
        Square: {"queries": 300},
    }
    attack = kind(target=target, **small.get(kind, {}))
    budget = 0.4 if attack.norm == "linf" else 4.0
    result = attack(victim(), IMAGES, LABELS, [budget], generator())
    assert (target == LABELS).any()
    assert torch.equal(result.target, driven_to(target))
    met = result.prediction[0] == result.target
    assert met.float().mean() > (0.6 if kind is FGSM else 0.9)


def test_a_class_that_the_victim_does_not_have_is_named():
    with pytest.raises(AttackError, match=r"'target': 5 is none of the victim's 5 classes; use 0"):
        PGD(target=CLASSES)(victim(), IMAGES, LABELS, [0.1], generator())


def test_the_one_step_target_class_method_follows_the_targets_gradient():
    result = FGSM(target="least_likely")(victim(), IMAGES, LABELS, [0.05], generator())
    leaf = IMAGES.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(logits(leaf, None), target_of("least_likely"))
    (gradient,) = torch.autograd.grad(loss, leaf)
    expected = (IMAGES - 0.05 * gradient.sign()).clamp(0, 1)
    torch.testing.assert_close(result.images[0], expected)


def test_the_search_goes_on_past_other_wrong_classes():
    attack = PGD(steps=20, target="least_likely")
    result = attack(victim(), IMAGES, LABELS, [0.02, 0.4], generator())
    # Wrong at the small radius is not done: at the large one they are driven on to the target.
    merely_wrong = result.misclassified[0] & (result.prediction[0] != result.target)
    assert merely_wrong.any()
    assert (result.prediction[1] == result.target)[merely_wrong].float().mean() > 0.9


def test_an_untargeted_attack_names_no_target():
    assert (PGD(steps=2)(victim(), IMAGES, LABELS, [0.1], generator()).target == -1).all()


def test_targets_follow_the_decision_on_the_clean_image_without_a_pass():
    v = victim()
    clean = evaluate_images(v, IMAGES, LABELS, generator(), repeats=1)
    before = v.forwards
    FGSM(target="runner_up")(v, IMAGES, LABELS, [0.1], generator(), clean=clean)
    assert v.forwards - before == 2 * len(IMAGES)


def test_momentum_sums_directions_at_equal_length():
    attack = PGD(steps=3, random_start=False, momentum=1.0, as_published=True, relative_step=1.0)
    x, velocity = IMAGES.clone(), torch.zeros_like(IMAGES)
    for _ in range(3):
        leaf = x.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(logits(leaf, None), LABELS, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        velocity = velocity + gradient / gradient.abs().sum((1, 2, 3), keepdim=True)
        x = (x + 0.002 * velocity.sign()).clamp(0, 1)
    result = attack(victim(), IMAGES, LABELS, [0.006], generator())
    torch.testing.assert_close(result.images[0], x, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"target": "nearest"}, "target"),
        ({"target": -1}, "target"),
        ({"target": True}, "target"),
        ({"target": 1.0}, "target"),
        ({"target": None}, "target"),
        ({"target": 1, "loss": "training"}, "loss"),
        ({"target": "runner_up", "loss": "training"}, "loss"),
        ({"confidence": 5.0}, "confidence"),
        ({"momentum": -1.0}, "momentum"),
    ],
)
def test_impossible_settings_are_named(settings, named):
    with pytest.raises(AttackError, match=f"attack setting '{named}'"):
        PGD(**settings)
