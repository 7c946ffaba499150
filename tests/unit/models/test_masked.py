"""ME-Net's preprocessing as a wrapper: what is kept, what is estimated, and how it is attacked."""

import pytest
import torch

from assay.attacks.pgd import PGD
from assay.foundation.errors import ModelError
from assay.models.completion import ESTIMATORS
from assay.models.masked import Masked
from assay.models.small_images import LeNet

SHAPE, CLASSES = (3, 16, 16), 4


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def base():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LeNet(classes=CLASSES, shape=SHAPE)


@pytest.fixture
def images():
    return torch.rand(5, *SHAPE, generator=seeded(1))


def masked(base, **settings):
    return Masked(base=base, classes=CLASSES, shape=SHAPE, **settings).eval()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("channels", ["side_by_side", "separate"])
def test_every_decision_draws_another_mask_and_stays_an_image(base, images, estimator, channels):
    model = masked(base, estimator=estimator, channels=channels)
    images = 0.9 + 0.1 * images  # of noise alone usvt leaves nothing
    first, second = (model.changed(images, seeded(seed)) for seed in (1, 2))
    assert first.shape == images.shape
    assert first.min() >= 0
    assert first.max() <= 1
    assert not torch.equal(first, second)
    assert torch.equal(first, model.changed(images, seeded(1)))


@pytest.mark.parametrize(("channels", "together"), [("separate", True), ("side_by_side", False)])
def test_soft_impute_keeps_half_of_the_pixels_and_separate_channels_the_same(
    base, images, channels, together
):
    model = masked(base, estimator="soft_impute", channels=channels)
    kept = (model.changed(images, seeded()) - images).abs() < 1e-6
    assert float(kept.float().mean()) == pytest.approx(0.5, abs=0.05)
    assert torch.equal(kept[:, 0], kept[:, 1]) == together


def test_a_whole_image_is_not_changed(base, images):
    model = masked(base, observed=1.0, estimator="soft_impute")
    torch.testing.assert_close(model.changed(images, seeded()), images)


def test_channels_side_by_side_are_one_matrix_with_the_channels_as_columns(base, monkeypatch):
    one = torch.zeros(1, *SHAPE)
    one[0, 1, 2, 3] = 1.0
    seen = []
    monkeypatch.setitem(ESTIMATORS, "rank", lambda known, mask: seen.append(known) or known)
    torch.testing.assert_close(masked(base, observed=1.0).changed(one), one)
    assert seen[0].shape == (1, 16, 48)
    assert (seen[0] == 1).nonzero().tolist() == [[0, 2, 16 + 3]]


def test_attacks_average_over_masks_through_it_and_search_the_base(base, images):
    model = masked(base, eot_samples=7)
    assert {name: view.eot_samples for name, view in model.views().items()} == {
        "through_model": 7, "linear_model": 7, "base_model": 1,
    }  # fmt: skip
    victim = model.victim("cpu")
    labels = victim.logits(images, seeded()).argmax(1)
    attacked = PGD(norm="linf", steps=5)(victim, images, labels, [0.5], seeded())
    assert attacked.misclassified.any()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("channels", ["side_by_side", "separate"])
def test_the_linear_view_decides_as_the_wrapper_and_its_gradient_keeps_to_known_pixels(
    base, images, estimator, channels
):
    """Against the derivative of the estimator itself, where it has one: the rank projection with
    its vectors held fixed is linear, so the change of an unknown pixel changes nothing.
    """
    model = masked(base, estimator=estimator, channels=channels, eot_samples=1)
    images = (0.9 + 0.1 * images).requires_grad_()
    logits = model.views()["linear_model"].logits(images, seeded())
    torch.testing.assert_close(logits, model.logits(images, seeded()), atol=1e-5, rtol=1e-4)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), images)
    ones = torch.ones_like(images)
    _, mask = model.completion.masked(ones, 0.5, seeded())
    known = model.completion.images(2.0 * mask - 1, ones) > 0.5
    assert (gradient[~known] == 0).all()
    assert gradient[known].abs().sum() > 0


def test_the_gradient_of_the_linear_view_is_that_of_the_projection(base, images):
    """A step along it changes the completed image as the derivative says, where no value is cut
    off at 0 or 1: two channels' worth of rank stays in a matrix of that rank.
    """
    low_rank = 0.5 + 0.2 * (images[:, :1, :, :1] * images[:, :1, :1]).expand(-1, 3, -1, -1)
    direction = torch.randn(low_rank.shape, generator=seeded(2))
    completion = masked(base, observed=1.0).completion

    def whole(x):
        return completion.approximated(x, 1.0, seeded())

    _, slope = torch.autograd.functional.jvp(whole, low_rank, direction)
    inside = completion.approximated(low_rank, 1.0, seeded())
    torch.testing.assert_close(inside, low_rank, atol=1e-4, rtol=0)
    again = torch.autograd.functional.jvp(whole, low_rank, slope)[1]
    torch.testing.assert_close(again, slope, atol=1e-4, rtol=1e-3)  # a projection
    assert 0.05 < float(slope.norm() / direction.norm()) < 0.5  # to few of 16 dimensions


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"observed": 0.0}, r"settings\.observed: a share of 0\.0 .*more than 0 and at most 1"),
        ({"observed": 1.5}, r"settings\.observed: a share of 1\.5"),
        ({"estimator": "svd"}, r"settings\.estimator: 'svd' is not allowed; use one of rank, usvt"),
        ({"channels": "mixed"}, r"settings\.channels: 'mixed' is not allowed"),
        ({"eot_samples": 0}, r"settings\.eot_samples: 0 samples are impossible"),
    ],
)
def test_impossible_settings_are_one_line(base, settings, message):
    with pytest.raises(ModelError, match=message):
        masked(base, **settings)
