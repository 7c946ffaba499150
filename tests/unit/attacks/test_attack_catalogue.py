"""The catalogues of attacks and suites."""

import dataclasses
from pathlib import Path

import pytest
import yaml
from toys import SHAPE, Linear, generator, images_for, victim_of

from assay.attacks.catalogue import attack_named, make_attack, read_catalogue
from assay.attacks.victim import Victim, View
from assay.foundation.entries import members_of, named
from assay.foundation.errors import AttackError

CATALOGUE = Path(__file__).resolve().parents[3] / "config/catalogue"
ATTACKS = read_catalogue()
SUITES = yaml.safe_load((CATALOGUE / "suites.yaml").read_text("utf-8"))
SWEEPS = members_of(ATTACKS)


@pytest.mark.parametrize("name", ATTACKS)
def test_every_entry_makes_an_attack_of_its_norm(name):
    entry = ATTACKS[name]
    attack = make_attack({"name": name, **entry})
    assert attack.norm == entry["norm"]
    assert attack.as_published == ("_as_published" in name)
    assert sorted(entry["epsilons"]) == entry["epsilons"]


def test_suites_name_attacks_and_every_attack_is_in_one():
    found = {name for suite in SUITES.values() for name in named(suite["attacks"], SWEEPS)}
    assert found == set(ATTACKS)


def test_fgsm_runs_at_every_radius_of_the_papers_figure():
    assert {0.01, 0.03, 0.05, 0.08, 0.1} <= set(ATTACKS["fgsm"]["epsilons"])


def test_an_unknown_setting_is_named_with_the_nearest():
    entry = {**ATTACKS["pgd_linf"], "name": "pgd_linf", "settings": {"stepz": 3}}
    with pytest.raises(AttackError, match=r"PGD has no setting 'stepz'; did you mean 'step'"):
        make_attack(entry)


def test_a_class_that_is_no_attack_is_named():
    with pytest.raises(AttackError, match=r"attack 'mine' implem.*'pathlib:Path' is no attack; na"):
        make_attack({"name": "mine", "implementation": "pathlib:Path", "norm": "linf"})


def test_an_attack_that_is_misspelt_is_named_with_the_nearest():
    with pytest.raises(AttackError, match=r"no attack 'pdg_linf'; did you mean 'pgd_linf'"):
        attack_named("pdg_linf")


def test_a_norm_that_is_not_the_attacks_is_told():
    with pytest.raises(AttackError, match="norm is 'l2', but the attack's is 'linf'"):
        make_attack({**ATTACKS["fgsm"], "name": "fgsm", "norm": "l2"})


PRINTED = [name for name in SUITES["dong_printed"]["attacks"] if name != "clean"]


@pytest.mark.parametrize("name", [*PRINTED, *SUITES["dong_as_coded"]["attacks"]])
def test_one_entry_attacks_a_defence_on_two_routes_and_a_network_on_itself(name):
    entry = ATTACKS[name]
    attack = make_attack(entry)
    plain = victim_of(Linear())
    defence = Victim(
        logits=plain.decision.logits, classes=2, shape=SHAPE, device="cpu",
        views=dict.fromkeys(("unrolled_model", "base_model", "through_model"), plain.decision),
    )  # fmt: skip
    assert entry["routes"] == "each"
    assert attack.searched_views(defence) == ["through_model", "base_model"]
    assert attack.searched_views(plain) == ["model"]


def test_the_attacks_of_dong_et_al_take_the_steps_of_their_code_and_fgsm_one_of_the_radius():
    for name, steps in {"pgd_40_dong": 40, "pgd_100_dong": 100, "cw_100_dong": 100}.items():
        attack = make_attack(ATTACKS[name])
        assert (attack.steps, attack.step, attack.restarts) == (steps, 0.007, 1)
        assert ATTACKS[name]["for_datasets"]["mnist"]["settings"]["step"] == 0.01
    module = Linear().eval()
    images, labels = images_for(module)
    found = {
        name: make_attack(ATTACKS[name])(victim_of(module), images, labels, [0.03], generator())
        for name in ("fgsm_dong", "fgsm_dong_as_coded")
    }
    assert (found["fgsm_dong"].backwards == 1).all()
    assert (found["fgsm_dong_as_coded"].backwards == 40).all()


@pytest.mark.parametrize(("name", "masks"), [("pgd_tramer", 1), ("pgd_tramer_eot", 41)])
def test_the_masks_of_a_step_are_those_of_the_attack_not_of_the_defence(name, masks):
    plain = victim_of(Linear()).decision.logits
    defence = Victim(
        logits=plain, classes=2, shape=SHAPE, device="cpu", stochastic=True,
        views={"through_model": View(plain, passes=7, eot_samples=7)},
    )  # fmt: skip
    attack = make_attack(ATTACKS[name])
    images, labels = images_for(Linear().eval())
    attack = dataclasses.replace(attack, steps=2)
    attack(defence, images[:1], labels[:1], [1e-6], generator(), repeats=1)
    assert defence.backwards == 2 * masks
