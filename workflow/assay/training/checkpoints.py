"""Checkpoints that survive whatever kills a training, and the disk they lie on."""

from __future__ import annotations

import io
import logging
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch

from assay.foundation.errors import AssayError, TrainingError
from assay.foundation.files import atomic_path

log = logging.getLogger(__name__)

KEPT = 2  # the newest, and the one before in case the disk damages the newest


class Checkpoints:
    """The checkpoints of one training in a folder of its own.

    A checkpoint is written beside and renamed, so a kill leaves either all or nothing of it. It
    is read without unpickling code, after its checksums have been verified.

    Args:
        folder: where they lie; made if needed.
        identity: text that is equal for equal trainings only. A checkpoint with another identity
            is not of this training; it is removed.
    """

    def __init__(self, folder: Path, identity: str):
        self.folder, self.identity = Path(folder), identity
        self.folder.mkdir(parents=True, exist_ok=True)
        # What a kill in the middle of an earlier write left behind.
        for leftover in self.folder.glob(".checkpoint_*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def save(self, content: dict[str, Any], step: int, *, alone: bool = False) -> None:
        """Writes a checkpoint and removes all but the newest two, or all but this one.

        Args:
            content: tensors, numbers, texts, and lists and dicts of them.
            step: position in the training; a later one has a larger number.
            alone: whether no earlier one is of use.

        Raises:
            TrainingError: the disk is full.
        """
        # Into memory first: torch turns a full disk into a complaint about its own file format.
        buffer = io.BytesIO()
        torch.save({"identity": self.identity, **content}, buffer)
        try:
            with atomic_path(self.folder / f"checkpoint_{step:010d}.pt") as temporary:
                temporary.write_bytes(buffer.getbuffer())
        except AssayError as error:
            raise TrainingError(error.what, where=error.where, remedy=error.remedy) from error
        for old in self._newest_first()[1 if alone else KEPT :]:
            old.unlink()

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The newest checkpoint that is whole, or None; damaged ones are named and removed."""
        for path in self._newest_first():
            content, complaint = _read(path, device)
            if content is not None and content.pop("identity", None) != self.identity:
                complaint = "it belongs to another training"
            if not complaint:
                return content
            log.warning("checkpoint %s cannot be used (%s); trying the one before", path, complaint)
            path.unlink()
        return None

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("checkpoint_*.pt"), reverse=True)


def _read(path: Path, device: torch.device) -> tuple[dict[str, Any] | None, str | None]:
    """The content of a checkpoint, or what is wrong with it."""
    try:
        # torch reads the archive without looking at its checksums.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            return None, f"wrong checksum of {damaged}"
        return torch.load(path, map_location=device, weights_only=True), None
    except (OSError, RuntimeError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        return None, str(error)
