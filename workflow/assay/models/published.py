"""Published weights, read without unpickling code."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from assay.foundation.errors import ModelError

_AGAIN = "remove the file; it is then read from the mirror or downloaded"


def read_published(path: Path, remedy: str = _AGAIN) -> dict[str, Tensor]:
    """A published state dict, read without unpickling code.

    Args:
        path: of a file that ``torch.save`` wrote.
        remedy: what a user can do about a file that cannot be used.

    Raises:
        ModelError: the file is missing or damaged, or is no mapping of names to tensors. What
            torch advises is not repeated: it is to execute the code in the file.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(
            f"the published weights cannot be read ({error.strerror or 'damaged'})",
            where=path,
            remedy=remedy,
        ) from error
    except pickle.UnpicklingError as error:
        raise ModelError(
            "the published weights cannot be read: the file is damaged, or holds more than "
            "tensors; nothing in it was executed",
            where=path,
            remedy=remedy,
        ) from error
    except Exception as error:  # torch reports damage by a dozen types, some undocumented
        raise ModelError(
            "the published weights cannot be read: the file is damaged, or none of PyTorch",
            where=path,
            remedy=remedy,
        ) from error
    if not isinstance(state, Mapping):
        raise ModelError(
            f"holds a {type(state).__name__} instead of named tensors", where=path, remedy=remedy
        )
    for name, value in state.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            raise ModelError(
                f"holds a {type(value).__name__} under '{name}' instead of a tensor",
                where=path,
                remedy=remedy,
            )
    return dict(state)
