"""The victim, its views and the one method that decides success."""

import pytest
import torch
from toys import SHAPE, Linear, generator, images_for, victim_of

from assay.attacks.attack import Attack
from assay.attacks.autoattack import AutoAttack
from assay.attacks.clean import Clean
from assay.attacks.corruptions import ShotNoise
from assay.attacks.fgsm import FGSM
from assay.attacks.latent_descent import LatentDescent
from assay.attacks.pgd import PGD
from assay.attacks.prediction import evaluate_images
from assay.attacks.queries import Queries
from assay.attacks.random_search import GaussianNoiseSearch
from assay.attacks.square import Square
from assay.attacks.victim import Victim, View
from assay.foundation.errors import AttackError
from assay.threat.ball import project, project_and_clip


class Propose(Attack):
    """An attack whose search proposes what it is told to."""

    norm = "linf"

    def _search(self, queries, epsilon, shared):
        return self.proposal(queries)


def proposing(function):
    attack = Propose()
    object.__setattr__(attack, "proposal", function)
    return attack


def plain(logits, **options):
    return Victim(logits=logits, classes=2, shape=SHAPE, device="cpu", **options)


def two_logits(margin):
    return torch.stack([torch.zeros_like(margin), margin], dim=1)


# --- the final method ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-7.0, 0.2, 9.0])
@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.05), ("l2", 0.3), ("l0", 2)])
def test_a_search_cannot_leave_the_box_or_the_ball(value, norm, epsilon):
    origin = torch.rand(5, *SHAPE, generator=generator())
    inside, usable = project_and_clip(torch.full_like(origin, value), origin, epsilon, norm)
    change = (inside - origin).flatten(1).double()
    assert usable.all()
    assert inside.min() >= 0
    assert inside.max() <= 1
    length = {"linf": change.abs().amax(1), "l2": change.norm(dim=1), "l0": (change != 0).sum(1)}
    assert length[norm].max() <= epsilon + 1e-6
    assert length[norm].min() > 0


def test_projection_keeps_what_is_inside_and_the_largest_pixels_of_l0():
    origin = torch.full((1, *SHAPE), 0.5)
    inside = origin + 0.01
    for norm in ("linf", "l2"):
        assert torch.equal(project(inside, origin, 0.2, norm), inside)
    changed = origin.clone()
    changed[0, 0, 0, :3] = torch.tensor([0.6, 0.9, 0.2])
    kept = project(changed, origin, 2, "l0")
    assert kept[0, 0, 0, :3].tolist() == pytest.approx([0.5, 0.9, 0.2])


def test_a_search_cannot_declare_a_success():
    module = Linear().eval()
    images, labels = images_for(module)
    result = proposing(lambda queries: queries.images)(
        victim_of(module), images, labels, [0.1], generator()
    )
    assert not result.misclassified.any()
    assert result.forwards.unique().tolist() == [2]  # the clean decision and the verdict


def test_proposals_that_are_not_finite_leave_the_image_as_it_was():
    module = Linear().eval()
    images, labels = images_for(module)
    result = proposing(lambda queries: queries.images * torch.nan)(
        victim_of(module), images, labels, [0.1], generator()
    )
    assert torch.equal(result.images[0], images)
    assert (result.non_finite == 1).all()
    assert not result.misclassified.any()


def test_logits_that_are_not_finite_are_no_success():
    images = torch.full((3, *SHAPE), 0.5)
    labels = torch.ones(3, dtype=torch.long)

    def logits(x, g):
        margin = torch.where(x.mean((1, 2, 3)) > 0.51, torch.nan, 1.0)
        return two_logits(margin)

    victim = plain(logits)
    for attack in (proposing(lambda queries: queries.images + 0.05), PGD(steps=3)):
        result = attack(victim, images, labels, [0.1], generator())
        assert not result.misclassified.any()
        assert result.images.isfinite().all()
        assert result.scores.isfinite().all()
    result = proposing(lambda queries: queries.images + 0.05)(
        victim, images, labels, [0.1], generator()
    )
    assert torch.equal(result.images[0], images)
    assert (result.non_finite == 1).all()


def test_not_finite_logits_of_clean_images_stop_the_attack():
    victim = plain(lambda x, g: torch.full((len(x), 2), torch.nan))
    with pytest.raises(AttackError, match="not finite"):
        FGSM()(victim, torch.rand(3, *SHAPE), torch.zeros(3).long(), [0.1], generator())


def test_logits_of_the_wrong_shape_are_told():
    victim = plain(lambda x, g: torch.zeros(len(x), 3))
    with pytest.raises(AttackError, match="logits of shape"):
        FGSM()(victim, torch.rand(3, *SHAPE), torch.zeros(3).long(), [0.1], generator())


@pytest.mark.parametrize("part", ["whole", "inside"])
def test_a_module_in_training_mode_is_refused(part):
    module = Linear().eval()
    (module if part == "whole" else module.dropout).train()
    with pytest.raises(AttackError, match="training mode"):
        Victim.from_module(module, classes=2, shape=SHAPE)


def test_log_px_of_the_final_image_is_reported():
    module = Linear().eval()
    images, labels = images_for(module)
    victim = plain(lambda x, g: module(x), log_px=lambda x, g: -x.sum((1, 2, 3)))
    result = FGSM()(victim, images, labels, [0.1], generator())
    torch.testing.assert_close(result.log_px[0], -result.images[0].sum((1, 2, 3)))
    assert victim_of(module).log_px(images, generator()).isnan().all()


# --- views --------------------------------------------------------------------------------------


def half_sighted():
    """A defence with two views; each shows the gradient for one half of the images only."""
    module = Linear().eval()
    images, labels = images_for(module, n=60)
    left = images[:, 0, 0, 0] > 0.5

    def through(sees_left):
        def logits(x, g):
            hidden = (x[:, 0, 0, 0] > 0.5) != sees_left
            mixed = torch.where(hidden[:, None, None, None], x.detach(), x)
            return module(mixed)

        return logits

    def victim(*names):
        views = {"left": View(through(True)), "right": View(through(False))}
        return plain(lambda x, g: module(x), views={name: views[name] for name in names})

    # The pixel that decides which view is blind must not move.
    module.weight.data[:, 0, 0] = 0.0
    with torch.no_grad():
        labels = module(images).argmax(1)
    return victim, images, labels, left


def test_the_union_over_views_beats_every_single_view():
    victim, images, labels, _ = half_sighted()
    attack = PGD(steps=5, random_start=False)
    misclassified = {
        names: attack(victim(*names), images, labels, [0.08], generator()).misclassified[0]
        for names in (("left",), ("right",), ("left", "right"))
    }
    union = misclassified["left", "right"]
    assert torch.equal(union, misclassified[("left",)] | misclassified[("right",)])
    assert union.sum() > max(misclassified[("left",)].sum(), misclassified[("right",)].sum())


def test_the_view_that_broke_an_image_is_named_and_the_next_one_is_spared_it():
    victim, images, labels, left = half_sighted()
    # FGSM: on a blind view a search would walk at random and break some images by luck.
    result = FGSM()(victim("left", "right"), images, labels, [0.08], generator())
    assert result.views == ("", "left", "right")
    misclassified = result.misclassified[0]
    assert torch.equal(result.view[0, misclassified], torch.where(left[misclassified], 1, 2))
    assert (
        result.backwards[0, misclassified & left].max()
        < result.backwards[0, misclassified & ~left].min()
    )


def test_as_published_searches_on_the_first_view_only():
    victim, images, labels, left = half_sighted()
    result = FGSM(as_published=True)(victim("left", "right"), images, labels, [0.08], generator())
    assert result.views == ("", "left")
    assert not (result.misclassified[0] & ~left).any()


def test_the_true_decision_judges_not_the_view():
    module = Linear().eval()
    images, labels = images_for(module)
    # The view calls everything broken at once; the decision is constant.
    liar = View(lambda x, g: -10 * module(x))
    victim = plain(
        lambda x, g: torch.nn.functional.one_hot(labels[:1], 2).float().repeat(len(x), 1),
        views={"liar": liar},
    )
    images, labels = images[labels == labels[0]], labels[labels == labels[0]]
    result = PGD(steps=20)(victim, images, labels, [0.1], generator())
    assert not result.misclassified.any()
    # Each refusal doubles the wait, so a lying view cannot make the attack expensive.
    assert result.backwards.unique().tolist() == [20]
    assert result.forwards.max() <= 1 + 21 + 6 + 1


def test_a_views_passes_scale_the_counters():
    module = Linear().eval()
    images, labels = images_for(module)
    victim = plain(lambda x, g: module(x), views={"ten": View(lambda x, g: module(x), passes=10)})
    result = FGSM()(victim, images, labels, [0.01], generator())
    assert (result.backwards == 10).all()
    assert victim.backwards == 10 * len(images)


# --- randomised victims -------------------------------------------------------------------------


def coin(share_wrong):
    """A decision that is wrong in a share of its draws, whatever the image: label 0."""

    def logits(x, g):
        wrong = torch.rand(len(x), generator=g) < share_wrong
        return two_logits(torch.where(wrong, 1.0, -1.0) + 0 * x.mean((1, 2, 3)))

    return plain(logits, stochastic=True)


def test_a_minority_of_lucky_samples_is_no_success():
    images, labels = torch.full((50, *SHAPE), 0.5), torch.zeros(50, dtype=torch.long)
    result = PGD(steps=5, restarts=2)(coin(0.15), images, labels, [0.1], generator(), repeats=60)
    assert not result.misclassified.any()
    assert result.misclassified_share.mean() == pytest.approx(0.15, abs=0.04)
    assert (result.prediction == 0).all()


def test_a_majority_of_repeats_breaks_and_a_tie_does_not():
    images, labels = torch.rand(4, *SHAPE), torch.zeros(4, dtype=torch.long)

    def repeated_logits(x, n, g):
        wrong = torch.arange(n)[:, None] < torch.tensor([0, 5, 6, 10])
        return torch.stack([torch.zeros(wrong.shape), wrong * 2.0 - 1.0], dim=2)

    victim = plain(
        lambda x, g: torch.zeros(len(x), 2), stochastic=True, repeated_logits=repeated_logits
    )
    prediction = evaluate_images(victim, images, labels, generator(), repeats=10)
    assert prediction.misclassified.tolist() == [False, False, True, True]
    assert prediction.misclassified_share.tolist() == pytest.approx([0, 0.5, 0.6, 1])
    assert prediction.prediction.tolist() == [0, 0, 1, 1]


def test_where_most_votes_are_wrong_the_prediction_is_the_most_voted_wrong_class():
    def repeated_logits(x, n, g):
        predicted = torch.tensor([0, 0, 0, 0, 2, 2, 2, 1, 1])[:, None]
        return torch.nn.functional.one_hot(predicted, 3).float()

    victim = Victim(
        logits=lambda x, g: torch.zeros(len(x), 3),
        classes=3,
        shape=SHAPE,
        device="cpu",
        stochastic=True,
        repeated_logits=repeated_logits,
    )
    prediction = evaluate_images(
        victim, torch.rand(1, *SHAPE), torch.tensor([0]), generator(), repeats=9
    )
    assert prediction.misclassified.tolist() == [True]
    assert prediction.prediction.tolist() == [2]


def test_the_expectation_view_beats_a_single_draw_on_a_random_defence():
    module = Linear().eval()
    images, labels = images_for(module)
    across = torch.randn(SHAPE, generator=generator(9))

    def draw(x, g, n=1):
        # A random direction drowns the gradient of every single draw; its mean is zero.
        loud = 40 * torch.randn((n, len(x)), generator=g)
        return module.margin(x) + loud * ((x - x.detach()) * across).flatten(1).sum(1)

    def defence(n):
        view = View(lambda x, g: two_logits(draw(x, g, n).mean(0)), passes=n)
        return plain(
            lambda x, g: two_logits(draw(x, g)[0]), views={"repeated_logits": view}, stochastic=True
        )

    attack = PGD(steps=8, random_start=False)
    accuracy = {
        n: 1 - attack(defence(n), images, labels, [0.05], generator()).misclassified.float().mean()
        for n in (1, 2000)
    }
    assert accuracy[2000] < accuracy[1] - 0.1


def test_a_confirmed_iterate_leaves_a_stochastic_search():
    module = Linear().eval()
    images, labels = images_for(module)

    def logits(x, g):
        return module(x) + 0.01 * torch.randn((len(x), 2), generator=g)

    victim = plain(logits, stochastic=True)
    result = PGD(steps=50, step=0.05)(victim, images, labels, [0.5], generator(), repeats=5)
    assert result.misclassified.all()
    assert result.backwards.max() < 25


def test_a_refused_image_goes_unheard_twice_as_long_each_time():
    asked = []

    def repeated_logits(x, n, g):
        asked.append(len(x))
        return torch.zeros(n, len(x), 2)

    victim = plain(
        lambda x, g: torch.zeros(len(x), 2), stochastic=True, repeated_logits=repeated_logits
    )
    images, labels = torch.rand(1, *SHAPE), torch.zeros(1, dtype=torch.long)
    queries = Queries(
        victim,
        View(lambda x, g: x),
        images,
        labels,
        generator(),
        log_scores=torch.zeros(1, 2),
        repeats=3,
    )
    row = torch.zeros(1, dtype=torch.long)
    due = []
    for call in range(20):
        before = len(asked)
        assert not queries.confirm(images, row).any()
        if len(asked) > before:
            due.append(call)
    assert due == [0, 2, 6, 14]


def test_a_sweep_may_search_on_the_first_view_only():
    victim, images, labels, left = half_sighted()
    result = FGSM(first_view=True)(victim("left", "right"), images, labels, [0.08], generator())
    assert result.views == ("", "left")
    assert not (result.misclassified[0] & ~left).any()


@pytest.mark.parametrize(
    ("setting", "searched"),
    [
        (None, ["left", "right"]),
        (["right"], ["right"]),
        (["right", "left"], ["right", "left"]),
        (["other", "right"], ["right"]),
        (["other"], ["left", "right"]),
    ],
)
def test_an_attack_searches_the_views_that_it_names_and_all_where_there_are_none(setting, searched):
    victim, images, labels, left = half_sighted()
    attack = FGSM(views=setting)
    result = attack(victim("left", "right"), images, labels, [0.08], generator())
    assert result.views == ("", *searched)
    assert (result.misclassified[0] & left).any() == ("left" in searched)
    assert (result.misclassified[0] & ~left).any() == ("right" in searched)
    assert hash(attack) == hash(FGSM(views=None if setting is None else tuple(setting)))


def test_the_first_view_is_the_first_of_those_that_are_named():
    victim, images, labels, _ = half_sighted()
    for setting in ({"first_view": True}, {"as_published": True}):
        attack = FGSM(views=("right", "left"), **setting)
        result = attack(victim("left", "right"), images, labels, [0.08], generator())
        assert result.views == ("", "right")


@pytest.mark.parametrize("views", [[], (), "left", "", [3], 3, [""]])
def test_views_that_are_no_names_are_refused(views):
    with pytest.raises(AttackError, match=r"'views': .* names no view; write a list of names"):
        PGD(views=views)


@pytest.mark.parametrize("attack", [Clean, ShotNoise, GaussianNoiseSearch])
def test_an_attack_that_searches_no_view_takes_no_names(attack):
    with pytest.raises(AttackError, match=f"{attack.__name__} searches on no view"):
        attack(views=["left"])


@pytest.mark.parametrize(
    ("own", "samples", "queried"), [(True, 2, 14), (False, 2, 2), (False, 1, 1)]
)
def test_an_attack_may_replace_the_number_of_samples_that_a_view_declares(own, samples, queried):
    def noisy(x, g):
        return two_logits(x.flatten(1).sum(1) + torch.randn(len(x), generator=g))

    victim = plain(noisy, views={"own": View(noisy, passes=21, eot_samples=7)}, stochastic=True)
    images = torch.full((5, *SHAPE), 0.01)
    labels = noisy(images + 1, generator()).argmax(1)
    clean = evaluate_images(victim, images, labels, generator(), repeats=1)
    attack = FGSM(own_samples=own, eot_samples=samples)
    before = victim.backwards
    attack(victim, images, labels, [0.001], generator(), repeats=1, clean=clean)
    right = int((clean.prediction == labels).sum())
    assert victim.backwards - before == 3 * queried * right > 0


def test_an_attack_without_gradients_may_search_on_the_decision_itself():
    module = Linear().eval()
    images, labels = images_for(module)
    # The view says the opposite: a search on it goes astray.
    views = {"astray": View(lambda x, g: -module(x), deterministic=True)}
    victim = Victim(logits=module, classes=2, shape=SHAPE, device="cpu", views=views)
    for attack in (Square(queries=60), Square(queries=60, views=["decision"])):
        result = attack(victim, images, labels, [0.1], generator())
        straight = attack.views is not None
        assert result.views == ("", "decision" if straight else "astray")
        assert result.misclassified.any() == straight
        # No vote is needed beside the decision that was queried.
        assert result.forwards.max() <= (62 if straight else 75)


@pytest.mark.parametrize("attack", [PGD, AutoAttack, LatentDescent])
def test_an_attack_that_needs_more_than_the_decision_does_not_search_on_it(attack):
    with pytest.raises(AttackError, match=f"{attack.__name__} needs more than the decision"):
        attack(views=["decision"])
