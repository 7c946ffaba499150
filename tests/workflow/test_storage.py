"""Without a shared file system: jobs see declared files alone, as copies of a storage."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from assay.foundation.outcomes import read_outcomes
from assay.foundation.resources import ROOT
from assay.plan.configuration import read_configuration
from assay.plan.paths import ANALYSES
from assay.plan.plan import make_plan

pytestmark = pytest.mark.slow

PLAN = make_plan(read_configuration({"scale": "smoke"}))
CELL = next(cell for cell in PLAN.cells if cell.suite == "linf_whitebox")
OUTCOMES = f"results/smoke/outcomes/{'/'.join(CELL)}.parquet"
ANALYSED = f"report/smoke/millner2024/{ANALYSES[0]}.csv"


@pytest.fixture
def storage(tmp_path, smoke) -> Path:
    """A storage that holds what a finished run has made, but for one suite and the report."""
    if not shutil.which("rsync"):
        if os.environ.get("ASSAY_SLURM") == "required":
            pytest.fail("the storage of these tests needs Debian's rsync")
        pytest.skip("rsync is not installed")
    pytest.importorskip("snakemake_storage_plugin_fs")
    folder = tmp_path / "storage"
    shutil.copytree(
        smoke.folder / "results/smoke",
        folder / "results/smoke",
        ignore=shutil.ignore_patterns("work", "logs"),
    )
    (folder / OUTCOMES).unlink()
    return folder


def test_shares_and_analyses_run_on_copies_of_a_storage(tmp_path, copy_project, smoke, storage):
    project = copy_project(tmp_path / "project")
    arguments = [
        "--default-storage-provider", "fs", "--default-storage-prefix", str(storage),
        "--shared-fs-usage", "sources", "software-deployment", "persistence", "source-cache",
        "--set-scatter", "share=2", "--config", "scale=smoke",
    ]  # fmt: skip
    plan = project.planned(ANALYSED, *arguments)
    assert plan == {"run_share": 2, "run_suite": 1, "keep_outcomes": 1, "analyse_study": 1}
    project.snakemake(ANALYSED, *arguments)
    found, expected = storage / OUTCOMES, smoke.folder / OUTCOMES
    pd.testing.assert_frame_equal(read_outcomes(found), read_outcomes(expected), check_exact=True)
    assert (storage / ANALYSED).read_bytes() == (smoke.folder / ANALYSED).read_bytes()
    # Only checkpoints and chunks are left here: what is finished is in the storage alone.
    left = {path.name for path in (project.folder / "results/smoke").iterdir()}
    assert left == {"work"}
    assert not (project.folder / "report/smoke").exists()


def test_the_kubernetes_profile_names_rules_and_resources_that_there_are():
    profile = yaml.safe_load((ROOT / "profiles/kubernetes/config.yaml").read_text())
    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    for rule in profile["set-resources"]:
        assert f"rule {rule}:" in rules or f"as {rule} with:" in rules, rule
    assert profile["set-scatter"] == ["share=8"]
