"""Random searches: what they find, and that they find the first and the worst."""

import pytest
import torch
from toys import SHAPE, Linear, generator, images_for, victim_of

from assay.attacks.random_search import GaussianNoiseSearch, RandomDirection
from assay.attacks.score_based import ScoreBasedPGD
from assay.attacks.victim import Victim, View
from assay.foundation.errors import AttackError


class Norm(torch.nn.Module):
    """Class 1 farther than 1 from grey."""

    def forward(self, x):
        beyond = (x - 0.5).flatten(1).norm(dim=1) - 1
        return torch.stack([0 * beyond, beyond], dim=1)


GREY = torch.full((20, *SHAPE), 0.5)
ZEROS = torch.zeros(20, dtype=torch.long)


def test_the_first_deviation_that_breaks_is_taken():
    result = GaussianNoiseSearch(deviations=500)(
        victim_of(Norm()), GREY, ZEROS, [100.0], generator()
    )
    assert result.misclassified.all()
    # Noise of deviation s on 36 values has length 6 s, give or take an eighth of it.
    assert (result.l2 > 1).all()
    assert result.l2.median() < 1.05


def test_noise_beyond_the_budget_is_no_success():
    attack = GaussianNoiseSearch(deviations=200)
    result = attack(victim_of(Norm()), GREY, ZEROS, [0.9, 1.2], generator())
    assert not result.misclassified[0].any()
    assert result.misclassified[1].all()


def test_noise_that_never_breaks_costs_one_query_per_deviation():
    class Sure(torch.nn.Module):
        def forward(self, x):
            return torch.stack([1 + 0 * x[:, 0, 0, 0], 0 * x[:, 0, 0, 0]], dim=1)

    attack = GaussianNoiseSearch(deviations=37)
    result = attack(victim_of(Sure()), GREY, ZEROS, [100.0], generator())
    assert not result.misclassified.any()
    assert (result.forwards == 37 + 2).all()


def test_the_noise_search_asks_the_decision_and_no_view():
    def never(x, g):
        raise AssertionError("a view was asked")

    module = Norm().eval()
    victim = Victim(
        logits=lambda x, g: module(x),
        classes=2,
        shape=SHAPE,
        device="cpu",
        views={"left": View(never), "right": View(never)},
    )
    attack = GaussianNoiseSearch(deviations=500)
    result = attack(victim, GREY, ZEROS, [100.0], generator())
    alone = attack(victim_of(module), GREY, ZEROS, [100.0], generator())
    assert result.views == alone.views == ("", "decision")
    assert torch.equal(result.images, alone.images)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_points_lie_on_the_surface_of_the_ball(norm):
    module = Linear().eval()
    images, labels = images_for(module)
    result = RandomDirection(norm=norm, directions=5)(
        victim_of(module), images, labels, [0.05], generator()
    )
    reached = {"linf": result.linf, "l2": result.l2}[norm]
    torch.testing.assert_close(reached, torch.full_like(reached, 0.05), rtol=1e-4, atol=0)


def test_the_worst_point_is_kept_and_more_points_are_worse():
    module = Linear().eval()
    images, labels = images_for(module)
    few, many = (
        RandomDirection(directions=directions)(
            victim_of(module), images, labels, [0.05], generator()
        )
        for directions in (1, 200)
    )
    own = labels[:, None]
    fewer, more = (result.scores[0].gather(1, own) for result in (few, many))
    robust = ~many.misclassified[0]
    assert (more <= fewer)[robust].float().mean() > 0.95
    assert many.misclassified.sum() > few.misclassified.sum()
    assert (many.forwards[0, robust] == 202).all()


def test_the_control_is_weaker_than_a_search_with_as_many_queries():
    module = Linear().eval()
    images, labels = images_for(module, n=200)
    control = RandomDirection(directions=200)(
        victim_of(module), images, labels, [0.06], generator()
    )
    search = ScoreBasedPGD(steps=5, queries=38)
    searched = search(victim_of(module), images, labels, [0.06], generator())
    assert searched.misclassified.sum() > control.misclassified.sum() + 10


@pytest.mark.parametrize(
    ("attack", "settings", "named"),
    [
        (GaussianNoiseSearch, {"deviations": 0}, "deviations"),
        (GaussianNoiseSearch, {"largest": 0.0}, "largest"),
        (GaussianNoiseSearch, {"norm": "l0"}, "norm"),
        (RandomDirection, {"norm": "l0"}, "norm"),
        (RandomDirection, {"directions": 0}, "directions"),
    ],
)
def test_an_impossible_setting_is_named(attack, settings, named):
    with pytest.raises(AttackError, match=f"attack setting '{named}'"):
        attack(**settings)
