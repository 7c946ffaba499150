"""The run table: counts, substitutes, and combinations that do not fit."""

import ast
import copy
import dataclasses
from functools import cache
from pathlib import Path

import pytest

from assay.analysis.attack_set import AttackSet
from assay.foundation import digest
from assay.foundation.digest import module_closure
from assay.foundation.errors import ConfigError
from assay.foundation.resources import resource
from assay.plan.configuration import read_configuration
from assay.plan.layers import Layers
from assay.plan.machine import check_machine
from assay.plan.plan import make_plan
from assay.plan.targets import make_targets

SCALES = Path(__file__).resolve().parents[3] / "config/scales"


@cache
def read(scale, study):
    return read_configuration({"scale": scale, "studies": [study]})


def configured(scale="paper", catalogue=None, **study_changes):
    """A configuration of one study that a test may change."""
    if catalogue:
        given = {"scale": scale, "studies": ["millner2024"], "catalogue": catalogue}
        configuration = read_configuration(given)
    else:
        configuration = copy.deepcopy(read(scale, "millner2024"))
    configuration.studies["millner2024"].update(study_changes)
    return configuration


def grid(**changes):
    return [{**configured().studies["millner2024"]["grid"][0], **changes}]


def test_the_paper_scale_crosses_folds_models_and_suites():
    plan = make_plan(configured())
    blocks = configured().studies["millner2024"]["grid"]
    assert len(plan.cells) == 5 * sum(
        len(block["models"]) * len(block["suites"]) for block in blocks
    )
    borrowing = {"gbz_as_coded_mean"}
    assert len(plan.trainings) == 5 * sum(len({*block["models"]} - borrowing) for block in blocks)
    assert {cell.dataset for cell in plan.cells} == {"medical_mnist"}
    assert {cell.split for cell in plan.cells} == {
        f"{scheme}_{index}" for scheme in ("kfold", "random_millner") for index in range(5)
    }


def test_stand_ins_replace_names_everywhere_and_repeat_nothing():
    plan = make_plan(configured("demo"))
    assert {cell.dataset for cell in plan.cells} == {"phantom"}
    models = [cell.model for cell in plan.cells]
    assert "resnet18" in models
    assert not any(name in models for name in ("resnet18_text", "resnet18_as_coded"))
    assert len(plan.cells) == len(set(plan.cells))
    study = plan.brief("millner2024")
    needs = {"clean": "none", "pgd_linf": "white_box", "one_pixel": "score"}
    assert study.access | needs == study.access
    assert study.headline.models.count("resnet18") == 1
    assert study.reported.models["ResNet18"] == "resnet18"
    assert study.substitutes["datasets"] == {"medical_mnist": "phantom"}


@pytest.mark.parametrize("dataset", ["phantom", "mnist", "medmnist_breastmnist", "chest_xray"])
def test_data_sets_that_come_divided_have_official_splits(dataset):
    models = ["resnet18"]
    plan = make_plan(
        configured(
            grid=grid(datasets=[dataset], splits="official", models=models, suites=["corruptions"]),
            tables={}, figures={}, measurements={}, headline={"models": [], "cells": []},
            reported={"files": []},
        )
    )  # fmt: skip
    assert {cell.split for cell in plan.cells} == {"official_0"}


def test_a_model_that_borrows_weights_trains_nothing_of_its_own():
    borrower = {
        **configured().catalogue["models"]["gbz_as_coded"],
        "shares_weights_with": "gbz_as_coded",
    }
    configuration = configured(
        catalogue={"models": {"borrower": borrower}},
        grid=grid(models=["gbz_as_coded", "borrower"]),
        tables={},
        figures={},
        measurements={},
        headline={"models": [], "cells": []},
        reported={"files": []},
    )
    plan = make_plan(configuration)
    assert {item.model for item in plan.trainings} == {"gbz_as_coded"}
    assert {cell.model for cell in plan.cells} == {"gbz_as_coded", "borrower"}
    assert all("/gbz_as_coded/" in item.history for item in plan.manifest("millner2024").models)


def test_prose_is_no_parameter_but_every_setting_is():
    plan = make_plan(configured())
    entry = plan.entry("models", "gbz")
    assert "title" not in entry
    assert "settings" in entry
    suite = plan.suite("linf_whitebox", "medical_mnist", "gbz")
    assert [attack["name"] for attack in suite] == ["fgsm", "pgd_linf"]
    assert suite[0]["code"] != suite[1]["code"]


@pytest.mark.parametrize("key", ["role", "single_step"])
def test_what_the_analysis_takes_an_attack_for_plans_no_attack_job(key):
    """Jobs run again when their parameters change; the analysis alone must know the new value."""
    before = make_plan(configured())
    other = {"role": "sweep", "single_step": None}[key]
    assert before.configuration.catalogue["attacks"]["pgd_linf"][key] != other
    changed = {"attacks": {"pgd_linf": {key: other}}}
    after = make_plan(read_configuration({"scale": "paper", "catalogue": changed}))
    for cell in before.cells:
        asked = cell.suite, cell.dataset, cell.model
        assert after.suite(*asked) == before.suite(*asked)
    assert after.implementations == before.implementations
    attacks = [plan.brief("millner2024").attacks["pgd_linf"] for plan in (before, after)]
    assert attacks[0][key] != attacks[1][key]


def test_saliency_maps_do_not_depend_on_an_attacks_role():
    given = {"scale": "paper", "studies": ["rodriguez2022"]}
    plan = make_plan(read_configuration(given))
    item = plan.studies["rodriguez2022"].measurements[0]
    before = plan.reads(*item)
    assert before["epsilons"]
    changed = {"attacks": {before["attack"]["name"]: {"role": "control"}}}
    after = make_plan(read_configuration({**given, "catalogue": changed}))
    assert after.reads(*item) == before


@pytest.mark.parametrize("other", ["pgd_linf", "pgd_l2", "fgms"])
def test_the_one_step_form_of_an_attack_is_another_attack_in_its_norm(other):
    configuration = configured()
    configuration.catalogue["attacks"]["pgd_linf"]["single_step"] = other
    with pytest.raises(ConfigError, match=r"attacks\.yaml: pgd_linf\.single_step"):
        make_plan(configuration)


def test_a_report_names_no_folder_of_this_machine():
    configuration = configured()
    settings = {"folder": "/elsewhere/clinic", "patients": "/elsewhere/people.csv", "channels": 1}
    configuration.catalogue["datasets"]["medical_mnist"].update(
        kind="image_folder", settings=settings
    )
    brief = make_plan(configuration).brief("millner2024")
    assert brief.datasets["medical_mnist"]["settings"]["channels"] == 1
    assert "/elsewhere" not in str(brief)


@pytest.mark.parametrize("scale", sorted(path.stem for path in SCALES.glob("*.yaml")))
def test_a_corrected_attack_is_never_weaker_than_the_published_one_for_want_of_effort(scale):
    plan = make_plan(configured(scale))
    for pair in plan.brief("millner2024").tables["defects"]["pairs"]:
        published = plan.entry("attacks", pair["published"])["settings"]
        corrected = plan.entry("attacks", pair["corrected"])["settings"]
        for effort in ("steps", "population", "generations"):
            assert corrected.get(effort, 0) >= published.get(effort, 0), pair["corrected"]


def test_every_table_and_figure_has_all_its_formats_among_the_targets():
    plan = make_plan(configured())
    targets = make_targets(plan)
    for table in plan.studies["millner2024"].tables:
        for form in ("csv", "md", "tex", "json"):
            assert f"report/paper/millner2024/tables/{table}.{form}" in targets.tables
    for place in ("headline", "ledger", "checks", "statistics/ranking", "statistics/mcnemar"):
        for form in ("csv", "md", "tex", "json"):
            assert f"report/paper/millner2024/{place}.{form}" in targets.statistics
    assert "report/paper/millner2024/provenance.json" in targets.statistics
    for figure in plan.studies["millner2024"].figures:
        for form in ("svg", "pdf"):
            assert f"report/paper/millner2024/figures/{figure}.{form}" in targets.figures


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"grid": grid(models=["resnett18"])},
            r"grid\.0\.models: there is no model 'resnett18'; did you mean 'resnet18'",
        ),
        (
            {"grid": grid(datasets=["medical_mnst"])},
            r"no dataset 'medical_mnst'; did you mean 'medical_mnist'",
        ),
        ({"grid": grid(suites=["linf"])}, r"no suite 'linf'"),
        ({"grid": grid(splits="kfolds")}, r"no split 'kfolds'; did you mean 'kfold'"),
        (
            {"grid": grid(splits="official")},
            r"data set 'medical_mnist' has no official split.*use kfold or random",
        ),
        ({"grid": grid(splits="random_patient")}, r"'medical_mnist' has no patient ids"),
        ({"grid": grid(splits="random_150_person")}, r"'medical_mnist' has no patient ids"),
        (
            {"measurements": {"features": {"models": ["resnet8"]}}},
            r"measurements\.features\.models\.0: there is no model in the grid called 'resnet8'",
        ),
        (
            {"measurements": {"feature": {"models": ["gbz"]}}},
            r"measurements: there is no measurement 'feature'; did you mean 'features'\?",
        ),
        (
            {"measurements": {"saliency": {"models": ["dbx"], "attack": "fgsm"}}},
            r"measurements\.saliency: the measurement 'saliency' needs the key 'epsilons'; write",
        ),
        (
            {"measurements": {"reconstructions": {"models": ["gbz"]}}},
            r"measurements\.reconstructions: the measurement .* needs the key 'attacks'; write",
        ),
        (
            {"measurements": {"features": {"models": ["gbz"], "attack": "fgsm"}}},
            r"measurements\.features\.attack: the measurement 'features' reads no 'attack'; take",
        ),
        (
            {
                "measurements": {
                    "saliency": {"models": ["dbx"], "attack": "fgsm", "epsilons": [0.033]}
                }
            },
            r"saliency\.epsilons\.0: attack 'fgsm' is not run at epsilon 0\.033; its epsilons are",
        ),
        (
            {"measurements": {"lpips": {"models": ["gbz"], "attacks": ["fsgm"]}}},
            r"measurements\.yaml: lpips\.settings: the measurement 'lpips' needs a file, which "
            r"settings\.weights does not name; write catalogue: \{measurements: \{lpips: ",
        ),
        (
            {"headline": {"models": [], "cells": [{"attack": "fgsm", "epsilon": 0.033}]}},
            r"cells\.0\.epsilon: attack 'fgsm' is not run at epsilon 0\.033; its epsilons are",
        ),
        (
            {"headline": {"models": [], "cells": [{"attack": "fsgm"}]}},
            r"there is no attack in the grid called 'fsgm'; did you mean 'fgsm'",
        ),
    ],
)
def test_an_impossible_combination_is_told_with_its_key(changes, message):
    with pytest.raises(ConfigError, match=message):
        make_plan(configured(**changes))


MILLNER = configured().studies["millner2024"]


def reported(**changes):
    return {"reported": {**MILLNER["reported"], **changes}}


def figure(name, **changes):
    return {"figures": {name: {**MILLNER["figures"][name], **changes}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            reported(files=["gbz_tabel1.csv"]),
            r"reported\.files\.0: there is no file of printed numbers 'gbz_tabel1\.csv'; "
            r"did you mean 'gbz_table1\.csv'",
        ),
        (
            reported(datasets={"medical-mnist": "medical_mnst"}),
            r"datasets\.medical-mnist: there is no data set in the grid called 'medical_mnst'; did",
        ),
        (
            reported(models={"GBZ": "gbz_as_code"}),
            r"reported\.models\.GBZ: there is no model in the grid called 'gbz_as_code'; did",
        ),
        (
            reported(sweeps={"EOT runs": "pgd_linf"}),
            r"reported\.sweeps\.EOT runs: there is no setting in its files called 'EOT r",
        ),
        (
            figure("figure3", reported="gbz_figure4.csv"),
            r"figure3\.reported: there is no file of the study called 'gbz_figure4\.csv'; did you",
        ),
        (
            {"measurements": {"features": {"models": ["gbz"]}}},
            r"figures\.figure4\.model: no features of 'gbz_as_coded' are stored; add it to the "
            r"study's key measurements\.features\.models \(now: \['gbz'\]\)",
        ),
        (
            {"grid": [*grid(suites=["corruptions"]), *grid(models=["dbx"])], "tables": {}}
            | {"headline": {"models": [], "cells": []}, **figure("figure5")},
            r"figures\.figure5\.attack: 'fgsm' does not attack 'gbz_as_coded' in the grid",
        ),
    ],
)
def test_what_tables_figures_and_the_ledger_cannot_show_is_told(changes, message):
    with pytest.raises(ConfigError, match=message):
        make_plan(configured(**changes))


def test_a_study_without_a_paper_is_a_study_that_shows_no_printed_numbers():
    study = {key: MILLNER[key] for key in ("title", "question", "grid", "headline")}
    written = {**study, "headline": {"models": [], "cells": []}}
    configuration = configured(tables={}, figures={}, reported={"files": []}, **written)
    del configuration.studies["millner2024"]["paper"]
    assert make_plan(configuration).manifest("millner2024").reported == ()
    figures = {"ledger": {"kind": "ledger_dumbbell", "title": "mine"}}
    configuration.studies["millner2024"]["figures"] = figures
    with pytest.raises(ConfigError, match=r"figures\.ledger\.kind: the study has no printed numb"):
        make_plan(configuration)


def test_examples_need_images_that_the_scale_stores():
    configuration = configured()
    configuration.scale["evaluation"]["examples"] = 0
    with pytest.raises(ConfigError, match=r"figure5: no example .*raise evaluation\.examples in"):
        make_plan(configuration)


def test_a_file_of_printed_numbers_without_its_columns_is_told(tmp_path):
    configuration = dataclasses.replace(
        configured(**reported(files=["mine.csv"])), layers=Layers.here(tmp_path)
    )
    (tmp_path / "config/reported").mkdir(parents=True)
    (tmp_path / "config/reported/mine.csv").write_text("dataset,model,value\n")
    with pytest.raises(ConfigError, match=r"mine\.csv: columns missing: .*'epsilon'.*; add"):
        make_plan(configuration)


def test_names_that_a_study_gives_are_not_taken_for_keys():
    table = MILLNER["tables"]["table1"]
    words = {**MILLNER["reported"]["models"], "attack": "gbz"}
    changes = {"tables": {"models": table, "attack": table}, **reported(models=words)}
    assert make_plan(configured(**changes)).studies["millner2024"].tables == ("models", "attack")


@pytest.mark.parametrize(
    ("kind", "name", "changes", "message"),
    [
        (
            "attacks",
            "pgd_linf",
            {"settings": {"restart": 3}},
            r"attacks\.yaml: pgd_linf\.settings: there is no setting of PGD 'restart'; did you "
            r"mean 'restarts'\? \(see workflow/assay/attacks/pgd\.py\)",
        ),
        (
            "attacks",
            "clean",
            {"settings": {"loss": "margin"}},
            r"clean\.settings: there is no setting of Clean 'loss'; known are as_published",
        ),
        *(
            (
                "attacks",
                "fgsm",
                {"settings": {"views": views}},
                r"fgsm\.settings\.views: .* names no view; write a list of names such as \[base",
            )
            for views in ([], "base_model", [1])
        ),
        (
            "attacks",
            "fgsm",
            {"settings": {"views": ["decision"]}},
            r"fgsm\.settings\.views: FGSM needs more than the decision; name views",
        ),
        (
            "attacks",
            "clean",
            {"settings": {"views": ["base_model"]}},
            r"clean\.settings\.views: Clean searches on no view of a model; leave it out",
        ),
        (
            "attacks",
            "fgsm",
            {"norm": "l2"},
            r"fgsm\.norm: norm is 'l2', but that of FGSM is 'linf'; write norm: linf",
        ),
        ("attacks", "pgd_l2", {"settings": {}}, r"norm is 'l2', but that of PGD is 'linf'"),
        (
            "attacks",
            "fgsm",
            {"epsilons": [0.1, 8]},
            r"fgsm\.threat\.1: 8 is no L-infinity radius of images in \[0, 1\]; write 8/255",
        ),
        (
            "attacks",
            "fgsm",
            {"implementation": "assay.attacks.fsgm:FGSM"},
            r"attacks\.yaml: fgsm\.implementation: there is no module 'assay\.attacks\.fsgm'; did",
        ),
        (
            "models",
            "dbx",
            {"implementation": "assay.models.dbx:DBZ"},
            r"models\.yaml: dbx\.implementation: module 'assay\.models\.dbx' has no 'DBZ'; did you",
        ),
        (
            "models",
            "gbz",
            {"settings": {"sample": 3}},
            r"gbz\.settings: there is no setting of GBZ 'sample'; did you mean 'samples'",
        ),
        (
            "models",
            "dbx",
            {"settings": {"classes": 3}},
            r"dbx\.settings: there is no setting of DBX 'classes'; known are beta, input_size,",
        ),
        (
            "models",
            "dbx",
            {"implementation": "assay.attacks.pgd:PGD"},
            r"dbx\.implementation: PGD does not inherit from Classifier; name a class that does",
        ),
        (
            "attacks",
            "fgsm",
            {"implementation": "assay.models.dbx:DBX"},
            r"fgsm\.implementation: DBX does not inherit from Attack; name a class that does",
        ),
        (
            "models",
            "dbx",
            {"implementation": "assay.models.base:build"},
            r"dbx\.implementation: build does not inherit from Classifier",
        ),
        (
            "datasets",
            "medical_mnist",
            {"settings": {"patern": "x", "size": None}},
            r"medical_mnist\.settings: there is no setting of image_archive 'patern'; did you mean "
            r"'pattern'\? \(see workflow/assay/data/kinds/image_archive\.py\)",
        ),
    ],
)
def test_an_entry_that_its_class_would_refuse_is_told_before_anything_runs(
    kind, name, changes, message
):
    configuration = configured()
    configuration.catalogue[kind][name].update(changes)
    with pytest.raises(ConfigError, match=message):
        make_plan(configuration)


def simple(catalogue=None, **block):
    """A study of one block, without tables, figures or printed numbers."""
    configuration = configured(
        catalogue=catalogue, grid=grid(**block), tables={}, figures={}, reported={"files": []},
        measurements={}, headline={"models": [], "cells": []},
    )  # fmt: skip
    del configuration.studies["millner2024"]["paper"]
    return configuration


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            {"models": ["cbr_larget"]},
            r"'cbr_larget' cannot take the images of 'medical_mnist', which are \[1, 64, 64\]: it "
            r"needs at least 217 pixels in height and width; take the model out",
        ),
        (
            {"models": ["cnn"]},
            r"'cnn' cannot take .*: it takes \[1, 28, 28\] or \[3, 32, 32\]; take the model out",
        ),
        (
            {"models": ["gbz"], "suites": ["generative_linf"]},
            r"grid: attack 'latent_descent_linf' of 'generative_linf' needs a reconstruction for "
            r"each class, which 'gbz' does not make; take the suite out for this model",
        ),
    ],
)
def test_a_network_that_does_not_fit_is_told_before_its_training(block, message):
    with pytest.raises(ConfigError, match=message):
        make_plan(simple(**block))


def test_a_network_that_fits_is_planned():
    assert make_plan(simple(models=["gbz_deepbayes"], suites=["generative_linf"])).cells
    assert make_plan(simple(datasets=["dermoscopy"], models=["cbr_larget"])).cells


def test_a_target_class_that_a_data_set_does_not_have_is_told():
    def driven_to(target):
        return {"attacks": {"fgsm": {"settings": {"target": target}}}}

    assert make_plan(simple(driven_to(5), models=["resnet18"])).cells
    message = r"attacks\.fgsm\.settings\.target: 6 is none of the 6 classes of 'medical_mnist'"
    with pytest.raises(ConfigError, match=message):
        make_plan(simple(driven_to(6), models=["resnet18"]))


OWN = {
    "title": "mine", "kind": "image_folder", "classes": None, "shape": None, "licence": "mine",
    "source": "mine", "citation": "none",
}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"folder": "mine/nowhere"},
            r"settings\.folder: there is no 'mine/nowhere'; name the folder",
        ),
        ({"folder": "mine/a.txt"}, r"settings\.folder: 'mine/a\.txt' is not a folder; name the"),
        ({"folder": None}, r"settings\.folder: no folder is given; name the folder"),
        ({}, r"settings\.folder: no folder is given"),
        ({"folder": "~nobody_here/a"}, r"settings\.folder: there is no '~nobody_here/a'; name"),
    ],
)
def test_a_folder_that_is_not_there_is_told_before_anything_runs(
    settings, message, tmp_path, monkeypatch
):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.txt").touch()
    monkeypatch.chdir(tmp_path)
    catalogue = {"datasets": {"mine": {**OWN, "settings": settings}}}
    plan = make_plan(simple(catalogue, datasets=["mine"], models=["resnet18"]))
    with pytest.raises(ConfigError, match=r"^--config: catalogue\.datasets\.mine\." + message):
        check_machine(plan)
    settings["folder"] = "mine"
    check_machine(make_plan(simple(catalogue, datasets=["mine"], models=["resnet18"])))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"folder": 3},
            r"folder: 3 is not of type 'string', 'null'; expected: folder with a sub-f",
        ),
        (
            {"size": "big"},
            r"size: 'big' is not of type 'integer', 'array', 'null'; expected: \[hei",
        ),
        (
            {"size": 0},
            r"size: 0 is less than the minimum of 1; expected: \[height, width\] to which",
        ),
        ({"size": 64.5}, r"size: 64\.5 is not of type 'integer'"),
        ({"size": [1, 2, 3]}, r"size: \[1, 2, 3\] is too long; expected: \[height, width\]"),
        ({"size": [64, "a"]}, r"size\.1: 'a' is not of type 'integer'"),
        ({"channels": 4}, r"channels: '4' is not allowed; use one of 1, 3"),
    ],
)
def test_a_setting_of_a_users_folder_is_checked_before_anything_runs(settings, message):
    place = r"^--config: catalogue\.datasets\.mine\.settings\."
    with pytest.raises(ConfigError, match=place + message):
        configured(catalogue={"datasets": {"mine": {**OWN, "settings": settings}}})


def test_a_size_in_quotes_is_a_size():
    entry = {**OWN, "settings": {"folder": "mine", "size": "64"}}
    found = configured(catalogue={"datasets": {"mine": entry}}).catalogue["datasets"]["mine"]
    assert found["settings"]["size"] == 64


def test_the_size_of_a_users_images_is_known_where_they_are_resized():
    entry = {**OWN, "settings": {"folder": "mine", "channels": 3, "size": 64}}
    message = r"'cbr_larget' cannot take the images of 'mine', which are \[3, 64, 64\]"
    with pytest.raises(ConfigError, match=message):
        make_plan(simple({"datasets": {"mine": entry}}, datasets=["mine"], models=["cbr_larget"]))


def test_an_attack_of_the_headline_that_no_suite_of_the_study_has_is_told():
    """Also at a scale that leaves other suites out."""
    headline = {"models": [], "cells": [{"attack": "ddn"}]}
    for scale in ("paper", "smoke"):
        with pytest.raises(ConfigError, match=r"cells\.0\.attack: there is no attack in the grid"):
            make_plan(configured(scale, headline=headline))


def test_an_entry_that_no_study_uses_does_not_stop_a_run():
    configuration = configured(grid=grid(models=["gbz", "gbz_as_coded", "resnet18_as_coded"]))
    for part in ("tables", "figures"):
        configuration.studies["millner2024"][part] = {}
    configuration.studies["millner2024"]["headline"] = {"models": [], "cells": []}
    configuration.studies["millner2024"]["measurements"] = {}
    configuration.catalogue["models"]["dbx"]["implementation"] = "assay.models.nothing:DBX"
    assert make_plan(configuration).cells


def test_a_plan_names_the_code_of_all_its_entries():
    plan = make_plan(configured())
    assert {"assay.data.kinds.image_archive:read", "assay.models.gbz:GBZ",
            "assay.attacks.pgd:PGD"} <= set(plan.implementations)  # fmt: skip
    assert "assay.data.kinds.phantom:read" not in plan.implementations


def test_planning_all_suites_of_a_study_at_paper_scale_parses_each_file_once(monkeypatch):
    digest.forget()
    parsed, parse = [], ast.parse
    monkeypatch.setattr(ast, "parse", lambda text, *rest: parsed.append(text) or parse(text, *rest))
    plan = make_plan(read_configuration({"scale": "paper"}))
    for cell in plan.cells:
        plan.suite(cell.suite, cell.dataset, cell.model)
    once = {text for text in parsed if "def " in text}
    assert len(plan.cells) > 100
    assert once
    assert all(parsed.count(text) <= 2 for text in once), "imports and normal form: one pass each"


def test_a_users_folder_is_watched_class_by_class(tmp_path):
    for name in ("sick", "well", "@eaDir", ".Trash-1000"):  # the last two belong to systems
        (tmp_path / "mine" / name).mkdir(parents=True)
    for name in ("notes.txt", "p.csv"):
        (tmp_path / "mine" / name).touch()
    folder = (tmp_path / "mine").as_posix()
    classes = [folder, f"{folder}/sick", f"{folder}/well"]
    plan = make_plan(configured())
    for patients, watched in (
        ("p.csv", [f"{folder}/p.csv"]),
        (f"{folder}/p.csv", [f"{folder}/p.csv"]),
        ("nowhere.csv", []),
        (None, []),
    ):
        settings = {"folder": folder, "patients": patients}
        plan.configuration.catalogue["datasets"]["image_folder"]["settings"] = settings
        assert plan.sources("image_folder") == [*classes, *watched]


def test_a_folder_below_home_is_watched_where_the_reader_reads_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", tmp_path.as_posix())
    (tmp_path / "mine" / "sick").mkdir(parents=True)
    (tmp_path / "mine" / "p.csv").touch()
    plan = make_plan(configured())
    settings = {"folder": "~/mine", "patients": "p.csv"}
    plan.configuration.catalogue["datasets"]["image_folder"]["settings"] = settings
    home = tmp_path.as_posix()
    watched = [f"{home}/mine", f"{home}/mine/sick", f"{home}/mine/p.csv"]
    assert plan.sources("image_folder") == watched


def test_nothing_is_watched_where_there_is_no_folder():
    plan = make_plan(configured())
    assert plan.sources("medical_mnist") == []
    assert plan.sources("image_folder") == []


def thesis(scale="paper", **study_changes):
    configuration = copy.deepcopy(read(scale, "ju2021_eabs"))
    configuration.studies["ju2021_eabs"].update(study_changes)
    return configuration


def test_a_model_that_starts_from_another_is_trained_after_it():
    plan = make_plan(thesis())
    order = [item.model for item in plan.trainings if item.dataset == "mnist"]
    assert order.index("cnn") < order.index("cnn_adv_linf")
    assert plan.start("mnist", "official_0", "cnn_adv_linf") == [
        plan.weights("mnist", "official_0", "cnn")
    ]
    assert plan.start("mnist", "official_0", "cnn") == []


def test_the_start_of_a_training_is_trained_although_no_grid_names_it():
    configuration = thesis(
        grid=[
            {
                "datasets": ["mnist"],
                "splits": "official",
                "models": ["cnn_adv_l2"],
                "suites": ["unperturbed"],
            }
        ],
        tables={}, figures={}, measurements={}, headline={"models": [], "cells": []},
        reported={"files": [], "datasets": {}, "models": {}, "attacks": {}},
    )  # fmt: skip
    plan = make_plan(configuration)
    assert [item.model for item in plan.trainings] == ["cnn", "cnn_adv_l2"]
    assert {cell.model for cell in plan.cells} == {"cnn_adv_l2"}


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ({"cnn": "cnn_adv_linf"}, "cnn starts from cnn_adv_linf starts from cnn"),
        ({"cnn_adv_l2": "eabs"}, "'eabs' has another implementation .*of the same implementation"),
        ({"cnn_adv_l2": "cn"}, r"init_from: there is no model 'cn'; did you mean 'cnn'"),
    ],
)
def test_an_impossible_start_is_told_with_its_key(starts, message):
    configuration = thesis()
    for model, first in starts.items():
        configuration.catalogue["models"][model]["init_from"] = first
    with pytest.raises(ConfigError, match=message):
        make_plan(configuration)


def test_an_entry_changes_with_the_data_set_and_the_scale_s_overrides_lie_on_top():
    plan = make_plan(thesis())
    radii = {
        dataset: plan.model(dataset, "cnn_adv_linf")["training"]["adversary"]["epsilon"]
        for dataset in ("mnist", "fashion_mnist", "gtsrb_subset")
    }
    assert radii == {"mnist": 0.3, "fashion_mnist": 0.1, "gtsrb_subset": 8 / 255}
    assert plan.model("svhn", "eabs")["training"]["epochs"] == 800
    assert plan.model("mnist", "eabs")["training"]["epochs"] == 500
    assert "for_datasets" not in plan.model("mnist", "eabs")
    smaller = make_plan(thesis("workstation")).model("svhn", "eabs")["training"]
    assert smaller["epochs"] < 800
    assert smaller["augment"] == [{"name": "noise", "deviation": 0.01}]
    attack = {
        dataset: plan.suite("thesis_linf", dataset, "eabs")[0]
        for dataset in ("mnist", "gtsrb_subset")
    }
    assert attack["mnist"]["epsilons"] == [0.3]
    assert attack["gtsrb_subset"]["settings"]["restarts"] == 20


def test_attacks_on_reconstructions_meet_generative_models_alone():
    plan = make_plan(thesis())
    met = {
        model: [attack["name"] for attack in plan.suite("adaptive_linf", "mnist", model)]
        for model in ("eabs", "cnn")
    }
    assert met["eabs"] == ["apgd_margin_linf", "latent_descent_linf", "square_linf"]
    assert met["cnn"] == ["apgd_margin_linf", "square_linf"]


def test_what_a_scale_leaves_out_is_gone_from_grid_tables_figures_and_names():
    configuration = thesis("workstation")
    configuration.scale["exclude"]["models"] = ["d_abs"]
    study = make_plan(configuration).studies["ju2021_eabs"]
    assert "svhn" not in {cell.dataset for cell in study.cells}
    assert "table2_5" not in study.tables
    assert "table2_7" in study.tables
    assert "figure2_8_l2" not in study.figures
    assert "svhn" not in study.study["reported"]["datasets"].values()
    assert "d_abs" not in {cell.model for cell in study.cells}
    assert "d_abs" not in study.study["tables"]["table2_6"]["models"]
    assert "d_abs" not in study.study["reported"]["models"].values()
    whole = make_plan(thesis()).studies["ju2021_eabs"]
    ablation = [*whole.study["tables"]["table2_6"]["models"]]
    ablation.remove("d_abs")
    assert study.study["tables"]["table2_6"]["models"] == ablation
    assert "table2_5" in whole.tables
    assert "svhn" in {cell.dataset for cell in whole.cells}


def test_a_suite_that_is_left_out_takes_its_attacks_rows_and_words_along():
    configuration = thesis("workstation")
    configuration.scale["exclude"]["suites"] = ["thesis_l2", "sweep_steps"]
    study = make_plan(configuration).studies["ju2021_eabs"].study
    attacks = list(map(AttackSet.of, study["tables"]["table2_2"]["cells"]))
    assert AttackSet.of("pgd_linf_thesis") in attacks
    assert AttackSet("suite", "thesis_linf") in attacks
    assert not {AttackSet.of("ddn"), AttackSet("suite", "thesis_l2")} & set(attacks)
    assert "table2_9" not in study["tables"]
    assert "figure2_5_l2" not in study["figures"]
    assert "DDN" not in study["reported"]["attacks"]


def test_a_model_that_is_left_out_takes_its_columns_and_pictures_along():
    configuration = thesis("workstation")
    configuration.scale["exclude"]["models"].append("abs")
    study = make_plan(configuration).studies["ju2021_eabs"].study
    assert "abs" not in study["headline"]["models"]
    for name in ("reconstructions", "certificates"):
        assert study["measurements"][name]["models"] == ["eabs"]
    assert "imitations" in study["figures"]
    assert "imitations_abs" not in study["figures"]
    assert study["figures"]["certified"]["models"] == ["eabs"]
    figure = study["figures"]["figure2_5_l2"]
    assert figure["models"] == ["cnn", "cnn_adv_linf", "eabs"]
    assert figure["excluded_models"] == [configuration.catalogue["models"]["abs"]["title"]]
    assert "excluded_models" not in study["figures"]["imitations"]


def test_a_part_of_the_grid_that_is_left_out_leaves_the_rest_of_its_block():
    configuration = thesis("workstation")
    whole = make_plan(configuration).studies["ju2021_eabs"].cells
    part = {"datasets": ["mnist"], "models": ["eabs", "abs"], "suites": ["thesis_l2"]}
    configuration.scale["exclude"]["parts"] = [part]
    study = make_plan(configuration).studies["ju2021_eabs"]
    gone = [
        cell
        for cell in whole
        if cell.dataset == "mnist" and cell.model in part["models"] and cell.suite == "thesis_l2"
    ]
    assert len(gone) == 2
    assert set(study.cells) == set(whole) - set(gone)
    assert (
        study.study["tables"].keys()
        == make_plan(thesis("workstation")).studies["ju2021_eabs"].study["tables"].keys()
    )


def test_a_model_that_is_left_out_on_every_split_is_gone_from_tables_too():
    configuration = thesis("workstation")
    configuration.scale["exclude"]["parts"] = [{"splits": ["official"], "models": ["abs"]}]
    study = make_plan(configuration).studies["ju2021_eabs"].study
    assert "abs" not in study["headline"]["models"]
    assert "imitations_abs" not in study["figures"]


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (
            {"datasets": ["shvn"], "models": [], "suites": [], "parts": []},
            "exclude.datasets: there is no dataset 'shvn'",
        ),
        (
            {
                "datasets": ["mnist", "fashion_mnist", "svhn", "gtsrb_subset"],
                "models": [],
                "suites": [],
                "parts": [],
            },
            "exclude: it removes the whole grid of the study",
        ),
    ],
)
def test_leaving_out_what_is_not_there_or_all_that_is_there_is_an_error(gone, message):
    configuration = thesis("workstation")
    configuration.scale["exclude"] = gone
    with pytest.raises(ConfigError, match=message):
        make_plan(configuration)


def test_reconstructions_are_stored_of_the_attacks_that_the_study_names():
    plan = make_plan(thesis())
    item = ("mnist", "official_0", "eabs", "reconstructions")
    assert plan.reads(*item)["examples"] == [["thesis_l2", "pgd_l2_thesis"]]
    assert plan.reads(*item[:3], "certificates")["examples"] == []
    assert plan.example_files(*item) == [
        "results/paper/outcomes/mnist/official_0/eabs/thesis_l2.examples.npz"
    ]
    measured = plan.manifest("ju2021_eabs").measurements
    stored = [item for item in measured if item.measurement == "reconstructions"]
    assert {item.model for item in stored} == {"abs", "eabs"}
    assert stored[0].path in plan.record_files("ju2021_eabs")


def test_a_figure_of_reconstructions_needs_those_under_its_attack():
    measured = {"reconstructions": {"models": ["abs", "eabs"], "attacks": ["ddn"]},
                "certificates": {"models": ["abs", "eabs"]}}  # fmt: skip
    with pytest.raises(ConfigError, match=r"attacked by 'pgd_l2_thesis' are stored; add it to the"):
        make_plan(thesis(measurements=measured))


def test_a_suite_that_is_left_out_takes_measurements_of_its_examples_along():
    configuration = thesis("workstation")
    configuration.scale["exclude"]["suites"] = ["thesis_l2", "sweep_steps"]
    study = make_plan(configuration).studies["ju2021_eabs"]
    assert {item.measurement for item in study.measurements} == {"certificates"}


def test_a_measurement_of_first_splits_is_made_of_no_other():
    plan = make_plan(configured())
    splits = {i.split for i in plan.measurements if i.measurement == "features"}
    assert {"kfold_4", "random_millner_0"} <= splits
    changed = {"measurements": {"features": {"splits": "first"}}}
    plan = make_plan(read_configuration({"scale": "paper", "catalogue": changed}))
    splits = {i.split for i in plan.measurements if i.measurement == "features"}
    assert splits == {"kfold_0", "random_millner_0"}


def test_a_setting_that_a_measurement_does_not_have_is_told():
    changed = {"measurements": {"importance": {"settings": {"sweeps": [1]}}}}
    message = (
        r"importance\.settings: there is no setting of Importance 'sweeps'; did you mean 'swee"
    )
    with pytest.raises(ConfigError, match=message):
        make_plan(read_configuration({"scale": "paper", "catalogue": changed}))


def test_the_code_of_a_measurement_is_its_own_file_and_the_model_s_and_the_attack_s():
    plan = make_plan(read_configuration({"scale": "paper", "studies": ["rodriguez2022"]}))
    item = plan.measurements[0]
    module, model, attack = plan.measuring_code(*item)
    assert module == "assay.evaluation.measurements.saliency:Saliency"
    assert attack == plan.reads(*item)["attack"]["implementation"]
    script = resource("workflow/scripts/measure_model.py")
    own = {
        path.stem
        for source in (script, module, model, attack)
        for path in module_closure(source)
        if path.parent.name == "measurements"
    }
    assert own - {"__init__"} == {"base", "saliency"}
    features = {p.name for s in (script, "assay.evaluation.measurements.features:Features")
                for p in module_closure(s)}  # fmt: skip
    assert "catalogue.py" not in features, "features need no attack"


def test_the_file_of_a_measurement_is_looked_for_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_DATA", str(tmp_path))
    changed = {"measurements": {"fid": {"settings": {"network": "weights/inception.pt"}}}}
    configuration = read_configuration({"scale": "paper", "catalogue": changed})
    configuration.studies["millner2024"]["measurements"]["fid"] = {"models": ["gbz"]}
    plan = make_plan(configuration)
    message = r"fid\.settings\.network: there is no file 'weights/inception\.pt'; name a file that"
    with pytest.raises(ConfigError, match=message):
        check_machine(plan)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/inception.pt").write_bytes(b"")
    check_machine(plan)
    assert plan.files_of(["fid", "features"]) == [str(tmp_path / "weights/inception.pt")]
    # No report shows a path of this machine.
    assert "network" not in plan.brief("millner2024").measurements["fid"]["settings"]


def test_a_table_may_name_the_union_of_a_suite_at_radii_that_all_of_it_has():
    cells = [{"suite": "thesis_l2", "epsilon": 1.5}]
    make_plan(thesis(headline={"models": [], "cells": cells}))
    for cell, message in (
        ({"suite": "thesis_l2", "epsilon": 2.0}, "suite 'thesis_l2' is not run at epsilon 2"),
        (
            {"epsilon": 1.5, "suite": "thesis_l3"},
            "no suite in the grid called 'thesis_l3'; did you",
        ),
        ({"attack": "all thesis_l2"}, "no attack in the grid called 'all thesis_l2'; "),
        (
            {"attack": "ddn", "suite": "thesis_l2"},
            r"cells\.0: names attack and suite at once; write",
        ),
        ({"epsilon": 1.5}, r"headline\.cells\.0: names no attack; write one key of attack, suite"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_plan(thesis(headline={"models": [], "cells": [cell]}))


def test_a_table_may_name_the_worst_case_over_all_suites_of_a_norm():
    make_plan(thesis(headline={"models": [], "cells": [{"norm": "l2", "epsilon": 1.5}]}))
    for cell, message in (
        ({"norm": "l2", "epsilon": 77.0}, "the worst case over norm 'l2' is not run at epsilon 77"),
        (
            {"norm": "severity"},
            "no norm of attacks in the grid called 'severity'; known are l2, linf",
        ),
        ({"attack": "worst case l2"}, "no attack in the grid called 'worst case l2'; "),
    ):
        with pytest.raises(ConfigError, match=message):
            make_plan(thesis(headline={"models": [], "cells": [cell]}))


def test_a_figure_of_reconstructions_needs_them_stored():
    measured = {"reconstructions": {"models": ["abs"], "attacks": ["pgd_l2_thesis"]}}
    with pytest.raises(ConfigError, match=r"no reconstructions of 'eabs' are stored.*reconstruct"):
        make_plan(thesis(measurements=measured))


def test_example_images_are_kept_of_first_splits_and_where_reconstructions_are_shown():
    plan = make_plan(read_configuration({"scale": "paper", "studies": ["millner2024"]}))
    model = plan.cells[0].model
    first, second = (plan.evaluation("medical_mnist", f"kfold_{n}", model) for n in (0, 1))
    assert first["examples"] > 0
    assert second == {**first, "examples": 0}
    plan = make_plan(thesis())
    assert plan.evaluation("mnist", "official_0", "eabs")["examples"] > 0


def test_a_sweep_of_printed_numbers_names_an_attack_for_each_level():
    reported = copy.deepcopy(thesis().studies["ju2021_eabs"]["reported"])
    reported["sweeps"]["EOT runs"] = "pgd_linf_draw"
    message = (
        r"sweeps\.EOT runs: there is no sweep of attacks called 'pgd_linf_draw'; did you mean "
    )
    with pytest.raises(ConfigError, match=message):
        make_plan(thesis(reported=reported))
    reported["sweeps"]["EOT runs"] = "pgd_linf_starts"
    message = (
        r"'pgd_linf_starts' has no entry for EOT runs 1, 2, 3; add it to its values, now 5, 10"
    )
    with pytest.raises(ConfigError, match=message):
        make_plan(thesis(reported=reported))


def test_the_paper_s_word_for_an_attack_may_mean_another_one_in_each_norm():
    reported = copy.deepcopy(thesis().studies["ju2021_eabs"]["reported"])
    reported["attacks"]["PGD"]["Linf"] = "pgd_linf_thesi"
    with pytest.raises(ConfigError, match="attack in the grid called 'pgd_linf_thesi'; did you"):
        make_plan(thesis(reported=reported))
