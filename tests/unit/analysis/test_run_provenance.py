"""What a study's files say made them, as one."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from factory import MADE, MODELS, study, write_run

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.run_provenance import provenance_summary, together
from assay.foundation.errors import AssayError
from assay.foundation.files import read_json, write_json


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return write_run(folder, models=list(MODELS)[:2], folds=2, per_fold=6)


@pytest.fixture
def run(written):
    """The written run, of which nothing was read."""
    return AnalysisInputs(written, study())


def test_every_file_of_the_study_is_counted_and_its_time_summed(run):
    made = provenance_summary(run, code="ab")
    counts = {kind: len(run.manifest.of_kind(kind)) for kind in ("outcomes", "models")}
    assert {kind: made[kind]["files"] for kind in counts} == counts
    measured = Counter(item.measurement for item in run.manifest.measurements)
    assert {name: one["files"] for name, one in made["measurements"].items()} == measured
    assert set(measured) == {"saliency"}
    assert made["outcomes"]["seconds"] == 12.5 * counts["outcomes"]
    assert (made["study"], made["scale"], made["seed"]) == ("millner2024", "synthetic", 0)
    assert set(made["outcomes"]["code"]) == {item.suite for item in run.manifest.outcomes}
    assert set(made["models"]["code"]) == {item.model for item in run.manifest.models}
    assert made["outcomes"]["attacks"]["pgd_linf"] == ["aa"]
    assert made["outcomes"]["packages"]["torch"] == [MADE["packages"]["torch"]]
    assert made["analysis"]["code"] == "ab"


def test_what_differs_between_files_is_told_and_nothing_twice():
    facts = [
        {**MADE, "suite": "corruptions"},
        {**MADE, "suite": "corruptions", "code": "0ther", "device": "cuda", "threads": 12},
        {**MADE, "suite": "linf", "written": "2024-01-01T00:00:00Z", "threads": 2},
        {"suite": "linf", "code": None},
    ]
    made = together(facts, {"code": "suite"})
    assert made["code"] == {"linf": ["c0de"], "corruptions": ["0ther", "c0de"]}
    assert (made["device"], made["threads"]) == (["cpu", "cuda"], [1, 2, 12])
    assert made["written"] == ["2024-01-01T00:00:00Z", MADE["written"]]
    assert (made["files"], made["seconds"]) == (4, 37.5)
    assert not {"suite", "scale", "model"} & set(made)


def test_what_was_measured_of_each_model_stands_beside_its_name(run):
    finding = {"check": "gradient", "status": "broken", "what": "none", "remedy": "bpda"}
    audit = {"verdict": "broken", "findings": [finding], "stochastic": False, "gradients": {}}
    place, facts = next(iter(run.made.items()))
    run.made[place] = {**facts, "audit": audit}
    made = provenance_summary(run, code="ab")
    name = "/".join(facts[part] for part in ("dataset", "split", "model"))
    assert made["inspections"] == {name: {"verdict": "broken", "findings": ["gradient: none"]}}
    assert "audit" not in made["outcomes"]


def test_models_that_borrow_weights_share_one_file(run):
    owner, borrower, *others = run.manifest.models
    models = (owner, replace(borrower, facts=owner.facts), *others)
    run = AnalysisInputs(replace(run.manifest, models=models), run.study)
    assert provenance_summary(run, code="ab")["models"]["files"] == len(models) - 1


def test_the_same_files_give_the_same_text(run):
    assert json.dumps(provenance_summary(run, code="ab")) == json.dumps(
        provenance_summary(run, code="ab")
    )


def test_a_file_that_does_not_say_what_made_it_is_named(run, tmp_path):
    item, *others = run.manifest.models
    facts = read_json(item.facts)
    del facts["provenance"]
    write_json(tmp_path / "model.json", facts)
    item = replace(item, facts=str(tmp_path / "model.json"))
    run = AnalysisInputs(replace(run.manifest, models=(item, *others)), run.study)
    with pytest.raises(AssayError, match=r"model\.json: has no provenance"):
        provenance_summary(run, code="ab")
