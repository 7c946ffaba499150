"""Scripts run without Snakemake, touch only what they declare, and hold no science."""

import ast
import re
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from assay.data.dataset import load
from assay.data.prepare import prepare
from assay.evaluation.adversarials import read_adversarials
from assay.foundation.files import digest_file, read_json
from assay.foundation.provenance import read_provenance, write_parquet
from assay.foundation.resources import ROOT
from assay.models.base import build, load_weights, save_weights
from assay.models.resnet import ResNet18
from assay.plan.configuration import read_configuration
from assay.plan.paths import ANALYSES
from assay.plan.plan import make_plan
from assay.report.tables.stored import StoredTable

SCRIPTS = sorted((ROOT / "workflow/scripts").glob("*.py"))
# The others hand results out that a script has made.
RULES = {
    script
    for file in (ROOT / "workflow/rules").glob("*.smk")
    for script in re.findall(r"\.\./scripts/(\w+)\.py", file.read_text())
}


FEATURES = "assay.evaluation.measurements.features:Features"
# What a measurement reads that needs neither an attack nor examples.
NOTHING = {"attack": {}, "epsilons": [], "examples": []}


def run(script, **snakemake):
    """Runs a rule's script as Snakemake would."""
    job = SimpleNamespace(threads=1, config={}, **snakemake)
    runpy.run_path(
        str(ROOT / f"workflow/scripts/{script}.py"),
        init_globals={"snakemake": job},
        run_name="__main__",
    )


def test_there_is_a_script_for_every_rule():
    assert {path.stem for path in SCRIPTS} >= RULES >= {"train_model", "fetch_weights"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_has_a_docstring_and_is_short(script):
    tree = ast.parse(script.read_text())
    assert ast.get_docstring(tree)
    if script.stem in RULES:
        assert len(script.read_text().splitlines()) <= 120


@pytest.fixture(scope="module")
def plan():
    return make_plan(read_configuration({"scale": "smoke", "studies": ["ju2021_eabs"]}))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, plan):
    """A folder with two prepared data sets, by their ids."""
    folder = tmp_path_factory.mktemp("prepared")
    for name in ("digits", "digits_28"):
        prepare(name, plan.entry("datasets", name), folder / name,
                mirror=None, cache=folder, seed=1)  # fmt: skip
    return folder


@pytest.fixture
def data_set(tmp_path, monkeypatch, prepared):
    """Puts a data set, split with so many test and validation images, into the working folder."""
    monkeypatch.chdir(tmp_path)

    def put(name, test, val=0):
        Path("data").symlink_to(prepared / name)
        data = load(Path("data"))
        subsets = ["test"] * test + ["val"] * val + ["train"] * (len(data) - test - val)
        pd.DataFrame({"sample": range(len(data)), "subset": subsets}).to_parquet("split.parquet")
        return data

    return put


def test_data_and_splits_are_made_by_scripts_alone(tmp_path, plan):
    outputs = {
        name: str(tmp_path / "data" / file)
        for name, file in (
            ("images", "images.npy"),
            ("samples", "samples.parquet"),
            ("facts", "dataset.json"),
        )
    }
    run(
        "prepare_dataset",
        wildcards=SimpleNamespace(dataset="digits"),
        log=[str(tmp_path / "a.log")],
        params=SimpleNamespace(entry=plan.entry("datasets", "digits"), seed=1, code="aa"),
        output=SimpleNamespace(**outputs),
    )
    made = {
        "split": str(tmp_path / "s.parquet"),
        "leakage": str(tmp_path / "l.csv"),
        "leaks": str(tmp_path / "l.parquet"),
    }
    run(
        "make_split",
        wildcards=SimpleNamespace(dataset="digits", split="kfold_1"),
        log=[str(tmp_path / "b.log")],
        output=SimpleNamespace(**made),
        input=SimpleNamespace(samples=outputs["samples"], dataset=outputs["facts"]),
        params=SimpleNamespace(scheme=plan.scheme("kfold_1"), seed=1, code="bb"),
    )
    for file, code in ((outputs["facts"], "aa"), (made["split"], "bb"), (made["leaks"], "bb")):
        facts = read_provenance(file)
        assert (facts["code"], facts["seed"]) == (code, 1)
        assert facts["config"]
        assert facts["seconds"] >= 0
    assert facts["data"] == read_json(outputs["facts"])["digest"]
    split = pd.read_parquet(made["split"])
    assert split["subset"].value_counts(normalize=True)["test"] == pytest.approx(0.2, abs=0.01)
    leaks = pd.read_parquet(made["leaks"])
    assert leaks["sample"].tolist() == split.loc[split["subset"] == "test", "sample"].tolist()
    assert not leaks["duplicate_in_train"].any()
    assert leaks["duplicate_first"].isna().all()
    leakage = pd.read_csv(made["leakage"]).set_index(["measure", "subsets", "class"])
    assert leakage.loc[("duplicates", "train-test", "all"), "images"] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.log",
        "b.log",
        "data",
        "l.csv",
        "l.parquet",
        "s.parquet",
    ]


IDS = {"dataset": "digits", "split": "kfold_0", "model": "dbx"}
FILES = {"images": "data/images.npy", "split": "split.parquet", "weights": "weights.safetensors"}


@pytest.fixture
def dbx(data_set, plan):
    """DBX with random weights on digits: its data, what all its jobs get, and a clean attack."""
    data, entry = data_set("digits", test=40), plan.entry("models", "dbx")
    model = build("dbx", entry, classes=len(data.classes), shape=data.shape, seed=1)
    save_weights(model, FILES["weights"])
    evaluation = {"samples": 6, "chunk": 6, "repeats": 2, "examples": 2, "keep_adversarials": "all"}
    common = {"entry": entry, "evaluation": evaluation, "seed": 1, "code": "cc"}
    attacks = plan.suite("corruptions", "phantom", "gbz")
    return data, common, next(attack for attack in attacks if attack["name"] == "clean")


def measuring(common):
    """The parameters of a job that measures features."""
    measurement = {"name": "features", "implementation": FEATURES, "settings": {}}
    return {**common, "measurement": measurement, "reads": NOTHING}


def test_a_suite_and_features_say_what_made_them_in_every_file(dbx):
    data, common, clean = dbx
    run(
        "run_suite",
        log=["job.log"],
        input=SimpleNamespace(**FILES),
        params=SimpleNamespace(**common, attacks=[clean], work="work/corruptions"),
        wildcards=SimpleNamespace(**IDS, suite="corruptions", scale="smoke"),
        output=SimpleNamespace(
            outcomes="corruptions.parquet",
            examples="corruptions.npz",
            adversarials="corruptions.adversarials.npz",
        ),
    )
    run(
        "measure_model",
        log=["job.log"],
        input=SimpleNamespace(**FILES, examples=[]),
        params=SimpleNamespace(**measuring(common)),
        wildcards=SimpleNamespace(**IDS, measurement="features", scale="smoke"),
        output=["features.npz"],
    )
    for file in ("corruptions.parquet", "corruptions.npz", "features.npz"):
        facts = read_provenance(file)
        made = {**IDS, "scale": "smoke", "code": "cc", "seed": 1, "threads": 1,
                "data": data.digest, "weights": digest_file(FILES["weights"])}  # fmt: skip
        assert made.items() <= facts.items(), file
        assert all(key in facts for key in ("config", "device", "seconds", "packages"))
    assert read_provenance("features.npz")["measurement"] == "features"
    assert read_provenance("corruptions.npz")["attacks"] == {"clean": clean["code"]}
    assert np.load("features.npz")["features"].shape[0] == 6


def evaluated(dbx, **files):
    """Evaluates DBX on digits by one job of two suites and the features."""
    _, common, clean = dbx
    suites = [
        {
            "script": "run_suite",
            "wildcards": {**IDS, "suite": suite},
            "examples": [],
            "output": {
                "outcomes": f"suites/{suite}.parquet",
                "examples": f"suites/{suite}.npz",
                "adversarials": f"suites/{suite}.adversarials.npz",
            },
            "params": {**common, "attacks": attacks, "work": f"work/{suite}"},
        }
        for suite, attacks in (("corruptions", [clean]), ("another", [{**clean, "name": "again"}]))
    ]
    measured = {
        "script": "measure_model",
        "wildcards": {**IDS, "measurement": "features"},
        "examples": [],
        "output": ["measurements/features.npz"],
        "params": measuring(common),
    }
    run(
        "evaluate_model",
        log=["job.log"],
        wildcards=SimpleNamespace(**IDS, scale="smoke"),
        input={**FILES, **files},
        params=SimpleNamespace(tasks=[*suites, measured]),
        output=["evaluated"],
    )


def test_one_job_evaluates_a_model_with_all_its_suites_and_measurements(dbx):
    evaluated(dbx)
    made = sorted(
        path.relative_to("evaluated").as_posix() for path in Path("evaluated").rglob("*.*")
    )
    assert made == [
        "measurements/features.npz",
        "suites/another.adversarials.npz",
        "suites/another.npz",
        "suites/another.parquet",
        "suites/corruptions.adversarials.npz",
        "suites/corruptions.npz",
        "suites/corruptions.parquet",
    ]
    for file in made:
        facts = read_provenance(Path("evaluated", file))
        assert facts["code"] == "cc"
        assert facts["seconds"] >= 0
    for suite in ("corruptions", "another"):
        facts = read_provenance(f"evaluated/suites/{suite}.parquet")
        assert facts["suite"] == suite
        assert list(Path("work", suite).rglob("chunk_*.parquet"))
        kept = read_adversarials(f"evaluated/suites/{suite}.adversarials.npz")
        assert [len(arrays["images"]) for _, _, arrays in kept] == [6]


def test_a_job_of_many_tasks_tells_the_mistake_of_one_in_one_line(dbx, capfd):
    with pytest.raises(SystemExit):
        evaluated(dbx, weights="nowhere.safetensors")
    message = capfd.readouterr().err.strip().splitlines()
    assert len(message) == 1
    assert re.match(r"error: nowhere\.safetensors", message[0])


def test_a_figure_that_cannot_be_drawn_loses_no_other(tmp_path, monkeypatch):
    kept = ROOT / "report/workstation/millner2024"
    plan = make_plan(read_configuration({"scale": "workstation", "studies": ["millner2024"]}))
    study = plan.brief("millner2024").to_json()
    study["tables"] = {"table1": study["tables"]["table1"]}
    study["figures"] = {
        "bad": {**study["figures"]["figure7"], "kind": "no_such_kind"},
        "figure7": study["figures"]["figure7"],
    }
    run(
        "draw_study",
        log=[str(tmp_path / "a.log")],
        input=SimpleNamespace(
            kept=[str(kept / "outcomes.parquet")],
            statistics=[str(kept / f"{place}.csv") for place in ANALYSES],
        ),
        params=SimpleNamespace(study=study, manifest=plan.manifest("millner2024").to_json()),
        output=[str(tmp_path / "drawn")],
    )
    made = sorted(path.relative_to(tmp_path / "drawn").as_posix()
                  for path in (tmp_path / "drawn").rglob("*.*"))  # fmt: skip
    assert made == [
        "figures/bad.error",
        "figures/figure7.pdf",
        "figures/figure7.svg",
        "figures/figure7.txt",
        "tables/table1.csv",
        "tables/table1.json",
        "tables/table1.md",
        "tables/table1.tex",
    ]
    reason = (tmp_path / "drawn/figures/bad.error").read_text()
    assert reason.startswith("error: millner2024/figures/bad: ")
    assert reason.count("\n") == 1


def trained(entry, model, *, dataset="digits_28", start=(), needs=()):
    """Runs the job that trains a model on the data set of the working folder."""
    run(
        "train_model",
        log=["job.log"],
        wildcards=SimpleNamespace(dataset=dataset, split="random_0", model=model, scale="smoke"),
        input=SimpleNamespace(
            images="data/images.npy", split="split.parquet", pretrained=[], start=start, needs=needs
        ),
        params=SimpleNamespace(entry=entry, seed=1, code="aa", work="work"),
        output=SimpleNamespace(
            weights="w.safetensors", last="l.safetensors", history="h.csv", facts="f.json"
        ),
    )


def test_a_training_starts_from_another_model_s_weights(data_set, plan):
    data = data_set("digits_28", test=20, val=20)
    entry = plan.model("digits_28", "cnn_adv_l2")
    entry = {
        **entry,
        "training": {
            **entry["training"],
            "samples": 20,
            "optimizer": {"name": "Adam", "lr": 1e-12},
        },
    }
    first = build("cnn", entry, classes=10, shape=data.shape, seed=7)
    save_weights(first, "cnn.safetensors")
    trained(entry, "cnn_adv_l2", start=["cnn.safetensors"])
    after = build("cnn", entry, classes=10, shape=data.shape, seed=3)
    load_weights(after, "w.safetensors")
    for name, value in first.named_parameters():
        assert torch.allclose(value, after.get_parameter(name), atol=1e-6), name
    assert "val_clean_accuracy" in pd.read_csv("h.csv")


def test_a_wrapper_has_the_trained_weights_of_its_base_and_takes_no_step(data_set, plan):
    data = data_set("digits_28", test=20, val=20)
    entry = plan.model("digits_28", "cnn_noisy")
    first = build("cnn", entry["needs"]["base"], classes=10, shape=data.shape, seed=7)
    save_weights(first, "cnn.safetensors")
    trained(entry, "cnn_noisy", needs=["cnn.safetensors"])
    after = build("cnn_noisy", entry, classes=10, shape=data.shape, seed=3)
    load_weights(after, "w.safetensors")
    for name, value in first.named_parameters():
        assert torch.equal(value, after.base.get_parameter(name)), name
    assert read_json(Path("f.json"))["base"] == "CNN"


def test_a_model_that_keeps_images_gets_those_that_train_in_the_split_at_hand(data_set, plan):
    data = data_set("digits_28", test=200, val=100)
    entry = plan.model("digits_28", "cnn_mixup_inference")
    entry = {**entry, "settings": {**entry["settings"], "per_class": 7}}
    first = build("cnn", entry["needs"]["base"], classes=10, shape=data.shape, seed=7)
    save_weights(first, "cnn.safetensors")
    trained(entry, "cnn_mixup_inference", needs=["cnn.safetensors"])
    model = build("cnn_mixup_inference", entry, classes=10, shape=data.shape, seed=3)
    load_weights(model, "w.safetensors")
    assert model.pooled.tolist() == [7] * 10
    assert read_json(Path("f.json"))["pool"] == 70
    known = {data.images[place].tobytes(): place for place in range(len(data))}
    for label, kept in enumerate(model.pool.numpy()):
        places = [known[image.tobytes()] for image in kept]
        assert len(set(places)) == 7
        assert min(places) >= 300
        assert {int(data.labels[place]) for place in places} == {label}


def test_reconstructions_and_radii_are_stored_with_what_made_them(data_set, plan):
    data = data_set("digits_28", test=20, val=20)
    entry = plan.model("digits_28", "eabs")
    save_weights(
        build("eabs", entry, classes=10, shape=data.shape, seed=1), Path("weights.safetensors")
    )
    clean = (data.images[:3] / 255).astype(np.float16)
    attacked = np.stack([clean, 1 - clean])
    labels = np.asarray(data.labels[:3])
    np.savez(
        "thesis_l2.examples.npz",
        **{
            "labels": labels,
            "clean/images": clean,
            "clean/predictions": labels[None],
            "pgd/images": attacked,
            "pgd/epsilons": np.array([0.5, 2.0]),
            # Misclassified at the second budget, at the first, and not reached by a capped attack.
            "pgd/predictions": np.stack([[labels[0], 9, -1], [9, 9, -1]]),
        },
    )
    for name, examples in (("certificates", []), ("reconstructions", ["thesis_l2.examples.npz"])):
        run(
            "measure_model",
            log=["job.log"],
            wildcards=SimpleNamespace(
                dataset="digits_28", split="random_0", model="eabs", measurement=name, scale="smoke"
            ),
            input=SimpleNamespace(
                images="data/images.npy",
                split="split.parquet",
                weights="weights.safetensors",
                examples=examples,
            ),
            params=SimpleNamespace(
                entry=entry,
                measurement=plan.measurement(name),
                evaluation={"samples": 6, "examples": 3},
                reads={**NOTHING, "examples": [["thesis_l2", "pgd"]] if examples else []},
                seed=1,
                code="ee",
            ),
            output=[f"{name}.npz"],
        )
    radii = np.load("certificates.npz")["radii"]
    assert radii.shape == (6,)
    assert (radii >= 0).all()
    found = np.load("reconstructions.npz")
    assert found["pgd/reconstructions"].shape == (2, 2, 10, 1, 28, 28)
    assert found["pgd/log_likelihoods"].shape == (2, 2, 10)
    assert found["pgd/epsilons"].tolist() == [2.0, 0.5]
    assert np.array_equal(found["pgd/images"][0], clean[:2])
    assert np.array_equal(found["pgd/images"][1], np.stack([attacked[1, 0], attacked[0, 1]]))
    assert found["pgd/predictions"].tolist() == [labels[:2].tolist(), [9, 9]]
    assert read_provenance("reconstructions.npz")["code"] == "ee"


def test_a_split_that_is_made_again_leaves_a_training_its_checkpoints(data_set, plan, monkeypatch):
    data = data_set("digits", test=0)
    folders = []

    def train(*_, work, **__):
        folders.append(work)
        raise KeyboardInterrupt

    monkeypatch.setattr("assay.training.loop.train", train)
    for written, last in (("2025", "val"), ("2026", "val"), ("2026", "test")):
        parts = ["train"] * (len(data) - 1) + [last]
        split = pa.table({"sample": range(len(parts)), "subset": parts})
        write_parquet(split, "split.parquet", {"written": written})
        with pytest.raises(SystemExit):
            trained(plan.entry("models", "dbx"), "dbx", dataset="digits")
    assert folders[0] == folders[1] != folders[2]


def test_published_weights_are_fetched_by_a_script_alone(tmp_path, monkeypatch, plan):
    file = tmp_path / "mirror" / ResNet18.published["path"]
    file.parent.mkdir(parents=True)
    file.write_bytes(b"what a publisher publishes")
    copy = {"what": "a substitute", "digest": f"sha256:{digest_file(file)}", "urls": []}
    monkeypatch.setattr(ResNet18, "published", {**ResNet18.published, "copies": [copy]})
    monkeypatch.setenv("ASSAY_DATA", str(tmp_path / "mirror"))
    run(
        "fetch_weights",
        log=[str(tmp_path / "a.log")],
        params=SimpleNamespace(entry=plan.entry("models", "resnet18_text")),
        output=[str(tmp_path / "weights.pth")],
    )
    assert (tmp_path / "weights.pth").read_bytes() == file.read_bytes()


def test_the_readme_is_filled_from_a_report_and_from_nothing_else(tmp_path):
    script = runpy.run_path(str(ROOT / "workflow/scripts/fill_readme.py"))
    committed = ROOT / "report/workstation/millner2024"
    folder = tmp_path / "report" / "workstation" / "millner2024"
    shutil.copytree(committed, folder)
    headline = pd.read_csv(folder / "headline.csv")
    headline.loc[headline.attack == "clean", "pooled"] = 0.123
    headline.to_csv(folder / "headline.csv", index=False)
    scheme = "Cross-validation, stratified, identical images together"
    rows = (
        (scheme, "A (x|y)", "0.9 (n = 5)", "1 (n = 2)"),
        (scheme, "B", "1.0 (n = 5)", "not run"),
        ("Another", "B", "0.777 (n = 9)", "0.5 (n = 1)"),
    )
    names = ("Split scheme", "Model", "Clean", "FGSM")
    shown = StoredTable(names, rows, frozenset([(1, 2)]), "The legend.")
    (folder / "headline.json").write_text(shown.to_json())
    (folder / "figures/figure7.txt").write_text("A caption. Scale workstation.\n")
    ledger = pd.read_csv(folder / "ledger.csv")
    ledger["verdict"] = ["reproduced", "differs", "not run"] + ["not run"] * (len(ledger) - 3)
    ledger["reason"] = ""
    ledger["metric"], ledger["kind"], ledger["agrees"] = "accuracy", "result", float("nan")
    ledger.to_csv(folder / "ledger.csv", index=False)
    text = script["filled"](
        "a\n<!-- headline -->\nold\n<!-- /headline -->\nb\n",
        script["headline"](folder, "figure7", script["study_of"](folder)),
    )
    assert "old" not in text
    table = [line.split(" | ") for line in text.splitlines() if line.startswith("|")]
    table = [[cell.strip("| ").strip() for cell in line] for line in table]
    assert table[0] == ["", "A (x\\|y)", "B"]
    assert table[2:] == [["Clean (n = 5)", "0.9", "**1.0**"], ["FGSM (n = 2)", "1", "not run"]]
    assert "0.777" not in text
    assert f"Splits: {scheme}. The legend." in text
    assert "0.123" in text
    assert "A caption. Scale workstation." in text
    for fact in ("Medical MNIST", "Millner et al. 2024", "splits: 3 to 5", "seed: 1",
                 "scale: workstation"):  # fmt: skip
        assert fact in text
    message = f"{len(ledger)} printed results: 1 reproduced, 1 differs, {len(ledger) - 2} not run."
    assert message in text
    links = [f"report/workstation/millner2024/{name}" for name in ("ledger.csv", "figures")]
    words = text
    for link in (*links, "report/workstation/millner2024"):
        words = words.replace(link, "")
    for name in ("millner2024", "medical_mnist", "gbz_as_coded", "pgd_linf", "figure7."):
        assert name not in words.replace("figure7.svg", ""), "an id stands for words"
    assert text.startswith("a\n")
    assert text.endswith("b\n")


def test_the_readme_shows_the_committed_report():
    folder = ROOT / "report/workstation/millner2024"
    script = runpy.run_path(str(ROOT / "workflow/scripts/fill_readme.py"))
    readme = (ROOT / "README.md").read_text()
    text = script["headline"](folder, "figure7", script["study_of"](folder))
    assert readme == script["filled"](readme, text)


def test_the_headline_is_printed_with_the_places_to_look(tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(
        ROOT / "report/workstation/millner2024", tmp_path / "workstation/millner2024"
    ).parent
    (folder / "index.html").write_text("a page")
    # A user's configuration counts, as in the run.
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    Path("config/config.yaml").write_text("catalogue: {models: {gbz: {title: Mine}}}\n")
    monkeypatch.setattr(sys, "argv", ["show_headline.py", str(folder)])
    runpy.run_path(str(ROOT / "workflow/scripts/show_headline.py"), run_name="__main__")
    page = capsys.readouterr().out
    assert "millner2024 (scale workstation)" in page
    assert " Mine " in page
    assert (folder / "index.html").as_uri() in page
    assert "report.html" not in page
    monkeypatch.setattr(sys, "argv", ["show_headline.py", "nowhere"])
    with pytest.raises(SystemExit, match=r"error: nowhere: no study has a headline\.csv"):
        runpy.run_path(str(ROOT / "workflow/scripts/show_headline.py"), run_name="__main__")
