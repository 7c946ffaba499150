"""What may go wrong around a job: nothing finished is lost, and no number is wrong.

docs/reliability.md has the table of faults, with the tests of those that are tried elsewhere.
"""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assay.foundation.outcomes import read_outcomes, to_table
from assay.plan.configuration import read_configuration
from assay.plan.plan import make_plan

pytestmark = pytest.mark.slow

KILLS = 20
CELL = next(
    cell
    for cell in make_plan(read_configuration({"scale": "smoke"})).cells
    if (cell.model, cell.suite) == ("resnet18", "linf_whitebox")
)
OUTCOME = f"results/smoke/outcomes/{'/'.join(CELL)}.parquet"
WEIGHTS = f"results/smoke/models/{'/'.join(CELL[:3])}/weights.safetensors"
LABELS = np.arange(64) % 3


def noise():
    """Images of noise, of three classes, 64 of them."""
    return np.random.default_rng(0).integers(0, 256, (64, 1, 8, 8), dtype=np.uint8)


def training(work: Path) -> bytes:
    """A short training with a checkpoint after every step; the bytes of its last weights."""
    import torch
    from safetensors.torch import save

    from assay.models.cifar_resnet import CifarResNet
    from assay.training.loop import train

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = CifarResNet(classes=3, shape=(1, 8, 8), depth=8)
    training = {"epochs": 30, "batch_size": 16}
    part = np.arange(64)
    done = train(
        *(model, noise(), LABELS, part[:48], part[48:], training),
        work=work,
        names=("faults",),
        checkpoint_every_s=0.0,
    )
    return save({name: tensor.contiguous() for name, tensor in done.last_state.items()})


def suite(work: Path):
    """A suite of two attacks in 64 chunks; its outcomes."""
    import torch
    from torch import nn

    from assay.attacks.victim import Victim
    from assay.evaluation.suite import run_suite

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    attacks = [
        {
            "name": name,
            "implementation": "assay.attacks.pgd:PGD",
            "settings": {"norm": norm, "steps": 60, "restarts": 2},
            "norm": norm,
            "epsilons": [0.001, 0.002],
            "samples": None,
            "code": "c",
        }
        for name, norm in (("pgd_linf", "linf"), ("pgd_l2", "l2"))
    ]
    return run_suite(
        Victim.from_module(net, classes=3, shape=(1, 8, 8)),
        *(noise(), LABELS, np.arange(64), attacks),
        ids={"dataset": "d", "split": "s_0", "model": "m", "suite": "u"},
        work=work,
        chunk=2,
        repeats=3,
        examples=4,
        key="k",
    )[0]


@pytest.fixture(scope="module")
def processes():
    """Starts processes in which torch is loaded and has computed nothing yet."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", __name__])
    return context


def killed_at_random(processes, work, target, kept):
    """Kills `target` KILLS times, each time after it has kept something more."""
    chance = random.Random()
    for _ in range(KILLS):
        before = kept()
        process = processes.Process(target=target, args=(work,))
        process.start()
        while kept() <= before:
            assert process.is_alive(), "it was over before it was killed"
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.03))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "it was over before it was killed"


def test_a_training_that_is_killed_twenty_times_ends_with_the_same_bits(tmp_path, processes):
    work = tmp_path / "killed"

    def kept():
        return max((int(path.stem[-10:]) for path in work.glob("checkpoint_*.pt")), default=-1)

    killed_at_random(processes, work, training, kept)
    assert kept() < 30 * 48
    assert training(work) == training(tmp_path / "whole")


def test_a_suite_that_is_killed_twenty_times_ends_with_the_same_rows(tmp_path, processes):
    work = tmp_path / "killed/suite"

    def kept():
        return len(list(work.glob("*/chunk_*.parquet")))

    killed_at_random(processes, work, suite, kept)
    finished = {path: path.stat().st_mtime_ns for path in work.rglob("chunk_*.parquet")}
    assert KILLS <= len(finished) < 64
    resumed = suite(work)
    assert all(path.stat().st_mtime_ns == when for path, when in finished.items())
    assert to_table(resumed).equals(to_table(suite(tmp_path / "whole/suite")))


def mounted(folder: Path, size: str):
    """Makes `folder` a file system of its own; skips where that is forbidden."""
    aside = folder.with_name(f"{folder.name}_aside")
    folder.rename(aside)
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"a file system cannot be mounted here ({made.stderr.strip()})")
    shutil.copytree(aside, folder, dirs_exist_ok=True, copy_function=shutil.copy2)


def remounted(folder: Path, options: str):
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@pytest.fixture
def small_results(finished):
    """A finished run whose results lie on a small disk, without one suite's outcomes."""
    results = finished.folder / "results"
    before = read_outcomes(finished.folder / OUTCOME)
    (finished.folder / OUTCOME).unlink()
    shutil.rmtree(results / "smoke/work")
    mounted(results, "2g")
    yield finished, results, before
    subprocess.run(["umount", "--lazy", str(results)], check=True)


def complains(run, *words):
    """The run failed, and one line says why."""
    assert run.returncode != 0
    lines = [line for line in run.stdout.splitlines() if all(word in line for word in words)]
    assert lines, run.stdout[-3000:]


def test_a_full_disk_ends_the_run_with_one_line_and_room_lets_it_go_on(small_results):
    project, results, before = small_results
    disk = os.statvfs(results)
    used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
    remounted(results, f"size={used // 1024 + 40}k")  # room for the log
    complains(project.snakemake(OUTCOME, check=False), "error:", "no space left on the disk")
    assert not (project.folder / OUTCOME).exists()
    remounted(results, "size=2g")
    project.snakemake(OUTCOME)
    pd.testing.assert_frame_equal(read_outcomes(project.folder / OUTCOME), before, check_exact=True)


def test_results_that_may_not_be_written_end_the_run_and_lose_nothing(small_results):
    project, results, before = small_results
    remounted(results, "ro")
    complains(project.snakemake(OUTCOME, check=False), "Write-protected output files")
    remounted(results, "rw")
    project.snakemake(OUTCOME)
    pd.testing.assert_frame_equal(read_outcomes(project.folder / OUTCOME), before, check_exact=True)


def test_a_truncated_outcome_file_is_named_and_made_anew_from_kept_chunks(finished):
    path = finished.folder / OUTCOME
    before = read_outcomes(path)
    path.write_bytes(path.read_bytes()[:-200])
    statistics = "report/smoke/millner2024/statistics/accuracy.csv"
    complains(finished.snakemake(statistics, check=False), "error:", path.name)
    path.unlink()
    chunks = list((finished.folder / "results/smoke/work/run_suite").rglob("chunk_*.parquet"))
    times = {chunk: chunk.stat().st_mtime_ns for chunk in chunks}
    # What the report is made from went with the job that failed on the damaged file.
    finished.snakemake("report/smoke/millner2024/outcomes.parquet", statistics)
    pd.testing.assert_frame_equal(read_outcomes(path), before, check_exact=True)
    assert all(chunk.stat().st_mtime_ns == when for chunk, when in times.items())


def test_truncated_weights_are_named_and_written_again_with_the_same_bits(finished):
    weights = finished.folder / WEIGHTS
    before = weights.read_bytes()
    weights.write_bytes(before[: len(before) // 2])
    (finished.folder / OUTCOME).unlink()
    complains(finished.snakemake(OUTCOME, check=False), "error:", "weights.safetensors")
    weights.unlink()
    finished.snakemake(OUTCOME)
    assert weights.read_bytes() == before


def test_a_clock_that_was_set_back_is_named_and_costs_at_most_work(finished):
    """Everything looks as if it were made tomorrow; what is made now looks older."""

    def made_at(when):
        for path in (finished.folder / "results").rglob("*"):
            os.utime(path, (when, when))

    before = read_outcomes(finished.folder / OUTCOME)
    made_at(time.time() + 86_400)
    (finished.folder / OUTCOME).unlink()
    complains(finished.snakemake(OUTCOME, check=False), "clock skew")
    made_at(time.time())
    finished.snakemake(OUTCOME)
    pd.testing.assert_frame_equal(
        read_outcomes(finished.folder / OUTCOME), before, check_exact=True
    )


def test_a_gpu_that_is_not_there_is_told_at_the_start_of_a_job(finished):
    (finished.folder / OUTCOME).unlink()
    run = finished.snakemake("--config", "scale=smoke", "device=cuda:7", "--", OUTCOME, check=False)
    complains(run, "error:", "device 'cuda:7' was requested but")


def test_a_second_run_in_the_same_folder_is_refused_and_the_first_ends_well(finished):
    (finished.folder / OUTCOME).unlink()
    shutil.rmtree(finished.folder / "results/smoke/work")
    first = finished.start(OUTCOME)
    locks = finished.folder / ".snakemake/locks"
    while not any(locks.glob("*.lock")):
        assert first.poll() is None, "it was over before a second one could begin"
        time.sleep(0.02)
    complains(finished.snakemake(OUTCOME, check=False), "LockException")
    assert first.wait() == 0
    assert finished.planned(OUTCOME) == {}
