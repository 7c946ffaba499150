"""Which device a job computes on. The only module of this floor that imports torch."""

from __future__ import annotations

import torch

from assay.foundation.errors import ConfigError


def select_device(preference: str = "auto") -> torch.device:
    """The device that a preference means on this machine.

    Args:
        preference: ``auto`` (the first CUDA device, else the CPU), or a torch device name.

    Raises:
        ConfigError: the device is unknown or not there.
    """
    if preference == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
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
            f"device '{preference}' was promised but {torch.cuda.device_count()} GPUs are visible",
            where="config key 'device'",
            remedy="use auto or cpu, or ask for a machine with a GPU",
        )
    return device


def use_threads(threads: int) -> None:
    """Lets torch compute with `threads` CPU threads; sums are bit-identical per thread count."""
    torch.set_num_threads(max(1, int(threads)))
