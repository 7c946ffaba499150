"""The catalogues of attacks and suites."""

from pathlib import Path

import pytest
import yaml

from assay.attacks.catalogue import attack_named, make_attack, read_catalogue
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
