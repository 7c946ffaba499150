"""Published weights, read without unpickling code."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from assay.foundation.errors import ModelError
from assay.foundation.suggestions import did_you_mean

# Where files that hold more than a state dict have it.
_HOLDERS = ("state_dict", "model_state_dict", "model", "net", "state_dict_ema")
_AGAIN = "remove the file; it is then read from the mirror or downloaded"


def read_published(
    path: Path, remedy: str = _AGAIN, *, key: str | None = None
) -> dict[str, Tensor]:
    """A published state dict, read without unpickling code.

    Args:
        path: of a file that ``torch.save`` wrote, or of safetensors (``.safetensors``).
        remedy: what a user can do about a file that cannot be used.
        key: under which the file has the state dict, where it has more than that.

    Raises:
        ModelError: the file is missing or damaged, or is no mapping of names to tensors. What
            torch advises is not repeated: it is to execute the code in the file.
    """
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except safetensors.SafetensorError as error:
        raise ModelError(
            f"the published weights cannot be read ({error})", where=path, remedy=remedy
        ) from error
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
    if key is not None:
        state = _below(state, key, path)
    for name, value in state.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            nested = key is None and [k for k in map(str, state) if k in _HOLDERS]
            raise ModelError(
                f"holds a {type(value).__name__} under '{name}' instead of a tensor",
                where=path,
                remedy=f"write weights.key: {nested[0]}" if nested else remedy,
            )
    return dict(state)


def _below(state: Mapping, key: str, path: Path) -> Mapping:
    if not isinstance(state.get(key), Mapping):
        raise ModelError(
            f"has no tensors under '{key}'",
            where=path,
            remedy=did_you_mean(key, state, f"its keys are {', '.join(map(str, [*state][:5]))}"),
        )
    return state[key]
