"""Mixup inference: which images are mixed in, what decides, and that expectation breaks it."""

import pytest
import torch
from torch import nn

from assay.attacks.pgd import PGD
from assay.foundation.errors import ModelError
from assay.models.base import Classifier
from assay.models.mixup import MixupInference

SHAPE, CLASSES = (1, 6, 6), 4
# A pool whose images of class k have the grey level 10 k + 10 in every pixel.
LEVELS = 10 * torch.arange(CLASSES) + 10


class Net(Classifier):
    """Random weights, tanh; it keeps what it is shown."""

    def __init__(self, classes=CLASSES):
        super().__init__(classes=classes, shape=SHAPE)
        generator = seeded(0)
        self.hidden = nn.Parameter(2 * torch.randn(36, 48, generator=generator))
        self.last = nn.Parameter(torch.randn(48, classes, generator=generator))
        self.seen = []

    def features(self, images):
        return images.flatten(1)

    def logits(self, images, generator=None):
        self.seen.append(images.detach())
        return torch.tanh((images - 0.5).flatten(1) @ self.hidden) @ self.last


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.rand(7, *SHAPE, generator=seeded(3))


def mixing(base=None, pool=None, classes=CLASSES, **settings):
    """A model whose pool is given, or has 3 images of each class."""
    base = base or Net(classes)
    model = MixupInference(base=base, classes=classes, shape=SHAPE, **{"per_class": 3, **settings})
    labels = torch.arange(classes).repeat_interleave(3)
    if pool is None:
        pool = (10 * labels + 10).to(torch.uint8)[:, None, None, None].expand(-1, *SHAPE)
    model.remember(pool, labels)
    return model.eval()


def mixed_in(model, images, lam, samples):
    """The grey levels that were mixed into each image, (samples, B)."""
    mixtures = torch.cat(model.base.seen[1:]).unflatten(0, (samples, len(images)))
    rest = (mixtures - lam * images) / (1 - lam) * 255
    assert rest.flatten(2).std(dim=2).max() < 1e-3
    return rest[:, :, 0, 0, 0].round().long()


@pytest.mark.parametrize("variant", ["ol", "pl"])
def test_images_of_the_predicted_class_are_mixed_in_never_or_always(images, variant):
    model = mixing(variant=variant, lam=0.4, lam_predicted=0.4, samples=300)
    predicted = model.base.logits(images).argmax(1)
    model.base.seen.clear()
    model.logits(images, seeded())
    levels = mixed_in(model, images, 0.4, 300)
    own = levels == LEVELS[predicted]
    if variant == "pl":
        assert own.all()
        return
    assert not own.any()
    shares = torch.stack([(levels == level).float().mean(0) for level in LEVELS])
    others = shares[shares > 0].view(-1)
    assert len(others) == (CLASSES - 1) * len(images)
    assert (others - 1 / (CLASSES - 1)).abs().max() < 0.12


def test_all_images_of_a_class_are_drawn():
    pool = torch.arange(12, dtype=torch.uint8)[:, None, None, None].expand(-1, *SHAPE) * 20
    model = mixing(pool=pool, samples=400, lam=0.5)
    one = torch.zeros(1, *SHAPE)
    predicted = int(model.base.logits(one).argmax())
    model.base.seen.clear()
    model.logits(one, seeded())
    levels = set(mixed_in(model, one, 0.5, 400).flatten().tolist())
    wanted = {20 * place for place in range(12) if place // 3 != predicted}
    assert levels == wanted


def test_the_mean_class_probability_over_the_mixtures_decides(images):
    model = mixing(samples=5)
    found = model.logits(images, seeded())
    mixtures = torch.cat(model.base.seen[1:])
    expected = model.base.logits(mixtures).softmax(1).unflatten(0, (5, -1)).mean(0)
    torch.testing.assert_close(found.exp(), expected)


@pytest.mark.parametrize("variant", ["ol", "pl", "combined"])
def test_the_generator_alone_decides_which_images_are_drawn(images, variant):
    pool = torch.randint(256, (12, *SHAPE), generator=seeded(2), dtype=torch.uint8)
    model = mixing(pool=pool, variant=variant)
    assert model.stochastic
    first = model.logits(images, seeded(1))
    assert torch.equal(first, model.logits(images, seeded(1)))
    assert not torch.equal(first, model.logits(images, seeded(2)))


def test_a_whole_image_is_decided_by_the_base_alone(images):
    model = mixing(lam=1.0)
    assert not model.stochastic
    torch.testing.assert_close(
        model.logits(images, seeded()), model.base.logits(images).log_softmax(1)
    )
    assert mixing(variant="combined", lam=1.0).stochastic


def test_the_combination_doubts_predictions_that_lose_their_confidence(images):
    pool = torch.randint(256, (12, *SHAPE), generator=seeded(2), dtype=torch.uint8)
    models = {
        threshold: mixing(pool=pool, variant="combined", lam=0.4, threshold=threshold)
        for threshold in (-1.0, 0.1, 2.0)
    }
    found = {name: model.logits(images, seeded()) for name, model in models.items()}
    generator = seeded()
    kept = mixing(pool=pool, variant="pl").logits(images, generator)
    others = mixing(pool=pool, variant="ol", lam=0.4).logits(images, generator)
    torch.testing.assert_close(found[2.0], kept)
    torch.testing.assert_close(found[-1.0], others)
    plain = models[0.1].base.logits(images).softmax(1).amax(1)
    doubted = plain - kept.exp().amax(1) >= 0.1
    assert 0 < doubted.sum() < len(images)
    torch.testing.assert_close(found[0.1][~doubted], kept[~doubted])
    assert not torch.isclose(found[0.1], kept)[doubted].all(dim=1).any()


def test_repeated_decisions_ask_the_base_for_one_prediction(images):
    model = mixing(samples=4)
    found = model.repeated_logits(images, 5, seeded())
    assert found.shape == (5, 7, CLASSES)
    assert sum(map(len, model.base.seen)) == 7 + 5 * 4 * 7
    model.base.seen.clear()
    one = model.repeated_logits(images, 1, seeded(1))[0]
    assert torch.equal(one, model.logits(images, seeded(1)))
    assert (found.std(dim=0) > 0).any()


def test_mixtures_pass_the_base_in_batches_whatever_their_number(images):
    model = mixing(samples=30)
    whole = model.logits(images, seeded())
    model.base.seen.clear()
    model.max_batch = 16
    torch.testing.assert_close(model.logits(images, seeded()), whole)
    assert max(map(len, model.base.seen)) == 16
    assert sum(map(len, model.base.seen)) == 7 + 30 * 7


def test_a_view_has_the_gradient_of_the_mixture(images):
    class Linear(Net):
        def logits(self, images, generator=None):
            return images.flatten(1) @ self.hidden[:, :CLASSES]

    model = mixing(Linear(), lam=0.4, samples=6)
    views = model.views()
    assert list(views) == ["through_model", "base_model"]
    assert (views["through_model"].eot_samples, views["through_model"].passes) == (6, 12)
    assert (views["base_model"].eot_samples, views["base_model"].passes) == (1, 1)
    leaf = images.clone().requires_grad_()
    logits = views["through_model"].logits(leaf, seeded())
    (gradient,) = torch.autograd.grad((logits[:, 0] - logits[:, 1]).sum(), leaf)
    weight = 0.4 * (model.base.hidden[:, 0] - model.base.hidden[:, 1]).view(SHAPE)
    torch.testing.assert_close(gradient, weight.expand_as(gradient))


def test_expectation_breaks_what_one_mixture_per_step_does_not():
    base = Net()
    images = torch.rand(400, *SHAPE, generator=seeded(2))
    model = MixupInference(base=base, classes=CLASSES, shape=SHAPE, lam=0.4, per_class=50)
    pixels = (255 * images).to(torch.uint8)
    model.remember(pixels, base.logits(pixels / 255).argmax(1))
    attacked = torch.rand(100, *SHAPE, generator=seeded(3))
    labels = model.repeated_logits(attacked, 20, seeded(4)).softmax(-1).mean(0).argmax(1)
    victim = model.eval().victim()
    broken = {}
    for name, setting in {
        "expectation": {"views": ["through_model"]},
        "one mixture": {"views": ["through_model"], "own_samples": False},
        "base": {"views": ["base_model"]},
    }.items():
        attack = PGD(steps=10, **setting)
        found = attack(victim, attacked, labels, [0.05], seeded(5), repeats=11)
        broken[name] = float(found.misclassified.float().mean())
    assert broken["expectation"] > broken["one mixture"] + 0.08
    assert broken["expectation"] > broken["base"] + 0.2


def test_two_classes_are_enough(images):
    model = mixing(classes=2, samples=50, lam=0.5)
    predicted = model.base.logits(images).argmax(1)
    model.base.seen.clear()
    model.logits(images, seeded())
    levels = mixed_in(model, images, 0.5, 50)
    assert (levels == LEVELS[1 - predicted]).all()


def test_the_pool_takes_what_there_is_and_at_most_its_size():
    model = MixupInference(base=Net(), classes=CLASSES, shape=SHAPE, per_class=3)
    labels = torch.tensor([0] * 5 + [1, 2, 3, 3])
    model.remember(torch.zeros(9, *SHAPE, dtype=torch.uint8), labels)
    assert model.pooled.tolist() == [3, 1, 1, 2]
    assert model.facts()["pool"] == 7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lam": 0.0}, r"settings\.lam: 0\.0 is no share of the image; use more than 0"),
        ({"lam": 1.5}, r"settings\.lam: 1\.5 is no share"),
        ({"lam_predicted": -1}, r"settings\.lam_predicted: -1 is no share"),
        ({"samples": 0}, r"settings\.samples: 0 images are too few; use 1 or more"),
        ({"per_class": 0}, r"settings\.per_class: 0 images are too few"),
        ({"variant": "other"}, r"settings\.variant: 'other' is not allowed; use one of ol, pl"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ModelError, match=message):
        MixupInference(base=Net(), classes=CLASSES, shape=SHAPE, **settings)


def test_a_pool_that_is_missing_is_named(images):
    model = MixupInference(base=Net(), classes=CLASSES, shape=SHAPE, per_class=3)
    with pytest.raises(ModelError, match="the pool of training images is empty; train its entry"):
        model.logits(images)
    with pytest.raises(ModelError, match=r"no training image of class 1, 3 for the pool; raise"):
        model.remember(torch.zeros(2, *SHAPE, dtype=torch.uint8), torch.tensor([0, 2]))
