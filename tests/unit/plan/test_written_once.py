"""Configuration says a thing once: variants, sweeps, defaults, for_each and threats."""

import re

import pytest
import yaml

from assay.analysis.attack_set import AttackSet
from assay.foundation.entries import written_entries
from assay.foundation.errors import ConfigError
from assay.foundation.resources import ROOT
from assay.foundation.sources import Source, laid_over, place
from assay.plan.configuration import read_configuration
from assay.plan.expand import Library, expanded
from assay.plan.layers import Layers
from assay.plan.plan import make_plan


@pytest.fixture
def write(tmp_path):
    """Writes a file below an otherwise empty working folder."""

    def written(file, tree):
        path = tmp_path / "config" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(tree, sort_keys=False))
        return tmp_path

    return written


def attacks(folder, scale="paper", **given):
    """The attacks of a folder's configuration."""
    return read_configuration({"scale": scale, **given}, Layers.here(folder)).catalogue["attacks"]


def made(*trees):
    """Entries from the trees of files, the last on top, with their sources."""
    files = [Source(f"{number}.yaml", (), tree) for number, tree in enumerate(trees)]
    return {
        name: [source for _, source in entry.parts]
        for name, entry in written_entries(files).items()
    }


# Variants.


def test_a_variant_takes_everything_but_the_title():
    base = {"title": "base", "settings": {"a": 1, "b": 2}, "source": "a paper"}
    found = made({"base": base, "mine": {"extends": "base", "settings": {"b": 3}}})
    assert laid_over(found["mine"]) == {"settings": {"a": 1, "b": 3}, "source": "a paper"}
    assert laid_over(found["base"]) == base


def test_a_variant_of_a_variant_takes_from_both():
    tree = {"a": {"x": 1, "y": 1}, "b": {"extends": "a", "y": 2}, "c": {"extends": "b", "z": 3}}
    assert laid_over(made(tree)["c"]) == {"x": 1, "y": 2, "z": 3}


def test_a_change_of_mine_does_not_reach_the_variants_that_come_with_assay():
    bundled = {"a": {"x": 1}, "b": {"extends": "a"}}
    found = made(bundled, {"a": {"x": 2}, "mine": {"extends": "a"}})
    assert [laid_over(found[name])["x"] for name in ("a", "b", "mine")] == [2, 1, 2]


def test_a_variant_of_mine_runs_as_the_entry_that_it_extends(write):
    own = {"title": "mine", "extends": "pgd_linf", "settings": {"steps": 7}}
    found = attacks(write("config.yaml", {"catalogue": {"attacks": {"mine": own}}}))
    settings = {**found["pgd_linf"]["settings"], "steps": 7}
    assert found["mine"] == {**found["pgd_linf"], "title": "mine", "settings": settings}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            {"a": {"extends": "b"}, "b": {"extends": "a"}},
            r"0\.yaml: [ab]\.extends: .* itself",
        ),
        ({"a": {"extends": "a"}}, r"0\.yaml: a\.extends: 'a' extends itself"),
        (
            {"first": {}, "b": {"extends": "frist"}},
            r"0\.yaml: b\.extends: there is no entry 'frist' to extend; did you mean 'first'",
        ),
        ({"a": {"extends": []}}, r"0\.yaml: a\.extends: there is no entry '\[\]' to extend; name"),
    ],
)
def test_a_variant_of_nothing_or_of_itself_is_told(tree, message):
    with pytest.raises(ConfigError, match=message):
        made(tree)


def test_a_complaint_about_an_inherited_value_names_the_entry_that_has_it(write):
    own = {"mine": {"title": "m", "extends": "base"}, "base": {"samples": 0}}
    own["base"] |= {"title": "b", "extends": "fgsm"}
    folder = write("config.yaml", {"catalogue": {"attacks": own}})
    with pytest.raises(ConfigError, match=r"^config/config\.yaml: .*attacks\.base\.samples: 0 is"):
        attacks(folder)


def test_a_variant_needs_a_title_of_its_own(write):
    folder = write("config.yaml", {"catalogue": {"attacks": {"mine": {"extends": "fgsm"}}}})
    with pytest.raises(ConfigError, match=r"attacks\.mine: the key 'title' is missing; it says"):
        attacks(folder)


# What a class says.


def test_an_attack_has_the_norm_the_source_and_the_settings_of_its_class(write):
    own = {"title": "mine", "implementation": "assay.attacks.pgd:PGD", "epsilons": [0.1]}
    found = attacks(write("config.yaml", {"catalogue": {"attacks": {"mine": own}}}))["mine"]
    assert (found["norm"], found["settings"]["steps"]) == ("linf", 40)
    assert found["source"] == "Madry et al. 2018, arXiv:1706.06083"
    own["norm"] = "l2"
    found = attacks(write("config.yaml", {"catalogue": {"attacks": {"mine": own}}}))["mine"]
    assert (found["norm"], found["settings"]["norm"]) == ("l2", "l2")


@pytest.mark.parametrize(
    ("implementation", "what"),
    [
        ("assay.attacks.pdg:PGD", "there is no module 'assay.attacks.pdg'"),
        ("assay.attacks.pgd:PGD2", "module 'assay.attacks.pgd' has no 'PGD2'; did you mean 'PGD'"),
    ],
)
def test_a_class_that_is_not_there_is_told_with_the_key_that_names_it(write, implementation, what):
    own = {"title": "mine", "implementation": implementation, "epsilons": [0.1]}
    folder = write("config.yaml", {"catalogue": {"attacks": {"mine": own}}})
    message = rf"^config/config\.yaml: catalogue\.attacks\.mine\.implementation: {what}"
    with pytest.raises(ConfigError, match=message):
        attacks(folder)


# Sweeps.

SWEEP = {
    "title": "PGD, {steps} steps",
    "implementation": "assay.attacks.pgd:PGD",
    "epsilons": ["8/255"],
    "sweep": {"steps": [1, 20]},
}


def test_a_sweep_is_one_attack_for_each_value(write):
    folder = write("config.yaml", {"catalogue": {"attacks": {"mine": SWEEP}}})
    found = attacks(folder)
    assert "mine" not in found
    for steps in (1, 20):
        entry = found[f"mine_{steps}"]
        assert entry["title"] == f"PGD, {steps} steps"
        assert entry["settings"]["steps"] == steps
        assert (entry["sweep_of"], entry["level"]) == ("mine", steps)


def test_the_id_of_a_sweep_means_all_its_attacks_in_suites_studies_and_scales(write):
    suite = {"title": "mine", "attacks": ["clean", "mine"]}
    scale = yaml.safe_load((ROOT / "config/scales/smoke.yaml").read_text("utf-8"))
    scale["overrides"]["attacks"] |= {"mine": {"samples": 3}, "mine_20": {"samples": 2}}
    write("scales/tiny.yaml", scale)
    study = {
        "title": "mine", "question": "mine?",
        "grid": [{"datasets": ["phantom"], "splits": "kfold", "models": ["dbx"],
                  "suites": ["mine"]}],
        "headline": {"models": ["dbx"], "cells": [{"attack": "mine", "epsilon": "8/255"}]},
        "figures": {"curves": {"kind": "accuracy_curves", "title": "c", "attacks": ["mine"]}},
    }  # fmt: skip
    write("studies/my_study.yaml", study)
    catalogue = {"attacks": {"mine": SWEEP}, "suites": {"mine": suite}}
    folder = write("config.yaml", {"catalogue": catalogue, "studies": ["my_study"]})
    plan = make_plan(read_configuration({"scale": "tiny"}, Layers.here(folder)))
    assert plan.configuration.catalogue["suites"]["mine"]["attacks"] == [
        "clean", "mine_1", "mine_20",
    ]  # fmt: skip
    samples = {a["name"]: a["samples"] for a in plan.suite("mine", "phantom", "dbx")}
    assert (samples["mine_1"], samples["mine_20"]) == (3, 2)
    found = plan.studies["my_study"].study
    assert [cell["attack"] for cell in found["headline"]["cells"]] == ["mine_1", "mine_20"]
    assert {cell["epsilon"] for cell in found["headline"]["cells"]} == {8 / 255}
    assert found["figures"]["curves"]["attacks"] == ["mine_1", "mine_20"]


@pytest.mark.parametrize("given", ["file", "command line"])
def test_an_attack_of_a_sweep_is_changed_alone_or_with_the_others(write, given):
    change = {"pgd_linf_draws": {"samples": 9}, "pgd_linf_draws_3": {"samples": 4}}
    if given == "file":
        found = attacks(write("catalogue/attacks.yaml", change))
    else:
        found = attacks(write("config.yaml", {}), catalogue={"attacks": change})
    assert found["pgd_linf_draws_3"]["samples"] == 4
    assert found["pgd_linf_draws_5"]["samples"] == 9


def test_other_values_of_a_sweep_are_other_attacks(write):
    folder = write(
        "catalogue/attacks.yaml", {"pgd_linf_draws": {"sweep": {"eot_samples": [3, 30]}}}
    )
    names = [name for name in attacks(folder) if name.startswith("pgd_linf_draws")]
    assert names == ["pgd_linf_draws_3", "pgd_linf_draws_30"]


def test_a_variant_of_a_sweep_has_a_sweep_of_its_own():
    found = made({"a": SWEEP, "b": {"extends": "a", "title": "b", "epsilons": [1]}})
    assert set(found) == {"a_1", "a_20", "b"}
    assert laid_over(found["b"])["epsilons"] == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sweep": {"steps": [1, "x"]}}, r"attacks\.mine\.sweep\.steps\.1: 'x' is not a finite"),
        ({"sweep": {"stepz": [1]}}, r"attacks\.mine\.settings: there is no setting of PGD 'stepz'"),
        ({"sweep": {"steps": 3}}, r"attacks\.mine\.sweep: is not a sweep; write one setting"),
        ({"sweep": {"steps": [1], "eot_samples": [1]}}, r"attacks\.mine\.sweep: is not a sweep"),
        ({"samples": 0}, r"attacks\.mine\.samples: 0 is less than the minimum"),
    ],
)
def test_a_mistake_in_a_sweep_is_told_where_it_is_written(write, change, message):
    suite = {"title": "mine", "attacks": ["mine"]}
    catalogue = {"attacks": {"mine": {**SWEEP, **change}}, "suites": {"corruptions": suite}}
    folder = write("config.yaml", {"catalogue": catalogue})
    with pytest.raises(ConfigError, match=r"^config/config\.yaml: catalogue\." + message):
        make_plan(read_configuration({"scale": "paper"}, Layers.here(folder)))


def test_a_scale_cannot_change_the_values_of_a_sweep(write):
    scale = yaml.safe_load((ROOT / "config/scales/smoke.yaml").read_text("utf-8"))
    scale["overrides"]["attacks"]["pgd_linf_draws"] = {"sweep": {"eot_samples": [1]}}
    folder = write("scales/tiny.yaml", scale)
    message = (
        r"overrides\.attacks\.pgd_linf_draws\.sweep: a scale cannot change 'sweep'; change it in"
    )
    with pytest.raises(ConfigError, match=message):
        attacks(folder, "tiny")


# Studies.

LIBRARY = Library(
    sweeps={"sweep": ["sweep_1", "sweep_2"]},
    norms={
        AttackSet.of(name): "linf"
        for name in ("pgd", "sweep", "sweep_1", "sweep_2", {"suite": "x"})
    }.get,
    threats={"mnist": {"linf": [0.3], "l2": [1.5]}, "svhn": {"linf": [0.03, 0.06]}},
)
GRID = [{"datasets": ["mnist", "svhn"], "splits": "kfold", "models": ["m"], "suites": ["s"]}]


def study(**tree):
    return expanded(Source("mine.yaml", (), {"grid": GRID, **tree}), LIBRARY)


def test_for_each_makes_a_table_of_each_item_and_of_each_combination():
    item = {
        "for_each": {"set": [{"id": "mnist", "n": 1}, {"id": "svhn", "n": 2}], "norm": ["a", "b"]},
        "kind": "accuracy",
        "title": "On {set.id} ({norm})",
        "datasets": ["{set.id}"],
        "rows": "{set.n}",
    }
    found = study(tables={"t{set.n}_{norm}": item}).tree["tables"]
    assert list(found) == ["t1_a", "t1_b", "t2_a", "t2_b"]
    assert found["t2_a"] == {
        "kind": "accuracy", "title": "On svhn (a)", "datasets": ["svhn"], "rows": 2,
    }  # fmt: skip


def test_defaults_give_the_keys_that_an_item_does_not_have():
    defaults = {"figures": {"*": {"models": ["m"], "rows": 2}, "saliency": {"rows": 3}}}
    figures = {
        "a": {"kind": "saliency", "title": "a"},
        "b": {"kind": "compared_examples", "title": "b", "models": ["n"]},
        "c": {"kind": "ledger_dumbbell", "title": "c"},
    }
    found = study(defaults=defaults, figures=figures).tree
    assert "defaults" not in found
    assert found["figures"] == {
        "a": {"kind": "saliency", "title": "a", "models": ["m"], "rows": 3},
        "b": {"kind": "compared_examples", "title": "b", "models": ["n"], "rows": 2},
        "c": {"kind": "ledger_dumbbell", "title": "c"},
    }


def test_cells_may_name_several_attacks_a_sweep_and_the_radii_of_the_data_sets():
    cells = [{"attacks": ["pgd", "sweep"], "epsilon": "threat"}, {"attack": "pgd"}]
    found = study(
        headline={"models": [], "cells": cells},
        tables={"a": {"kind": "accuracy", "datasets": ["mnist"], "cells": cells}},
    ).tree
    assert found["tables"]["a"]["cells"] == [
        {"attack": "pgd", "epsilon": 0.3},
        {"attack": "sweep_1", "epsilon": 0.3},
        {"attack": "sweep_2", "epsilon": 0.3},
        {"attack": "pgd"},
    ]
    everywhere = [c["epsilon"] for c in found["headline"]["cells"] if c["attack"] == "sweep_1"]
    assert everywhere == [0.3, 0.03, 0.06]
    worst = [{"attacks": [{"suite": "x"}], "epsilon": "threat"}]
    table = {"kind": "accuracy", "datasets": ["mnist"], "cells": worst}
    assert study(tables={"a": table}).tree["tables"]["a"]["cells"] == [
        {"suite": "x", "epsilon": 0.3}
    ]


def test_a_figure_of_maps_may_show_the_radius_of_its_data_set():
    figure = {"kind": "saliency", "datasets": ["mnist"], "epsilon": "threat"}
    found = study(measurements={"saliency": {"attack": "pgd"}}, figures={"a": figure}).tree
    assert found["figures"]["a"]["epsilon"] == 0.3


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            {"tables": {"a_{set}": {"for_each": {"sets": [1]}, "kind": "cost"}}},
            r"tables\.a_\{set\}: there is no item of for_each 'set'; did you mean 'sets'",
        ),
        (
            {"tables": {"a_{s.name}": {"for_each": {"s": [{"nam": 1}]}, "kind": "cost"}}},
            r"tables\.a_\{s\.name\}\.for_each\.s\.0: there is no key of 's' 'name'; did you mean",
        ),
        (
            {"tables": {"a": {"for_each": {"s": [1, 2]}, "kind": "cost"}}},
            r"tables\.a: there are two tables of the name 'a'; put a placeholder",
        ),
        (
            {"tables": {"a": {"for_each": ["mnist"], "kind": "cost"}}},
            r"tables\.a\.for_each: is not lists of items; write a name with a list",
        ),
        (
            {"defaults": {"figure": {}}},
            r"defaults: there is no part of a study 'figure'; did you mean 'figures'",
        ),
        (
            {"defaults": {"tables": {"acuracy": {}}}},
            r"defaults\.tables: there is no kind of tables 'acuracy'; did you mean 'accuracy'",
        ),
        (
            {"defaults": {"tables": {"accuracy": {"model": "m"}}}},
            r"defaults\.tables\.accuracy: there is no key that they read 'model'; did you mean",
        ),
        (
            {"tables": {"a": {"kind": "accuracy", "datasets": ["svhn"],
                              "cells": [{"attack": "all x", "epsilon": "threat"}]}}},
            r"tables\.a\.cells\.0\.epsilon: no data set shown \(svhn\) has a radius in the norm of "
            r"'all x'; write the radius, or give a data set one",
        ),
        (
            {"measurements": {"saliency": {"attack": "pgd"}},
             "figures": {"a": {"kind": "saliency", "datasets": ["svhn"], "epsilon": "threat"}}},
            r"figures\.a\.epsilon: the data sets shown have several radii \(0\.03, 0\.06\)",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_what_is_written_once_is_told_where_it_is_written(tree, message):
    with pytest.raises(ConfigError, match=r"^mine\.yaml: " + message):
        study(**tree)


def test_a_complaint_about_an_expanded_table_names_what_its_author_wrote():
    found = study(
        defaults={"tables": {"accuracy": {"caption": 1}}},
        tables={
            "t_{set.id}": {
                "for_each": {"set": [{"id": "mnist", "attack": "pgd"}]},
                "kind": "accuracy",
                "models": ["{set.attack}"],
                "cells": [{"attack": "sweep"}, {"attack": "pgd"}],
            }
        },
    )
    at = {
        "caption": "mine.yaml: defaults.tables.accuracy.caption",
        "kind": "mine.yaml: tables.t_{set.id}.kind",
    }
    for key, place_of in at.items():
        assert found.at("tables", "t_mnist", key) == place_of
    models = found.at("tables", "t_mnist", "models", 0)
    assert models == "mine.yaml: tables.t_{set.id}.for_each.set.0.attack"
    cell = found.at("tables", "t_mnist", "cells", 2, "epsilon")
    assert cell == "mine.yaml: tables.t_{set.id}.cells.1.epsilon"


def test_an_attack_that_an_expanded_figure_misnames_is_told_in_the_authors_words(write):
    tree = yaml.safe_load((ROOT / "config/studies/ju2021_eabs.yaml").read_text("utf-8"))
    tree["figures"]["mcnemar_{set.id}"]["attacks"] = ["all thesis_linv"]
    folder = write("studies/mine.yaml", tree)
    message = r"^config/studies/mine\.yaml: figures\.mcnemar_\{set\.id\}\.attacks\.0: there is no "
    given = {"scale": "paper", "studies": ["mine"]}
    with pytest.raises(ConfigError, match=message):
        make_plan(read_configuration(given, Layers.here(folder)))


@pytest.mark.parametrize("attack", [[], True, {"suite": {}}])
def test_what_cannot_be_an_attack_is_told_at_its_cell(write, attack):
    tree = yaml.safe_load((ROOT / "config/studies/ju2021_eabs.yaml").read_text("utf-8"))
    tree["headline"]["cells"] = [{"attacks": [attack], "epsilon": "threat"}]
    folder = write("studies/mine.yaml", tree)
    message = r"^config/studies/mine\.yaml: headline\.cells\.0\S*: .* is not of type 'string'"
    with pytest.raises(ConfigError, match=message):
        read_configuration({"scale": "paper", "studies": ["mine"]}, Layers.here(folder))


@pytest.mark.parametrize("entry", [None, [1], "x", 5, {"for_datasets": 1.5}])
def test_what_should_be_a_mapping_and_is_none_is_told(write, entry):
    folder = write("config.yaml", {"catalogue": {"models": {"resnet18": entry}}})
    with pytest.raises(ConfigError, match=r"^config/config\.yaml: catalogue\.models\.resnet18[.:]"):
        read_configuration({"scale": "paper"}, Layers.here(folder))


def test_a_value_knows_the_key_that_it_is_written_at():
    source = Source("f", ("a",), {"x": {"y": 1}}, ((("x", "y"), ("list", 3)),))
    assert source.at("x", "y") == "f: list.3"
    assert source.at("x") == "f: a.x"
    assert source.below("x").at("y") == "f: list.3"
    assert source.below("x", "y").at() == "f: list.3"
    assert place([source], "x", "y") == "f: list.3"


# Threats.

PHOTOS = {
    "title": "mine", "kind": "image_folder", "classes": None, "shape": [1, 28, 28],
    "licence": "mine", "source": "mine", "citation": "none",
    "settings": {"folder": "mine", "size": [28, 28]},
}  # fmt: skip


def radii(folder, *names, scale="paper"):
    """The radii of attacks on a data set of one's own."""
    configuration = read_configuration({"scale": scale}, Layers.here(folder))
    return [configuration.entry_on("attacks", name, "mine")["epsilons"] for name in names]


def test_a_radius_for_a_new_data_set_is_one_line(write):
    """It is where attacks with `threat` search, and where models are trained against them."""
    entry = {**PHOTOS, "threats": {"linf": ["4/255"], "l2": [0.7]}}
    folder = write("config.yaml", {"catalogue": {"datasets": {"mine": entry}}})
    configuration = read_configuration({"scale": "paper"}, Layers.here(folder))
    found = {"linf": 0, "l2": 0}
    for name, attack in configuration.catalogue["attacks"].items():
        here = configuration.entry_on("attacks", name, "mine")["epsilons"]
        radius = {"linf": 4 / 255, "l2": 0.7}.get(attack["norm"])
        if attack["threat"] == "also":
            assert here == sorted([*attack["epsilons"], radius]), name
        elif attack["threat"]:
            assert here == [radius], name
            found[attack["norm"]] += 1
        else:
            assert here == attack["epsilons"], name
    assert min(found.values()) > 5
    for model, radius in (("cnn_adv_linf", 4 / 255), ("cnn_adv_l2", 0.7)):
        training = configuration.entry_on("models", model, "mine")["training"]
        assert training["adversary"]["epsilon"] == radius
        assert "threat" not in training["adversary"]


def test_all_attacks_of_a_threat_s_suites_meet_at_a_new_radius(write):
    """Else the worst case over a suite would have no radius at all."""
    entry = {**PHOTOS, "threats": {"linf": ["4/255"], "l2": [0.7]}}
    folder = write("config.yaml", {"catalogue": {"datasets": {"mine": entry}}})
    suites = read_configuration().catalogue["suites"]
    for suite, radius in (("linf", 4 / 255), ("l2", 0.7)):
        for kind in ("thesis", "adaptive"):
            for found in radii(folder, *suites[f"{kind}_{suite}"]["attacks"]):
                assert radius in found


def test_without_threats_an_attack_runs_at_the_radii_of_its_entry(write):
    folder = write("config.yaml", {"catalogue": {"datasets": {"mine": PHOTOS}}})
    assert radii(folder, "pgd_linf_thesis", "deepfool_linf_thesis") == [[8 / 255, 0.1, 0.3]] * 2
    assert radii(folder, "fgsm", scale="smoke") == [[0.03, 0.1]]


@pytest.mark.parametrize("scale", ["paper", "smoke"])
def test_a_scale_cuts_no_radius_of_a_data_set_but_its_user_may(write, scale):
    catalogue = {"datasets": {"mine": {**PHOTOS, "threats": {"linf": ["4/255"]}}}}
    folder = write("config.yaml", {"catalogue": catalogue})
    assert radii(folder, "fgsm", scale=scale) == [[4 / 255]]
    catalogue["attacks"] = {"fgsm": {"epsilons": [0.2]}}
    folder = write("config.yaml", {"catalogue": catalogue})
    assert radii(folder, "fgsm", scale=scale) == [[0.2]]


def test_a_wrong_radius_is_told_where_the_data_set_has_it(write):
    entry = {**PHOTOS, "threats": {"linf": ["8"]}}
    folder = write("config.yaml", {"catalogue": {"datasets": {"mine": entry}}})
    message = r"^config/config\.yaml: catalogue\.datasets\.mine\.threats\.linf\.0: 8\.0 is greater"
    with pytest.raises(ConfigError, match=message):
        radii(folder, "fgsm")


# The documented examples.


def test_the_examples_of_the_configuration_page_run(tmp_path):
    page = (ROOT / "config/README.md").read_text("utf-8")
    examples = dict(re.findall(r"```yaml\n# in (\S+)\n(.+?)```", page, re.DOTALL))
    for file, text in examples.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    plan = make_plan(read_configuration({}, Layers.here(tmp_path)))
    steps = [f"pgd_steps_{n}" for n in (1, 10, 100)]
    suite = {attack["name"]: attack for attack in plan.suite("steps", "photos", "dbx")}
    assert list(suite) == ["clean", "pgd_long", *steps]
    assert suite["pgd_long"]["epsilons"] == suite["pgd_steps_10"]["epsilons"] == [4 / 255]
    assert suite["pgd_long"]["settings"]["restarts"] == 5
    assert suite["pgd_steps_10"]["settings"]["random_start"] is True
    study = plan.studies["steps"].study
    assert list(study["tables"]) == ["steps_photos", "steps_photos_large"]
    table = study["tables"]["steps_photos_large"]
    assert table["title"] == "Accuracy against the number of steps, 56 pixels"
    assert table["models"] == ["resnet18", "dbx"]
    assert table["cells"] == [{"attack": step, "epsilon": 4 / 255} for step in steps]
    assert [cell["attack"] for cell in study["headline"]["cells"]] == list(suite)


# The files.

LINES = {"studies/ju2021_eabs.yaml": 130, "catalogue/attacks.yaml": 600}


@pytest.mark.parametrize("file", LINES)
def test_a_file_is_as_short_as_what_it_says(file):
    assert len((ROOT / "config" / file).read_text("utf-8").splitlines()) <= LINES[file]


def test_a_line_of_the_configuration_has_at_most_100_columns():
    for file in (ROOT / "config").rglob("*.yaml"):
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            whole = re.search(r"https?://|pattern:", line)  # which cannot be divided
            assert len(line) <= 100 or whole, f"{file.name}, line {number}"


def sections(kind):
    """The ids of a catalogue's entries above and below the head of its library."""
    text = (ROOT / f"config/catalogue/{kind}.yaml").read_text("utf-8")
    assert "# === Used by the studies ===" in text
    above, below = text.split("# === Library: ")
    return [re.findall(r"^(\w+):", part, re.MULTILINE) for part in (above, below)]


def used():
    """What the studies name, and what scales put in its place, by kind."""
    found = {kind: set() for kind in ("datasets", "splits", "models", "suites", "attacks")}
    studies = sorted(path.stem for path in (ROOT / "config/studies").glob("*.yaml"))
    for scale in sorted(path.stem for path in (ROOT / "config/scales").glob("*.yaml")):
        plan = make_plan(read_configuration({"scale": scale, "studies": studies}))
        for cell in plan.cells:
            found["datasets"].add(cell.dataset)
            found["splits"].add(cell.split.rpartition("_")[0])
            found["suites"].add(cell.suite)
        for training in (*plan.trainings, *plan.cells):
            found["models"].add(training.model)
    catalogue = read_configuration().unscaled
    for suite in found["suites"]:
        for attack in catalogue["suites"][suite]["attacks"]:
            found["attacks"].add(catalogue["attacks"][attack].get("sweep_of", attack))
    return found


def test_each_catalogue_says_what_the_studies_use_and_what_is_a_library():
    for kind, names in used().items():
        above, below = sections(kind)
        assert names <= set(above), kind
        assert not names & set(below), kind
        sweeps = {name.rpartition("_")[0] for name in set(above) - names}
        assert sweeps <= names, (kind, set(above) - names)
