"""Outcomes, second version: single routes, and what a search reports of itself."""

import numpy as np
import pytest
import torch
from toys import CASES, SHAPE, Linear, generator, images_for, victim_of

from assay.attacks.autoattack import AutoAttack
from assay.attacks.fgsm import FGSM
from assay.attacks.pgd import PGD
from assay.attacks.random_search import RandomDirection
from assay.attacks.square import Square
from assay.attacks.victim import Victim, View
from assay.evaluation.library import evaluate
from assay.foundation.errors import AttackError
from assay.foundation.outcomes import OUTCOME_COLUMNS

# Of a row, what does not depend on which view was searched before.
FOUND = [name for name in OUTCOME_COLUMNS if name not in ("route", "view", "scores")]


def flat(images):
    """A view whose gradient is zero everywhere."""
    return Linear().eval()(images.detach())


def victim(**views):
    return Victim(logits=Linear().eval(), classes=2, shape=SHAPE, device="cpu", views=views)


def rows_of(views, attack=None, **options):
    images, labels = images_for(Linear().eval())
    attack = attack or PGD(steps=5, random_start=True)
    found = evaluate(victim(**views), images, labels, {"a": attack}, [0.01, 0.05], **options)
    return found[found.attack == "a"]


def route(rows, name, columns=FOUND):
    return rows[rows.route == name][columns].reset_index(drop=True)


@pytest.mark.parametrize("attack", [PGD(steps=5), AutoAttack(steps=5, queries=20)])
def test_equal_views_give_equal_results_whichever_comes_first(attack):
    one = View(Linear().eval())
    first = rows_of({"exact": one, "bpda": one}, attack, routes="each")
    second = rows_of({"bpda": one, "exact": one}, attack, routes="each")
    assert 0 < route(first, "exact").misclassified.mean() < 1
    for name in ("exact", "bpda"):
        assert route(first, name).equals(route(second, name))
        assert set(first[first.route == name].view.str.split("/").str[-1]) <= {"", name}
    assert route(first, "exact").equals(route(first, "bpda"))


def test_the_worst_case_of_each_view_is_what_all_views_fail_to_resist():
    views = {"cut": flat, "own": Linear().eval()}
    rows = rows_of(views, PGD(steps=5, random_start=False), routes="each")
    found = {name: route(rows, name, ["misclassified", "forwards"]) for name in ("", *views)}
    union = found["cut"].misclassified | found["own"].misclassified
    assert found["cut"].misclassified.sum() < found["own"].misclassified.sum()
    assert found[""].misclassified.equals(union)
    # The decision on the unperturbed image counts once.
    spent = found["cut"].forwards + found["own"].forwards - 1
    assert found[""].forwards.equals(spent.astype("int32"))
    assert union.equals(rows_of(views).misclassified.reset_index(drop=True))


def test_a_single_view_gives_the_rows_of_a_usual_run():
    views = {"own": Linear().eval()}
    usual, each = rows_of(views), rows_of(views, routes="each")
    assert set(usual.route) == {""}
    for name in ("", "own"):
        assert route(each, name).equals(route(usual, ""))


def test_an_attack_that_queries_no_view_has_no_routes():
    rows = rows_of({"own": Linear().eval()}, CASES["gaussian_noise"].attack, routes="each")
    assert set(rows.route) == {""}


def test_routes_are_the_views_that_the_attack_names():
    views = {"cut": flat, "own": Linear().eval()}
    named = rows_of(views, PGD(steps=5, views=["own"]), routes="each")
    assert list(dict.fromkeys(named.route)) == ["", "own"]
    every = rows_of(views, PGD(steps=5), routes="each")
    assert route(named, "own").equals(route(every, "own"))
    plain = rows_of(views, PGD(steps=5, views=["through_model"]), routes="each")
    assert plain.equals(every)


def test_another_word_for_routes_is_refused():
    with pytest.raises(AttackError, match="use worst or each"):
        rows_of({"own": Linear().eval()}, routes="all")


@pytest.mark.parametrize(
    "attack",
    [
        PGD(steps=8, restarts=2, loss="margin"),
        Square(queries=40, restarts=2),
        RandomDirection(directions=30),
        CASES["apgd_ce"].attack,
        CASES["nes_pgd_linf"].attack,
    ],
)
def test_the_loss_of_a_search_is_that_of_the_returned_image(attack):
    module = Linear().eval()
    images, labels = images_for(module)
    found = attack(victim_of(module), images, labels, [0.01, 0.1], generator())
    assert found.best_loss.isfinite().all()
    assert ((found.last_improvement >= 0) & (found.last_improvement <= 1)).all()
    if getattr(attack, "loss", "margin") == "margin":
        with torch.no_grad():
            logits = module(found.images[0])
        own = logits.gather(1, labels[:, None]).squeeze(1)
        margin = logits.gather(1, 1 - labels[:, None]).squeeze(1) - own
        kept = ~found.misclassified[0]
        torch.testing.assert_close(found.best_loss[0, kept], margin[kept], atol=1e-4, rtol=0)


def test_a_search_that_still_climbs_at_its_end_says_so():
    module = Linear().eval()
    images, labels = images_for(module)
    slow = PGD(steps=5, step=1e-4, random_start=False, loss="margin")
    stuck = PGD(steps=40, step=0.01, random_start=False, loss="margin")
    found = slow(victim_of(module), images, labels, [0.02], generator())
    kept = ~found.misclassified
    assert (found.last_improvement[kept] == 1).all()
    found = stuck(victim_of(module), images, labels, [0.02], generator())
    assert (found.last_improvement[~found.misclassified] <= 0.2).all()


def test_a_formula_climbs_no_loss():
    module = Linear().eval()
    images, labels = images_for(module)
    found = FGSM()(victim_of(module), images, labels, [0.02], generator())
    assert found.best_loss.isnan().all()
    assert found.last_improvement.isnan().all()


def test_a_success_on_the_way_that_is_lost_is_counted():
    """As published the last iterate counts; a step of a radius each leads away again."""

    class Ring(torch.nn.Module):
        """Class 1 only where the mean lies 0.03 to 0.05 from the middle."""

        def forward(self, images):
            off = (images.flatten(1).mean(1) - 0.5).abs()
            gap = (0.01 - (off - 0.04).abs()) * 100
            return torch.stack([torch.zeros_like(gap), gap], dim=1)

    images = torch.full((4, *SHAPE), 0.5) + torch.linspace(0.001, 0.004, 4)[:, None, None, None]
    labels = torch.zeros(4, dtype=torch.int64)
    attack = PGD(steps=2, step=0.04, random_start=False, as_published=True)
    found = attack(victim_of(Ring()), images, labels, [0.2], generator())
    best = PGD(steps=2, step=0.04, random_start=False)
    assert best(victim_of(Ring()), images, labels, [0.2], generator()).misclassified.all()
    lost = ~found.misclassified
    assert lost.any()
    assert torch.equal(found.silent_success, lost)


@pytest.mark.parametrize("name", ["carlini_wagner", "deepfool_l2", "fab_l2", "boundary"])
def test_a_success_outside_of_the_budget_is_not_silent(name):
    module = Linear().eval()
    images, labels = images_for(module)
    found = CASES[name].attack(victim_of(module), images, labels, [0.01, 0.5], generator())
    assert found.misclassified[1].all()
    assert not found.silent_success[~found.misclassified].any()
    assert not np.asarray(found.silent_success & found.misclassified).any()
