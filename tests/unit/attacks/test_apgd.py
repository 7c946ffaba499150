"""APGD against a straightforward copy of its algorithm, and what its settings mean."""

import pytest
import torch
from toys import SHAPE, Linear, generator, images_for, victim_of

from assay.attacks.apgd import APGD
from assay.attacks.losses import LOSSES, dlr
from assay.attacks.victim import Victim
from assay.foundation.errors import AttackError


class Net(torch.nn.Sequential):
    """A small network with edges, so that the loss goes up and down along a run."""

    def __init__(self, classes=5):
        torch.manual_seed(0)
        super().__init__(
            torch.nn.Flatten(),
            torch.nn.Linear(36, 24),
            torch.nn.ReLU(),
            torch.nn.Linear(24, classes),
        )


class Trap(torch.nn.Module):
    """Class 0; the runner-up, 1, can never win; class 2 does where the mean falls below 0.42."""

    def forward(self, images):
        m = images.flatten(1).mean(1) - 0.5
        return torch.stack([torch.zeros_like(m), 0.3 * m - 0.04, -0.08 - m], dim=1)


def near_grey(n=24):
    noise = torch.rand((n, *SHAPE), generator=generator(1)) - 0.5
    noise = noise - noise.mean(dim=(1, 2, 3), keepdim=True)
    return 0.5 + 0.1 * noise, torch.zeros(n, dtype=torch.int64)


def projected(x, origin, epsilon, norm):
    change = x - origin
    if norm == "linf":
        change = change.clamp(-epsilon, epsilon)
    else:
        change = change * min(1.0, epsilon / float(change.norm().clamp_min(1e-12)))
    return (origin + change).clamp(0, 1)


def reference_apgd(module, origin, label, start, epsilon, norm, loss_of, steps, gaps):
    """Algorithm 1 of the paper for one image, in a loop; None if an iterate was broken."""

    def look(x):
        x = x.clone().requires_grad_()
        logits = module(x[None])
        loss = loss_of(logits, label[None])[0]
        (g,) = torch.autograd.grad(loss, x)
        direction = g.sign() if norm == "linf" else g / g.norm()
        return float(loss.detach()), direction, logits.argmax() != label

    x = projected(start, origin, epsilon, norm)
    loss, direction, misclassified = look(x)
    step, best, best_loss, best_direction = 2 * epsilon, x, loss, direction
    before, checked, halved, rises, since, gaps = None, loss, True, 0, 0, list(gaps)
    for _ in range(steps):
        if misclassified:
            return None
        z = projected(x + step * direction, origin, epsilon, norm)
        if before is not None:
            z = projected(x + 0.75 * (z - x) + 0.25 * (x - before), origin, epsilon, norm)
        before, x, last = x, z, loss
        loss, direction, misclassified = look(x)
        rises, since = rises + (loss > last), since + 1
        if loss > best_loss:
            best, best_loss, best_direction = x, loss, direction
        if since == gaps[0]:
            stuck = rises <= 0.75 * since or (not halved and best_loss <= checked)
            if stuck:
                step, x, direction = step / 2, best, best_direction
            halved, checked, rises, since = stuck, best_loss, 0, 0
            gaps = gaps[1:] or [steps + 1]
    return None if misclassified else best


def test_checkpoints_are_those_of_the_paper():
    places = [at for at, _ in APGD(steps=100).checkpoints()]
    assert places == [22, 41, 57, 70, 80, 87, 93, 99]
    assert [gap for _, gap in APGD(steps=100).checkpoints()] == [22, 19, 16, 13, 10, 7, 6, 6]
    assert [at for at, _ in APGD(steps=3).checkpoints()] == [1, 2, 3]


@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.12), ("l2", 0.6)])
def test_a_run_agrees_with_a_straightforward_loop(norm, epsilon, loss):
    module = Net().eval()
    images, labels = images_for(module)
    attack = APGD(norm=norm, steps=30, loss=loss)
    victim = Victim.from_module(module, classes=5, shape=SHAPE)
    result = attack(victim, images, labels, [epsilon], generator(7))
    # An image that is wrong from the start would shift the draws of the others.
    assert torch.equal(result.clean_prediction, labels)
    if norm == "linf":
        change = 2 * torch.rand(images.shape, generator=generator(7)) - 1
        change = change / change.abs().amax(dim=(1, 2, 3), keepdim=True)
    else:
        change = torch.randn(images.shape, generator=generator(7))
        change = change / change.flatten(1).norm(dim=1)[:, None, None, None]
    gaps = [gap for _, gap in attack.checkpoints()]
    apart = []
    for i, (origin, label) in enumerate(zip(images, labels, strict=True)):
        expected = reference_apgd(
            module,
            origin,
            label,
            origin + epsilon * change[i],
            epsilon,
            norm,
            LOSSES[loss],
            30,
            gaps,
        )
        assert (expected is None) == bool(result.misclassified[0, i])
        if expected is not None:
            apart.append(float((result.images[0, i] - expected).abs().max()))
    assert 5 <= len(apart) < len(images)
    # Near a summit, rounding decides whether a step still rises, and so when it is halved.
    assert sum(distance < epsilon / 1000 for distance in apart) >= 0.9 * len(apart)
    assert max(apart) < epsilon / 4


@pytest.mark.parametrize(("targets", "runs"), [(None, 1), (1, 1), (3, 3), (9, 4)])
def test_a_run_costs_a_gradient_per_step_and_one_forward(targets, runs):
    module = Net().eval()
    images, labels = images_for(module)
    victim = Victim.from_module(module, classes=5, shape=SHAPE)
    attack = APGD(steps=12, restarts=2, loss="margin", targets=targets)
    result = attack(victim, images, labels, [1e-6], generator())
    standing = ~result.misclassified[0]
    assert standing.any()
    assert (result.backwards[0, standing] == 2 * runs * 12).all()
    # The clean decision and the verdict are two passes more.
    assert (result.forwards[0, standing] == 2 * runs * 13 + 2).all()


def test_an_image_that_its_start_breaks_costs_one_gradient():
    module = Linear().eval()
    images, labels = images_for(module)
    result = APGD(steps=20)(victim_of(module), images, labels, [1.0], generator())
    assert result.misclassified.all()
    assert result.backwards.min() == 1
    assert result.backwards.float().median() <= 2


@pytest.mark.parametrize("loss", ["margin", "dlr", "cross_entropy"])
def test_targets_break_what_hides_behind_the_runner_up(loss):
    images, labels = near_grey()
    victim = Victim.from_module(Trap().eval(), classes=3, shape=SHAPE)
    one = APGD(loss=loss, steps=20, targets=1)(victim, images, labels, [0.1], generator())
    both = APGD(loss=loss, steps=20, targets=2)(victim, images, labels, [0.1], generator())
    assert not one.misclassified.any()
    assert both.misclassified.all()
    assert (both.prediction == 2).all()


def test_the_runs_after_the_first_may_go_in_any_number_of_waves(monkeypatch):
    module = Net().eval()
    images, labels = images_for(module)
    victim = Victim.from_module(module, classes=5, shape=SHAPE)
    attack = APGD(steps=10, restarts=2, targets=4, loss="dlr")
    together = attack(victim, images, labels, [0.12], generator())
    monkeypatch.setattr("assay.attacks.apgd.WAVE", 1)
    apart = attack(victim, images, labels, [0.12], generator())
    assert 0 < together.misclassified.sum() < len(images)
    assert (together.misclassified != apart.misclassified).sum() <= 2
    standing = ~(together.misclassified | apart.misclassified)
    assert torch.equal(together.backwards[standing], apart.backwards[standing])


def test_the_best_iterate_of_all_runs_is_judged_where_nothing_broke():
    module = Net().eval()
    images, labels = images_for(module)
    victim = Victim.from_module(module, classes=5, shape=SHAPE)

    def reached(restarts):
        attack = APGD(steps=4, restarts=restarts, loss="dlr")
        return attack(victim, images, labels, [0.02], generator())

    one, many = reached(1), reached(6)
    with torch.no_grad():
        before, after = (dlr(module(r.images[0]), labels) for r in (one, many))
        clean = dlr(module(images), labels)
    standing = ~(one.misclassified | many.misclassified)[0]
    assert (after >= before - 1e-5)[standing].all()
    assert (after > before + 1e-5)[standing].any()
    assert (before > clean)[standing].all()


def bad_settings():
    return {
        "norm": {"norm": "l1"},
        "loss": {"loss": "hinge"},
        "loss without logits": {"loss": "training"},
        "targeted loss": {"loss": "training", "targets": 3},
        "steps": {"steps": 0},
        "restarts": {"restarts": 0},
        "targets": {"targets": 0},
        "rho": {"rho": 0.0},
    }


@pytest.mark.parametrize(("name", "settings"), bad_settings().items(), ids=bad_settings())
def test_an_impossible_setting_is_named(name, settings):
    key = "loss" if "loss" in name else name
    with pytest.raises(AttackError, match=f"attack setting '{key}'"):
        APGD(**settings)
