"""What tables and figures name is checked, excluded and asked for by the types of their keys."""

import copy
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace

import pytest

from assay.foundation import numbers
from assay.foundation.errors import ConfigError
from assay.foundation.sources import Source
from assay.plan.brief import brief as brief_of
from assay.plan.check_study import needs_of
from assay.plan.configuration import read_configuration
from assay.plan.expand import Library, expanded
from assay.plan.plan import make_plan
from assay.report.needs import Examples, PrintedNumbers
from assay.report.spec import AttackItem, Cells, FigureSpec, RadiusOfMaps


@cache
def read(name):
    return read_configuration({"scale": "paper", "studies": [name]})


def study(name, **changes):
    configuration = copy.deepcopy(read(name))
    for part, entries in changes.items():
        configuration.studies[name][part] = entries
    return configuration


@pytest.mark.parametrize(
    ("part", "entry", "message"),
    [
        (
            "tables",
            {"kind": "pointing", "models": ["cnn"]},
            r"tables\.mine\.models: no saliency.* of 'cnn' are stored; add it to the study's key",
        ),
        (
            "figures",
            {"kind": "certified_curves", "models": ["eabs", "cnn"], "attack": "ddn"},
            r"figures\.mine\.models: no \w+ of 'cnn' are stored; add it to the study's key",
        ),
        (
            "figures",
            {"kind": "compared_examples", "models": ["cnn"], "attack": "clen"},
            r"figures\.mine\.attack: there is no attack in the grid called 'clen'; did you mean",
        ),
        (
            "tables",
            {"kind": "defects", "pairs": [{"published": "ddn", "corrected": "dn", "defect": "x"}]},
            r"tables\.mine\.pairs\.0\.corrected: there is no attack in the grid called 'dn'; did",
        ),
        (
            "tables",
            {"kind": "trend", "models": ["cnn", "abs", "eabs"], "within": {"few": ["cnn", "ab"]}},
            r"tables\.mine\.within\.few\.1: there is no model in the grid called 'ab'; did you",
        ),
        (
            "figures",
            {"kind": "accuracy_curves", "attacks": [{"norm": "l2"}], "radii": [77.0]},
            r"figures\.mine\.radii: none of these radii is run; the attacks' epsilons are",
        ),
    ],
)
def test_what_is_not_run_or_not_stored_is_an_error_at_its_key(part, entry, message):
    shown = {"tables": {}, "figures": {}, part: {"mine": {"title": "mine", **entry}}}
    with pytest.raises(ConfigError, match=message):
        make_plan(study("ju2021_eabs", **shown))


def test_a_table_of_defences_needs_their_base_networks_in_the_grid():
    entry = {"kind": "remaining", "title": "mine", "attacks": ["pgd_40_dong"]}

    def plan(models, **changes):
        shown = {"tables": {"mine": {**entry, "models": models}}, "figures": {}}
        make_plan(study("dong2020_apinet", **shown, **changes))

    plan(["api_net_small_cnn", "api_small_cnn_madry"])
    message = r"tables\.mine\.models: 'small_cnn' has no base network; name wrappers"
    with pytest.raises(ConfigError, match=message):
        plan(["small_cnn"])
    grid = [
        {**block, "models": [name for name in block["models"] if name != "small_cnn_api"]}
        for block in study("dong2020_apinet").studies["dong2020_apinet"]["grid"]
    ]
    headline = {"cells": [{"attack": "clean", "epsilon": 0}]}
    message = r"the base of 'api_net_small_cnn', 'small_cnn_api', is not in the grid for mnist; add"
    with pytest.raises(ConfigError, match=message):
        plan(["api_net_small_cnn"], grid=grid, headline=headline)


def test_a_figure_by_a_setting_needs_it_in_every_entry_that_it_does_not_place():
    entry = {
        "kind": "accuracy_by_setting",
        "title": "mine",
        "setting": "radius",
        "groups": [{"title": "API", "models": ["small_cnn_madry", "api_small_cnn_madry"]}],
        "cells": [{"attack": "pgd_40_dong"}],
    }

    def plan(**changes):
        figures = {"mine": {**entry, **changes}}
        make_plan(study("dong2020_apinet", tables={}, figures=figures))

    plan(at={"small_cnn_madry": 0})
    message = r"figures\.mine\.groups: there is no setting of 'small_cnn_madry' called 'radius'"
    with pytest.raises(ConfigError, match=message):
        plan()
    with pytest.raises(ConfigError, match="there is no model 'small_cnn_mad'; did you mean"):
        plan(at={"small_cnn_mad": 0})


def variants(word, **variant):
    reported = copy.deepcopy(study("dong2020_apinet").studies["dong2020_apinet"]["reported"])
    reported["variants"] = {word: [variant]}
    return study("dong2020_apinet", reported=reported)


@pytest.mark.parametrize(
    ("word", "variant", "message"),
    [
        (
            "API",
            {"model": "api_net_resnet18"},
            r"variants\.API: there is no model in its files called 'API'; did you mean 'API-Net'",
        ),
        (
            "API-Net",
            {"setting": "eps_app", "levels": {"6/255": "api_net_resnet18_6"}},
            r"API-Net\.0: there is no setting of 'API-Net' in its files called 'eps_app'; did you",
        ),
        (
            "API-Net",
            {"setting": "eps_ap", "levels": {"7/255": "api_net_resnet18_6"}},
            r"API-Net\.0\.levels: there is no level of eps_ap in its files called '7/255'; ",
        ),
        (
            "API-Net",
            {"setting": "eps_ap", "levels": {"6/255": "api_net_resnet18_7"}},
            r"levels\.6/255: there is no model in the grid called 'api_net_resnet18_7'; did you",
        ),
        (
            "API-Net",
            {"setting": "eps_ap", "model": "api_net_resnet18_6"},
            r"API-Net\.0: has a model and a setting or levels; write model, or setting and levels",
        ),
        (
            "API-Net",
            {"datasets": ["mnst"], "setting": "eps_ap", "levels": {"6/255": "api_net_resnet18_6"}},
            r"datasets\.0: there is no data set in the grid called 'mnst'; did you mean 'mnist'",
        ),
    ],
)
def test_a_variant_is_of_words_settings_and_levels_that_are_printed(word, variant, message):
    with pytest.raises(ConfigError, match=message):
        make_plan(variants(word, **variant))


def test_variants_that_a_scale_excludes_are_known_to_the_ledger():
    levels = {"6/255": "api_net_resnet18_6", "8/255": "api_net_resnet18_8"}
    configuration = variants("API-Net", datasets=["cifar10"], setting="eps_ap", levels=levels)
    brief = brief_of(make_plan(configuration), "dong2020_apinet")
    assert dict(brief.reported.variants["API-Net"][0].levels) == levels
    assert not brief.excluded.variants
    configuration.scale["exclude"]["models"] = ["api_net_resnet18_6"]
    brief = brief_of(make_plan(configuration), "dong2020_apinet")
    left, whole = (part.variants["API-Net"][0].levels for part in (brief.reported, brief.excluded))
    assert (dict(left), dict(whole)) == ({"8/255": "api_net_resnet18_8"}, levels)


def test_an_excluded_suite_takes_its_pairs_of_attacks_out_of_a_table_of_defects():
    whole = make_plan(study("millner2024")).studies["millner2024"].study["tables"]["defects"]
    assert any(pair["published"] == "fgsm_as_published" for pair in whole["pairs"])
    configuration = study("millner2024")
    configuration.scale["exclude"]["suites"] = ["as_published"]
    assert "defects" not in make_plan(configuration).studies["millner2024"].tables


def test_needs_say_what_each_table_and_figure_reads():
    found = make_plan(study("millner2024")).studies["millner2024"].study
    needs = needs_of(found, "figures")
    assert needs["figure5"] == [Examples("fgsm", ("gbz_as_coded",))]
    assert needs["ledger"] == [PrintedNumbers()]
    assert needs["figure7"] == []
    assert needs_of(found, "tables")["table1"] == []


@dataclass(frozen=True, kw_only=True)
class Duel(FigureSpec):
    """Of a kind that nobody has written, with keys of names that nobody has used."""

    weapons: list[AttackItem]
    rounds: Cells
    nearest: RadiusOfMaps


def test_sweeps_and_threats_are_expanded_in_keys_of_any_name(monkeypatch):
    monkeypatch.setattr(
        "assay.plan.expand.kinds", lambda part: {"duel": SimpleNamespace(Spec=Duel)}
    )
    library = Library(
        sweeps={"steps": ["steps_1", "steps_2"]},
        norms=lambda attacks: "linf",
        threats={"mnist": {"linf": [0.3]}},
    )
    entry = {
        "kind": "duel",
        "weapons": ["steps", {"norm": "linf"}],
        "rounds": [{"attack": "steps", "epsilon": "threat"}],
        "nearest": "threat",
    }
    written = {
        "grid": [{"datasets": ["mnist"]}],
        "measurements": {"saliency": {"attack": "pgd"}},
        "figures": {"mine": entry},
    }
    study = expanded(Source("mine.yaml", (), written), library).tree
    assert study["figures"]["mine"] == {
        "kind": "duel",
        "weapons": ["steps_1", "steps_2", {"norm": "linf"}],
        "rounds": [
            {"attack": "steps_1", "epsilon": 0.3},
            {"attack": "steps_2", "epsilon": 0.3},
        ],
        "nearest": 0.3,
    }


def test_settings_that_an_entry_changes_hold_on_data_sets_too():
    """It extends an entry which has another radius on house numbers alone."""
    study = brief_of(make_plan(read("dong2020_apinet")), "dong2020_apinet")
    for model, on_colour, on_digits in (
        ("api_net_resnet18", 14, 12),
        ("api_net_resnet18_6", 6, 6),
        ("api_resnet18_trades", 14, 12),
    ):
        for dataset, radius in (("cifar10", on_colour), ("svhn", on_digits)):
            found = numbers.number(study.settings_on(model, dataset)["radius"], "radius")
            assert found == pytest.approx(radius / 255), (model, dataset)
