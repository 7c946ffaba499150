"""A config/ in the working folder lies over the one that comes with assay."""

import shutil
from pathlib import Path

import pytest
import yaml

from assay.foundation.errors import ConfigError
from assay.foundation.sources import Source, changes, laid_over, place
from assay.plan.configuration import read_configuration
from assay.plan.layers import BUNDLED, Layers
from assay.plan.plan import make_plan


@pytest.fixture
def write(tmp_path):
    """Writes a file below an otherwise empty working folder."""

    def written(file, tree):
        path = tmp_path / "config" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
        return tmp_path

    return written


def read(folder, **overrides):
    return read_configuration({"scale": "smoke", **overrides}, Layers.here(folder))


def test_an_empty_folder_has_what_comes_with_assay(tmp_path):
    here, there = read(BUNDLED), read(tmp_path)
    assert (there.settings, there.catalogue, there.studies) == (
        here.settings,
        here.catalogue,
        here.studies,
    )
    manifest = make_plan(there).manifest("millner2024")
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in manifest.reported)


def test_in_the_repository_both_are_one():
    layers = Layers.here(BUNDLED)
    assert layers.folders == (BUNDLED,)
    assert layers.shown_path(layers.find("config/config.yaml")) == "config/config.yaml"


def test_files_of_the_working_folder_lie_on_top(write):
    write("config.yaml", {"seed": 5, "ledger": {"tolerance": 0.5}})
    write("catalogue/suites.yaml", {"mine": {"title": "mine", "attacks": ["clean", "fgsm"]}})
    scale = yaml.safe_load((BUNDLED / "config/scales/smoke.yaml").read_text())
    write("scales/tiny.yaml", {**scale, "title": "tiny"})
    study = yaml.safe_load((BUNDLED / "config/studies/millner2024.yaml").read_text())
    write("reported/mine.csv", (BUNDLED / "config/reported/gbz_table1.csv").read_text())
    study["reported"]["files"].append("mine.csv")
    folder = write("studies/mine.yaml", {**study, "title": "my study"})
    found = read(folder, scale="tiny", studies=["mine", "millner2024"])
    assert (found.settings["seed"], found.scale["title"]) == (5, "tiny")
    assert found.settings["ledger"]["tolerance"] == 0.5
    assert found.settings["ledger"]["minimum_n"] == read(BUNDLED).settings["ledger"]["minimum_n"]
    assert found.catalogue["suites"]["mine"]["attacks"] == ["clean", "fgsm"]
    assert "linf_whitebox" in found.catalogue["suites"]
    assert found.studies["mine"]["title"] == "my study"
    reported = make_plan(found).manifest("mine").reported
    assert reported[-1] == "config/reported/mine.csv"
    assert Path(reported[0]) == BUNDLED / "config/reported/gbz_table1.csv"


def test_a_copied_configuration_changes_nothing(tmp_path):
    shutil.copytree(BUNDLED / "config", tmp_path / "config")
    assert read(tmp_path).catalogue == read(BUNDLED).catalogue


@pytest.mark.parametrize("file", ["config.yaml", "catalogue/models.yaml"])
def test_an_entry_that_changes_one_key_keeps_the_others(write, file):
    change = {"resnet18": {"training": {"epochs": 2}}}
    folder = write(file, {"catalogue": {"models": change}} if file == "config.yaml" else change)
    before = read(BUNDLED, scale="paper").catalogue["models"]["resnet18"]
    after = read(folder, scale="paper").catalogue["models"]["resnet18"]
    assert before["training"]["epochs"] != 2
    assert after == {**before, "training": {**before["training"], "epochs": 2}}


MINE = {
    "title": "mine", "family": "discriminative", "implementation": "assay.models.cnn:CNN",
    "source": "mine", "training": {"epochs": 40},
    "for_datasets": {"mnist": {"training": {"epochs": 30}}},
}  # fmt: skip


def test_a_scale_never_takes_back_what_a_user_wrote_in_an_entry(write):
    bundled = read(BUNDLED).scale["overrides"]["models"]
    assert bundled["*"]["training"]["epochs"] == 1
    models = {"mine": MINE, "abs": {"settings": {"steps": 7}}}
    folder = write("config.yaml", {"catalogue": {"models": models}})
    found = read(folder).catalogue["models"]
    assert found["mine"]["training"]["epochs"] == 40
    assert found["mine"]["training"]["samples"] == bundled["*"]["training"]["samples"]
    assert found["abs"]["settings"]["steps"] == 7 != bundled["abs"]["settings"]["steps"]
    assert found["abs"]["settings"]["candidates"] == bundled["abs"]["settings"]["candidates"]
    assert read(folder).entry_on("models", "mine", "mnist")["training"]["epochs"] == 30


def test_a_scale_that_names_an_own_entry_lies_over_it(write):
    scale = yaml.safe_load((BUNDLED / "config/scales/smoke.yaml").read_text())
    scale["overrides"]["models"]["mine"] = {"training": {"epochs": 3}}
    write("scales/tiny.yaml", scale)
    found = read(write("config.yaml", {"catalogue": {"models": {"mine": MINE}}}), scale="tiny")
    assert found.catalogue["models"]["mine"]["training"]["epochs"] == 3
    assert found.entry_on("models", "mine", "mnist")["training"]["epochs"] == 3
    assert found.unscaled["models"]["mine"]["training"]["epochs"] == 40


@pytest.mark.parametrize(
    ("file", "tree", "message"),
    [
        (
            "config.yaml",
            {"catalogue": {"models": {"mine": {**MINE, "traning": {}}}}},
            r"^config/config\.yaml: catalogue\.models\.mine: unknown key 'traning'; did you mean",
        ),
        (
            "config.yaml",
            {"catalogue": {"models": {"mine": {"title": "mine"}}}},
            r"^config/config\.yaml: catalogue\.models\.mine: the key 'family' is missing",
        ),
        (
            "catalogue/models.yaml",
            {"resnet18": {"training": {"epochs": 0}}},
            r"^config/catalogue/models\.yaml: resnet18\.training\.epochs: 0 is less than",
        ),
        (
            "config.yaml",
            {"catalogue": {"models": {"my model": MINE}}},
            r"^config/config\.yaml: catalogue\.models: 'my model' cannot be a name",
        ),
        (
            "config.yaml",
            {"catalogue": {"models": {"mine": {**MINE, "for_datasets": {"mnits": {}}}}}},
            r"^config/config\.yaml: catalogue\.models\.mine\.for_datasets\.mnits: there is no",
        ),
        (
            "config.yaml",
            {"catalogue": {"models": {"cnn": {"for_datasets": {"mnist": {"family": "none"}}}}}},
            r"^config/config\.yaml: catalogue\.models\.cnn\.for_datasets\.mnist\.family: 'none'",
        ),
        (
            "config.yaml",
            {"catalogue": {"models": {"resnet18": {"settings": {"deep": 1}}}}},
            r"^config/config\.yaml: catalogue\.models\.resnet18\.settings: there is no setting of",
        ),
        ("config.yaml", {"ledger": {"tolerance": 2}}, r"^config/config\.yaml: ledger\.tolerance: "),
        ("config.yaml", {"catalogue": None}, r"^config/config\.yaml: catalogue: "),
        ("config.yaml", {"catalogue": []}, r"^config/config\.yaml: catalogue: "),
        ("config.yaml", {"catalogue": {"models": 1}}, r"^config/config\.yaml: catalogue\.models: "),
    ],
)  # fmt: skip
def test_a_complaint_names_the_users_file(write, file, tree, message):
    with pytest.raises(ConfigError, match=message):
        make_plan(read(write(file, tree)))


def test_a_complaint_about_the_command_line_names_it(write):
    folder = write("config.yaml", {"seed": 3})
    with pytest.raises(ConfigError, match=r"^--config: seed: 'abc' is not of type 'integer'"):
        read(folder, seed="abc")
    # Snakemake hands on what it has read of the same file.
    folder = write("config.yaml", {"seed": "abc", "scale": "smoke"})
    with pytest.raises(ConfigError, match=r"^config/config\.yaml: seed: 'abc' is not of type"):
        read(folder, seed="abc")


def test_the_file_that_decides_is_the_last_that_has_the_key():
    sources = [Source("low", (), {"a": {"b": 1, "c": 2}}), Source("high", ("x",), {"a": {"b": 3}})]
    assert laid_over(sources) == {"a": {"b": 3, "c": 2}}
    assert place(sources, "a", "b") == "high: x.a.b"
    assert place(sources, "a", "c") == "low: a.c"
    assert place(sources, "a", by=("c",)) == "low: a"
    assert place(sources, "d") == "high: x.d"
    assert changes({"a": {"b": 1, "c": 3}, "d": 1}, {"a": {"b": 1, "c": 2}}) == {
        "a": {"c": 3},
        "d": 1,
    }
