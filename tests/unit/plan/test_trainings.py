"""The training part of an entry: by torch's names, checked before anything runs."""

import pytest

from assay.foundation.digest import code_digest
from assay.foundation.errors import ConfigError
from assay.plan.cells import trained_for
from assay.plan.configuration import read_configuration
from assay.plan.plan import make_plan

ADVERSARY = {"norm": "linf", "epsilon": "8/255", "steps": 2}


def configured(training, model="resnet18", **more):
    models = {model: {"training": training, **more}}
    return read_configuration({"scale": "paper", "catalogue": {"models": models}})


def training(settings, model="resnet18", dataset="medical_mnist"):
    return make_plan(configured(settings, model)).model(dataset, model)["training"]


def test_an_optimiser_and_a_scheduler_come_by_torchs_names_and_keywords():
    found = training(
        {
            "optimizer": {"name": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": "5e-4"},
            "scheduler": {"name": "MultiStepLR", "milestones": [50, 75], "warmup": 2},
        }
    )
    assert found["optimizer"] == {"name": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
    assert found["scheduler"] == {"name": "MultiStepLR", "milestones": [50, 75], "warmup": 2}


def test_without_words_it_is_adam_with_a_stepwise_rate():
    found = training({})
    assert found["objective"] == {"name": "standard"}
    assert found["optimizer"] == {"name": "Adam", "lr": 0.003, "weight_decay": 0}
    assert found["scheduler"] == {"name": "StepLR", "step_size": 10, "gamma": 0.1}


def test_former_keys_keep_working_and_errors_name_where_they_are_written():
    found = training({"learning_rate": 0.02, "weight_decay": 0.1, "objective": "elbo"})
    assert found["optimizer"] == {"name": "Adam", "lr": 0.02, "weight_decay": 0.1}
    assert found["objective"] == {"name": "elbo"}
    with pytest.raises(ConfigError, match=r"models\.resnet18\.training\.learning_rate: .*-1"):
        configured({"learning_rate": -1})


def test_an_adversary_alone_means_madry():
    assert training({"adversary": ADVERSARY})["objective"] == {"name": "madry"}


def test_another_name_takes_no_keywords_over():
    """gbz_deepbayes and the scale say nothing of momentum; cnn says StepLR."""
    found = training({"scheduler": {"name": "ExponentialLR", "gamma": 0.9}}, "cnn", "mnist")
    assert found["scheduler"] == {"name": "ExponentialLR", "gamma": 0.9}
    assert found["optimizer"]["lr"] == 0.001
    found = training({"optimizer": {"name": "SGD", "momentum": 0.5}}, "cnn", "mnist")
    assert found["optimizer"] == {"name": "SGD", "momentum": 0.5, "lr": 0.003}


def test_the_epochs_of_phases_add_up():
    found = training({"epochs": 4, "phases": [{"epochs": 2}, {"objective": "elbo"}]})
    assert found["epochs"] == 6
    assert [phase["epochs"] for phase in found["phases"]] == [2, 4]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": {"name": "Adem"}}, r"optimizer\.name: .*'Adem'; did you mean 'Adam'"),
        (
            {"optimizer": {"name": "SGD", "momentun": 1}},
            r"training\.optimizer: .*'momentun'; did you mean 'momentum'",
        ),
        ({"scheduler": {"name": "StepRL"}}, "'StepRL'; did you mean 'StepLR'"),
        ({"scheduler": {"name": "MultiStepLR"}}, "MultiStepLR needs 'milestones'"),
        ({"scheduler": {"name": "OneCycleLR", "maxlr": 1}}, "'maxlr'; did you mean 'max_lr'"),
        ({"objective": "trade"}, r"training\.objective: .*'trade'; did you mean 'trades'"),
        (
            {"objective": {"name": "trades", "betta": 1}, "adversary": ADVERSARY},
            "'betta'; did you mean 'beta'",
        ),
        ({"objective": "madry"}, "'madry' needs an adversary"),
        ({"objective": "standard", "adversary": ADVERSARY}, "'standard' has no adversary; .*madry"),
        ({"phases": [{}, {"optimizer": {"name": "X"}}]}, r"phases\.1\.optimizer\.name: .*'X'"),
        ({"optimizer": {"groups": {"head": {"foo": 1}}}}, r"groups\.head: .*'foo'"),
    ],
)
def test_what_torch_or_an_objective_does_not_know_is_one_line_of_the_plan(settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make_plan(configured(settings, "resnet18_text"))
    assert "\n" not in str(caught.value)


def test_the_code_of_a_training_holds_its_own_objectives_alone():
    plan = make_plan(
        configured(
            {"objective": "trades", "adversary": ADVERSARY, "phases": [{}, {"epochs": 1}]},
            "resnet18_text",
        )
    )
    assert plan.training_code("medical_mnist", "resnet18_text") == [
        "assay.models.resnet:ResNet18",
        "assay.training.objectives.trades",
    ]
    assert {"assay.training.objectives.elbo", "assay.training.objectives.trades"} < set(
        plan.implementations
    )


def needing(studies="ju2021_eabs", **models):
    return read_configuration(
        {"scale": "paper", "studies": studies, "catalogue": {"models": models}}
    )


def test_what_a_model_needs_is_trained_first_and_its_entry_and_code_come_with_it():
    plan = make_plan(needing())
    models = {**plan.configuration.catalogue["models"]}
    models["mine"] = {**models["cnn_noisy"], "needs": {"base": "cnn_adv_l2"}}
    assert trained_for(models, "mine") == ["cnn", "cnn_adv_l2", "mine"]
    entry = plan.model("svhn", "cnn_noisy")
    assert entry["needs"]["base"]["name"] == "cnn"
    assert entry["needs"]["base"]["settings"]["layout"] == "svhn32"
    assert entry["needs"]["base"]["code"] == code_digest("assay.models.cnn:CNN")
    assert plan.needed("mnist", "official_0", "cnn_noisy") == [
        plan.weights("mnist", "official_0", "cnn")
    ]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"cnn_noisy": {"needs": {"base": "cn"}}}, r"needs\.base: .*'cn'; did you mean 'cnn'"),
        (
            {"cnn_noisy": {"needs": {"base": "cnn_quantised"}},
             "cnn_quantised": {"needs": {"base": "cnn_noisy"}}},
            "'cnn_noisy' needs itself .cnn_noisy needs cnn_quantised needs cnn_noisy.",
        ),
        ({"cnn": {"needs": {"bas": "cnn_adv_l2"}}}, "needs itself"),
        ({"cnn": {"needs": {"perceptual": "eabs"}}}, "role of a model called 'perceptual'"),
    ],
)  # fmt: skip
def test_needs_that_cannot_be_met_are_one_line_of_the_plan(models, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make_plan(needing(**models))
    assert "\n" not in str(caught.value)
