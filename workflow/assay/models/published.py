"""Published weights, read without unpickling code."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from assay.foundation.errors import ModelError


def read_published(path: Path) -> dict[str, Tensor]:
    """A published state dict, read without unpickling code.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch tells damage by a dozen types, some of them undocumented
        raise ModelError(
            f"the published weights cannot be read ({error})",
            where=path,
            remedy="remove the file; it is then read from the mirror or downloaded",
        ) from error
