"""A real SLURM, and what may happen to its jobs: the next run ends with the same bits."""

import subprocess
import sys
import time

import pytest

WEIGHTS = "results/smoke/models/phantom/kfold_0/gbz_as_coded/weights.safetensors"
SLURM = [
    *("--profile", "profiles/slurm", "--config", "scale=smoke", "--retries", "0"),
    # One node keeps no accounts, and nobody else waits for it.
    *("--slurm-status-command", "squeue", "--slurm-no-account"),
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"),
    *("--latency-wait", "5"),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, copy_project):
    """The weights of a local run that nothing has stopped."""
    project = copy_project(tmp_path_factory.mktemp("undisturbed") / "project").prolong()
    project.snakemake("--config", "scale=smoke", "--", WEIGHTS)
    return (project.folder / WEIGHTS).read_bytes()


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


@pytest.mark.parametrize("happens", [cancelled, preempted, drained, without_controller])
def test_whatever_happens_to_a_training_it_ends_with_the_same_bits(
    node, project, undisturbed, happens
):
    run = started(project.prolong())
    goes_on = happens(node)
    output = run.communicate(timeout=300)[0]
    assert (run.returncode == 0) == goes_on, output[-4000:]
    if not goes_on:
        project.snakemake(*SLURM, "--", WEIGHTS)
    assert (project.folder / WEIGHTS).read_bytes() == undisturbed
    node.wait_for("idle")
