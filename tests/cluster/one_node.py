"""A real SLURM of one node on the loopback interface, for tests: munged, slurmctld and slurmd.

Everything lies in one folder; the daemons are stopped by the process ids that they wrote there.
Needs Debian's packages slurmctld, slurmd, slurm-client and munge, and root.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

# Where SLURM looks for its configuration: jobs are given an environment without SLURM_CONF.
PLACE = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf")
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
OWNER = "owner.lock"  # in a node's folder: locked as long as the tests live that made it
PARTITIONS = {"cpu": 1, "gpu": 1, "urgent": 10}  # and their priority: urgent jobs preempt others


def missing() -> list[str]:
    """What a node needs and this machine lacks; a machine with a SLURM of its own is left alone."""
    lacking = [name for name in NEEDED if not shutil.which(name)]
    _remove_abandoned()
    taken = [str(PLACE / name) for name in FILES if os.path.lexists(PLACE / name)]
    rights = [] if os.geteuid() == 0 else ["root"]
    return lacking + rights + [f"{path} to be free" for path in taken]


class Node:
    """One node with four cores (it says) and one device, /dev/null, that it calls a GPU.

    Args:
        folder: where keys, states and logs go.
        minutes: the time limit of partition ``cpu`` and ``gpu``; None: none.
    """

    def __init__(self, folder: Path, minutes: int | None = None):
        self.folder, self.name = folder, socket.gethostname().partition(".")[0]
        for part in ("state", "spool"):
            (folder / part).mkdir(parents=True)
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        folder.chmod(0o711)
        control, daemon = _free_port(), _free_port()
        limit = "INFINITE" if minutes is None else str(minutes)
        partitions = "\n".join(
            f"PartitionName={name} Nodes={self.name} Default={'YES' if name == 'cpu' else 'NO'} "
            f"MaxTime={limit} PriorityTier={tier} OverSubscribe=NO"
            for name, tier in PARTITIONS.items()
        )
        (folder / "slurm.conf").write_text(
            f"""
ClusterName=assay
SlurmctldHost={self.name}(127.0.0.1)
SlurmctldPort={control}
SlurmdPort={daemon}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,bf_interval=2
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=10
MinJobAge=300
ReturnToService=2
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={self.name} NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 Gres=gpu:1 State=UNKNOWN
{partitions}
"""
        )
        (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
        self._lock = (folder / OWNER).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def start(self) -> None:
        """Starts the three daemons and waits until the node is idle."""
        folder = self.folder
        PLACE.mkdir(exist_ok=True)
        for name in FILES:
            (PLACE / name).symlink_to(folder / name)
        self._run(
            "munged", f"--socket={folder}/munge.socket", f"--key-file={folder}/munge.key",
            f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log",
            f"--seed-file={folder}/munged.seed", "--force",
        )  # fmt: skip
        self.start_controller()
        self._run("slurmd")
        self.wait_for("idle")

    def start_controller(self) -> None:
        self._run("slurmctld")

    def stop_controller(self) -> None:
        _stop(self.folder, "slurmctld")

    def stop(self) -> None:
        """Cancels all jobs and stops the daemons."""
        subprocess.run(["scancel", "--user=root"], check=False)
        _clear(self.folder)

    def command(self, *arguments: str) -> str:
        """The output of a command such as ``squeue``."""
        return self._run(*arguments).stdout

    def wait_for(self, state: str, seconds: float = 60) -> None:
        """Waits until the node says that it is in a state."""
        end = time.monotonic() + seconds
        while True:
            found = subprocess.run(
                ["sinfo", "--noheader", "--format=%T"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if state in found.stdout:
                return
            if time.monotonic() > end:
                logs = "\n".join(
                    path.read_text(errors="replace")[-2000:] for path in self.folder.glob("*.log")
                )
                said = found.stdout or found.stderr
                raise TimeoutError(f"the node is {said}, not {state}\n{logs}")
            time.sleep(0.5)

    def _run(self, *arguments) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(argument) for argument in arguments],
            capture_output=True, text=True, check=True,
        )  # fmt: skip


def _stop(folder: Path, name: str) -> None:
    """Stops a node's daemon, if it is alive."""
    path = folder / f"{name}.pid"
    if not path.is_file():
        return
    process = int(path.read_text())
    end = time.monotonic() + 20
    # After a restart of the machine the number may be another program's.
    if _program(process) == name:
        try:
            os.kill(process, signal.SIGTERM)
            while time.monotonic() < end:
                os.kill(process, 0)
                time.sleep(0.2)
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            pass
    path.unlink(missing_ok=True)


def _program(process: int) -> str:
    """The name of a live process; empty if there is none."""
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""


def _clear(folder: Path) -> None:
    """Stops a node's daemons and frees the files of its configuration."""
    for name in ("slurmd", "slurmctld", "munged"):
        _stop(folder, name)
    for name in FILES:
        (PLACE / name).unlink(missing_ok=True)


def _remove_abandoned() -> None:
    """Clears a node of tests that were killed; a node of live tests, or a real one, stays."""
    link = PLACE / FILES[0]
    if not link.is_symlink():
        return
    folder = link.readlink().parent
    if not folder.exists():
        _clear(folder)
    elif (folder / OWNER).is_file():
        with (folder / OWNER).open() as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _clear(folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
