"""PGD with estimated gradients: the estimate beside the gradient, strength, cost."""

import pytest
import torch
from toys import SHAPE, Linear, generator, images_for, victim_of

from assay.attacks.losses import margin
from assay.attacks.queries import Queries
from assay.attacks.score_based import ScoreBasedPGD
from assay.attacks.victim import Victim
from assay.foundation.errors import AttackError

BOTH = pytest.mark.parametrize(
    "settings",
    [{"estimator": "nes", "smoothing": 0.001}, {"estimator": "spsa", "smoothing": 0.01}],
    ids=["nes", "spsa"],
)


def queries_of(module, images, labels):
    victim = victim_of(module)
    return Queries(
        victim,
        victim.views["model"],
        images,
        labels,
        generator(),
        log_scores=torch.zeros(len(images), 2),
        targets=None,
        repeats=1,
    )


@BOTH
@pytest.mark.parametrize("at", [None, 0.0, 1.0])
def test_many_queries_estimate_the_gradient_also_on_the_edge_of_the_bounds(settings, at):
    module = Linear().eval()
    images, labels = images_for(module, n=6)
    if at is not None:
        images.fill_(at)
    queries = queries_of(module, images, labels)
    rows = torch.arange(6)
    gradient = ScoreBasedPGD(queries=4000, **settings).estimated_gradient(queries, images, rows)
    _, _, exact = queries.gradient(images, rows, margin)
    cosine = torch.cosine_similarity(gradient.flatten(1), exact.flatten(1))
    assert cosine.min() > 0.97


@BOTH
def test_it_breaks_a_linear_model_little_beyond_its_distance_and_never_before(settings):
    module = Linear().eval()
    images, labels = images_for(module)
    with torch.no_grad():
        distance = module.margin(images).abs() / module.weight.norm()
    near = distance < distance.median()  # so that the bounds [0, 1] do not interfere
    attack = ScoreBasedPGD(norm="l2", steps=20, queries=100, **settings)
    for image, label, exact in zip(
        images[near][:8], labels[near][:8], distance[near].tolist()[:8], strict=True
    ):
        result = attack(
            victim_of(module), image[None], label[None], [0.99 * exact, 1.1 * exact], generator()
        )
        assert result.misclassified[:, 0].tolist() == [False, True]


def test_queries_count_and_a_broken_image_costs_none_any_more():
    module = Linear().eval()
    images, labels = images_for(module)
    attack = ScoreBasedPGD(steps=5, queries=10)
    result = attack(victim_of(module), images, labels, [0.05], generator())
    robust = ~result.misclassified[0]
    assert robust.any()
    assert result.misclassified[0].any()
    # Five estimates and six looks, the clean decision and the verdict.
    assert (result.forwards[0, robust] == 5 * 10 + 6 + 2).all()
    assert ((result.forwards[0, ~robust] - 3) % 11 == 0).all()
    assert (result.forwards[0, ~robust] < 5 * 10 + 6 + 2).any()
    assert result.backwards.sum() == 0


def test_more_queries_make_a_stronger_attack():
    module = Linear().eval()
    images, labels = images_for(module, n=200)
    misclassified = [
        ScoreBasedPGD(steps=10, queries=queries)(
            victim_of(module), images, labels, [0.05], generator()
        ).misclassified.sum()
        for queries in (2, 100)
    ]
    assert misclassified[1] > misclassified[0] + 10


def test_where_the_loss_is_flat_it_wanders_instead_of_standing_still():
    class Cliff(torch.nn.Module):
        def forward(self, x):
            far = ((x - 0.5).flatten(1).norm(dim=1) > 0.3).float()
            return torch.stack([1 - far, far], dim=1)

    images = torch.full((5, *SHAPE), 0.5)
    labels = torch.zeros(5, dtype=torch.long)
    attack = ScoreBasedPGD(norm="l2", steps=30, step=0.1, queries=4)
    assert attack(victim_of(Cliff()), images, labels, [0.4], generator()).misclassified.all()


def test_a_target_is_met_where_any_wrong_class_would_be_nearer():
    class Three(torch.nn.Module):
        def forward(self, x):
            first, second = x[:, 0, 0, 0] - 0.5, x[:, 0, 0, 1] - 0.5
            return torch.stack([0 * first + 0.05, 2 * first, second], dim=1)

    images = torch.full((10, *SHAPE), 0.5)
    images[:, :, 0, 0] += 0.01
    labels = torch.zeros(10, dtype=torch.long)
    victim = Victim.from_module(Three().eval(), classes=3, shape=SHAPE)
    attack = ScoreBasedPGD(steps=20, queries=20, target="least_likely")
    result = attack(victim, images, labels, [0.1], generator())
    assert (result.prediction[0] == 2).all()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"norm": "l0"}, "norm"),
        ({"estimator": "fd"}, "estimator"),
        ({"queries": 7}, "queries"),
        ({"queries": 0}, "queries"),
        ({"steps": 0}, "steps"),
        ({"step": 0.0}, "step"),
        ({"smoothing": 0.5}, "smoothing"),
        ({"loss": "training"}, "loss"),
        ({"loss": "hinge"}, "loss"),
        ({"target": "next"}, "target"),
    ],
)
def test_an_impossible_setting_is_named(settings, named):
    with pytest.raises(AttackError, match=f"attack setting '{named}'"):
        ScoreBasedPGD(**settings)
