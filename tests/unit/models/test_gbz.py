"""GBZ: its size, its loss, and Bayes' rule against computations done another way."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn import functional

from assay.foundation.errors import ModelError
from assay.models.base import build
from assay.models.gbz import GBZ, effective_share
from assay.models.latent import sample

SHAPE, CLASSES = (1, 4, 4), 3


def tiny(**settings) -> GBZ:
    """A network of 4x4 images whose classes and decodings depend strongly on z."""
    entry = {"implementation": "assay.models.gbz:GBZ", "settings": {"latent_dim": 2, **settings}}
    model = build("tiny", entry, classes=CLASSES, shape=SHAPE, seed=3).eval()
    with torch.no_grad():
        for head in (model.decoder[0], model.decoder[2], model.classifier[0], model.classifier[2]):
            head.weight *= 3
    return model


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, *SHAPE, generator=seeded(1))


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.tensor([0, 1, 2, 0, 1])


@pytest.mark.parametrize(("size", "count"), [(68, 9_646_351), (64, 8_562_895)])
def test_it_has_as_many_parameters_as_the_papers_network(size, count):
    model = GBZ(classes=6, shape=(1, size, size))
    assert model.facts()["parameters"] == count


def test_its_parts_have_as_many_parameters_as_the_papers_parts():
    model = GBZ(classes=6, shape=(1, 64, 64), input_size=68)
    sizes = [
        sum(p.numel() for p in part.parameters())
        for part in (model.encoder, model.decoder, model.classifier)
    ]
    assert sizes == [4_820_008, 4_812_641, 13_702]


def test_an_odd_image_is_refused_with_the_size_that_would_do():
    with pytest.raises(ModelError, match=r"input_size.*set it to 32"):
        GBZ(classes=2, shape=(1, 30, 30))


def test_the_loss_as_coded_is_sums_of_two_terms_and_a_mean_of_the_third(images, labels):
    model = tiny(inference="encoder_sample", class_weight="batch_mean")
    parts = model.training_loss(images, labels, seeded())
    mean, log_variance = model.encoder(images)
    posterior = Normal(mean, (0.5 * log_variance).exp())
    z = sample((mean, log_variance), 1, seeded())[0]
    expected = (
        functional.binary_cross_entropy(model.decoder(z).sigmoid(), images, reduction="sum")
        + kl_divergence(posterior, Normal(0.0, 1.0)).sum()
        + functional.cross_entropy(model.classifier(z), labels)
    )
    torch.testing.assert_close(parts["total"].sum(), expected)
    torch.testing.assert_close(
        parts["classification"].mean(), functional.cross_entropy(model.classifier(z), labels)
    )


def test_a_class_weight_of_one_weighs_every_image_fully(images, labels):
    parts = tiny(class_weight=1.0).training_loss(images, labels, seeded())
    torch.testing.assert_close(
        parts["total"], parts["reconstruction"] + parts["kl"] + parts["classification"]
    )


def _log_joint_one_by_one(model: GBZ, image, noise, target: int) -> torch.Tensor:
    """log p(x, y) of one image and one class from its importance samples, from the formula."""
    if model.encoder_sees_class:
        mean, log_variance = model.encoder.given_class(image[None], torch.tensor([target]))
    else:
        mean, log_variance = model.encoder(image[None])
    posterior = Normal(mean[0], (0.5 * log_variance[0]).exp())
    terms = []
    for draw in noise:
        z = posterior.mean + posterior.stddev * draw
        likelihood = Bernoulli(logits=model.decoder(z[None])[0], validate_args=False)
        terms.append(
            likelihood.log_prob(image).sum()
            + model.classifier(z).log_softmax(-1)[target]
            + Normal(0.0, 1.0).log_prob(z).sum()
            - posterior.log_prob(z).sum()
        )
    return torch.stack(terms).logsumexp(0) - math.log(len(terms))


@pytest.mark.parametrize("sees_class", [False, True])
@torch.no_grad()
def test_bayes_rule_agrees_with_the_formula_written_out_per_image_and_class(images, sees_class):
    model = tiny(encoder_sees_class=sees_class, samples=4)
    shape = (4, len(images), CLASSES, 2) if sees_class else (4, len(images), 2)
    noise = torch.randn(shape, generator=seeded(7))
    joint = torch.stack(
        [
            torch.stack(
                [
                    _log_joint_one_by_one(
                        model, image, noise[:, row, target] if sees_class else noise[:, row], target
                    )
                    for target in range(CLASSES)
                ]
            )
            for row, image in enumerate(images)
        ]
    )
    torch.testing.assert_close(
        model.logits(images, seeded(7)).softmax(-1), joint.softmax(-1), atol=1e-4, rtol=1e-3
    )
    torch.testing.assert_close(
        model.log_px(images, seeded(7)), joint.logsumexp(-1), atol=1e-3, rtol=1e-4
    )


@pytest.mark.parametrize("sees_class", [False, True])
@torch.no_grad()
def test_the_effective_sample_size_is_that_of_the_decided_class_s_weights(images, sees_class):
    model = tiny(encoder_sees_class=sees_class, samples=8)
    shape = (8, len(images), CLASSES, 2) if sees_class else (8, len(images), 2)
    noise = torch.randn(shape, generator=seeded(7))
    decided = model.logits(images, seeded(7)).argmax(dim=1)
    expected = []
    for row, image in enumerate(images):
        target = int(decided[row])
        sampled = noise[:, row, target] if sees_class else noise[:, row]
        weights = torch.stack(
            [_log_joint_one_by_one(model, image, one[None], target).double() for one in sampled]
        )
        weights = (weights - weights.max()).exp()
        expected.append(weights.sum() ** 2 / weights.square().sum() / 8)
    found = model.effective_samples(images, seeded(7))
    torch.testing.assert_close(found.double(), torch.stack(expected), rtol=1e-2, atol=1e-4)
    assert found.min() > 0
    assert found.max() <= 1
    assert found.std() > 0.01


@pytest.mark.parametrize("sees_class", [False, True])
def test_samples_that_are_decoded_one_after_another_decide_as_all_at_once(images, sees_class):
    model = tiny(encoder_sees_class=sees_class, samples=7)
    found = {}
    for codes in (1, 33, 10_000):
        model.codes_at_once = codes
        leaf = images.clone().requires_grad_()
        logits = model.logits(leaf, seeded(7))
        (gradient,) = torch.autograd.grad(logits[:, 0].sum(), leaf)
        found[codes] = logits.detach(), gradient
    for codes in (1, 33):
        for value, whole in zip(found[codes], found[10_000], strict=True):
            torch.testing.assert_close(value, whole, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_equal_weights_make_every_sample_count_and_one_large_weight_a_single_one(images):
    assert torch.equal(effective_share(torch.full((4, 3), -700.0)), torch.ones(3))
    lonely = torch.tensor([0.0, -500.0, -500.0, -500.0])[:, None]
    torch.testing.assert_close(effective_share(lonely), torch.tensor([0.25]))
    one = tiny(samples=1).effective_samples(images, seeded())
    assert torch.equal(one, torch.ones(len(images)))


@pytest.mark.parametrize("sees_class", [False, True])
@torch.no_grad()
def test_importance_terms_average_to_the_estimate_of_the_density(images, sees_class):
    model = tiny(encoder_sees_class=sees_class, samples=4)
    terms = model.importance_terms(images, 4, seeded(7))
    joint = terms.logsumexp(dim=0) - math.log(4)
    expected = model.log_px(images, seeded(7)).double()
    torch.testing.assert_close(joint.logsumexp(dim=1), expected, rtol=1e-5, atol=1e-4)
    assert model.importance_terms(images, 10, seeded(7)).shape == (10, len(images), CLASSES)
    assert torch.equal(model.importance_terms(images, 10, seeded(7))[:4], terms)
    for inference in ("mean", "encoder_sample"):
        with pytest.raises(ModelError, match="no importance samples"):
            tiny(inference=inference).effective_samples(images, seeded())


@pytest.mark.parametrize("sees_class", [False, True])
@torch.no_grad()
def test_importance_samples_converge_to_the_integral_over_z(images, sees_class):
    model = tiny(latent_dim=1, samples=6000, encoder_sees_class=sees_class)
    z = torch.linspace(-8, 8, 4001)[:, None]
    decoded = model.decoder(z).flatten(1)
    log_likelihood = torch.stack(
        [
            -functional.binary_cross_entropy_with_logits(
                decoded, image.flatten().expand_as(decoded), reduction="none"
            ).sum(-1)
            for image in images
        ]
    )
    log_class = model.classifier(z).log_softmax(-1)
    log_prior = Normal(0.0, 1.0).log_prob(z)
    joint = (log_likelihood[..., None] + log_class + log_prior).logsumexp(1) + math.log(16 / 4000)
    assert joint.std(dim=1).min() > 0.05, "the toy must tell classes apart"
    torch.testing.assert_close(
        model.logits(images, seeded()), joint.log_softmax(-1), atol=0.05, rtol=0
    )
    torch.testing.assert_close(
        model.log_px(images, seeded()), joint.logsumexp(-1), atol=0.05, rtol=0
    )


def test_the_decision_by_bayes_rule_is_a_normalised_log_posterior(images):
    logits = tiny().logits(images, seeded())
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(len(images)))


def test_one_draw_decides_as_coded_and_the_mean_decides_without_noise(images):
    coded, mean = tiny(inference="encoder_sample"), tiny(inference="mean")
    assert coded.stochastic
    assert not torch.equal(coded.logits(images, seeded(1)), coded.logits(images, seeded(2)))
    assert torch.equal(coded.logits(images, seeded(1)), coded.logits(images, seeded(1)))
    assert not mean.stochastic
    assert torch.equal(mean.logits(images, seeded(1)), mean.logits(images, seeded(2)))
    assert torch.equal(mean.repeated_logits(images, 3, seeded())[2], mean.logits(images, seeded()))


@pytest.mark.parametrize("settings", [{"inference": "encoder_sample"}, {"samples": 2}])
@torch.no_grad()
def test_cheap_samples_have_the_distribution_of_repeated_decisions(images, settings):
    model = tiny(**settings)
    repeated = model.repeated_logits(images, 600, seeded(1)).softmax(-1)
    calls = torch.stack(
        [model.logits(images, generator) for generator in [seeded(2)] for _ in range(600)]
    ).softmax(-1)
    assert repeated.shape == calls.shape == (600, len(images), CLASSES)
    spread = calls.std(0)
    assert spread.max() > 0.02, "the toy must be noisy"
    error = 5 * spread / math.sqrt(600) + 1e-4
    assert ((repeated.mean(0) - calls.mean(0)).abs() < error).all()
    torch.testing.assert_close(repeated.std(0), spread, rtol=0.2, atol=2e-3)


@torch.no_grad()
def test_the_expectation_view_is_the_mean_over_samples_of_the_class_probabilities(images):
    model = tiny(inference="encoder_sample", eot_samples=4000)
    view = model.views()["expectation"].logits(images, seeded(5))
    expected = model.repeated_logits(images, 4000, seeded(6)).softmax(-1).mean(0)
    torch.testing.assert_close(view.exp(), expected, atol=0.02, rtol=0)


@torch.no_grad()
def test_the_likelihood_free_view_does_not_look_at_the_decoder(images):
    model = tiny()
    view, decision = model.views()["likelihood_free"].logits, model.logits
    before, decided = view(images, seeded()), decision(images, seeded())
    for parameter in model.decoder.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=seeded(9)))
    assert torch.equal(view(images, seeded()), before)
    assert not torch.allclose(decision(images, seeded()), decided, atol=1e-2)


def test_the_training_view_follows_the_image_as_target_too(images, labels):
    model = tiny(inference="encoder_sample", class_weight="batch_mean").double()
    loss = model.views()["expectation"].training_loss
    leaf = images.double().requires_grad_()
    generators = [seeded(4) for _ in range(3)]
    (gradient,) = torch.autograd.grad(loss(leaf, labels, generators[0]).sum(), leaf)
    step = 1e-5 * torch.randn(leaf.shape, generator=seeded(8), dtype=torch.float64)
    with torch.no_grad():
        up, down = (
            loss(leaf + sign * step, labels, generators[1 + (sign < 0)]) for sign in (1, -1)
        )
    torch.testing.assert_close(((up - down) / 2).sum(), (gradient * step).sum(), rtol=1e-4, atol=0)


def test_the_training_view_is_the_loss_of_a_batch_of_one(images, labels):
    model = tiny(inference="encoder_sample", class_weight="batch_mean")
    alone = model.training_loss(images[:1], labels[:1], seeded())["total"]
    view = model.views()["expectation"].training_loss(images[:1], labels[:1], seeded())
    torch.testing.assert_close(view, alone)
    among = model.views()["expectation"].training_loss(images, labels, seeded())
    parts = model.training_loss(images, labels, seeded())
    torch.testing.assert_close(
        among, parts["reconstruction"] + parts["kl"] + parts["classification"]
    )


def test_validation_judges_the_true_decision_not_the_training_draw(images):
    model = tiny(samples=400)
    right = model.logits(images, seeded()).argmax(-1)
    assert model.validation_loss(images, right, seeded())["accuracy"].mean() == 1
    assert model.validation_loss(images, (right + 1) % CLASSES, seeded())["accuracy"].mean() == 0


def test_a_label_in_view_of_the_encoder_counts_as_no_prediction(images, labels):
    assert "accuracy" not in tiny(encoder_sees_class=True).training_loss(images, labels, seeded())


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"inference": "maen"}, "inference"),
        ({"class_weight": "sum"}, "class_weight"),
        ({"inference": "mean", "encoder_sees_class": True}, "inference"),
    ],
)
def test_an_impossible_setting_is_refused_by_name(settings, key):
    with pytest.raises(ModelError, match=f"model 'tiny': settings.{key}"):
        tiny(**settings)
