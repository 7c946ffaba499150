"""Losses: exact where the textbook form is, and where it is not any more."""

import pytest
import torch
import torch.nn.functional as F

from assay.attacks.fgsm import FGSM
from assay.attacks.losses import (
    LOSSES,
    SATURATED,
    TARGETED,
    cross_entropy,
    dlr,
    margin,
    targeted_dlr,
    targeted_margin,
)
from assay.attacks.pgd import PGD
from assay.attacks.search import ascent
from assay.attacks.victim import Victim, View

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = 4 * torch.randn(50, 6, generator=GENERATOR)
LABELS = torch.randint(6, (50,), generator=GENERATOR)
TARGETS = (LABELS + 2) % 6


def gradient(loss, logits, *classes):
    leaf = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf, *classes).sum(), leaf)
    return gradient


def test_cross_entropy_is_the_textbooks_in_value_and_gradient():
    def textbook(z, y):
        return F.cross_entropy(z, y, reduction="none")

    torch.testing.assert_close(cross_entropy(LOGITS, LABELS), textbook(LOGITS, LABELS))
    torch.testing.assert_close(
        gradient(cross_entropy, LOGITS, LABELS), gradient(textbook, LOGITS, LABELS)
    )


@pytest.mark.parametrize("margins", [30.0, 70.0, 85.0, 500.0])
def test_cross_entropy_keeps_its_direction_where_float32_has_lost_it(margins):
    logits = torch.tensor([[margins, 0.0, -1.0]])
    labels = torch.tensor([0])
    mine = gradient(cross_entropy, logits, labels)
    assert mine.abs().sum() > 0
    exact = gradient(cross_entropy, torch.tensor([[20.0, 0.0, -1.0]]).double(), labels)
    unit = mine.double() / mine.double().norm()
    torch.testing.assert_close(unit, F.normalize(exact), rtol=1e-4, atol=1e-6)
    lost = gradient(lambda z, y: F.cross_entropy(z, y, reduction="none"), logits, labels)
    assert lost[0, 0] == 0


def test_a_larger_cross_entropy_is_closer_to_being_wrong_also_when_saturated():
    leads = torch.tensor([300.0, 100.0, 81.0, 79.0, 20.0, 1.0, -5.0])
    values = cross_entropy(
        torch.stack([leads, torch.zeros(7)], 1), torch.zeros(7, dtype=torch.long)
    )
    assert (values.diff() > 0).all()


def test_margins_are_positive_exactly_where_the_decision_is_wrong():
    wrong = LOGITS.argmax(1) != LABELS
    for loss in (margin, dlr):
        assert torch.equal(loss(LOGITS, LABELS) > 0, wrong)


def test_dlr_is_the_papers_and_blind_to_scale():
    top = LOGITS.sort(dim=1, descending=True).values
    others = LOGITS.scatter(1, LABELS[:, None], -torch.inf).amax(1)
    own = LOGITS.gather(1, LABELS[:, None]).squeeze(1)
    torch.testing.assert_close(dlr(LOGITS, LABELS), (others - own) / (top[:, 0] - top[:, 2]))
    torch.testing.assert_close(dlr(100 * LOGITS, LABELS), dlr(LOGITS, LABELS))
    towards = LOGITS.gather(1, TARGETS[:, None]).squeeze(1)
    expected = (towards - own) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2)
    torch.testing.assert_close(targeted_dlr(LOGITS, LABELS, TARGETS), expected)


@pytest.mark.parametrize("k", [2, 3])
def test_with_few_classes_the_margin_stands_in(k):
    logits, labels = LOGITS[:, :k], LABELS % k
    targets = (labels + 1) % k
    if k == 2:
        assert torch.equal(dlr(logits, labels), margin(logits, labels))
    assert torch.equal(
        targeted_dlr(logits, labels, targets), targeted_margin(logits, labels, targets)
    )


@pytest.mark.parametrize("name", TARGETED)
def test_a_targeted_loss_grows_towards_the_target(name):
    decided = LOGITS.argmax(1)
    targets = (decided + 2) % 6
    nearer = LOGITS.scatter_add(1, targets[:, None], torch.full((50, 1), 40.0))
    before = TARGETED[name](LOGITS, decided, targets)
    assert (TARGETED[name](nearer, decided, targets) > before).all()
    assert name in LOSSES


def test_saturated_logits_are_counted_and_still_attacked():
    weight = torch.linspace(-1, 1, 36).view(1, 6, 6)

    def steep(x, g):
        gap = 1e4 * ((x - 0.5) * weight).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(gap), gap], 1)

    images = 0.5 + 0.02 * weight.sign().expand(8, 1, 6, 6)
    labels = torch.ones(8, dtype=torch.long)
    victim = Victim(logits=steep, classes=2, shape=(1, 6, 6), device="cpu")
    attack = PGD(steps=10, random_start=False)
    result = attack(victim, images, labels, [0.05], torch.Generator())
    assert steep(images, None).diff().abs().min() > SATURATED
    assert result.misclassified.all()
    assert (result.saturated > 0).all()
    assert (result.zero_gradients == 0).all()


def test_a_loss_that_is_not_finite_is_counted_where_its_logits_are():
    def misclassified(x, labels, g):
        return x.flatten(1).sum(1) * torch.nan

    view = View(lambda x, g: x.flatten(1)[:, :2], training_loss=misclassified)
    victim = Victim(logits=view.logits, classes=2, shape=(1, 2, 2), device="cpu", views={"v": view})
    images = torch.tensor([0.2, 0.8, 0.5, 0.5]).view(1, 1, 2, 2).repeat(3, 1, 1, 1)
    labels = torch.ones(3, dtype=torch.long)
    result = FGSM(loss="training")(victim, images, labels, [0.1], torch.Generator())
    # Once for the loss, once for its gradient.
    assert (result.non_finite == 2).all()


def test_a_flat_gradient_gives_a_random_direction_and_no_other_changes():
    class Dice:
        def normal(self, *shape):
            return torch.randn(shape, generator=torch.Generator().manual_seed(1))

    gradient = torch.randn(3, 1, 4, 4, generator=GENERATOR)
    gradient[1] = 0
    sign = ascent(Dice(), gradient.clone(), "linf")
    assert torch.equal(sign[[0, 2]], gradient[[0, 2]].sign())
    assert (sign[1].abs() == 1).all()
    length = ascent(Dice(), gradient.clone(), "l2").flatten(1).norm(dim=1)
    torch.testing.assert_close(length, torch.ones(3))


def tilted(offset):
    """Down the true class's logit, the other one falls twice as fast; elsewhere it rises."""

    def logits(x, g):
        down, up = x[:, 0, 0, 0], x[:, 0, 0, 1]
        return torch.stack([offset - down, offset - 0.1 - 2 * down + up], dim=1)

    return Victim(logits=logits, classes=2, shape=(1, 1, 2), device="cpu")


@pytest.mark.parametrize("confidence", [None, 50.0])
def test_a_zero_in_place_of_the_true_class_hides_the_others_where_all_are_negative(confidence):
    images = torch.full((3, 1, 1, 2), 0.5)
    labels = torch.zeros(3, dtype=torch.long)
    found = {}
    for offset in (-5.0, 5.0):
        for loss in ("margin", "zero_masked_margin"):
            attack = PGD(steps=20, random_start=False, loss=loss, confidence=confidence)
            found[offset, loss] = attack(
                tilted(offset), images, labels, [0.2], torch.Generator().manual_seed(0)
            )
    assert found[-5.0, "margin"].misclassified.all()
    assert not found[-5.0, "zero_masked_margin"].misclassified.any()
    # It follows the true class down, away from the boundary.
    assert (found[-5.0, "zero_masked_margin"].images[..., 0] > 0.5).all()
    assert found[5.0, "margin"].misclassified.all()
    assert torch.equal(found[5.0, "margin"].images, found[5.0, "zero_masked_margin"].images)
