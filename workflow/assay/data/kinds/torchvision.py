"""Data sets that torchvision can read from verified files.

Torchvision's own download cannot resume, so the files are fetched here, laid out as torchvision
expects, and read by its class without download.

Settings:
    dataset: name in `torchvision.datasets`.
    subsets: for each official part the arguments of that class, such as ``{train: {train: true}}``.
    layout: folder below torchvision's root in which it searches the files.
"""

from __future__ import annotations

import gzip
import importlib
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from assay.data.collected import REQUIRED, Collected, Request, new_images
from assay.data.fetch import Fetched, fetch
from assay.foundation.errors import DataError

HAS_OFFICIAL_SUBSETS = True
SETTINGS = {"dataset": REQUIRED, "subsets": REQUIRED, "layout": REQUIRED}


def read(request: Request) -> Collected:
    """Joins the official parts, in the order of the setting `subsets`."""
    fetched = [
        fetch(file, mirror=request.mirror, cache=request.cache) for file in request.entry["files"]
    ]
    settings = request.settings
    build = getattr(importlib.import_module("torchvision.datasets"), settings["dataset"])
    arrays, tables = [], []
    with tempfile.TemporaryDirectory() as root:
        for file in fetched:
            _place(file, Path(root) / settings["layout"])
        for subset, arguments in settings["subsets"].items():
            try:
                data = build(root, download=False, **arguments)
            except (OSError, RuntimeError, ValueError, AssertionError) as error:
                raise DataError(
                    f"torchvision cannot read it ({error})", where=f"data set '{request.name}'"
                ) from error
            names = [f"{subset}/{row:06d}" for row in range(len(data))]
            arrays.append(_channels_first(np.asarray(data.data), request.entry["shape"][0]))
            labels = np.asarray(getattr(data, "targets", getattr(data, "labels", None)), np.int64)
            tables.append(pd.DataFrame({"file": names, "label": labels, "official": subset}))
    samples = pd.concat(tables, ignore_index=True)
    shape = tuple(request.entry["shape"])
    images = new_images(request.folder, len(samples), shape)
    start = 0
    for pixels in arrays:
        images[start : start + len(pixels)] = pixels
        start += len(pixels)
    images.flush()
    return Collected(samples, request.entry["classes"], [file.record() for file in fetched])


def _channels_first(pixels: np.ndarray, channels: int) -> np.ndarray:
    """(N, C, H, W) from torchvision's (N, H, W), (N, H, W, C) or, of SVHN, (N, C, H, W)."""
    if pixels.ndim == 3:
        return pixels[:, None]
    return pixels if pixels.shape[1] == channels else pixels.transpose(0, 3, 1, 2)


def _place(fetched: Fetched, folder: Path) -> None:
    """Puts a file where torchvision searches it, unpacked if it is an archive or gzipped."""
    folder.mkdir(parents=True, exist_ok=True)
    path = fetched.path
    if path.name.endswith(".tar.gz"):
        try:
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
            raise _damaged(path, error) from error
        return
    if path.suffix != ".gz":
        shutil.copyfile(path, folder / path.name)
        return
    try:
        with gzip.open(path) as packed, (folder / path.stem).open("wb") as out:
            shutil.copyfileobj(packed, out)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"is damaged or cut short ({error})", where=path, remedy="fetch it again")
