"""Which device a job computes on. The only module of this floor that imports torch."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

import torch

from assay.foundation import lease
from assay.foundation.errors import ConfigError

# Names of glibc's mallopt(3).
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1


def select_device(preference: str = "auto") -> torch.device:
    """The device that a preference means on this machine.

    Args:
        preference: ``cuda``, a CUDA device that no other job has, for the rest of this process,
            which waits while none is free; ``auto``, the same where there are any, else the CPU; or
            the name of a torch device, which jobs then share.

    Raises:
        ConfigError: the device is unknown or not there, or SLURM granted a GPU that torch does not
            see: on the CPU the job would run into its time limit.
    """
    if preference == "auto":
        granted = os.environ.get("SLURM_JOB_GPUS") or os.environ.get("SLURM_STEP_GPUS")
        if granted and not torch.cuda.is_available():
            raise ConfigError(
                f"SLURM granted this job GPU {granted}, but torch sees none",
                where=f"node {os.environ.get('SLURMD_NODENAME', 'of this job')}",
                remedy="check the node's driver and torch's build, or compute with device=cpu",
            )
        preference = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(preference)
    except RuntimeError as error:
        raise ConfigError(
            f"'{preference}' is not a device",
            where="config key 'device'",
            remedy="use auto, cpu, cuda or cuda:<n>",
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device '{preference}' was requested but {torch.cuda.device_count()} GPUs are visible",
            where="config key 'device'",
            remedy="use auto or cpu, or request a machine with a GPU",
        )
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", lease.process.lease(_visible_devices()))
        torch.cuda.set_device(device)
    return device


def _visible_devices() -> list[str]:
    """Names of the visible CUDA devices, by which processes that see different ones know them.

    Indices would not do: in its cgroup each cluster job may see another device as number 0.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if visible.startswith("MIG-"):
        # Of the slices of divided GPUs a process sees one only, which CUDA may name after its GPU.
        return [visible.split(",")[0]]
    properties = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    return [str(each.uuid) for each in properties]


def use_threads(threads: int) -> None:
    """Lets torch compute with `threads` CPU threads; sums are bit-identical per thread count.

    The process also keeps the memory that it frees: otherwise large activations go back to the
    system after each layer and are mapped and zeroed again in the next pass (measured 1.1 to 1.3
    times the time of passes of 128 images).
    """
    torch.set_num_threads(max(1, int(threads)))
    with suppress(OSError, AttributeError):
        # glibc's; elsewhere there is nothing of the kind to set.
        ctypes.CDLL(None).mallopt(_MMAP_MAX, 0)
        ctypes.CDLL(None).mallopt(_TRIM_THRESHOLD, 2**31 - 1)
