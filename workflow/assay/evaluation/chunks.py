"""Finished chunks of an attack on disk: stored atomically, loaded if they are what was stored."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from assay.attacks.result import Perturbed
from assay.evaluation.adversarials import NONE, Arrays, is_whole, write_chunk
from assay.foundation.errors import OutcomeError
from assay.foundation.files import atomic_path
from assay.foundation.outcomes import read_outcomes, write_outcomes

log = logging.getLogger(__name__)


class Part(NamedTuple):
    """One attack on one chunk: its rows, and the perturbed images of the examples among them.

    ``adversarials`` are the images that are kept as they are, None where none are; a chunk that was
    loaded leaves them in their file.
    """

    frame: pd.DataFrame
    samples: np.ndarray
    images: np.ndarray
    predictions: np.ndarray
    adversarials: Arrays | None = None


class MemberStates:
    """The state of a chunk after each member of an ensemble, until the chunk is finished."""

    def __init__(self, folder: Path, number: int, route: str = ""):
        self._folder, self._number, self._route = folder, number, route
        self._stem = f"chunk_{number:03d}_after"

    def of_route(self, route: str) -> MemberStates:
        """The states of the search through one view."""
        return MemberStates(self._folder, self._number, route)

    def load(self, member: str) -> Perturbed | None:
        """The state after a member; None where there is none or it cannot be read."""
        path = self._path(member)
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                rest = json.loads(file.metadata()["rest"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            log.warning("%s is damaged and is computed again (%s)", path, error)
            return None
        whole: dict[str, Any] = {**tensors, **{name: tuple(part) for name, part in rest.items()}}
        return Perturbed(**whole)

    def save(self, member: str, result: Perturbed) -> None:
        """Keeps the state after a member."""
        tensors, rest = {}, {}
        for name, value in vars(result).items():
            (tensors if isinstance(value, torch.Tensor) else rest)[name] = value
        tensors = {name: value.contiguous().cpu() for name, value in tensors.items()}
        with atomic_path(self._path(member)) as path:
            save_file(tensors, path, metadata={"rest": json.dumps(rest)})

    def clear(self) -> None:
        """Removes the states: the chunk itself is kept."""
        for path in self._folder.glob(f"{self._stem}_*"):
            path.unlink()

    def _path(self, member: str) -> Path:
        name = "_".join(part for part in (self._stem, self._route, member) if part)
        return self._folder / f"{name}.safetensors"


def adversarials_path(folder: Path, number: int) -> Path:
    """The file of the adversarial images of a chunk that are kept."""
    return folder / f"chunk_{number:03d}.adversarials.npz"


def store_chunk(folder: Path, number: int, part: Part) -> None:
    """Stores a finished chunk, each of its files atomically."""
    if part.adversarials is not None:
        write_chunk(part.adversarials, adversarials_path(folder, number))
    # The rows come last: a chunk without them was not finished.
    with atomic_path(folder / f"chunk_{number:03d}.npz") as path:
        np.savez(path, samples=part.samples, images=part.images, predictions=part.predictions)
    write_outcomes(part.frame, folder / f"chunk_{number:03d}.parquet", {})


def load_chunk(folder: Path, number: int, rows: np.ndarray, keep: str = NONE) -> Part | None:
    """A finished chunk, or None if there is none or it cannot be what was stored.

    Args:
        folder: of the attack's chunks.
        number: of the chunk.
        rows: (n,) the samples that it must hold.
        keep: which adversarial images must be there, see :mod:`assay.evaluation.adversarials`.
    """
    path = folder / f"chunk_{number:03d}.parquet"
    if not path.exists():
        return None
    try:
        frame = read_outcomes(path)
        with np.load(path.with_suffix(".npz")) as arrays:
            stored = Part(frame, *(arrays[name] for name in ("samples", "images", "predictions")))
        if keep != NONE and not is_whole(adversarials_path(folder, number)):
            raise ValueError("its adversarial images are damaged or missing")
        whole = len(frame) and not len(frame) % len(rows)
        if whole and np.array_equal(frame["sample"][: len(rows)], rows):
            return stored
        log.warning("%s holds other samples than it should and is computed again", path)
    except (OutcomeError, OSError, ValueError, KeyError, BadZipFile) as error:
        log.warning("%s is damaged and is computed again (%s)", path, error)
    return None


def pieces_of(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
