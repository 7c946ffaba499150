"""What trainings took, and in what the networks of one comparison differ, from their facts."""

import numpy as np
import pandas as pd
import pytest

from assay.analysis.brief import StudyBrief, parse_brief
from assay.analysis.effort import at_place, counterpart_of, effort, effort_sentence, what_differs

STUDY = parse_brief(
    {
        "models": {
            "deep": {"implementation": "nets:Deep", "settings": {"depth": 20}},
            "deep_slow": {"implementation": "nets:Deep", "settings": {"depth": 20}},
            "deeper": {"implementation": "nets:Deep", "settings": {"depth": 32}},
            "wide": {"implementation": "nets:Wide", "settings": {}},
        },
        "titles": {"models": {"deep": "Deep", "deep_slow": "Deep, slow", "wide": "Wide"}},
    }
)


def facts(rate=0.001, epochs=3, images=100, batch=16, **training):
    return {
        "train_n": images,
        "epochs": epochs,
        "training": {"optimizer": {"lr": rate}, "batch_size": batch, **training},
    }


def table(**models):
    return effort({("toy", "random_0", name): known for name, known in models.items()})


def test_updates_are_epochs_times_batches():
    # 100 images in batches of 16 are 7 steps; a last batch of one image joins the one before.
    found = table(a=facts(), b=facts(images=97), c=facts(images=96), d=facts(images=1))
    assert found.updates.tolist() == [21, 18, 18, 3]
    assert found.images.tolist() == [100, 97, 96, 1]


def test_the_updates_of_phases_are_those_that_the_training_counted():
    phases = [{"epochs": 1, "batch_size": 16, "optimizer": {"lr": 0.1}}, {"epochs": 2}]
    found = table(
        a={**facts(phases=phases, batch=50), "updates": 11},
        b={**facts(phases=[{"adversary": {"norm": "linf"}}]), "updates": 21},
    ).set_index("model")
    assert found.updates.tolist() == [11, 21]
    assert found.learning_rate.tolist() == [0.1, 0.001]
    assert np.isnan(found.batch_size["a"])
    assert found.batch_size["b"] == 16
    assert found.adversarial.tolist() == [False, True]


def test_a_network_that_starts_from_another_has_its_updates_too():
    keys = {"plain": facts(), "hardened": facts(epochs=2, adversary={"norm": "linf"})}
    found = effort(
        {("toy", "random_0", name): known for name, known in keys.items()},
        {"hardened": "plain", "plain": None},
    )
    assert found.updates.tolist() == [21, 35]
    assert found.adversarial.tolist() == [False, True]


def test_weights_from_elsewhere_have_no_effort():
    found = effort({("toy", "official_0", "given"): {"train_n": 100, "epochs": 0, "training": {}}})
    assert found[["learning_rate", "updates", "images"]].isna().all(axis=None)


def test_what_differs_is_read_from_the_facts():
    found = table(deep=facts(), deep_slow=facts(rate=0.0002), wide=facts(batch=8))
    means = at_place(found, ("toy", "random"), ["deep", "deep_slow"])
    assert what_differs(means, STUDY) == ["learning rate (0.0002 or 0.001)"]
    means = at_place(found, ("toy", "random"), ["deep", "wide"])
    assert what_differs(means, STUDY) == [
        "architecture (2 families)",
        "batch size (8 or 16)",
        "weight updates (21 or 39)",
    ]
    assert what_differs(at_place(found, ("toy", "random"), ["deep"]), STUDY) == []
    different = table(a=facts(epochs=1), b=facts(epochs=2), c=facts(epochs=4))
    means = at_place(different, ("toy", "random"), ["a", "b", "c"])
    assert what_differs(means, StudyBrief()) == ["epochs (1 to 4)", "weight updates (7 to 28)"]


def test_one_sentence_names_who_was_trained_otherwise():
    found = table(deep=facts(), deep_slow=facts(rate=0.0002), wide=facts())
    rows = pd.DataFrame(
        {"dataset": "toy", "scheme": "random", "model": ["deep", "deep_slow", "wide"]}
    )
    assert effort_sentence(found, rows, STUDY) == (
        "The training differs: learning rate 0.0002 (Deep, slow), 0.001 (the others)."
    )
    assert effort_sentence(found, rows[rows.model != "deep_slow"], STUDY) == ""
    assert effort_sentence(found, rows.iloc[:0], STUDY) == ""


def test_networks_of_different_data_sets_are_not_compared():
    found = effort(
        {("toy", "random_0", "deep"): facts(), ("other", "random_0", "wide"): facts(epochs=9)}
    )
    rows = pd.DataFrame(
        {"dataset": ["toy", "other"], "scheme": "random", "model": ["deep", "wide"]}
    )
    assert effort_sentence(found, rows, STUDY) == ""


@pytest.mark.parametrize(
    ("model", "counterpart"),
    [("deep_slow", "deep"), ("deep", None), ("deeper", None), ("unknown", None)],
)
def test_a_twin_has_the_same_code_and_settings_and_stands_before(model, counterpart):
    assert counterpart_of(model, ["deep", "deeper", "wide", "deep_slow"], STUDY) == counterpart


def test_means_are_over_the_splits_of_one_scheme():
    found = effort(
        {
            ("toy", "random_0", "deep"): facts(images=100),
            ("toy", "random_1", "deep"): facts(images=110),
            ("toy", "kfold_0", "deep"): facts(images=10),
        }
    )
    means = at_place(found, ("toy", "random"), ["deep", "wide"])
    assert means.images.tolist() == [105]
    assert np.isclose(means.learning_rate.item(), 0.001)
