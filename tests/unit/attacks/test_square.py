"""Square: its windows, its proposals, its strength on models known on paper."""

import pytest
import torch
from toys import SHAPE, Linear, generator, images_for, victim_of

from assay.attacks import square
from assay.attacks.queries import Queries
from assay.attacks.square import Square
from assay.attacks.victim import Victim, View
from assay.foundation.errors import AttackError


def queries_of(module, images, labels):
    victim = Victim.from_module(module.eval(), classes=2, shape=tuple(images.shape[1:]))
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


def test_the_windows_shrink_as_the_paper_says():
    sides = [
        Square().window_side(proposal, 28, 28) for proposal in (0, 10, 11, 51, 201, 501, 1001, 4999)
    ]
    assert sides == [25, 25, 18, 13, 9, 6, 4, 2]
    rescaled = Square(queries=500, rescale_schedule=True)
    assert [rescaled.window_side(proposal, 28, 28) for proposal in (0, 1, 3, 11, 499)] == [
        25,
        18,
        13,
        9,
        1,
    ]


def test_a_window_fits_an_image_that_is_not_square():
    assert Square().window_side(0, 40, 5) == 5
    images = torch.full((3, 1, 12, 5), 0.5)
    labels = torch.zeros(3, dtype=torch.long)
    linear = Linear((1, 12, 5)).eval()
    with torch.no_grad():
        labels = linear(images).argmax(1)
    for norm, epsilon in (("linf", 0.3), ("l2", 2.0)):
        victim = Victim.from_module(linear, classes=2, shape=(1, 12, 5))
        result = Square(norm=norm, queries=60)(victim, images, labels, [epsilon], generator())
        assert result.misclassified.all()


def test_windows_lie_everywhere_in_the_image_and_nowhere_else():
    corners = torch.stack(
        [part.flatten() for part in torch.meshgrid(*[torch.arange(7) / 7] * 2, indexing="ij")],
        dim=1,
    )
    places = square.window_places(corners, 3, 9, 9)
    assert places.shape == (49, 9)
    assert sorted(places.unique().tolist()) == list(range(81))
    assert (square.window_places(torch.full((1, 2), 1 - 2**-24), 3, 9, 9) <= 80).all()
    assert places[0].tolist() == [0, 1, 2, 9, 10, 11, 18, 19, 20]


def test_the_pair_of_bumps_agrees_with_the_sum_of_its_rings():
    side = 7
    expected = torch.zeros(side, side)
    for top, height, sign in ((0, 3, 1), (3, 4, -1)):
        bump = torch.zeros(height, side)
        for ring in range(max(height // 2, side // 2) + 1):
            rows = slice(max(height // 2 - ring, 0), height // 2 + ring + 1)
            columns = slice(max(side // 2 - ring, 0), side // 2 + ring + 1)
            bump[rows, columns] += 1 / (ring + 1) ** 2
        expected[top : top + height] = sign * bump / bump.norm()
    torch.testing.assert_close(square.bump_pair(side), expected / expected.norm())


@pytest.mark.parametrize("channels", [1, 3])
def test_every_linf_proposal_changes_one_window_to_the_ends_of_the_ball(channels):
    shape = (channels, 8, 8)
    images = torch.rand((40, *shape), generator=generator())
    images[:, :, :4] = 0.0  # on an edge of [0, 1] every second sign changes nothing
    walk = square.SignWalk(
        queries_of(Linear(shape), images, torch.zeros(40, dtype=torch.long)), torch.arange(40), 0.1
    )
    for side in (1, 2, 5):
        before = walk.images.clone()
        walk.propose(side)
        changed = (walk.images != before).flatten(1)
        assert changed.any(dim=1).all()
        assert changed.sum(1).max() <= channels * side**2
        low, high = (images - 0.1).clamp(0, 1), (images + 0.1).clamp(0, 1)
        assert ((walk.images == low) | (walk.images == high)).all()
        walk.accept(torch.arange(40) % 2 == 0)
        assert torch.equal(walk.images[1::2], before[1::2])
        assert (walk.images[::2] != before[::2]).flatten(1).any(dim=1).all()


def test_an_l2_proposal_uses_the_whole_length_where_the_bounds_cut_some_off():
    images = torch.zeros(30, 1, 12, 12)
    walk = square.BumpWalk(
        queries_of(Linear((1, 12, 12)), images, torch.zeros(30, dtype=torch.long)),
        torch.arange(30),
        1.5,
    )
    for side in (9, 3):
        before = walk.images.clone()
        length = (walk.images - images).flatten(1).norm(dim=1)
        torch.testing.assert_close(length, torch.full((30,), 1.5), rtol=1e-5, atol=0)
        walk.propose(side)
        assert (walk.images != before).flatten(1).any(dim=1).all()
        walk.accept(torch.arange(30) % 3 == 0)
        assert torch.equal(walk.images[1::3], before[1::3])
        assert (walk.images[::3] != before[::3]).flatten(1).any(dim=1).all()


def shifted(module, distance, norm):
    """Images at one distance from a linear module's plane: (n, C, H, W), (n,)."""
    images, labels = images_for(module, n=16)
    weight = module.weight.detach()
    way = weight.sign() if norm == "linf" else weight
    with torch.no_grad():
        margin = module.margin(images)
        dual = weight.abs().sum() if norm == "linf" else weight.norm()
        missing = distance * dual * margin.sign() - margin
    images = images + missing[:, None, None, None] * way / (way * weight).sum()
    return images.clamp(0.1, 0.9), labels


@pytest.mark.parametrize(("norm", "distance", "reached"), [("linf", 0.05, 1.1), ("l2", 0.3, 1.75)])
def test_it_breaks_a_linear_model_little_beyond_its_distance_and_never_before(
    norm, distance, reached
):
    module = Linear().eval()
    images, labels = shifted(module, distance, norm)
    attack = Square(norm=norm, queries=600, rescale_schedule=True)
    epsilons = [0.98 * distance, reached * distance]
    result = attack(victim_of(module), images, labels, epsilons, generator())
    assert not result.misclassified[0].any()
    assert result.misclassified[1].all()


def test_the_budget_is_kept_and_an_image_leaves_at_its_first_success():
    module = Linear().eval()
    images, labels = images_for(module)
    result = Square(queries=50)(victim_of(module), images, labels, [0.05], generator())
    robust = ~result.misclassified[0]
    assert robust.any()
    assert result.misclassified[0].any()
    # Beside the queries: the clean decision and the verdict.
    assert (result.forwards[0, robust] == 52).all()
    assert (result.forwards[0, ~robust] < 52).any()
    assert result.backwards.sum() == 0


def test_restarts_break_more_and_run_only_for_what_is_left():
    module = Linear().eval()
    images, labels = images_for(module)
    one = Square(queries=20)(victim_of(module), images, labels, [0.06], generator())
    many = Square(queries=20, restarts=8)(victim_of(module), images, labels, [0.06], generator())
    assert (many.misclassified | ~one.misclassified).all()
    assert many.misclassified.sum() > one.misclassified.sum()
    assert torch.equal(many.forwards[one.misclassified], one.forwards[one.misclassified])


def test_a_target_is_met_where_any_wrong_class_would_be_nearer():
    class Three(torch.nn.Module):
        def forward(self, x):
            first = x[:, 0, :3].flatten(1).mean(1) - 0.5
            second = x[:, 0, 3:].flatten(1).mean(1) - 0.5
            return torch.stack([0 * first + 0.05, 3 * first, second], dim=1)

    images = torch.full((10, *SHAPE), 0.5)
    labels = torch.zeros(10, dtype=torch.long)
    images[:, :, :3] += 0.005  # class 1 is second
    victim = Victim.from_module(Three().eval(), classes=3, shape=SHAPE)
    untargeted = Square(queries=200)(victim, images, labels, [0.1], generator())
    assert (untargeted.prediction == 1).any()
    targeted = Square(queries=200, target="least_likely")(
        victim, images, labels, [0.1], generator()
    )
    assert (targeted.target == 2).all()
    assert (targeted.prediction[0] == 2).all()


def test_a_lucky_draw_of_a_noisy_view_neither_ends_nor_blocks_the_search():
    module = Linear().eval()
    images, labels = images_for(module)

    def noisy(x, draw):
        logits = module(x)
        logits[:, 1] += 3.0 * torch.randn(len(x), generator=draw)
        return logits

    victim = Victim(
        logits=noisy,
        classes=2,
        shape=SHAPE,
        device="cpu",
        views={"noisy": View(noisy)},
        stochastic=True,
    )
    result = Square(queries=200)(victim, images, labels, [0.15], generator(), repeats=20)
    searched = result.view[0] == 1
    assert result.misclassified[0, searched].float().mean() > 0.7
    with torch.no_grad():
        wrong = module(result.images[0]).argmax(1) != labels
    assert (wrong | ~result.misclassified[0])[searched].float().mean() > 0.9


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"norm": "l0"}, "norm"),
        ({"queries": 0}, "queries"),
        ({"p_init": 0.0}, "p_init"),
        ({"p_init": 1.5}, "p_init"),
        ({"restarts": 0}, "restarts"),
        ({"target": "next"}, "target"),
    ],
)
def test_an_impossible_setting_is_named(settings, named):
    with pytest.raises(AttackError, match=f"attack setting '{named}'"):
        Square(**settings)
