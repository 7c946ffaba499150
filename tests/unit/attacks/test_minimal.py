"""The distance that a minimal-norm attack reports where the view is not the decision."""

import pytest
import torch
from toys import SHAPE, Linear, generator, images_for, victim_of

from assay.attacks.boundary import Boundary
from assay.attacks.carlini_wagner import CarliniWagner
from assay.attacks.ddn import DDN
from assay.attacks.deepfool import DeepFool
from assay.attacks.fab import FAB
from assay.attacks.lbfgs import LBFGS
from assay.attacks.minimal import FARTHER, MinimalNorm
from assay.attacks.prediction import evaluate_images
from assay.attacks.random_search import GaussianNoiseSearch
from assay.attacks.victim import Victim, View

ATTACKS = {
    "ddn": DDN(steps=60),
    "deepfool_l2": DeepFool(norm="l2"),
    "deepfool_linf": DeepFool(),
    "carlini_wagner": CarliniWagner(steps=60, rate=0.05),
    "lbfgs": LBFGS(),
    "fab_l2": FAB(norm="l2", steps=20),
    "fab_linf": FAB(steps=20),
}
every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
MODULE = Linear().eval()
IMAGES, LABELS = images_for(MODULE)


def closed_form(attack):
    weight = MODULE.weight.detach()
    dual = weight.abs().sum() if attack.norm == "linf" else weight.norm()
    return MODULE.margin(IMAGES).detach().abs() / dual


def best_known(attack):
    """What it finds where the view is the decision; Adam alone stays behind the closed form."""
    if isinstance(attack, CarliniWagner):
        return distances(attack, victim_of(MODULE))[0]
    return closed_form(attack)


def decision(images, generator):
    return MODULE(images)


def behind_a_view(view):
    """The linear decision, searched through another function."""
    return Victim(logits=decision, classes=2, shape=SHAPE, device="cpu", views={"view": View(view)})


def distances(attack, victim, budget=100.0, **options):
    result = attack(victim, IMAGES, LABELS, [budget], generator(), **options)
    return getattr(result, attack.norm)[0], result


@every_attack
def test_a_view_that_is_not_the_decision_costs_no_distance(attack):
    found, result = distances(attack, behind_a_view(lambda x, g: MODULE(x)))
    expected = closed_form(attack)
    assert result.misclassified.all()
    assert (found >= expected * 0.999).all()
    assert (found <= best_known(attack) * 1.02).all()


@pytest.mark.parametrize("name", ["ddn", "carlini_wagner", "lbfgs"])
def test_a_view_that_changes_its_mind_too_late_still_gives_the_decision_s_distance(name):
    """Seen through the view the boundary is a fifth of an image's lead farther away than it is."""
    margins = MODULE.margin(IMAGES).detach().abs().amin() / 5

    def late(images, generator):
        margin = MODULE.margin(images)
        shift = torch.where(LABELS[:1] == 1, margins, -margins)
        return torch.stack([torch.zeros_like(margin), margin + shift], 1)

    attack, mine = ATTACKS[name], LABELS[0] == LABELS
    victim = behind_a_view(late)
    result = attack(victim, IMAGES[mine], LABELS[mine], [100.0], generator())
    assert result.misclassified.all()
    best = best_known(attack)[mine]
    assert (result.l2[0] <= best * 1.02).all()


def test_an_overshot_result_is_moved_back_to_the_decision_s_boundary():
    class Overshot(MinimalNorm):
        norm = "l2"

        def _minimal_norm(self, queries):
            weight = MODULE.weight.detach()
            toward = torch.where(queries.labels == 1, -1.0, 1.0)[:, None, None, None] * weight
            reach = MODULE.margin(queries.images).abs() / weight.norm()
            return queries.images + 1.7 * (reach / weight.norm())[:, None, None, None] * toward

    found, result = distances(Overshot(), behind_a_view(lambda x, g: MODULE(x)))
    assert result.misclassified.all()
    torch.testing.assert_close(found, closed_form(Overshot()), rtol=0.02, atol=0)
    # Where the view is the decision, what the search says is what is reported.
    stretched, _ = distances(Overshot(), victim_of(MODULE))
    torch.testing.assert_close(stretched, 1.7 * closed_form(Overshot()), rtol=1e-4, atol=0)
    # Back by doubled steps, then by halves: the clean decision, a verdict, and a dozen others.
    assert result.forwards.max() <= 15


def noisy(scale=0.15):
    """The linear toy with noise on its margin: its majority is the linear decision."""

    def logits(images, generator):
        returned = MODULE(images)
        return returned + torch.randn(returned.shape, generator=generator) * scale

    return Victim(logits=logits, classes=2, shape=SHAPE, device="cpu", stochastic=True)


@every_attack
def test_a_randomised_victim_is_not_judged_much_farther_than_its_majority_changes(attack):
    # The margins are around 2: noise of 0.05 blurs the boundary by a few per cent.
    found, result = distances(attack, noisy(0.05), repeats=20)
    far = closed_form(attack) > closed_form(attack).median()
    won = result.misclassified[0] & far
    assert won.sum() > 0.85 * far.sum()
    ratio = found[won] / best_known(attack)[won]
    assert ratio.median() < 1.04
    assert ratio.max() < 1.15
    assert result.misclassified_share[0][won].min() > 0.5


def test_what_loses_its_final_repeat_is_asked_again_a_little_farther_and_nowhere_else():
    class Exact(MinimalNorm):
        """Proposes images exactly on the boundary, where every vote is a toss."""

        norm = "l2"
        refines = False

        def _minimal_norm(self, queries):
            weight = MODULE.weight.detach()
            way = MODULE.margin(queries.images) / weight.square().sum()
            return queries.images - way[:, None, None, None] * weight

    expected = closed_form(Exact())
    far = expected > expected.median()
    found, result = distances(Exact(), noisy(0.05), repeats=21)
    assert result.misclassified[0][far].float().mean() > 0.95
    factors = torch.tensor([1.0, *FARTHER])
    off = ((found / expected)[result.misclassified[0]][:, None] - factors).abs().amin(dim=1)
    assert off.max() < 1e-3
    assert (found[far] < 1.06 * expected[far]).float().mean() > 0.9
    # The verdict that is reported belongs to the image that is reported.
    again = evaluate_images(noisy(0.05), result.images[0], LABELS, generator(9), repeats=99)
    assert again.misclassified_share[far].mean() > 0.45
    assert (result.misclassified_share[0][result.misclassified[0]] > 0.5).all()


def test_the_ball_is_not_left_when_an_image_is_asked_again():
    attack = DDN(steps=40)
    expected = closed_form(attack)
    budget = float(expected.median())
    found, result = distances(attack, noisy(0.05), budget=budget, repeats=20)
    assert found.max() <= budget + 1e-6
    assert 0 < result.misclassified.float().mean() < 1


def test_no_network_is_given_an_empty_batch():
    """Where the ball allows nothing farther no image is left, and some networks need one."""
    inner = noisy(0.05)

    def logits(images, generator):
        assert len(images)
        return inner.logits(images, generator)

    victim = Victim(
        logits=logits, classes=2, shape=SHAPE, device="cpu", stochastic=True,
        repeated_logits=lambda images, n, generator: logits(images, generator).expand(n, -1, -1),
        log_px=lambda images, generator: logits(images, generator).sum(dim=1),
    )  # fmt: skip
    _, result = distances(DDN(steps=5), victim, budget=1e-3, repeats=3)
    assert not result.misclassified.all()
    before = victim.forwards
    assert victim.logits(IMAGES[:0], generator()).shape == (0, 2)
    assert victim.repeated_logits(IMAGES[:0], 3, generator()).shape == (3, 0, 2)
    assert victim.log_px(IMAGES[:0], generator()).shape == (0,)
    assert victim.forwards == before


def test_a_search_of_a_given_distribution_keeps_its_own_image_on_a_randomised_victim():
    class MovedBack(GaussianNoiseSearch):
        refines = True

    kept, result = distances(GaussianNoiseSearch(deviations=50), noisy(0.05), repeats=5)
    back, other = distances(MovedBack(deviations=50), noisy(0.05), repeats=5)
    both = result.misclassified[0] & other.misclassified[0] & (result.view[0] > 0)
    assert back[both].mean() < 0.9 * kept[both].mean()


@pytest.mark.parametrize("attack", [DDN(steps=30), Boundary(steps=100)], ids=["ddn", "boundary"])
def test_where_the_view_is_the_decision_nothing_is_asked_beside_the_search(attack):
    _, result = distances(attack, victim_of(MODULE))
    assert result.misclassified.all()
    if isinstance(attack, DDN):
        assert (result.forwards == 30 + 1 + 2).all()


def test_a_target_is_still_met_after_moving_back():
    weight = torch.randn(36, 4, generator=torch.Generator().manual_seed(2))

    def planes(x, g):
        return (x - 0.5).flatten(1) @ weight

    victim = Victim(
        logits=planes, classes=4, shape=SHAPE, device="cpu",
        views={"view": View(lambda x, g: planes(x, g))},
    )  # fmt: skip
    labels = planes(IMAGES, None).argmax(1)
    attack = DDN(steps=60, target="least_likely")
    result = attack(victim, IMAGES, labels, [100.0], generator())
    plain = attack(
        Victim(logits=planes, classes=4, shape=SHAPE, device="cpu"),
        IMAGES, labels, [100.0], generator(),
    )  # fmt: skip
    assert torch.equal(result.prediction, result.target.expand_as(result.prediction))
    assert (result.l2 <= plain.l2 * 1.001).all()
