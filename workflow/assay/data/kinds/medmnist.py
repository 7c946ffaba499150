"""The two-dimensional sets of MedMNIST v2: npz files with official parts.

Read with numpy alone; addresses and digests in the catalogue are those of the `medmnist` package.

Settings:
    labels: ``single`` (one class per image) or ``multiple`` (one column of zeros and ones per
        finding; kept are the images with exactly one finding, and those with none as the class
        that stands first).

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

SETTINGS = {"labels": "single"}
PARTS = ("train", "val", "test")


def read(request: Request) -> Collected:
    """Joins train, val and test, in this order."""
    (file,) = request.entry["files"]
    fetched = fetch(file, mirror=request.mirror, cache=request.cache)
    several = request.settings["labels"] == "multiple"
    arrays, tables, dropped = [], [], 0
    try:
        with np.load(fetched.path, allow_pickle=False) as stored:
            for part in PARTS:
                pixels, labels = stored[f"{part}_images"], stored[f"{part}_labels"]
                row = np.arange(len(pixels))
                if several:
                    row = np.flatnonzero(labels.sum(1) <= 1)
                    dropped += len(pixels) - len(row)
                    label = np.where(labels.any(1), labels.argmax(1) + 1, 0)[row]
                else:
                    label = labels.reshape(-1)
                names = [f"{part}/{number:06d}" for number in row]
                arrays.append(pixels[row] if several else pixels)
                tables.append(pd.DataFrame({"file": names, "label": label, "official": part}))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(fetched.path, error) from error
    samples = pd.concat(tables, ignore_index=True)
    images = new_images(request.folder, len(samples), request.entry["shape"])
    start = 0
    for pixels in arrays:
        colour = pixels[..., None] if pixels.ndim == 3 else pixels
        images[start : start + len(pixels)] = colour.transpose(0, 3, 1, 2)
        start += len(pixels)
    images.flush()
    facts = {"dropped_with_several_findings": dropped} if several else {}
    return Collected(samples, request.entry["classes"], [fetched.record()], facts=facts)


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"is not a readable npz file ({error})", where=path, remedy="fetch it again")
