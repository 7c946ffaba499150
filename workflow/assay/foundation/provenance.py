"""What made a result: versions, platform and the facts that a job adds.

A file carries its own: Parquet files in their metadata, ``.npz`` files as a text among their
arrays, JSON files under the key ``provenance``.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay import __version__
from assay.foundation.errors import AssayError
from assay.foundation.files import atomic_path, read_json

FIELD = "provenance"
_METADATA = b"assay.provenance"

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "statsmodels",
    "snakemake",
)


def provenance(**facts: Any) -> dict[str, Any]:
    """The facts of a job together with the versions of what it ran on.

    Versions come from the installed packages' metadata, so that torch need not be imported. No
    host name, user name or path is recorded: results are meant to be published.

    Args:
        **facts: JSON-like facts, for example ``code`` and ``config`` digests, ``seed``,
            ``device``, ``threads``, ``seconds``.
    """
    return {
        "assay": assay_version(),
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **facts,
    }


def write_parquet(table: pa.Table, path: Path | str, made: Mapping[str, Any]) -> None:
    """Writes a table to a Parquet file, atomically, with its provenance in the metadata."""
    metadata = {**(table.schema.metadata or {}), _METADATA: _text(made).encode()}
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd")


def write_arrays(
    arrays: Mapping[str, np.ndarray], path: Path | str, made: Mapping[str, Any]
) -> None:
    """Writes arrays to a compressed ``.npz`` file, atomically, with their provenance among them."""
    contents: dict[str, Any] = {**arrays, FIELD: np.array(_text(made))}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **contents)


def read_provenance(path: Path | str) -> dict[str, Any]:
    """The provenance that a Parquet, ``.npz`` or JSON file carries.

    Raises:
        AssayError: the file is missing, damaged or carries none (the message names it).
    """
    path = Path(path)
    try:
        if path.suffix == ".json":
            return read_json(path)[FIELD]
        if path.suffix == ".npz":
            with np.load(path) as stored:
                return json.loads(stored[FIELD].item())
        return json.loads(pq.read_schema(path).metadata[_METADATA])
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError, BadZipFile) as error:
        raise AssayError(f"has no provenance ({error})", where=path) from error


def _text(made: Mapping[str, Any]) -> str:
    return json.dumps(made, sort_keys=True, default=str)


def assay_version() -> str:
    """The installed version (of git's last tag); that of the code where assay is not installed."""
    return _version("assay") or __version__


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
