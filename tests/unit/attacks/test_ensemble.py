"""Ensembles: survivors only, in order, and resumable."""

import dataclasses

import pytest
import torch
from toys import SHAPE, Linear, generator, images_for, victim_of

from assay.attacks.autoattack import AutoAttack
from assay.attacks.ensemble import Ensemble
from assay.attacks.fgsm import FGSM
from assay.attacks.pgd import PGD
from assay.attacks.random_search import RandomDirection
from assay.attacks.result import Perturbed
from assay.attacks.victim import Victim
from assay.foundation.errors import AttackError

SMALL = {"steps": 10, "queries": 30, "targets": 9}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair(Ensemble):
    norm: str = "linf"

    @property
    def members(self):
        return {"weak": FGSM(), "strong": PGD(steps=10)}


def spirals(k, n=40, seed=5):
    """A random two-layer network with k classes, images and its decisions."""
    g = torch.Generator().manual_seed(seed)
    hidden = torch.randn(24, SHAPE[1] * SHAPE[2], generator=g)
    last = torch.randn(k, 24, generator=g)

    class Net(torch.nn.Module):
        def forward(self, x):
            return torch.tanh((x - 0.5).flatten(1) @ hidden.T) @ last.T

    images = 0.2 + 0.6 * torch.rand((n, *SHAPE), generator=g)
    victim = Victim.from_module(Net().eval(), classes=k, shape=SHAPE)
    return victim, images, victim.logits(images, g).argmax(1)


def test_a_member_meets_only_what_those_before_it_left():
    module = Linear().eval()
    images, labels = images_for(module)
    victim = victim_of(module)
    epsilons = [0.02, 0.05]
    first = FGSM()(victim, images, labels, epsilons, generator())
    both = Pair()(victim, images, labels, epsilons, generator())
    assert first.misclassified.any()
    assert (both.misclassified | ~first.misclassified).all()
    assert torch.equal(both.images[first.misclassified], first.images[first.misclassified])
    assert both.views == ("", "weak/model", "strong/model")
    assert (both.view[first.misclassified] == 1).all()
    # One gradient for the first member; the second spends its own on survivors only.
    assert (both.backwards[0, first.misclassified[0]] == 1).all()
    assert (both.backwards[~first.misclassified] > 1).all()


def test_images_are_broken_if_any_member_breaks_them():
    module = Linear().eval()
    images, labels = images_for(module)
    union = Pair()(victim_of(module), images, labels, [0.03], generator())
    alone = PGD(steps=10)(victim_of(module), images, labels, [0.03], generator())
    assert union.misclassified.sum() >= alone.misclassified.sum()


class Memory(dict):
    def load(self, member):
        return self.get(member)

    def save(self, member, result):
        self[member] = result


def test_a_resumed_run_equals_an_undisturbed_one_and_repeats_nothing():
    victim, images, labels = spirals(4)
    attack = AutoAttack(norm="l2", **SMALL)
    kept = Memory()
    whole = attack(victim, images, labels, [0.3, 0.6], generator(), store=kept)
    assert list(kept) == ["apgd_ce", "apgd_t", "fab_t", "square"]
    for member in ("fab_t", "square"):
        del kept[member]
    before = victim.backwards
    again = attack(victim, images, labels, [0.3, 0.6], generator(), store=kept)
    assert torch.equal(again.images, whole.images)
    assert torch.equal(again.counts, whole.counts)
    assert again.views == whole.views
    fresh = victim.backwards - before
    assert fresh < before


@pytest.mark.parametrize("k", [2, 3, 4, 12])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("version", ["standard", "plus", "rand"])
def test_autoattack_runs_whole_from_two_classes_up(k, norm, version):
    victim, images, labels = spirals(k, n=16)
    budget = {"linf": 0.03, "l2": 0.15}[norm]
    attack = AutoAttack(norm=norm, version=version, expectation=2, **SMALL)
    result = attack(victim, images, labels, [budget], generator())
    assert [name.partition("/")[0] for name in result.views[1:]] == list(attack.members)
    assert result.misclassified.any()
    one = PGD(norm=norm, steps=10, random_start=False)
    alone = one(victim, images, labels, [budget], generator())
    assert result.misclassified.sum() >= alone.misclassified.sum()


def test_the_rand_version_averages_every_gradient():
    members = AutoAttack(version="rand", expectation=20).members.values()
    assert [member.eot_samples for member in members] == [20, 20]


def test_what_an_ensemble_sets_holds_for_its_members():
    attack = AutoAttack(steps=5, queries=10, eot_samples=3, first_view=True)
    assert {member.eot_samples for member in attack.searches.values()} == {3}
    assert attack.most_eot_samples == 3
    exact = AutoAttack(version="rand", own_samples=False)
    assert {member.own_samples for member in exact.searches.values()} == {False}
    assert AutoAttack(version="rand", eot_samples=3).most_eot_samples == 20
    assert attack.gradient_passes == 3 * AutoAttack(steps=5, queries=10).gradient_passes
    module = Linear().eval()
    images, labels = images_for(module)
    victim = Victim(
        logits=module, classes=2, shape=SHAPE, device="cpu", views={"one": module, "two": module}
    )
    result = attack(victim, images, labels, [0.001], generator())
    assert {view.partition("/")[2] for view in result.views[1:]} == {"one"}


def test_the_views_of_an_ensemble_are_those_of_its_members():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Mixed(Pair):
        @property
        def members(self):
            return {
                "random": RandomDirection(directions=3),
                "own": FGSM(views=["two"]),
                **super().members,
            }

    module = Linear().eval()
    images, labels = images_for(module)
    victim = Victim(
        logits=module, classes=2, shape=SHAPE, device="cpu", views={"one": module, "two": module}
    )
    for views, own in ((None, {"two"}), (("one",), {"one"})):
        attack = Mixed(views=views)
        found = attack(victim, images, labels, [0.001], generator()).views[1:]
        assert {name.partition("/")[2] for name in found if name.startswith("own")} == own
        assert ("strong/two" in found) == (views is None)
        assert attack.searched_views(victim) == list(views or ("one", "two"))


def test_a_stored_state_comes_to_the_victims_device():
    moved = []

    class Elsewhere(Perturbed):
        def to(self, device):
            moved.append(device)
            return super().to(device)

    module = Linear().eval()
    images, labels = images_for(module)
    kept = Memory()
    arguments = (victim_of(module), images, labels, [0.03])
    whole = Pair()(*arguments, generator(), store=kept)
    kept["weak"] = Elsewhere(**vars(kept["weak"]))
    del kept["strong"]
    again = Pair()(*arguments, generator(), store=kept)
    assert moved[0] == torch.device("cpu")
    assert torch.equal(again.images, whole.images)
    assert whole.to("meta").images.device.type == whole.to("meta").target.device.type == "meta"


def test_another_attack_can_go_on_from_a_result():
    module = Linear().eval()
    images, labels = images_for(module)
    victim = victim_of(module)
    first = FGSM()(victim, images, labels, [0.03], generator())
    kept = first.copy()
    both = PGD(steps=10)(victim, images, labels, [0.03], generator(), so_far=first)
    assert torch.equal(first.images, kept.images)
    assert (both.misclassified | ~first.misclassified).all()
    with pytest.raises(AttackError, match="argument 'so_far'"):
        PGD()(victim, images, labels, [0.04], generator(), so_far=first)


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"version": "fast"}, "version"), ({"norm": "l1"}, "norm"), ({"queries": 0}, "queries")],
)
def test_impossible_settings_are_named(settings, named):
    with pytest.raises(AttackError, match=f"attack setting '{named}'"):
        AutoAttack(**settings)
