"""Catalogue entry → a folder of arrays that training and attacks map into memory.

The folder holds ``images.npy`` (N, C, H, W) uint8, ``samples.parquet``, ``dataset.json`` and
``masks.npy``, which is empty where no lesions are known. It appears as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from assay.data.collected import IMAGES, REQUIRED, Collected, Request
from assay.data.kinds import reader_of
from assay.foundation.errors import AssayError, ConfigError, DataError
from assay.foundation.files import atomic_path, digest_of, write_json
from assay.foundation.provenance import FIELD, provenance
from assay.foundation.registry import load as load_object

FORMAT = 1
SUBSETS = ("train", "val", "test")


def prepare(
    name: str,
    entry: Mapping[str, Any],
    target: Path,
    *,
    mirror: Path | None,
    cache: Path,
    seed: int,
    code: str | None = None,
) -> None:
    """Writes the data set `name` to the folder `target`.

    Args:
        name: the id in ``config/catalogue/datasets.yaml``.
        entry: the entry of that name.
        target: the folder to make; replaced when it exists.
        mirror: the folder of archives to search before anything is downloaded, or None.
        cache: the folder in which verified downloads are kept.
        seed: only synthetic data depend on it.
        code: digest of the code that reads the data, for the provenance.

    Raises:
        DataError: the data are missing or unusable; the message names the file and the remedy.
        DownloadError: an archive could not be fetched or is not what it should be.
        ConfigError: the entry is of an unknown kind, or a setting is unknown or missing.
        AssayError: the disk is full.
    """
    started = time.time()
    reader = reader_of(entry["kind"], name)
    read, defaults = load_object(reader), load_object(f"{reader.partition(':')[0]}:SETTINGS")
    settings = _complete_settings(name, entry, defaults)
    with atomic_path(target) as folder:
        folder.mkdir()
        request = Request(
            name, entry, settings, folder, Path(mirror) if mirror else None, Path(cache), int(seed)
        )
        try:
            collected = read(request)
            made = provenance(
                code=code,
                config=digest_of(entry),
                seed=request.seed,
                seconds=round(time.time() - started, 1),
            )
            _finish(request, collected, made)
        except MemoryError as error:
            raise AssayError("does not fit into memory", where=f"data set '{name}'") from error


def _complete_settings(
    name: str, entry: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """An entry's settings with the kind's defaults filled in."""
    given = entry.get("settings") or {}
    complete = {**defaults, **given}
    unknown = sorted(set(given) - set(defaults))
    missing = sorted(key for key, value in complete.items() if value is REQUIRED)
    if unknown or missing:
        what = f"unknown setting '{unknown[0]}'" if unknown else f"no setting '{missing[0]}'"
        raise ConfigError(
            what,
            where=f"datasets.yaml, key '{name}.settings'",
            remedy=f"kind '{entry['kind']}' has the settings {', '.join(defaults)}",
        )
    return complete


def _finish(request: Request, collected: Collected, made: Mapping[str, Any]) -> None:
    """Groups identical images, checks against the entry and writes the rest of the folder."""
    images = np.load(request.folder / IMAGES, mmap_mode="r")
    prints = _fingerprints(images)
    samples = _complete(collected.samples, prints)
    _check(request, collected, images, samples)
    samples.drop(columns="stored").to_parquet(request.folder / "samples.parquet", index=False)
    # Every data set has the same files: only what a job declares reaches other machines.
    masks = collected.masks if collected.masks is not None else np.empty((0, 1, *images.shape[2:]))
    np.save(request.folder / "masks.npy", np.ascontiguousarray(masks, np.uint8))
    entry = request.entry
    metadata = {
        "format": FORMAT,
        "name": request.name,
        "title": entry.get("title", request.name),
        "kind": entry["kind"],
        "classes": list(collected.classes),
        "shape": list(images.shape[1:]),
        "digest": _digest(images.shape, prints, samples, collected),
        "masks": collected.masks is not None,
        "counts": _counts(samples, collected),
        "patient": entry.get("patient"),
        "source": entry.get("source"),
        "licence": entry.get("licence"),
        "citation": entry.get("citation"),
        # Where a user's folder lies is the machine's, and may name persons.
        "settings": {key: value for key, value in request.settings.items() if key != "folder"},
        "read": [dict(file) for file in collected.read],
        **collected.facts,
        FIELD: made,
    }
    write_json(request.folder / "dataset.json", metadata)


def _fingerprints(images: np.ndarray) -> np.ndarray:
    """(N,) 16-byte digests of every image's pixels."""
    return np.array(
        [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images], dtype="V16"
    )


def _complete(samples: pd.DataFrame, prints: np.ndarray) -> pd.DataFrame:
    """The samples with all their columns, each of its type."""
    count = len(samples)
    _, first, inverse = np.unique(prints, return_index=True, return_inverse=True)

    def text(column: str) -> pd.Series:
        values = samples[column] if column in samples else pd.Series([None] * count)
        return values.astype("string").reset_index(drop=True)

    return pd.DataFrame(
        {
            "sample": np.arange(count, dtype=np.int64),
            "file": text("file"),
            "label": samples["label"].to_numpy(np.int64),
            "duplicate": first[inverse].astype(np.int64),
            "patient": text("patient"),
            "patient_safe": text("patient_safe"),
            "official": text("official"),
            "stored": text("stored"),
        }
    )


def _check(
    request: Request, collected: Collected, images: np.ndarray, samples: pd.DataFrame
) -> None:
    where = f"data set '{request.name}'"
    expected = request.entry.get("shape")
    if expected and tuple(images.shape[1:]) != tuple(expected):
        raise DataError(
            f"its images have shape {list(images.shape[1:])}, its entry says {list(expected)}",
            where=where,
            remedy="correct 'shape' in the entry",
        )
    present = np.bincount(samples["label"], minlength=len(collected.classes))
    if (present == 0).any():
        missing = collected.classes[int(np.argmin(present))]
        raise DataError(
            f"there is no image of class '{missing}'", where=where, remedy="correct 'classes'"
        )
    unknown = set(samples["official"].dropna()) - set(SUBSETS)
    if unknown:
        raise DataError(f"unknown official part '{min(unknown)}'", where=where)


def _digest(
    shape: tuple[int, ...], prints: np.ndarray, samples: pd.DataFrame, collected: Collected
) -> str:
    """Thirty-two hexadecimal characters that identify all that a result may depend on."""
    summary = hashlib.blake2b(digest_size=16)
    summary.update(repr((shape, list(collected.classes))).encode())
    summary.update(prints.tobytes())
    columns = samples[["file", "label", "patient", "official"]].fillna("")
    summary.update(columns.to_csv(index=False).encode())
    if samples["patient_safe"].notna().any():
        summary.update(samples["patient_safe"].fillna("").to_csv(index=False).encode())
    return summary.hexdigest()


def _counts(samples: pd.DataFrame, collected: Collected) -> dict[str, Any]:
    per_class = samples["label"].value_counts().sort_index()
    official = samples["official"].value_counts()
    return {
        "images": len(samples),
        "classes": {collected.classes[label]: int(n) for label, n in per_class.items()},
        "official": {subset: int(official[subset]) for subset in SUBSETS if subset in official},
        "patients": int(samples["patient"].nunique()) if samples["patient"].notna().any() else None,
        "identical_pixels": _repeats(samples["duplicate"]),
        "identical_files": _repeats(samples["stored"]),
        "identical_pixels_of_several_classes": int(
            (samples.groupby("duplicate")["label"].nunique() > 1).sum()
        ),
    }


def _repeats(column: pd.Series) -> dict[str, int] | None:
    """How many groups of equal values there are, and how many rows they have."""
    if column.isna().all():
        return None
    sizes = column.value_counts()
    sizes = sizes[sizes > 1]
    return {"groups": len(sizes), "images": int(sizes.sum())}
