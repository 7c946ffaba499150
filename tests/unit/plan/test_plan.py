"""The run table: counts, stand-ins, and combinations that do not fit."""

import copy
import time

import pytest

from assay.foundation.errors import ConfigError
from assay.plan.configuration import read_configuration
from assay.plan.plan import make_plan
from assay.plan.targets import make_targets


def configured(scale="paper", **study_changes):
    configuration = copy.deepcopy(read_configuration({"scale": scale, "studies": ["millner2024"]}))
    configuration.studies["millner2024"].update(study_changes)
    return configuration


def grid(**changes):
    return [{**configured().studies["millner2024"]["grid"][0], **changes}]


def test_the_paper_scale_crosses_folds_models_and_suites():
    plan = make_plan(configured())
    block = configured().studies["millner2024"]["grid"][0]
    assert len(plan.cells) == 5 * len(block["models"]) * len(block["suites"])
    assert len(plan.trainings) == 5 * len(block["models"])
    assert {cell.dataset for cell in plan.cells} == {"medical_mnist"}
    assert {cell.split for cell in plan.cells} == {f"kfold_{index}" for index in range(5)}


def test_stand_ins_replace_names_everywhere_and_repeat_nothing():
    plan = make_plan(configured("demo"))
    assert {cell.dataset for cell in plan.cells} == {"phantom"}
    models = [cell.model for cell in plan.cells]
    assert "resnet18" in models
    assert not any(name in models for name in ("resnet18_text", "resnet18_as_coded"))
    assert len(plan.cells) == len(set(plan.cells))
    study = plan.brief("millner2024")
    assert study["headline"]["models"].count("resnet18") == 1
    assert study["reported"]["models"]["ResNet18"] == "resnet18"
    assert study["stand_ins"]["datasets"] == {"medical_mnist": "phantom"}


def test_a_model_that_borrows_weights_trains_nothing_of_its_own():
    configuration = configured(
        grid=grid(models=["gbz_as_coded", "borrower"]),
        tables={},
        figures={},
        features=[],
        headline={"models": [], "cells": []},
        reported={"files": []},
    )
    models = configuration.catalogue["models"]
    models["borrower"] = {**models["gbz_as_coded"], "weights_from": "gbz_as_coded"}
    plan = make_plan(configuration)
    assert {item.model for item in plan.trainings} == {"gbz_as_coded"}
    assert {cell.model for cell in plan.cells} == {"gbz_as_coded", "borrower"}
    assert all(
        "/gbz_as_coded/" in item["history"] for item in plan.manifest("millner2024")["models"]
    )


def test_prose_is_no_parameter_but_every_setting_is():
    plan = make_plan(configured())
    entry = plan.entry("models", "gbz")
    assert "title" not in entry
    assert "settings" in entry
    suite = plan.suite("linf_whitebox")
    assert [attack["name"] for attack in suite] == ["fgsm", "pgd_linf"]
    assert suite[0]["code"] != suite[1]["code"]


def test_every_table_and_figure_has_all_its_formats_among_the_targets():
    plan = make_plan(configured())
    targets = make_targets(plan)
    for table in plan.studies["millner2024"].tables:
        for form in ("csv", "md", "tex"):
            assert f"report/paper/millner2024/tables/{table}.{form}" in targets.tables
    for figure in plan.studies["millner2024"].figures:
        for form in ("svg", "pdf"):
            assert f"report/paper/millner2024/figures/{figure}.{form}" in targets.figures


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"grid": grid(models=["resnet81"])},
            r"grid\.0\.models: there is no model 'resnet81'; did you mean 'resnet18'",
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
        ({"grid": grid(splits="random_patient")}, r"'medical_mnist' knows no patients"),
        ({"features": ["resnet8"]}, r"features: there is no model in the grid called 'resnet8'"),
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


def test_planning_all_of_a_study_at_paper_scale_takes_a_moment():
    started = time.perf_counter()
    plan = make_plan(read_configuration({"scale": "paper"}))
    for cell in plan.cells:
        plan.suite(cell.suite)
    assert time.perf_counter() - started < 5


def test_a_users_folder_is_watched_class_by_class(tmp_path):
    for name in ("sick", "well"):
        (tmp_path / "mine" / name).mkdir(parents=True)
    (tmp_path / "mine" / "notes.txt").touch()
    configuration = configured()
    datasets = configuration.catalogue["datasets"]
    folder = (tmp_path / "mine").as_posix()
    datasets["mine"] = {
        **datasets["image_folder"],
        "settings": {"folder": folder, "patients": "p.csv"},
    }
    plan = make_plan(configuration)
    assert plan.sources("mine") == [folder, f"{folder}/sick", f"{folder}/well", "p.csv"]
    assert plan.sources("medical_mnist") == []
    assert plan.sources("image_folder") == []
