"""The two-dimensional sets of MedMNIST v2: npz files with official parts.

Read with numpy alone; addresses and digests in the catalogue are those of the `medmnist` package.

Settings:
    labels: ``single`` (one class per image) or ``multiple`` (one column of zeros and ones per
        finding; kept are the images with exactly one finding, and those with none as the class
        that stands first).
    against: number of a class: it becomes class 1, and all others class 0; null: as they are.

Reference: Yang et al., MedMNIST v2, Scientific Data 10:41, 2023.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from assay.data.collected import Collected, Request, new_images
from assay.data.fetch import fetch
from assay.foundation.errors import DataError

HAS_OFFICIAL_SUBSETS = True
SETTINGS = {"labels": "single", "against": None}
SUBSETS = ("train", "val", "test")
# Images that are unpacked at once.
PIECE = 1024


def read(request: Request) -> Collected:
    """Joins train, val and test, in this order."""
    (file,) = request.entry["files"]
    fetched = fetch(file, mirror=request.mirror, cache=request.cache)
    settings = request.settings
    several = settings["labels"] == "multiple"
    kept, tables, dropped = {}, [], 0
    try:
        with np.load(fetched.path, allow_pickle=False) as stored:
            for subset in SUBSETS:
                labels = stored[f"{subset}_labels"]
                row = np.flatnonzero(labels.sum(1) <= 1) if several else np.arange(len(labels))
                dropped += len(labels) - len(row)
                if several:
                    label = np.where(labels.any(1), labels.argmax(1) + 1, 0)[row]
                else:
                    label = labels.reshape(-1)
                if settings["against"] is not None:
                    label = (label == settings["against"]).astype(label.dtype)
                names = [f"{subset}/{number:06d}" for number in row]
                kept[subset] = row
                tables.append(pd.DataFrame({"file": names, "label": label, "official": subset}))
        samples = pd.concat(tables, ignore_index=True)
        images = new_images(request.folder, len(samples), request.entry["shape"])
        start = 0
        with zipfile.ZipFile(fetched.path) as archive:
            for subset, row in kept.items():
                start = _copy_images(archive, subset, row, images, start)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(fetched.path, error) from error
    images.flush()
    facts = {"dropped_with_several_findings": dropped} if several else {}
    return Collected(samples, request.entry["classes"], [fetched.record()], facts=facts)


def _copy_images(
    archive: zipfile.ZipFile, subset: str, row: np.ndarray, images: np.ndarray, start: int
) -> int:
    """Writes the rows of a part from `start` on, piece by piece: a part may exceed the memory.

    Returns:
        Where the next part starts.
    """
    with archive.open(f"{subset}_images.npy") as file:
        headers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, in_columns, dtype = headers[np.lib.format.read_magic(file)](file)
        if dtype != np.uint8 or in_columns or len(shape) not in (3, 4):
            raise ValueError(f"{subset}_images are {dtype} of shape {shape}, not uint8 images")
        side = int(np.prod(shape[1:]))
        for first in range(0, shape[0], PIECE):
            number = min(PIECE, shape[0] - first)
            data = file.read(number * side)
            if len(data) < number * side:
                raise ValueError(f"{subset}_images end after {first} of {shape[0]} images")
            pixels = np.frombuffer(data, np.uint8).reshape(number, *shape[1:])
            wanted = row[(row >= first) & (row < first + number)] - first
            colour = pixels[wanted, ..., None] if len(shape) == 3 else pixels[wanted]
            images[start : start + len(wanted)] = colour.transpose(0, 3, 1, 2)
            start += len(wanted)
    return start


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"is not a readable npz file ({error})", where=path, remedy="fetch it again")
