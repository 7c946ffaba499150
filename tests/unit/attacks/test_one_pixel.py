"""The one-pixel attack's evolution, batched over images."""

import pytest
import torch
from toys import SHAPE, Linear, generator, images_for, victim_of

from assay.attacks.one_pixel import OnePixel, distinct_others, paint
from assay.attacks.queries import Queries
from assay.attacks.victim import Victim, View
from assay.foundation.errors import AttackError

PUBLISHED = OnePixel(
    population=45,
    generations=20,
    strategy="best1bin",
    weight=[0.5, 1.0],
    crossover=0.7,
    objective="inverted",
    tolerance=0.01,
    as_published=True,
)


def even():
    """A linear toy in which no pixel decides alone."""
    module = Linear().eval()
    module.weight.data.clamp_(-0.8, 0.8)
    return module


def breakable_by_one_pixel(module, images):
    """Which images of the linear toy some pixel, set to 0 or 1, moves across the boundary."""
    with torch.no_grad():
        margin = module.margin(images)[:, None, None, None]
        # The margin changes by weight * (value - pixel); its sign has to turn.
        ends = torch.stack([module.weight * (value - images) for value in (0.0, 1.0)])
        against = (-margin.sign() * ends).amax(0)
        return against.flatten(1).amax(1) > margin.abs().flatten()


def test_it_breaks_the_images_that_one_pixel_can_break_and_no_others():
    module = even()
    images, labels = images_for(module, n=60)
    possible = breakable_by_one_pixel(module, images)
    assert 10 < possible.sum() < 50
    attack = OnePixel(population=40, generations=40)
    misclassified = attack(victim_of(module), images, labels, [1], generator()).misclassified[0]
    assert not (misclassified & ~possible).any()
    assert (misclassified & possible).sum() >= possible.sum() - 1


def test_more_pixels_break_more_images_and_never_change_more_than_allowed():
    module = even()
    images, labels = images_for(module, n=60)
    attack = OnePixel(population=30, generations=10)
    result = attack(victim_of(module), images, labels, [5, 1, 3], generator())
    misclassified = result.misclassified.sum(1).tolist()
    assert misclassified[1] < misclassified[2] < misclassified[0]
    assert result.l0.amax(1).tolist() == [5, 1, 3]


def test_it_changes_all_channels_of_a_pixel():
    module = Linear(shape=(3, 6, 6)).eval()
    images, labels = images_for(module, shape=(3, 6, 6))
    victim = Victim.from_module(module, classes=2, shape=(3, 6, 6))
    result = OnePixel(population=20, generations=5)(victim, images, labels, [1], generator())
    changed = (result.images[0] != images).flatten(2).any(1).sum(1)
    assert result.misclassified.any()
    assert (changed <= 1).all()


def test_an_image_that_never_breaks_costs_exactly_its_evaluations():
    victim = Victim(
        logits=lambda x, g: torch.stack([x.mean((1, 2, 3)) + 2, x[:, 0, 0, 0]], dim=1),
        classes=2,
        shape=SHAPE,
        device="cpu",
    )
    images, labels = torch.rand(7, *SHAPE), torch.zeros(7, dtype=torch.long)
    result = OnePixel(population=10, generations=7)(victim, images, labels, [1], generator())
    assert not result.misclassified.any()
    # Eight times the population, and the clean decision and the verdict.
    assert result.forwards.unique().tolist() == [8 * 10 + 2]


def test_a_broken_image_leaves_and_the_others_keep_the_batches_full():
    sizes = []
    module = even()
    images, labels = images_for(module)

    def logits(x, g):
        sizes.append(len(x))
        return module(x)

    victim = Victim(logits=logits, classes=2, shape=SHAPE, device="cpu", max_batch=64)
    result = OnePixel(population=10, generations=10)(victim, images, labels, [1], generator())
    spent = result.forwards[0] - 2
    assert spent[result.misclassified[0]].min() == 10
    assert spent[~result.misclassified[0]].unique().tolist() == [110]
    # At most one batch per generation is not full, and the clean decision's and the verdict's.
    assert sum(size < 64 for size in sizes) <= 11 + 2
    assert max(sizes) == 64


def test_the_inverted_objective_raises_the_true_class_and_breaks_nothing():
    module = Linear().eval()
    images, labels = images_for(module)
    victim = victim_of(module)
    with torch.no_grad():
        before = module(images).softmax(1).gather(1, labels[:, None])
    own = labels[:, None]
    wrong_way = PUBLISHED(victim, images, labels, [1], generator())
    right_way = OnePixel(population=45, generations=20)(victim, images, labels, [1], generator())
    assert not wrong_way.misclassified.any()
    assert (wrong_way.scores[0].gather(1, own) >= before).all()
    assert right_way.misclassified.any()


def test_a_population_that_agrees_ends_its_search():
    victim = Victim(
        logits=lambda x, g: torch.tensor([[2.0, 0.0]]) + 1e-4 * x[:, 0, 0, :2],
        classes=2,
        shape=SHAPE,
        device="cpu",
    )
    images, labels = torch.rand(5, *SHAPE), torch.zeros(5, dtype=torch.long)
    result = PUBLISHED(victim, images, labels, [1], generator())
    assert (result.forwards == 45 + 2).all()


def test_mutants_mix_three_different_other_members():
    images, labels = torch.rand(20, *SHAPE), torch.zeros(20, dtype=torch.long)
    victim = victim_of(Linear())
    scores = torch.zeros(len(images), 2)
    view = View(lambda x, g: x)
    queries = Queries(victim, view, images, labels, generator(), log_scores=scores, repeats=1)
    a, b, c = distinct_others(queries, 20, 6)
    own = torch.arange(6).expand(20, -1)
    together = torch.stack([own, a, b, c])
    assert (together.sort(0).values.diff(dim=0) > 0).all()
    assert together.min() == 0
    assert together.max() == 5
    # Every other member is drawn about equally often.
    sampled = distinct_others(queries, 4000, 6)
    for part in sampled:
        share = torch.bincount(part[:, 2], minlength=6) / 4000
        assert share[2] == 0
        assert share[torch.arange(6) != 2].min() > 0.15


def test_painting_writes_each_members_pixels_and_the_later_one_wins():
    images = torch.zeros(2, 2, 4, 5)
    members = torch.tensor(
        [
            [0.99, 0.0, 0.3, 0.4, 0.0, 0.99, 0.6, 0.7],
            [0.5, 0.5, 0.1, 0.2, 0.5, 0.5, 0.8, 0.9],
        ]
    )
    paint(images, members)
    expected = torch.zeros(2, 2, 4, 5)
    expected[0, :, 3, 0] = torch.tensor([0.3, 0.4])
    expected[0, :, 0, 4] = torch.tensor([0.6, 0.7])
    expected[1, :, 2, 2] = torch.tensor([0.8, 0.9])
    assert torch.equal(images, expected)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"objective": "loss"}, "objective"),
        ({"strategy": "rand2"}, "strategy"),
        ({"population": 3}, "population"),
        ({"generations": -1}, "generations"),
        ({"crossover": 1.5}, "crossover"),
        ({"weight": 0}, "weight"),
        ({"weight": [0.5]}, "weight"),
        ({"weight": [0.5, 1.0, 2.0]}, "weight"),
        ({"weight": [1.0, 0.5]}, "weight"),
    ],
)
def test_impossible_settings_are_named(settings, named):
    with pytest.raises(AttackError, match=f"setting '{named}'"):
        OnePixel(**settings)


def test_half_a_pixel_is_refused():
    module = Linear().eval()
    images, labels = images_for(module)
    with pytest.raises(AttackError, match="number of pixels"):
        OnePixel(population=5, generations=1)(victim_of(module), images, labels, [0.5], generator())
