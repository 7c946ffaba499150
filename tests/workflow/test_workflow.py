"""The workflow as users run it, at scale smoke."""

import os
import re
import shutil
import signal
import time
from functools import partial

import pandas as pd
import pytest

from assay.foundation.files import read_json
from assay.foundation.outcomes import read_outcomes
from assay.foundation.provenance import read_provenance
from assay.foundation.split import Split
from assay.plan.configuration import read_configuration
from assay.plan.plan import make_plan
from assay.plan.targets import make_targets

pytestmark = pytest.mark.slow

PLAN = make_plan(read_configuration({"scale": "smoke"}))
TARGETS = make_targets(PLAN)
UP_TO_DATE = {}


def same_outcomes(first, second):
    """Whether two outcome files hold the same values, bit by bit."""
    pd.testing.assert_frame_equal(read_outcomes(first), read_outcomes(second), check_exact=True)


def test_a_run_makes_every_declared_file(smoke):
    for target in [
        TARGETS.page,
        *TARGETS.splits,
        *TARGETS.models,
        *TARGETS.outcomes,
        *TARGETS.analyses,
    ]:
        assert (smoke.folder / target).stat().st_size > 0, target


def test_a_second_run_has_nothing_to_do(smoke):
    assert smoke.planned() == UP_TO_DATE


def test_outcomes_say_what_made_them(smoke):
    facts = read_provenance(smoke.folder / TARGETS.outcomes[0])
    for key in (
        "code",
        "config",
        "weights",
        "data",
        "seed",
        "device",
        "threads",
        "seconds",
        "packages",
        "scale",
    ):
        assert facts[key] is not None, key
    assert not re.search(r"/(home|root|tmp|work)/", str(facts))


def test_every_file_of_a_run_says_what_made_it_and_the_report_puts_it_together(smoke):
    results, study = smoke.folder / "results/smoke", PLAN.studies["millner2024"]
    manifest = PLAN.manifest("millner2024")
    files = [
        *results.glob("data/*/dataset.json"),
        *results.glob("splits/*/*.parquet"),
        *results.glob("models/*/*/*/model.json"),
        *results.glob("outcomes/*/*/*/*"),
        *results.glob("measurements/*/*/*/*.npz"),
    ]
    assert len(files) > 2 * len(study.cells)
    for file in files:
        facts = read_provenance(file)
        assert all(facts[key] is not None for key in ("code", "config", "seed", "packages")), file
    made = read_json(smoke.folder / "report/smoke/millner2024/provenance.json")
    assert made["outcomes"]["files"] == len(study.cells)
    assert made["models"]["files"] == len({item.facts for item in manifest.models})
    # A report keeps the features that its figures show, those of the first split.
    measured = [i for i in study.measurements if i.measurement == "features"]
    assert made["measurements"]["features"]["files"] == sum(
        Split.of(item.split).is_first for item in measured
    )
    assert set(made["outcomes"]["code"]) == {cell.suite for cell in study.cells}
    assert made["outcomes"]["attacks"]["fgsm"]
    assert made["outcomes"]["seconds"] > 0
    inspected = {"/".join((cell.dataset, cell.split, cell.model)) for cell in study.cells}
    assert set(made["inspections"]) == inspected
    assert {one["verdict"] for one in made["inspections"].values()} == {"sound"}
    assert not re.search(r"/(home|root|tmp|work)/", str(made))


def test_an_edited_comment_plans_no_job(finished):
    for file in (
        "attacks/fgsm.py",
        "attacks/attack.py",
        "data/splits.py",
        "models/gbz.py",
        "training/loop.py",
    ):
        path = finished.folder / "workflow/assay" / file
        path.write_text(path.read_text() + "\n# a remark\n")
    finished.edit("workflow/assay/attacks/fgsm.py", '"""The fast', '"""Once more: the fast')
    assert finished.planned() == UP_TO_DATE


def test_an_edited_attack_plans_exactly_the_models_that_it_attacks(finished):
    path = finished.folder / "workflow/assay/attacks/one_pixel.py"
    path.write_text(path.read_text() + "\n\nUNUSED = 1\n")
    planned = finished.planned("outcomes")
    suites = PLAN.configuration.catalogue["suites"]
    networks = {
        cell[:3]
        for cell in PLAN.cells
        if any(name.startswith("one_pixel") for name in suites[cell.suite]["attacks"])
    }
    # One job evaluates a network; what it makes goes to its places.
    handed_out = sum(cell[:3] in networks for cell in PLAN.cells)
    expected = {"evaluate_model": len(networks), "run_suite": handed_out, "outcomes": 1}
    assert planned == expected


def test_an_edited_attack_recomputes_that_attack_alone(finished):
    cell = next(cell for cell in PLAN.cells if cell.suite == "linf_whitebox")
    outcomes = f"results/smoke/outcomes/{'/'.join(cell)}.parquet"
    before = read_outcomes(finished.folder / outcomes)
    chunks = {
        path: path.stat().st_mtime_ns
        for path in (finished.folder / "results/smoke/work/run_suite")
        .joinpath(*cell)
        .rglob("*.parquet")
    }
    path = finished.folder / "workflow/assay/attacks/fgsm.py"
    path.write_text(path.read_text() + "\n\nUNUSED = 1\n")
    finished.snakemake(outcomes)
    pd.testing.assert_frame_equal(
        read_outcomes(finished.folder / outcomes), before, check_exact=True
    )
    after = set(
        (finished.folder / "results/smoke/work/run_suite").joinpath(*cell).rglob("*.parquet")
    )
    assert all(path.stat().st_mtime_ns == when for path, when in chunks.items() if path.exists())
    assert len(after - set(chunks)) == len(chunks) // 2  # of the suite's two attacks, one


def test_jobs_that_share_a_suite_leave_the_same_outcomes(finished):
    cell = next(cell for cell in PLAN.cells if cell.suite == "linf_whitebox")
    outcomes = f"results/smoke/outcomes/{'/'.join(cell)}.parquet"
    before = finished.folder / "before.parquet"
    (finished.folder / outcomes).rename(before)
    shutil.rmtree(finished.folder / "results/smoke/work/run_suite")
    plan = finished.planned(outcomes, "--set-scatter", "share=2")
    assert plan == {"run_share": 2, "run_suite": 1}
    finished.snakemake(outcomes, "--set-scatter", "share=2")
    same_outcomes(before, finished.folder / outcomes)
    assert not list((finished.folder / "results/smoke/work/shares").rglob("*-of-*"))


def test_an_edited_model_retrains_that_model_alone(finished):
    path = finished.folder / "workflow/assay/models/dbx.py"
    path.write_text(path.read_text() + "\n\nUNUSED = 1\n")
    splits = len({item.split for item in PLAN.trainings})
    assert finished.planned("models") == {"train_model": splits, "models": 1}


def test_a_changed_title_reruns_no_training_and_no_attack(finished):
    finished.edit("config/catalogue/models.yaml", "title:", "title: x #")
    again = {"train_model", "evaluate_model", "run_suite", "prepare_dataset"}
    assert not again & set(finished.planned())


def test_two_runs_with_one_seed_give_identical_outcomes(finished, smoke):
    outcomes = [path for path in TARGETS.outcomes if "kfold_0/gbz_as_coded/linf" in path]
    shutil.rmtree(finished.folder / "results/smoke")
    finished.snakemake(*outcomes)
    for path in outcomes:
        same_outcomes(finished.folder / path, smoke.folder / path)


def test_analyses_come_from_outcomes_without_torch(finished, tmp_path):
    blocked = tmp_path / "blocked" / "torch"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError('torch is blocked in this test')\n")
    shutil.rmtree(finished.folder / "report/smoke")
    blocked_path = {"PYTHONPATH": str(blocked.parent)}
    finished.snakemake("tables", "figures", "statistics", env=blocked_path)
    for path in TARGETS.analyses:
        assert (finished.folder / path).is_file(), path


OUTCOME = next(path for path in TARGETS.outcomes if "kfold_0/gbz_as_coded/linf" in path)
WEIGHTS = "results/smoke/models/phantom/kfold_0/gbz_as_coded/weights.safetensors"


# What a job that is stopped leaves behind for the next one.
KEPT = {"train_model": "*.pt", "run_suite": "chunk_*.parquet"}


def stop(project, rule, signal_number, wait):
    """Starts a run, waits until `rule` has kept something, and ends the whole process group."""
    run = project.start(
        OUTCOME,
        start_new_session=True,
        # Whoever started the tests may have told their processes to ignore Ctrl-C.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    work = project.folder / "results/smoke/work" / rule
    while run.poll() is None:
        if any(work.rglob(KEPT[rule])):
            break
        time.sleep(0.05)
    time.sleep(wait)
    assert run.poll() is None, "the run was over before it could be stopped"
    os.killpg(run.pid, signal_number)
    return run.wait()


@pytest.mark.parametrize(
    ("rule", "signal_number", "wait"),
    [
        # Twenty kills of either, at random moments: test_faults.py.
        ("train_model", signal.SIGKILL, 1.0),
        ("run_suite", signal.SIGINT, 0.1),
    ],
)
def test_a_stopped_run_goes_on_and_ends_with_the_same_bits(
    tmp_path, undisturbed, rule, signal_number, wait
):
    project = undisturbed.twin(tmp_path / "project")
    (project.folder / OUTCOME).unlink()
    for other in KEPT if rule == "train_model" else [rule]:
        shutil.rmtree(project.folder / "results/smoke/work" / other)
    if rule == "train_model":
        (project.folder / WEIGHTS).unlink()
    assert stop(project, rule, signal_number, wait) != 0
    if signal_number == signal.SIGKILL:
        project.snakemake("--unlock")
    work = (project.folder / "results/smoke/work/run_suite").rglob("chunk_*.parquet")
    kept = {path: path.stat().st_mtime_ns for path in work}
    project.snakemake(OUTCOME)
    # Equal bits alone would also come from starting afresh.
    if rule == "train_model":
        log = project.folder / "results/smoke/logs/train_model/phantom/kfold_0/gbz_as_coded.log"
        assert "goes on at epoch" in log.read_text()
    else:
        assert kept
        assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    expected = undisturbed.folder
    assert (project.folder / WEIGHTS).read_bytes() == (expected / WEIGHTS).read_bytes()
    same_outcomes(project.folder / OUTCOME, expected / OUTCOME)


def test_every_target_is_listed_with_a_line_about_it(smoke):
    listed = smoke.snakemake("--list").stdout
    for target in (
        "all",
        "data",
        "models",
        "outcomes",
        "tables",
        "figures",
        "statistics",
        *PLAN.studies,
    ):
        assert re.search(rf"^{target} \(.+\)$", listed, re.MULTILINE), listed


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (["scale=dmo"], "there is no scale 'dmo'; did you mean 'demo'?"),
        (["scale=smoke", "studies=[milner]"], "there is no study 'milner'"),
        (["scale=smoke", "sed=1"], "unknown key 'sed'; did you mean 'seed'?"),
    ],
)
def test_a_mistake_in_the_configuration_ends_at_once_with_one_clear_line(smoke, config, message):
    run = smoke.snakemake("--dry-run", "--config", *config, check=False)
    assert run.returncode != 0
    assert message in run.stdout
    assert "Traceback" not in run.stdout


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "config/catalogue/attacks.yaml",
            "assay.attacks.pgd:PGD",
            "assay.attacks.pdg:PGD",
            "pgd_linf.implementation: there is no module 'assay.attacks.pdg'; did you mean",
        ),
        (
            "config/catalogue/splits.yaml",
            "  folds: 5\n",
            "",
            "splits.yaml: kfold: the key 'folds' is missing (kind: kfold)",
        ),
        (
            "workflow/assay/attacks/losses.py",
            "def check_loss",
            "def def check_loss",
            "is not valid Python (invalid syntax)",
        ),
    ],
)
def test_a_mistake_in_an_entry_or_in_code_ends_at_once_with_one_clear_line(
    project, file, old, new, message
):
    project.edit(file, old, new)
    run = project.snakemake("--dry-run", check=False)
    assert run.returncode != 0
    assert message in run.stdout
    assert "Traceback" not in run.stdout
    assert "InputFunctionException" not in run.stdout


def test_a_mistake_in_a_job_is_told_in_one_line_and_spares_the_rest(finished):
    weights = finished.folder / "results/smoke/models/phantom/kfold_0/dbx/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    run = finished.snakemake("outcomes", check=False)
    assert run.returncode != 0
    assert re.search(r"error: .*dbx/weights\.safetensors.*", run.stdout)
    for path in TARGETS.outcomes:
        assert (finished.folder / path).is_file() or "kfold_0/dbx" in path


def test_the_documented_folder_of_images_is_planned(project):
    page = (project.folder / "docs/data.md").read_text()
    example = re.search(r"```yaml\n# config/config\.yaml\n(.+?)```", page, re.DOTALL)[1]
    config = project.folder / "config/config.yaml"
    config.write_text(config.read_text() + example)
    for name in ("healthy", "ill"):
        (project.folder / "my_images" / name).mkdir(parents=True)
    (project.folder / "my_images/patients.csv").touch()
    planned = project.planned("results/smoke/splits/my_images/kfold_patient_0.parquet")
    assert planned == {"prepare_dataset": 1, "make_split": 1}


def test_the_paper_scale_plans_at_most_one_job_for_each_model_and_suite(project):
    study = {"scale": "paper", "studies": ["millner2024"]}
    planned = project.planned("--config", "scale=paper", "studies=[millner2024]")
    cells = make_plan(read_configuration(study)).cells
    assert 0 < planned["run_suite"] <= len(cells)
    # Some models take the weights of another one.
    assert 0 < planned["train_model"] < len({(c.dataset, c.split, c.model) for c in cells})


def test_the_snakemake_report_renders_with_every_table_and_figure(smoke):
    smoke.snakemake("--report", "report/smoke/report.html")
    page = (smoke.folder / "report/smoke/report.html").read_text(encoding="utf-8")
    for name in (*PLAN.studies["millner2024"].tables, *PLAN.studies["millner2024"].figures):
        assert name in page
