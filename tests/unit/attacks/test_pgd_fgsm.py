"""Gradient attacks against closed forms and straightforward references."""

import pytest
import torch
from torch.nn import functional
from toys import SHAPE, Band, Linear, generator, images_for, victim_of

from assay.attacks.fgsm import FGSM
from assay.attacks.pgd import PGD
from assay.attacks.victim import Victim, View
from assay.foundation.errors import AttackError
from assay.threat.ball import TOLERANCE


class Net(torch.nn.Sequential):
    """A small smooth network, so that gradients differ from step to step."""

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(
            torch.nn.Flatten(), torch.nn.Linear(36, 24), torch.nn.Tanh(), torch.nn.Linear(24, 3)
        )


def reference_pgd(module, images, labels, epsilon, step, steps, norm):
    x = images.clone()
    for _ in range(steps):
        x.requires_grad_()
        functional.cross_entropy(module(x), labels, reduction="sum").backward()
        g = x.grad
        with torch.no_grad():
            if norm == "linf":
                x = x + step * g.sign()
                x = images + (x - images).clamp(-epsilon, epsilon)
            else:
                x = x + step * g / g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
                change = x - images
                length = change.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
                x = images + change * (epsilon / length).clamp(max=1)
            x = x.clamp(0, 1)
    return x


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.08), ("l2", 0.4)])
def test_pgd_from_the_image_itself_agrees_with_a_straightforward_loop(norm, epsilon):
    module = Net().eval()
    images, labels = images_for(module)
    attack = PGD(norm=norm, steps=20, step=epsilon / 8, random_start=False, as_published=True)
    victim = Victim.from_module(module, classes=3, shape=SHAPE)
    ours = attack(victim, images, labels, [epsilon], generator()).images[0]
    expected = reference_pgd(module, images, labels, epsilon, epsilon / 8, 20, norm)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_fgsm_agrees_with_a_straightforward_step():
    module = Net().eval()
    images, labels = images_for(module)
    victim = Victim.from_module(module, classes=3, shape=SHAPE)
    ours = FGSM()(victim, images, labels, [0.05, 0.3], generator()).images
    for result, epsilon in zip(ours, [0.05, 0.3], strict=True):
        expected = reference_pgd(module, images, labels, epsilon, epsilon, 1, "linf")
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


def test_fgsm_takes_one_gradient_for_all_epsilons():
    module = Linear().eval()
    images, labels = images_for(module)
    victim = victim_of(module)
    FGSM()(victim, images, labels, [0.01, 0.02, 0.05, 0.1], generator())
    assert victim.backwards == len(images)


@pytest.mark.parametrize(
    ("norm", "dual"), [("linf", lambda w: w.abs().sum()), ("l2", lambda w: w.norm())]
)
@pytest.mark.parametrize("loss", ["cross_entropy", "margin", "training"])
def test_pgd_breaks_a_linear_model_exactly_beyond_its_distance(norm, dual, loss):
    module = Linear().eval()
    images, labels = images_for(module)
    with torch.no_grad():
        distance = module.margin(images).abs() / dual(module.weight)
    near = distance < distance.median()  # so that the bounds [0, 1] do not interfere
    images, labels, distance = images[near], labels[near], distance[near]
    attack = PGD(norm=norm, steps=40, restarts=1, loss=loss)
    for image, label, exact in zip(images, labels, distance.tolist(), strict=True):
        result = attack(
            victim_of(module), image[None], label[None], [0.98 * exact, 1.03 * exact], generator()
        )
        assert result.misclassified[:, 0].tolist() == [False, True]


def test_pgd_leaves_at_the_first_broken_iterate():
    module = Linear().eval()
    images, labels = images_for(module)
    victim = victim_of(module)
    attack = PGD(steps=40, step=0.05, random_start=False)
    result = attack(victim, images, labels, [1.0], generator())
    assert result.misclassified.all()
    # Half the way across the cube suffices, ten steps of forty, and one look says so.
    assert result.backwards.max() <= 12
    # Beside the gradients' own forward passes: the clean decision and the verdict.
    assert torch.equal(result.forwards, result.backwards + 2)


def test_restarts_break_what_one_start_does_not_and_never_less():
    class Needle(torch.nn.Module):
        """Wrong only near one of two corners; the gradient leads to the nearer one."""

        def forward(self, x):
            first, second = x[:, 0, 0, 0] - 0.5, x[:, 0, 0, 1]
            wrong = torch.where(first > 0, first, -0.5 * first) - 0.12
            return torch.stack([torch.zeros_like(second), wrong], dim=1)

    images = torch.full((40, *SHAPE), 0.5)
    labels = torch.zeros(40, dtype=torch.long)
    misclassified = {}
    for restarts in (1, 10):
        attack = PGD(steps=6, restarts=restarts)
        misclassified[restarts] = attack(
            victim_of(Needle()), images, labels, [0.2], generator()
        ).misclassified[0]
    assert 10 <= misclassified[1].sum() < 30
    assert misclassified[10].float().mean() > 0.95
    assert (misclassified[10] | ~misclassified[1]).all()


def test_without_a_step_the_best_of_the_random_starts_is_judged():
    module = Linear().eval()
    images, labels = images_for(module)
    victim = victim_of(module)
    starts = PGD(steps=0, restarts=20)(victim, images, labels, [0.1], generator())
    assert victim.backwards == 0
    assert (starts.linf[0] > 0.05).all()
    climbed = PGD(steps=10)(victim_of(module), images, labels, [0.1], generator())
    assert starts.misclassified.sum() < climbed.misclassified.sum()


def test_what_breaks_in_a_small_ball_is_not_searched_in_a_larger_one():
    module = Linear().eval()
    images, labels = images_for(module)
    victim = victim_of(module)
    attack = PGD(steps=10)
    alone = attack(victim, images, labels, [0.1], generator())
    assert alone.misclassified.any()
    spent = victim.backwards
    both = attack(victim, images, labels, [0.1, 0.11], generator())
    again = victim.backwards - spent
    carried = both.misclassified[0]
    assert torch.equal(both.images[1, carried], both.images[0, carried])
    assert torch.equal(both.backwards[1, carried], both.backwards[0, carried])
    assert again <= spent + 10 * int((~carried).sum())


def test_fgsm_reports_that_a_larger_step_can_miss():
    # Below the band; 0.05 brighter lies within it, 0.2 brighter beyond it.
    images = torch.full((4, *SHAPE), 0.42)
    labels = Band()(images).argmax(1)
    victim = victim_of(Band())
    result = FGSM()(victim, images, labels, [0.05, 0.2], generator())
    assert result.misclassified[0].all()
    assert not result.misclassified[1].any()
    assert PGD(steps=20)(victim, images, labels, [0.05, 0.2], generator()).misclassified.all()


def test_vanishing_gradients_are_counted_and_the_search_does_not_stand_still():
    class Quantised(Linear):
        def forward(self, images):
            return super().forward((images * 8).round() / 8)

    module = Quantised().eval()
    images, labels = images_for(module)
    result = PGD(steps=5, random_start=False)(
        victim_of(module), images, labels, [0.02], generator()
    )
    survivors = ~result.misclassified[0]
    assert (result.zero_gradients[0, survivors] == 5).all()
    best = result.images[0, survivors]
    assert (best != images[survivors]).any()
    assert (best - images[survivors]).abs().max() <= 0.02 + TOLERANCE


def test_a_view_that_cuts_the_graph_counts_as_zero_gradient():
    module = Linear().eval()
    images, labels = images_for(module)
    cut = View(lambda x, g: module(x).detach())
    victim = Victim(
        logits=lambda x, g: module(x), classes=2, shape=SHAPE, device="cpu", views={"cut": cut}
    )
    result = FGSM()(victim, images, labels, [0.05], generator())
    assert (result.zero_gradients == 1).all()


def test_gradients_that_are_not_finite_are_counted_and_left_out():
    class Root(Linear):
        def margin(self, images):
            plain = super().margin(images)
            return plain + 0 * (images[:, 0, 0, 0] - images[:, 0, 0, 0].detach()).sqrt()

    module = Root().eval()
    images, labels = images_for(module)
    result = PGD(steps=4)(victim_of(module), images, labels, [0.1], generator())
    assert result.images.isfinite().all()
    assert result.misclassified.any()  # the other pixels' gradients are still followed
    assert (result.non_finite > 0).all()


@pytest.mark.parametrize("target", ["none", 1])
def test_the_last_iterate_comes_after_all_steps_on_every_view(target):
    module = Linear().eval()
    images, labels = images_for(module)
    images, labels = images[labels == 0], labels[labels == 0]
    victim = Victim(
        logits=module, classes=2, shape=SHAPE, device="cpu", views={"one": module, "two": module}
    )
    common = {"steps": 15, "step": 0.02, "random_start": False, "target": target}
    best = PGD(**common)(victim, images, labels, [0.2], generator())
    last = PGD(**common, iterate="last")(victim, images, labels, [0.2], generator())
    assert best.misclassified.all()
    assert last.misclassified.all()
    assert best.backwards.max() < 15
    assert (last.backwards == 15).all()
    # It goes on to the corner of the ball.
    corner = torch.where(module.weight > 0, images + 0.2, images - 0.2)
    torch.testing.assert_close(last.images[0], corner, rtol=0, atol=1e-5)
    assert last.best_loss.isnan().all()
    assert PGD(iterate="last").searched_views(victim) == ["one", "two"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"norm": "l1"}, "norm"),
        ({"steps": -1}, "steps"),
        ({"steps": 0, "random_start": False}, "steps"),
        ({"restarts": 0}, "restarts"),
        ({"restarts": 2, "random_start": False}, "restarts"),
        ({"step": 0.0}, "step"),
        ({"loss": "hinge"}, "loss"),
        ({"loss": "dlr", "confidence": 5.0}, "confidence"),
        ({"iterate": "first"}, "iterate"),
        ({"iterate": "last", "restarts": 2}, "restarts"),
    ],
)
def test_impossible_settings_are_named(settings, named):
    with pytest.raises(AttackError, match=f"setting '{named}'"):
        PGD(**settings)
