"""Configuration files: what is wrong in them is told with file, key and remedy."""

import shutil
from functools import partial

import pytest
import yaml

from assay.foundation.errors import ConfigError
from assay.foundation.places import downloads_of, mirror_of
from assay.foundation.resources import ROOT
from assay.foundation.sources import Source, merged, place
from assay.plan.configuration import read_configuration
from assay.plan.layers import Layers
from assay.plan.plan import make_plan
from assay.plan.validation import checked
from assay.report.kinds import kinds


@pytest.fixture
def root(tmp_path):
    """A copy of config/ that a test may edit."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    return tmp_path


def change(root, file, path, value):
    """Sets the key at `path` of a YAML file below config/."""
    target = root / "config" / file
    tree = yaml.safe_load(target.read_text())
    node = tree
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    target.write_text(yaml.safe_dump(tree))


SCALES = sorted(path.stem for path in (ROOT / "config/scales").glob("*.yaml"))


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_is_valid_with_every_study(scale):
    studies = sorted(path.stem for path in (ROOT / "config/studies").glob("*.yaml"))
    configuration = read_configuration({"scale": scale, "studies": studies})
    assert configuration.settings["scale"] == scale
    assert set(configuration.studies) == set(studies)


def test_defaults_come_from_the_schema():
    configuration = read_configuration()
    assert configuration.settings["downloads"] == "results/downloads"
    assert 0 < configuration.settings["ledger"]["tolerance"] < 0.1


@pytest.mark.parametrize(
    ("file", "path", "value", "message"),
    [
        (
            "config.yaml",
            ["scal"],
            "demo",
            r"config/config\.yaml: unknown key 'scal'; did you mean 'scale'",
        ),
        ("config.yaml", ["scale"], "dmo", r"there is no scale 'dmo'; did you mean 'demo'\?"),
        (
            "config.yaml",
            ["studies"],
            ["milner2024"],
            r"no study 'milner2024'; did you mean 'millner2024'\?",
        ),
        ("config.yaml", ["threads"], 0, r"config\.yaml: threads: 0 is less than the minimum"),
        (
            "config.yaml",
            ["device"],
            "gpu",
            r"config\.yaml: device: 'gpu' is not allowed; write for example auto, cpu, cuda",
        ),
        ("config.yaml", ["device"], "cuda:x", r"device: 'cuda:x' is not allowed"),
        (
            "catalogue/models.yaml",
            ["dbx", "implementation"],
            "my model",
            r"dbx\.implementation: 'my model' is not allowed; write for example assay\.models\.",
        ),
        ("config.yaml", ["seed"], "one", r"config\.yaml: seed: 'one' is not of type 'integer'"),
        (
            "scales/demo.yaml",
            ["evaluation", "sampels"],
            3,
            r"scales/demo\.yaml: evaluation: unknown key 'sampels'; did you mean 'samples'",
        ),
        (
            "scales/demo.yaml",
            ["overrides", "models", "resnet19"],
            {},
            r"overrides\.models: there is no model 'resnet19'; did you mean",
        ),
        (
            "scales/demo.yaml",
            ["overrides", "attacks", "fgsm"],
            {"epsilon": [0.1]},
            r"scales/demo\.yaml: overrides\.attacks\.fgsm: unknown key 'epsilon'; did you mean",
        ),
        (
            "studies/millner2024.yaml",
            ["tables", "table1", "kind"],
            "acuracy",
            r"'acuracy' is not allowed; did you mean 'accuracy'",
        ),
        ("studies/millner2024.yaml", ["grid"], [], r"millner2024\.yaml: grid: "),
        (
            "catalogue/splits.yaml",
            ["mine"],
            {"title": "mine", "kind": "kfold"},
            r"splits\.yaml: mine: the key 'folds' is missing \(kind: kfold\); it says: number of",
        ),
        (
            "catalogue/splits.yaml",
            ["mine"],
            {"title": "mine", "kind": "random", "repeats": 2},
            r"splits\.yaml: mine: the key 'test' is missing \(kind: random\); it says: share of",
        ),
        (
            "catalogue/splits.yaml",
            ["mine"],
            {"title": "mine", "kind": "random", "test": 0.2},
            r"splits\.yaml: mine: the key 'repeats' is missing \(kind: random\)",
        ),
        (
            "studies/millner2024.yaml",
            ["headline", "cells"],
            [{"attack": "clean", "epsilon": -1}],
            r"headline\.cells\.0\.epsilon: -1\.0 is less than the minimum of 0; expected: one of",
        ),
        (
            "catalogue/suites.yaml",
            ["a;touch x"],
            {"title": "mine", "attacks": ["clean"]},
            r"suites\.yaml: 'a;touch x' cannot be a name.*use lower-case letters",
        ),
        (
            "studies/millner2024.yaml",
            ["figures", "../figure"],
            {"kind": "ledger_dumbbell", "title": "mine", "caption": "mine"},
            r"millner2024\.yaml: figures: '\.\./figure' cannot be a name",
        ),
    ],
)
def test_a_mistake_is_told_with_file_key_and_remedy(root, file, path, value, message):
    change(root, file, path, value)
    with pytest.raises(ConfigError, match=message):
        read_configuration(layers=Layers((root,)))


def test_a_data_set_of_the_command_line_cannot_bring_a_command_along():
    entry = {"a;touch x": read_configuration().catalogue["datasets"]["phantom"]}
    with pytest.raises(ConfigError, match="'a;touch x' cannot be a name"):
        read_configuration({"catalogue": {"datasets": entry}})


@pytest.mark.parametrize("folder", ["scales", "studies"])
def test_a_file_whose_name_would_be_a_command_is_told(root, folder):
    shutil.copy(root / "config/scales/demo.yaml", root / f"config/{folder}/a;touch x.yaml")
    with pytest.raises(ConfigError, match=rf"config/{folder}/: 'a;touch x' cannot be a name"):
        read_configuration(layers=Layers((root,)))


def test_a_key_written_twice_is_refused(root):
    (root / "config/config.yaml").write_text("scale: demo\nscale: smoke\n")
    with pytest.raises(ConfigError, match=r"line 2 .*'scale' appears twice"):
        read_configuration(layers=Layers((root,)))


def test_yaml_that_is_none_is_named_with_its_line(root):
    (root / "config/config.yaml").write_text("scale: demo\nseed: [1\n")
    with pytest.raises(ConfigError, match=r"config/config\.yaml: is not valid YAML, line"):
        read_configuration(layers=Layers((root,)))


def test_a_file_cannot_make_python_objects(root):
    (root / "config/config.yaml").write_text("scale: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_configuration(layers=Layers((root,)))


def test_the_command_line_wins_and_studies_may_be_a_comma_list():
    configuration = read_configuration({"scale": "smoke", "studies": "millner2024", "seed": 9})
    assert configuration.settings["scale"] == "smoke"
    assert configuration.settings["seed"] == 9


def test_a_user_adds_a_data_set_without_touching_the_catalogue():
    entry = dict(read_configuration().catalogue["datasets"]["phantom"], title="mine")
    configuration = read_configuration({"catalogue": {"datasets": {"mine": entry}}})
    assert configuration.catalogue["datasets"]["mine"]["title"] == "mine"


def test_an_override_changes_only_what_it_names():
    assert merged({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 3}, "d": [2]}) == {
        "a": {"b": 3, "c": 2},
        "d": [2],
    }
    paper = read_configuration({"scale": "paper"}).catalogue["attacks"]["pgd_linf"]
    smoke = read_configuration({"scale": "smoke"}).catalogue["attacks"]["pgd_linf"]
    assert smoke["settings"]["steps"] < paper["settings"]["steps"]
    assert smoke["title"] == paper["title"]


def test_the_paper_scale_says_how_many_images_a_capped_attack_sees():
    configuration = read_configuration({"scale": "paper"})
    caps = {entry["samples"] for entry in configuration.catalogue["attacks"].values()} - {None}
    assert caps
    assert all(f"{cap} per split" in configuration.scale["description"] for cap in caps)


def test_a_mirror_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("ASSAY_DATA", raising=False)
    assert mirror_of({"data_mirror": None}) is None
    monkeypatch.setenv("ASSAY_DATA", str(tmp_path))
    assert mirror_of({}) == tmp_path.resolve()
    for folder in (tmp_path / "nothing", "~nobody_here"):
        with pytest.raises(ConfigError, match=r"data_mirror .*: there is no folder"):
            mirror_of({"data_mirror": str(folder)})


def test_a_folder_for_downloads_may_be_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert downloads_of({"downloads": "~/archives"}) == tmp_path / "archives"
    assert downloads_of({}).as_posix() == "results/downloads"


NEEDED = {
    ("tables", "accuracy"): ["cells"],
    ("tables", "distances"): ["attacks"],
    ("tables", "hyper_parameters"): ["model", "reported"],
    ("tables", "defects"): ["pairs"],
    ("tables", "significance"): [],
    ("tables", "ranking"): [],
    ("tables", "leakage"): [],
    ("tables", "schemes"): ["cells", "schemes"],
    ("tables", "leaked"): ["cells", "schemes"],
    ("tables", "complexity"): ["cells"],
    ("tables", "trend"): ["models"],
    ("tables", "selection"): ["cells"],
    ("tables", "pointing"): ["models"],
    ("tables", "measured"): ["measurement", "models", "arrays"],
    ("tables", "cost"): [],
    ("tables", "counting"): ["attacks"],
    ("tables", "remaining"): ["models", "attacks"],
    ("figures", "training_curves"): ["models"],
    ("figures", "latent_pca"): ["model"],
    ("figures", "examples"): ["model", "attack"],
    ("figures", "compared_examples"): ["models", "attack"],
    ("figures", "reconstructions"): ["model", "attack"],
    ("figures", "reconstructions_by_setting"): ["models", "setting", "attack"],
    ("figures", "accuracy_by_setting"): ["setting", "groups", "cells"],
    ("figures", "certified_curves"): ["models", "attack"],
    ("figures", "mcnemar_matrix"): ["attacks"],
    ("figures", "saliency"): ["models"],
    ("figures", "decision_regions"): ["models"],
    ("figures", "accuracy_curves"): ["attacks"],
    ("figures", "ledger_dumbbell"): [],
}
VALUES = {
    "cells": [{"attack": "clean"}],
    "models": ["gbz"],
    "measurement": "importance",
    "setting": "latent_dim",
    "groups": [{"title": "GBZ", "models": ["gbz"]}],
    "arrays": ["effective"],
    "model": "gbz",
    "attack": "fgsm",
    "attacks": ["fgsm"],
    "schemes": ["random", "random_patient"],
    "reported": "gbz_table3.csv",
    "pairs": [{"published": "fgsm_as_published", "corrected": "fgsm", "defect": "one"}],
}


def test_every_kind_of_table_and_figure_is_drawn_by_a_function():
    drawn = {(part, kind) for part in ("tables", "figures") for kind in kinds(part)}
    assert drawn == set(NEEDED)


@pytest.mark.parametrize(("part", "kind"), NEEDED)
def test_a_table_or_figure_has_the_keys_of_its_kind(part, kind):
    study = yaml.safe_load((ROOT / "config/studies/millner2024.yaml").read_text("utf-8"))
    needed = NEEDED[part, kind]
    whole = {"kind": kind, "title": "mine", **{key: VALUES[key] for key in needed}}

    def read(entry):
        source = Source("mine.yaml", (), {**study, "tables": {}, "figures": {}, part: entry})
        return checked(source.tree, "study", partial(place, [source]))

    assert read({"mine": whole})[part]["mine"]["kind"] == kind
    for key in needed:
        without = {name: value for name, value in whole.items() if name != key}
        message = rf"{part}\.mine: the key '{key}' is missing \(kind: {kind}\); it says: "
        with pytest.raises(ConfigError, match=rf"^mine\.yaml: {message}"):
            read({"mine": without})


@pytest.mark.parametrize(
    ("part", "entry", "message"),
    [
        (
            "figures",
            {"kind": "accuracy_curves", "attacks": ["fgsm"], "model": "gbz"},
            r"figures\.mine: 'model' is not allowed; did you mean 'models'",
        ),
        (
            "tables",
            {"kind": "leakage", "pairs": VALUES["pairs"]},
            r"tables\.mine: 'pairs' is not allowed; use one of kind, title, caption",
        ),
    ],
)
def test_a_key_that_a_kind_does_not_look_at_is_told(root, part, entry, message):
    change(root, "studies/millner2024.yaml", [part, "mine"], {"title": "mine", **entry})
    with pytest.raises(ConfigError, match=message):
        read_configuration(layers=Layers((root,)))


def test_examples_say_how_many_rows_and_columns_they_show(root):
    entry = {"kind": "examples", "title": "mine", "model": "gbz", "attack": "fgsm"}
    change(root, "studies/millner2024.yaml", ["figures", "mine"], entry | {"rows": 3, "columns": 4})
    figures = read_configuration(layers=Layers((root,))).studies["millner2024"]["figures"]
    assert (figures["mine"]["rows"], figures["mine"]["columns"]) == (3, 4)
    assert "rows" not in figures["figure5"]
    change(root, "studies/millner2024.yaml", ["figures", "mine"], entry | {"columns": 1})
    with pytest.raises(ConfigError, match=r"figures\.mine\.columns: 1 is less than the minimum"):
        read_configuration(layers=Layers((root,)))


def test_numbers_may_be_written_as_fractions_or_with_an_exponent():
    """YAML takes 8/255 and 1e-3 for texts."""
    attack = {"epsilons": ["8/255", "4/255"], "settings": {"relative_step": "1/4", "steps": "1e2"}}
    optimizer = {"name": "AdamW", "lr": "1e-3", "eps": "1e-4"}
    model = {"training": {"optimizer": optimizer, "epochs": "1e1", "batch_size": 32.0}}
    catalogue = {"attacks": {"pgd_linf": attack}, "models": {"resnet18": model}}
    found = read_configuration(
        {"seed": "12345678901234567890", "ledger": {"tolerance": "1/50"}, "catalogue": catalogue}
    )
    for entry in (
        found.catalogue["attacks"]["pgd_linf"],
        found.entry_on("attacks", "pgd_linf", "mnist"),
    ):
        assert entry["epsilons"] == [8 / 255, 4 / 255]
        assert entry["settings"]["relative_step"] == 0.25
        assert repr(entry["settings"]["steps"]) == "100"
    training = found.catalogue["models"]["resnet18"]["training"]
    assert training["optimizer"] == {"name": "AdamW", "lr": 0.001, "eps": 0.0001}
    assert (repr(training["epochs"]), repr(training["batch_size"])) == ("10", "32")
    assert found.settings["seed"] == 12345678901234567890
    assert found.settings["ledger"]["tolerance"] == 0.02


def test_a_text_stays_a_text_where_the_configuration_wants_one():
    entry = {"fgsm": {"title": "8/255"}}
    found = read_configuration({"data_mirror": "2025/12", "catalogue": {"attacks": entry}})
    assert found.settings["data_mirror"] == "2025/12"
    assert found.catalogue["attacks"]["fgsm"]["title"] == "8/255"


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (
            {"epsilons": ["8/25S"]},
            r"attacks\.pgd_linf\.epsilons\.0: '8/25S' is not a finite number; write it as .*8/255",
        ),
        ({"epsilons": ["1e-999999999/255"]}, r"epsilons\.0: .* is not a finite number"),
        ({"epsilons": ["1/0"]}, r"epsilons\.0: '1/0' is not a finite number"),
        ({"settings": {"steps": "many"}}, r"settings\.steps: 'many' is not a finite number; write"),
        ({"settings": {"steps": 2.5}}, r"settings\.steps: 2\.5 is not a whole number"),
        ({"settings": {"steps": "5/2"}}, r"settings\.steps: '5/2' is not a whole number"),
    ],
)
def test_what_is_no_number_is_told_with_how_to_write_one(attack, message):
    with pytest.raises(ConfigError, match=message):
        read_configuration({"catalogue": {"attacks": {"pgd_linf": attack}}})


MEANT = b"seed: 4\n"


@pytest.mark.parametrize(
    ("content", "seed"),
    [
        (MEANT.decode().encode("utf-16"), 4),
        (b"\xef\xbb\xbf" + MEANT, 4),
        (b"", 1),
        (b"# seed: 4\n", 1),
    ],
)
def test_a_file_of_another_editor_or_without_a_key_is_read(root, content, seed):
    (root / "config/config.yaml").write_bytes(content)
    assert read_configuration(layers=Layers((root,))).settings["seed"] == seed


BOMB = "a0: &a0 [1, 1]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 40))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (MEANT.decode().encode("utf-16-le"), r"is not a text file \(.*\); save it as UTF-8"),
        ("# größe".encode("latin-1"), r"is not a text file \(.*\); save it as UTF-8"),
        (b"ledger:\n\ttolerance: 1\n", r"is not valid YAML, line 2 \(.*\); indent with spaces,"),
        (b"- seed\n", r"must hold a mapping of keys to values; write lines 'key: value'"),
        (b"seed: 2026-99-99\n", r"is not valid YAML \(month must be"),
        (b"? [seed]\n: 1\n", r"is not valid YAML, line 1 \(a key must be a single word\)"),
        (b"seed: 1\n---\nseed: 2\n", r"is not valid YAML, line 2 \(but found another document"),
        (b"catalogue:\n", r"catalogue: is empty; expected: your own entries"),
        (b"catalogue: {models: {mine: }}\n", r"catalogue\.models\.mine: is empty; expected: keys"),
        (b"catalogue: &a {models: *a}\n", r"holds more than 100,000 values, .*an alias"),
        (BOMB.encode(), r"holds more than 100,000 values, .*an alias"),
        (b"seed: " + b"[" * 200 + b"]" * 200, r"holds more than .* lists in lists 50 deep"),
        (b"ledger: {tolerance: .nan}\n", r"ledger\.tolerance: nan is not a finite number; write"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_line(root, content, message):
    (root / "config/config.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^config/config\.yaml: " + message) as found:
        read_configuration(layers=Layers((root,)))
    assert "\n" not in str(found.value)


def test_a_folder_or_a_broken_link_in_a_file_s_place_is_told(root):
    path = root / "config/config.yaml"
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match=r"yaml: the file cannot be read \(Is a directory\); put"):
        read_configuration(layers=Layers((root,)))
    path.rmdir()
    path.symlink_to("nowhere.yaml")
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file .*\); put a readable"):
        read_configuration(layers=Layers((root,)))


def test_printed_numbers_are_looked_for_in_their_folder_alone(root):
    (root / "mine.csv").write_text("study\n")
    change(root, "studies/millner2024.yaml", ["reported", "files"], ["../../mine.csv"])
    with pytest.raises(ConfigError, match=r"files\.0: there is no file of printed numbers '\.\./"):
        make_plan(read_configuration(layers=Layers((root,))))
