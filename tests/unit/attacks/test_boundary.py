"""The Boundary attack: closed-form distances, starts, budgets."""

import pytest
import torch
from toys import SHAPE, Linear, generator, images_for, victim_of

from assay.attacks.attack import Attack
from assay.attacks.boundary import Boundary, step_closer
from assay.attacks.victim import Victim
from assay.foundation.errors import AttackError

FAR = [100.0]  # a ball that holds every image


def assert_close_to_the_plane(attack):
    module = Linear().eval()
    images, labels = images_for(module)
    with torch.no_grad():
        exact = module.margin(images).abs() / module.weight.norm()
    result = attack(victim_of(module), images, labels, FAR, generator())
    assert result.misclassified.all()
    assert result.l2[0].median() <= 1.05 * exact.median()
    assert (result.l2[0] >= exact * (1 - 1e-4)).all()


def test_the_median_distance_is_within_five_percent_of_the_closed_form():
    assert_close_to_the_plane(Boundary(steps=1000))


def test_an_attack_that_stays_where_it_starts_does_not_pass(monkeypatch):
    class Nothing(Attack):
        norm = "l2"

        def _search(self, queries, epsilon, shared):
            return queries.images

    with pytest.raises(AssertionError):
        assert_close_to_the_plane(Nothing())
    monkeypatch.setattr("assay.attacks.boundary.step_closer", lambda origin, *rest: origin)
    with pytest.raises(AssertionError):
        assert_close_to_the_plane(Boundary(steps=2))


def test_candidates_are_closer_by_the_step_and_sideways_by_its_root():
    origin = torch.full((60, *SHAPE), 0.5)
    away, noise = torch.randn((2, 60, *SHAPE), generator=generator())
    away = 0.5 * away / away.flatten(1).norm(dim=1)[:, None, None, None]
    best = (origin + away).clamp(0, 1)
    away = best - origin
    distance = away.flatten(1).norm(dim=1)
    for size in (0.02, 0.2):
        step = torch.full((60,), size)
        made = step_closer(origin, best, distance, noise, step)
        assert made.min() >= 0
        assert made.max() <= 1
        gone = (made - origin).flatten(1)
        inside = ((made > 0) & (made < 1)).flatten(1).all(1)
        assert inside.float().mean() > 0.5
        torch.testing.assert_close(
            gone.norm(dim=1)[inside], (1 - size) * distance[inside], rtol=1e-4, atol=0
        )
        cosine = torch.cosine_similarity(away.flatten(1), gone)[inside]
        expected = torch.full_like(cosine, (1 + 2 * size) ** -0.5)
        torch.testing.assert_close(cosine, expected, rtol=1e-3, atol=0)


def test_more_steps_never_lead_farther_away():
    module = Linear().eval()
    images, labels = images_for(module)
    few, many = (
        Boundary(steps=steps)(victim_of(module), images, labels, FAR, generator()).l2
        for steps in (20, 200)
    )
    assert (many <= few + 1e-6).all()
    assert many.median() < 0.8 * few.median()


def test_a_step_costs_one_query():
    module = Linear().eval()
    images, labels = images_for(module)
    victim = victim_of(module)
    attack = Boundary(steps=100)
    result = attack(victim, images, labels, FAR, generator())
    # The clean decision, ten halvings, the verdict, and few draws of noise.
    assert (result.forwards >= 100 + 12 + 1).all()
    assert result.forwards.float().mean() < 100 + 12 + 4
    assert victim.backwards == 0


def test_where_noise_is_never_broken_an_image_of_another_class_is_the_start():
    class Corner(torch.nn.Module):
        """Class 1 only where a patch is bright throughout, which noise never is."""

        def forward(self, x):
            patch = x[:, 0, :4, :4].flatten(1).amin(1)
            return torch.stack([0 * patch + 0.5, patch], dim=1)

    images = torch.full((8, *SHAPE), 0.2)
    images[4:, :, :4, :4] = 0.9
    labels = torch.arange(8) // 4
    victim = Victim.from_module(Corner().eval(), classes=2, shape=SHAPE)
    result = Boundary(steps=50, directions=3)(victim, images, labels, FAR, generator())
    assert result.misclassified.all()
    assert (result.l2[0, :4] <= (0.3 + 0.01) * 4).all()
    alone = Boundary(steps=50, directions=3)(victim, images[:4], labels[:4], FAR, generator())
    assert not alone.misclassified.any()


def test_a_target_is_met():
    class Three(torch.nn.Module):
        def forward(self, x):
            first, second = x[:, 0, 0, 0] - 0.5, x[:, 0, 0, 1] - 0.5
            return torch.stack([0 * first + 0.1, 2 * first, second], dim=1)

    images = torch.full((12, *SHAPE), 0.5)
    images[:, :, 0, 0] += 0.01
    labels = torch.zeros(12, dtype=torch.long)
    victim = Victim.from_module(Three().eval(), classes=3, shape=SHAPE)
    result = Boundary(steps=600, target="least_likely")(victim, images, labels, FAR, generator())
    assert (result.prediction[0] == 2).all()
    assert 0.1 <= result.l2[0].median() < 0.13


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"steps": 0}, "steps"),
        ({"source_step": 0.0}, "source_step"),
        ({"source_step": 1.0}, "source_step"),
        ({"step_adaptation": 1.0}, "step_adaptation"),
        ({"directions": -1}, "directions"),
        ({"target": "next"}, "target"),
    ],
)
def test_an_impossible_setting_is_named(settings, named):
    with pytest.raises(AttackError, match=f"attack setting '{named}'"):
        Boundary(**settings)
