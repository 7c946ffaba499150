"""Adversarial images that are kept as they are: written chunk by chunk, predicted again later.

A file is an ``.npz`` archive: for each attack and chunk the arrays ``<attack>/<chunk>/images``
(m, C, H, W) float32, ``samples`` (m,), ``labels`` (m,), ``epsilons`` (m,), ``routes`` (m,) and
``predictions`` (m,), and the provenance. No more than a chunk is in memory at any time, and the
same run gives the same bytes but for the provenance.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from assay.attacks.prediction import evaluate_images
from assay.attacks.result import Perturbed
from assay.attacks.torch_state import all_seeded
from assay.attacks.victim import Victim
from assay.evaluation.samples import classes_on, on_device
from assay.foundation.errors import OutcomeError
from assay.foundation.files import atomic_path
from assay.foundation.provenance import FIELD
from assay.foundation.seeds import seed_for

NONE, MISCLASSIFIED, ALL = "none", "misclassified", "all"
ARRAYS = ("images", "samples", "labels", "epsilons", "routes", "predictions")
Arrays = dict[str, np.ndarray]
# Columns of what is predicted again, and the arrays that they are.
_AGAIN = {"route": "routes", "epsilon": "epsilons", "sample": "samples", "label": "labels",
         "stored": "predictions"}  # fmt: skip
_REPREDICTED = ["attack", *_AGAIN, "prediction", "misclassified"]


def chosen_adversarials(
    results: Mapping[str, Perturbed], samples: np.ndarray, labels: np.ndarray, keep: str
) -> Arrays:
    """The images of one attack on one chunk that are kept, by epsilon, then by sample.

    Args:
        results: by route; "" is the worst case over views.
        samples: (N,) indices of the images in their data set.
        labels: (N,) classes.
        keep: ``misclassified``: images that the attack has changed and that are misclassified;
            ``all``: the images of all rows.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ARRAYS}
    for route, result in results.items():
        for e, epsilon in enumerate(result.epsilons):
            kept = torch.ones_like(result.misclassified[e])
            if keep == MISCLASSIFIED:
                kept = result.misclassified[e] & (result.view[e] > 0)
            places = kept.nonzero().squeeze(1)
            where = places.cpu().numpy()
            parts["images"].append(result.images[e, places].cpu().numpy().astype(np.float32))
            parts["predictions"].append(result.prediction[e, places].cpu().numpy())
            parts["samples"].append(samples[where])
            parts["labels"].append(labels[where])
            parts["epsilons"].append(np.full(len(where), float(epsilon)))
            parts["routes"].append(np.full(len(where), route))
    return {name: np.concatenate(values) for name, values in parts.items()}


def write_chunk(arrays: Arrays, path: Path) -> None:
    """Writes the images of one chunk, atomically."""
    with atomic_path(path) as temporary, _archive(temporary) as archive:
        _add(archive, "", arrays)


def is_whole(path: Path) -> bool:
    """Whether a chunk's file is there and undamaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None and len(archive.namelist()) == len(ARRAYS)
    except (OSError, zipfile.BadZipFile):
        return False


def write_adversarials(
    chunks: Mapping[str, Sequence[Path | str]], path: Path | str, made: Mapping[str, Any]
) -> None:
    """Joins the chunks of a suite to one file, atomically, one chunk in memory at a time.

    Args:
        chunks: the files of each attack's chunks, in their order; none: the file holds its
            provenance alone.
        path: of the file.
        made: its provenance.
    """
    with atomic_path(path) as temporary, _archive(temporary) as archive:
        for attack, files in chunks.items():
            for number, file in enumerate(files):
                with np.load(file) as stored:
                    _add(archive, f"{attack}/{number:03d}/", {n: stored[n] for n in ARRAYS})
        text = np.array(json.dumps(made, sort_keys=True, default=str))
        _add(archive, "", {FIELD: text})


def read_adversarials(path: Path | str) -> Iterator[tuple[str, int, Arrays]]:
    """The kept images of a file: attack, number of the chunk, arrays.

    Raises:
        OutcomeError: the file is missing or damaged.
    """
    try:
        with np.load(path) as stored:
            ending = "/images"
            for name in (name for name in stored.files if name.endswith(ending)):
                place = name.removesuffix(ending)
                attack, _, number = place.rpartition("/")
                yield attack, int(number), {part: stored[f"{place}/{part}"] for part in ARRAYS}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise OutcomeError(
            f"cannot be read ({error})",
            where=path,
            remedy="delete the file and run snakemake again; finished chunks are kept",
        ) from error


def repredict(
    victim: Victim, path: Path | str, *, repeats: int = 20, seed: int = 0
) -> pd.DataFrame:
    """Predicts the kept images of a suite again, with this or with any other victim.

    Args:
        victim: whose decision is evaluated: the attacked one, or another for transfer.
        path: of the kept images.
        repeats: repeated evaluations per image of a stochastic victim.
        seed: of its randomness.

    Returns:
        One row per kept image: ``attack``, ``route``, ``epsilon``, ``sample``, ``label``,
        ``stored`` (the prediction in the outcomes), ``prediction`` and ``misclassified`` (now).
        A deterministic victim that was attacked predicts what is stored.

    Raises:
        OutcomeError: the file is missing or damaged.
    """
    frames = []
    for attack, number, arrays in read_adversarials(path):
        images = on_device(arrays["images"], victim.device)
        labels = classes_on(arrays["labels"], victim.device)
        own = seed_for("repredict", seed, attack, number)
        with all_seeded(own, victim.device) as generator:
            found = evaluate_images(
                victim, images, labels, generator, repeats=repeats, log_px=False
            )
        now = (found.prediction.cpu().numpy(), found.misclassified.cpu().numpy())
        columns = (attack, *(arrays[name] for name in _AGAIN.values()), *now)
        frames.append(pd.DataFrame(dict(zip(_REPREDICTED, columns, strict=True))))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=_REPREDICTED)


def _archive(path: Path) -> zipfile.ZipFile:
    """A new archive; compressed lightly, since an attack leaves little that gets smaller."""
    return zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)


def _add(archive: zipfile.ZipFile, place: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Appends arrays as NumPy writes them; without times, equal bytes for equal arrays."""
    for name, array in arrays.items():
        with archive.open(f"{place}{name}.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
