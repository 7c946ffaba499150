"""Configuration files: what is wrong in them is told with file, key and remedy."""

import shutil

import pytest
import yaml

from assay.foundation.errors import ConfigError
from assay.foundation.places import mirror_of
from assay.plan.configuration import ROOT, merged, read_configuration


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
            r"attacks\.yaml: fgsm: unknown key 'epsilon'; did you mean 'epsilons'",
        ),
        (
            "studies/millner2024.yaml",
            ["tables", "table1", "kind"],
            "acuracy",
            r"'acuracy' is not allowed; did you mean 'accuracy'",
        ),
        ("studies/millner2024.yaml", ["grid"], [], r"millner2024\.yaml: grid: "),
    ],
)
def test_a_mistake_is_told_with_file_key_and_remedy(root, file, path, value, message):
    change(root, file, path, value)
    with pytest.raises(ConfigError, match=message):
        read_configuration(root=root)


def test_a_key_written_twice_is_refused(root):
    (root / "config/config.yaml").write_text("scale: demo\nscale: smoke\n")
    with pytest.raises(ConfigError, match=r"line 2 .*'scale' stands twice"):
        read_configuration(root=root)


def test_yaml_that_is_none_is_named_with_its_line(root):
    (root / "config/config.yaml").write_text("scale: demo\nseed: [1\n")
    with pytest.raises(ConfigError, match=r"config/config\.yaml: is not valid YAML, line"):
        read_configuration(root=root)


def test_a_file_cannot_make_python_objects(root):
    (root / "config/config.yaml").write_text("scale: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_configuration(root=root)


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


def test_a_mirror_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("ASSAY_DATA", raising=False)
    assert mirror_of({"data_mirror": None}) is None
    monkeypatch.setenv("ASSAY_DATA", str(tmp_path))
    assert mirror_of({}) == tmp_path.resolve()
    with pytest.raises(ConfigError, match=r"data_mirror .*: there is no folder"):
        mirror_of({"data_mirror": str(tmp_path / "nothing")})
