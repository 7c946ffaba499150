"""Devices are handed out one to a process, and come back however the process ends."""

import logging
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from assay.foundation import lease as leases
from assay.foundation.device import select_device
from assay.foundation.digest import ROOT
from assay.foundation.errors import AssayError, ConfigError

JOB = """
import logging, os, pathlib, sys, time
from assay.foundation.lease import Leases
logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
index = Leases().lease({devices!r}, folder=pathlib.Path({folder!r}), poll_s=0.02)
{then}
print(index, flush=True)
time.sleep(60)
"""


@pytest.fixture
def jobs(tmp_path):
    """Starts processes that take a device and keep it; ends them all."""
    running = []

    def start(devices, then=""):
        code = JOB.format(devices=devices, folder=str(tmp_path / "locks"), then=then)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes))
        return running[-1]

    yield start
    for job in running:
        job.kill()
        job.communicate()


@pytest.fixture
def nothing_held(monkeypatch):
    """A process that has no device yet, and has none afterwards."""
    monkeypatch.setattr(leases, "process", leases.Leases())
    yield leases.process
    leases.process.release()


def device_of(job) -> int:
    return int(job.stdout.readline())


def test_as_many_jobs_as_devices_have_one_each(jobs):
    devices = ["GPU-a", "GPU-b", "GPU-c", "GPU-d"]
    started = [jobs(devices) for _ in devices]
    assert sorted(device_of(job) for job in started) == [0, 1, 2, 3]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_too_many_waits_says_so_and_gets_what_comes_free(jobs, end):
    first, second = jobs(["GPU-a", "GPU-b"]), jobs(["GPU-a", "GPU-b"])
    taken = {device_of(first): first, device_of(second): second}
    third = jobs(["GPU-a", "GPU-b"])
    message = third.stderr.readline()
    assert message.startswith("waits for a free device: other jobs have all 2 (processes ")
    assert {str(first.pid), str(second.pid)} == set(
        message.split("processes ")[1].strip(" )\n").split(", ")
    )
    time.sleep(0.2)
    assert third.poll() is None
    taken[1].send_signal(end)
    assert device_of(third) == 1
    assert third.stderr.readline() == "computes on device 1 of 2 (GPU-b)\n"


def test_a_worker_that_outlives_its_job_keeps_no_device(jobs):
    worker = "w = os.fork(); w or (os.closerange(0, 3), time.sleep(30)); print(w, flush=True)"
    job = jobs(["GPU-a"], then=worker)
    alive = int(job.stdout.readline())
    try:
        assert device_of(job) == 0
        job.kill()
        assert device_of(jobs(["GPU-a"])) == 0
        os.kill(alive, 0)  # raises where the device came free only with the worker's end
    finally:
        os.kill(alive, signal.SIGKILL)


def test_names_count_and_not_numbers(jobs):
    assert device_of(jobs(["GPU-a"])) == 0
    assert device_of(jobs(["GPU-b"])) == 0, "another device, which this job sees as number 0"
    assert device_of(jobs(["GPU-b", "GPU-a", "GPU-c/0"])) == 2


def test_a_process_that_asks_again_keeps_what_it_has(tmp_path, nothing_held, jobs):
    first = jobs(["GPU-a", "GPU-b"])
    assert device_of(first) == 0
    folder = tmp_path / "locks"
    assert nothing_held.lease(["GPU-a", "GPU-b"], folder=folder) == 1
    first.kill()
    first.wait()
    assert nothing_held.lease(["GPU-a", "GPU-b"], folder=folder) == 1
    assert device_of(jobs(["GPU-a", "GPU-b"])) == 0


def test_locks_lie_in_a_folder_of_ones_own(tmp_path, nothing_held, monkeypatch, caplog):
    monkeypatch.setattr(leases.tempfile, "gettempdir", lambda: str(tmp_path))
    with caplog.at_level(logging.INFO, "assay"):
        assert nothing_held.lease(["GPU-a"]) == 0
    (folder,) = tmp_path.iterdir()
    assert folder.name == f"assay-devices-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert "computes on device 0 of 1 (GPU-a)" in caplog.text


def test_a_folder_that_cannot_hold_locks_is_named(tmp_path, nothing_held):
    (tmp_path / "file").touch()
    with pytest.raises(AssayError, match=r"file: the locks of devices cannot be kept .*TMPDIR"):
        nothing_held.lease(["GPU-a"], folder=tmp_path / "file")


@pytest.fixture
def two_gpus(monkeypatch, tmp_path, nothing_held):
    """A machine on which torch sees two devices; remembers which one was made the current one."""
    chosen = []
    uuids = ["aaaa", "bbbb"]
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_properties": lambda index: SimpleNamespace(uuid=uuids[index]),
        "set_device": chosen.append,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(leases.tempfile, "gettempdir", lambda: str(tmp_path))
    (tmp_path / "locks").symlink_to(f"assay-devices-{os.getuid()}", target_is_directory=True)
    (tmp_path / f"assay-devices-{os.getuid()}").mkdir()
    return chosen


@pytest.mark.parametrize("preference", ["auto", "cuda"])
def test_a_job_computes_on_a_device_that_no_other_job_has(two_gpus, jobs, preference):
    assert device_of(jobs(["aaaa"])) == 0
    assert select_device(preference) == torch.device("cuda:1")
    assert two_gpus == [torch.device("cuda:1")]


def test_a_device_that_is_named_is_shared(two_gpus, jobs):
    assert device_of(jobs(["aaaa", "bbbb"])) == 0
    assert select_device("cuda:0") == torch.device("cuda:0")
    assert select_device("cpu") == torch.device("cpu")
    assert not leases.process.held
    with pytest.raises(ConfigError, match="'cuda:2' was requested but 2 GPUs are visible"):
        select_device("cuda:2")


def test_slices_of_one_gpu_are_different_devices(two_gpus, jobs, monkeypatch):
    assert device_of(jobs(["MIG-1"])) == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-2")
    assert select_device("auto") == torch.device("cuda:0")
    assert leases.process.held == ("MIG-2.lock",)


def test_the_cpu_is_taken_by_all_where_there_is_no_gpu(monkeypatch, nothing_held):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for name in ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS"):
        monkeypatch.delenv(name, raising=False)
    assert select_device("auto") == torch.device("cpu")
    with pytest.raises(ConfigError, match="'cuda' was requested but 0 GPUs are visible"):
        select_device("cuda")
    assert not leases.process.held


@pytest.mark.parametrize("name", ["SLURM_JOB_GPUS", "SLURM_STEP_GPUS"])
def test_a_gpu_that_slurm_granted_and_torch_does_not_see_is_told_at_once(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv(name, "0")
    with pytest.raises(ConfigError, match="SLURM granted this job GPU 0, but torch sees none"):
        select_device("auto")
    assert select_device("cpu") == torch.device("cpu")
