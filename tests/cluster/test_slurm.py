"""A real SLURM, and what may happen to its jobs: the next run ends with the same bits."""

import shutil
import subprocess
import sys
import time

import pandas as pd
import pytest

from assay.foundation.outcomes import read_outcomes
from assay.plan.configuration import read_configuration
from assay.plan.plan import make_plan
from assay.plan.targets import make_targets

OUTCOMES = make_targets(make_plan(read_configuration({"scale": "smoke"}))).outcomes
WEIGHTS = "results/smoke/models/phantom/kfold_0/gbz_as_coded/weights.safetensors"
# Together; `make test` leaves them to `make cluster`.
HALF_AN_HOUR = pytest.mark.half_an_hour
SLURM = [
    *("--profile", "profiles/slurm", "--retries", "0"),
    # The node's GPU is none.
    *("--config", "scale=smoke", "device=cpu"),
    # One node keeps no accounts, and nobody else waits for it.
    *("--slurm-status-command", "squeue", "--slurm-no-account"),
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"),
    *("--latency-wait", "5"),
]


def started(project):
    """A run on the cluster, as soon as its training has kept a checkpoint."""
    run = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *SLURM, "--", WEIGHTS],
        cwd=project.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    work = project.folder / "results/smoke/work/train_model"
    deadline = time.monotonic() + 180
    while not any(work.rglob("*.pt")):
        assert run.poll() is None, run.communicate()[0][-4000:]
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.1)
    return run


def running(node):
    (job,) = node.command("squeue", "--noheader", "--states=RUNNING", "--format=%A").split()
    return job


def cancelled(node):
    node.command("scancel", running(node))
    return False


def preempted(node):
    """A job that matters more takes the node; the training is queued anew and goes on by itself."""
    node.command(
        *("sbatch", "--wait", "--partition=urgent", "--exclusive", "--output=/dev/null"),
        *("--wrap", "sleep 2"),
    )
    return True


def drained(node):
    """The job that runs ends in peace; nothing new begins until the node is back."""
    node.command("scontrol", "update", f"nodename={node.name}", "state=drain", "reason=test")
    time.sleep(3)
    node.command("scontrol", "update", f"nodename={node.name}", "state=resume")
    return True


def without_controller(node):
    node.stop_controller()
    time.sleep(3)
    node.start_controller()
    return True


LATER = (preempted, drained, without_controller)


@pytest.mark.parametrize(
    "happens", [cancelled, *(pytest.param(name, marks=HALF_AN_HOUR) for name in LATER)]
)
def test_whatever_happens_to_a_training_it_ends_with_the_same_bits(
    node, project, undisturbed, happens
):
    run = started(project.prolong())
    goes_on = happens(node)
    output = run.communicate(timeout=300)[0]
    assert (run.returncode == 0) == goes_on, output[-4000:]
    if not goes_on:
        project.snakemake(*SLURM, "--", WEIGHTS)
    assert (project.folder / WEIGHTS).read_bytes() == (undisturbed.folder / WEIGHTS).read_bytes()
    node.wait_for("idle")


@HALF_AN_HOUR
def test_a_training_that_hits_its_time_limit_ends_with_the_same_bits(
    node, project, copy_project, tmp_path
):
    """SLURM counts in minutes: a training of several, and one minute a job."""
    whole = copy_project(tmp_path / "whole")
    for copy in (project, whole):
        copy.prolong().edit("config/scales/smoke.yaml", "{epochs: 40}", "{epochs: 200}")
    whole.snakemake("--config", "scale=smoke", "--", WEIGHTS)
    limit = ("--set-resources", "train_model:runtime=1")
    ends = []
    while not ends or (ends[-1] and len(ends) < 10):
        ends.append(project.snakemake(*SLURM, *limit, "--", WEIGHTS, check=False).returncode)
    assert ends[0] != 0, "the first job was over before its time was"
    assert ends[-1] == 0
    assert (project.folder / WEIGHTS).read_bytes() == (whole.folder / WEIGHTS).read_bytes()


@HALF_AN_HOUR
def test_the_whole_smoke_scale_runs_through_the_profile(node, project, smoke):
    """Each job of the cluster takes seconds to begin: suites are not shared here."""
    project.snakemake(*SLURM, "--set-scatter", "share=1")
    for path in OUTCOMES:
        pd.testing.assert_frame_equal(
            read_outcomes(project.folder / path),
            read_outcomes(smoke.folder / path),
            check_exact=True,
        )
    page = "report/smoke/index.html"
    assert (project.folder / page).stat().st_size > 0
    assert project.planned() == {}


@HALF_AN_HOUR
def test_a_suite_that_several_jobs_share_ends_with_the_same_rows(node, finished):
    cell = next(path for path in OUTCOMES if "resnet18/linf_whitebox" in path)
    before = read_outcomes(finished.folder / cell)
    (finished.folder / cell).unlink()
    shutil.rmtree(finished.folder / "results/smoke/work/run_suite")
    finished.snakemake(*SLURM, "--set-scatter", "share=2", "--", cell)
    pd.testing.assert_frame_equal(read_outcomes(finished.folder / cell), before, check_exact=True)


@HALF_AN_HOUR
def test_a_gpu_that_was_granted_and_is_not_there_is_told_at_the_start(node, finished):
    """The node's GPU is /dev/null; without device=cpu a job asks for it."""
    cell = next(path for path in OUTCOMES if "resnet18/linf_whitebox" in path)
    (finished.folder / cell).unlink()
    arguments = [word for word in SLURM if word != "device=cpu"]
    run = finished.snakemake(*arguments, "--set-scatter", "share=1", "--", cell, check=False)
    assert run.returncode != 0
    logs = (finished.folder / "results/smoke/logs/evaluate_model").rglob("*.log")
    assert any("SLURM granted this job GPU" in path.read_text() for path in logs)
