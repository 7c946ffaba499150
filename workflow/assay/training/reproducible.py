"""Equal bits for equal steps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Equal bits for equal steps, and torch's global random state as it was afterwards."""
    if device.type != "cuda":
        with torch.random.fork_rng(devices=[]):
            yield
        return
    # cuBLAS reads this when it starts; without it matrix products may differ between runs.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        memory.fill_uninitialized_memory = False
        with torch.random.fork_rng(devices=[device]):
            yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        memory.fill_uninitialized_memory = fill
