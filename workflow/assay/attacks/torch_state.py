"""The process's global state that a model may read: made the same for everybody, and given back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def own_state() -> Iterator[None]:
    """Gradients on, autocast off, new tensors in float32 on the CPU: whatever the caller has set.

    So one evaluation inside ``torch.no_grad``, ``torch.inference_mode`` or ``torch.autocast`` gives
    the numbers that it gives outside. A mode that a model switches on itself stays on.
    """
    default = torch.get_default_dtype()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda", "mps", "xpu"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # the context costs time at every call
            stack.enter_context(torch.device("cpu"))
        stack.callback(torch.set_default_dtype, default)
        torch.set_default_dtype(torch.float32)
        yield


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seeds the global generators of torch, NumPy and Python, and gives them back as they were.

    Args:
        seed: any integer >= 0.
        device: whose generator is seeded beside the CPU's.
    """
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    # A model that uses NumPy's global generator draws from this state.
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


@contextmanager
def all_seeded(seed: int, device: torch.device | str) -> Iterator[torch.Generator]:
    """A generator on a device, and until the end of the block all global ones seeded alike."""
    with seeded(seed, device):
        yield torch.Generator(device=device).manual_seed(seed)


def drawn_state(device: torch.device | str, generator: torch.Generator) -> tuple:
    """The state of all generators: it changes as soon as a number is drawn from one of them."""
    device = torch.device(device)
    cuda = torch.cuda.get_rng_state(device).numpy().tobytes() if device.type == "cuda" else b""
    numpy_state: Any = np.random.get_state()  # noqa: NPY002
    kind, keys, *rest = numpy_state
    return (
        torch.get_rng_state().numpy().tobytes(),
        cuda,
        generator.get_state().numpy().tobytes(),
        (kind, keys.tobytes(), *rest),
        random.getstate(),
    )
