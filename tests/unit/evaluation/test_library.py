"""assay as a library: a torch module in, outcome rows out; and the catalogue's list."""

import numpy as np
import pytest
import torch
from torch import nn

from assay.attacks.__main__ import main
from assay.attacks.attack import Attack
from assay.attacks.catalogue import attack_named, read_catalogue
from assay.attacks.fgsm import FGSM
from assay.attacks.pgd import PGD
from assay.evaluation.library import evaluate
from assay.foundation.errors import AttackError
from assay.foundation.outcomes import OUTCOME_COLUMNS, to_table

torch.manual_seed(0)
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.Tanh(), nn.Linear(24, 4)).eval()
IMAGES = torch.rand(30, 1, 6, 6, generator=torch.Generator().manual_seed(1))
with torch.no_grad():
    LABELS = MODEL(IMAGES).argmax(1)
ATTACKS = {"fgsm": FGSM(), "pgd": PGD(steps=5)}


def test_the_rows_follow_the_outcome_schema_and_begin_with_the_clean_decisions(capsys):
    rows = evaluate(MODEL, IMAGES, LABELS, ATTACKS, [0.05, 0.2], chunk=16)
    assert list(rows.columns) == list(OUTCOME_COLUMNS)
    to_table(rows)
    assert list(rows.attack.unique()) == ["clean", "fgsm", "pgd"]
    assert len(rows) == 30 * 5
    accuracy = 1 - rows.groupby(["attack", "epsilon"]).misclassified.mean()
    assert accuracy["clean", 0.0] == 1
    assert accuracy["pgd", 0.2] <= accuracy["fgsm", 0.2] < 1
    assert "image" in capsys.readouterr().err


def test_budgets_can_be_given_by_attack_and_seeds_repeat():
    budgets = {"fgsm": [0.1], "pgd": [0.05, 0.1, 0.3]}
    first, second = (evaluate(MODEL, IMAGES, LABELS, ATTACKS, budgets, seed=3) for _ in range(2))
    assert first.drop(columns="scores").equals(second.drop(columns="scores"))
    assert (first.groupby("attack").epsilon.nunique()).to_dict() == {
        "clean": 1,
        "fgsm": 1,
        "pgd": 3,
    }


def test_an_attack_added_changes_no_other_attacks_rows():
    alone = evaluate(MODEL, IMAGES, LABELS, {"pgd": PGD(steps=5)}, [0.1])
    beside = evaluate(MODEL, IMAGES, LABELS, ATTACKS, [0.1])
    beside = beside[beside.attack != "fgsm"].reset_index(drop=True)
    assert alone.drop(columns="scores").equals(beside.drop(columns="scores"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"images": IMAGES + 1}, "argument 'images'"),
        ({"images": IMAGES[0]}, "argument 'images'"),
        ({"images": IMAGES[:0]}, "argument 'images'"),
        ({"labels": LABELS + 4}, "argument 'labels'"),
        ({"labels": LABELS[:5]}, "argument 'labels'"),
        ({"epsilons": [-0.1]}, "argument 'epsilons'"),
        ({"epsilons": []}, "argument 'epsilons'"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Dropout())}, "argument 'model'"),
        ({"model": nn.Identity()}, "argument 'model'"),
        ({"model": nn.Sequential(nn.Flatten(), Nan := nn.Linear(36, 4)).eval()}, "victim"),
    ],
)
def test_bad_input_is_told_by_the_arguments_name(changes, named):
    if "model" in changes and named == "victim":
        Nan.weight.data.fill_(np.nan)
    if isinstance(changes.get("model"), nn.Identity):
        changes["model"].eval()
    given = {
        "model": MODEL,
        "images": IMAGES,
        "labels": LABELS,
        "attacks": ATTACKS,
        "epsilons": [0.1],
        **changes,
    }
    with pytest.raises(AttackError, match=named) as caught:
        evaluate(**given)
    assert "\n" not in str(caught.value)


def test_the_list_shows_every_entry(capsys):
    main(["--list", "--format", "tsv"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("\t")[0].strip() == "name"
    names = {line.split("\t")[0].strip() for line in lines[1:]}
    assert names == set(read_catalogue())


def test_a_catalogue_entry_can_be_used_by_its_name():
    attack, epsilons = attack_named("pgd_linf", steps=3, restarts=1)
    assert isinstance(attack, Attack)
    assert attack.steps == 3
    assert epsilons
    with pytest.raises(AttackError, match="there is no attack 'pgd'"):
        attack_named("pgd")
