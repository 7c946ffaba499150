"""Anti-perturbation inference against a loop over the classes, and the routes of its attackers."""

import logging

import pytest
import torch
from torch import nn
from torch.nn import functional

from assay.attacks.pgd import PGD
from assay.evaluation.library import evaluate
from assay.foundation.errors import AssayError, ModelError
from assay.models.api import Api
from assay.models.base import Classifier
from assay.models.image_search import own_scores
from assay.models.small_images import LeNet

SHAPE, CLASSES = (1, 16, 16), 4


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Smooth(Classifier):
    """A small network with curvature, so that the second derivative of a search is not zero."""

    def __init__(self, *, classes=CLASSES, shape=SHAPE):
        super().__init__(classes=classes, shape=shape)
        size = shape[0] * shape[1] * shape[2]
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(size, 32), nn.Tanh())
        self.head = nn.Linear(32, classes)

    def features(self, images):
        return self.body(images - 0.5)

    def logits(self, images, generator=None):
        return self.head(self.features(images))


@pytest.fixture(params=[LeNet, Smooth])
def base(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return sharpened(request.param(classes=CLASSES, shape=SHAPE))


def sharpened(network):
    """Without training, LeNet's logits hardly depend on the image."""
    with torch.no_grad():
        network.head.bias.zero_()
        network.head.weight *= 5 if isinstance(network, Smooth) else 100
        network.head.weight -= network.head.weight.mean(dim=1, keepdim=True)
    return network


@pytest.fixture
def smooth():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Smooth()


@pytest.fixture
def images():
    return torch.rand(6, *SHAPE, generator=seeded(1))


def api(base, **settings):
    settings = {"radius": 0.1, "step": 0.02, "noise": 0.0, **settings}
    return Api(base=base, classes=CLASSES, shape=SHAPE, **settings).eval()


def by_hand(base, images, start, *, radius=0.1, step=0.02, steps=8):
    """The same, a class at a time, as the paper writes it."""
    scores = []
    for c in range(CLASSES):
        target = torch.full((len(images),), c)
        z = (images + start[:, c]).requires_grad_()
        for _ in range(steps):
            (gradient,) = torch.autograd.grad(
                functional.cross_entropy(base.logits(z), target, reduction="sum"), z
            )
            z = z.detach() - step * gradient.sign()
            z = (images + (z - images).clamp(-radius, radius)).clamp(0, 1).requires_grad_()
        scores.append(-functional.cross_entropy(base.logits(z), target, reduction="none"))
    return torch.stack(scores, dim=1).detach()


def test_the_scores_are_those_of_a_loop_over_the_classes(base, images):
    noise = 0.01 * torch.randn(6, CLASSES, *SHAPE, generator=seeded(3))
    base.eval()
    expected = by_hand(base, images, noise)
    torch.testing.assert_close(
        api(base, noise=0.01).logits(images, seeded(3)), expected, atol=2e-3, rtol=1e-3
    )
    assert (expected - functional.log_softmax(base.logits(images), 1)).mean() > 0.1


def test_no_change_leaves_the_ball_or_the_range_of_pixels(base, images):
    model = api(base, radius=0.07, step=0.03, noise=0.05)
    seen, scores = model.explain(images, seeded())
    assert seen.shape == (6, CLASSES, *SHAPE)
    assert (seen - images[:, None]).abs().max() <= 0.07 + 1e-6
    assert seen.min() >= 0
    assert seen.max() <= 1
    logits = model.base.logits(seen.flatten(0, 1))
    torch.testing.assert_close(own_scores(logits, CLASSES), scores)


def test_how_many_images_are_searched_at_once_changes_no_decision(base, images):
    few, many = (api(base, codes_at_once=at_once) for at_once in (CLASSES, 1000))
    torch.testing.assert_close(few.logits(images), many.logits(images), atol=1e-4, rtol=1e-4)


def test_two_classes_are_enough(images):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        base = sharpened(Smooth(classes=2))
    model = Api(base=base, classes=2, shape=SHAPE, radius=0.1, step=0.02).eval()
    victim = model.victim()
    assert victim.logits(images, seeded()).shape == (6, 2)
    labels = victim.logits(images, seeded()).argmax(1)
    found = PGD(steps=3, loss="margin")(victim, images, labels, [0.3], seeded(), repeats=3)
    assert found.misclassified.any()


@pytest.mark.parametrize(("radius", "length"), [(14 / 255, 0.007), (20 / 255, 2.5 * 20 / 255 / 8)])
def test_a_radius_beyond_the_reach_of_the_steps_lengthens_them_and_says_so(
    smooth, caplog, radius, length
):
    with caplog.at_level(logging.WARNING):
        model = api(smooth, radius=radius, step=0.007)
    assert model.facts()["search_step"] == pytest.approx(length)
    assert ("do not reach the radius" in caplog.text) == (length > 0.007)


def test_the_view_through_it_has_the_sum_of_the_gradients_at_the_changed_images(base, images):
    model = api(base)
    changes = model.find(images).codes
    leaf = images.clone().requires_grad_()
    logits = model.views()["through_model"].logits(leaf, seeded())
    torch.testing.assert_close(logits, model.logits(images), atol=1e-4, rtol=1e-4)
    weights = torch.randn(6, CLASSES, generator=seeded(5))
    (gradient,) = torch.autograd.grad((weights * logits).sum(), leaf)
    each = images[:, None] + changes
    each.requires_grad_()
    scores = own_scores(base.logits(each.flatten(0, 1)), CLASSES)
    expected = torch.autograd.grad((weights * scores).sum(), each)[0].sum(dim=1)
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-3)


def test_a_view_goes_on_from_the_changes_before_and_costs_one_pass_per_class(smooth, images):
    """The decision never does: it begins anew however often it is asked."""
    model = api(smooth, radius=0.2, step=0.05, steps=4)
    passed, forward = [], smooth.logits

    def counted(seen, generator=None):
        passed.append(len(seen))
        return forward(seen, generator)

    smooth.logits = counted
    through, generator = model.views()["through_model"].logits, seeded()
    costs, scores = [], []
    for seen in [images, *[(images - 0.1).clamp(0, 1)] * 6]:
        passed.clear()
        scores.append(through(seen.clone().requires_grad_(), generator).sum().item())
        costs.append(sum(passed))
    assert costs[0] > 4 * len(images) * CLASSES
    assert costs[1:] == [len(images) * CLASSES] * 6
    anew = model.logits((images - 0.1).clamp(0, 1)).sum().item()
    assert scores[1] < scores[-1]
    assert scores[-1] == pytest.approx(anew, abs=0.2 * (anew - scores[1]) + 0.01)
    first, second = model.logits(images, generator), model.logits(images, generator)
    assert torch.equal(first, second)


def test_the_unrolled_view_has_the_derivative_of_a_search_with_smooth_directions(smooth, images):
    """Against autograd through a loop that divides each gradient by its size, and keeps the sign
    as the value.
    """
    smooth.double()
    images = images.double()
    model = api(smooth, steps=3, step=0.04)
    leaf = images.clone().requires_grad_()
    logits = model.views()["unrolled_model"].logits(leaf, seeded())
    torch.testing.assert_close(logits, model.logits(images))
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), leaf)

    other = images.clone().requires_grad_()
    change = torch.zeros_like(images)
    for _ in range(3):
        z = other + change
        value = functional.log_softmax(smooth.logits(z), 1)[:, 1].sum()
        (along,) = torch.autograd.grad(value, z, create_graph=True)
        size = along.detach().abs().mean((1, 2, 3), keepdim=True)
        sign = along.detach().sign() + (along / size - (along / size).detach())
        change = torch.minimum(torch.maximum(change + 0.04 * sign, (-other).clamp(min=-0.1)),
                               (1 - other).clamp(max=0.1))  # fmt: skip
    value = functional.log_softmax(smooth.logits(other + change), 1)[:, 1].sum()
    (expected,) = torch.autograd.grad(value, other)
    torch.testing.assert_close(gradient, expected)
    held = model.views()["through_model"].logits(images.clone().requires_grad_(), seeded())
    assert held.shape == logits.shape


def test_the_unnormalised_view_gives_the_logits_of_each_class(smooth, images):
    model = api(smooth)
    view = model.views()["unnormalised_model"]
    leaf = images.clone().requires_grad_()
    logits = view.logits(leaf, seeded())
    longer = api(smooth, steps=16)
    seen = images[:, None] + longer.find(images).codes
    expected = smooth.logits(seen.flatten(0, 1)).unflatten(0, (6, CLASSES))
    torch.testing.assert_close(logits, expected.diagonal(dim1=1, dim2=2), atol=1e-4, rtol=1e-4)
    assert torch.autograd.grad(logits.sum(), leaf)[0].abs().sum() > 0


def test_every_route_is_there_and_breaks_a_network_that_is_not_robust(base, images):
    victim = api(base, noise=0.001).victim()
    assert list(victim.views) == [
        "through_model", "fixed_noise_model", "unnormalised_model", "unrolled_model", "base_model",
    ]  # fmt: skip
    assert victim.stochastic
    labels = victim.logits(images, seeded()).argmax(1)
    for name in victim.views:
        found = PGD(steps=10, loss="margin")(
            victim.through(name), images, labels, [0.5], seeded(), repeats=3
        )
        assert found.misclassified.float().mean() >= 0.5, name


def test_without_noise_it_is_deterministic(smooth, images):
    victim = api(smooth).victim()
    assert not victim.stochastic
    assert "fixed_noise_model" not in victim.views
    assert torch.equal(victim.logits(images, seeded(1)), victim.logits(images, seeded(2)))


class Probabilities(Smooth):
    def logits(self, images, generator=None):
        return super().logits(images).softmax(dim=1)


def test_a_base_that_gives_probabilities_is_named(images):
    with pytest.raises(ModelError, match=r"the base of Api: the base returns probabilities"):
        api(Probabilities()).logits(images)


def test_images_outside_of_the_range_are_refused(smooth, images):
    with pytest.raises(AssayError, match=r"images.*outside \[0, 1\]"):
        evaluate(api(smooth).victim(), 2 * images, [0] * 6, {"pgd": PGD()}, 0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"radius": 0.0}, r"settings\.radius: a radius of 0 holds no other image"),
        ({"radius": -0.1}, r"settings\.radius: a radius of -0\.1"),
        ({"radius": 1.5}, r"settings\.radius: a radius of 1\.5"),
        ({"step": 0.0}, r"settings\.step: 0 is too small"),
        ({"noise": -1.0}, r"settings\.noise: -1 is too small"),
        ({"steps": 0}, r"settings\.steps: 0 steps are too few"),
    ],
)
def test_impossible_settings_are_one_line(smooth, settings, message):
    with pytest.raises(ModelError, match=message):
        api(smooth, **settings)
