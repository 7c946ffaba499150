"""What figures draw of stored arrays, small: which of them, and at which precision.

What an array holds is told by its dimensions (:mod:`assay.foundation.arrays`). Images have 8 bits.
A perturbed image among examples is stored as its change, in steps of a 127th of the largest, so
that its length keeps its digits. Maps have such steps of their own largest value, features of the
largest value of each coordinate. Features that are only projected by t-SNE are stored along their
first principal components.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from assay.analysis.brief import StudyBrief
from assay.analysis.measured import declared
from assay.analysis.run_files import RunFile
from assay.foundation.arrays import column
from assay.foundation.provenance import FIELD
from assay.foundation.split import Split

# As many as is customary before t-SNE (van der Maaten and Hinton 2008 take 30).
COMPONENTS = 50
# Dimensions of a picture, of a feature, and of the images that figures show.
PICTURE, FEATURE, SHOWN = ("channel", "row", "column"), "feature", "shown"

Nested = Mapping[str, Any]
Arrays = dict[str, np.ndarray]


def shown_examples(item: RunFile, stored: Mapping[str, np.ndarray], study: StudyBrief) -> Arrays:
    """The example images of one suite that figures of the study may draw; empty if they draw none.

    Args:
        item: of the manifest's outcomes.
        stored: the file's arrays.
        study: the study, as the plan gives it to the analysis.
    """
    names = list(stored)
    attacks = _drawn(study, item.model)
    chosen = [name for name in names if name.partition("/")[0] in attacks]
    if not any(name.endswith("/images") and stored[name].size for name in chosen):
        return {}
    common = [n for n in names if "/" not in n or n.startswith("clean/")]
    return {name: stored[name] for name in dict.fromkeys([*common, *chosen])}


def shown_measured(item: RunFile, stored: Mapping[str, np.ndarray], study: StudyBrief) -> Arrays:
    """The arrays of one measurement that are kept with the report.

    Where its entry says ``kept: first``, those of other splits are not. Along a dimension ``shown``
    there are as many as a figure of this kind has rows.

    Args:
        item: of the manifest's measurements.
        stored: the file's arrays.
        study: the study, as the plan gives it to the analysis.
    """
    name = item.measurement
    entry = study.measurements.get(name, {})
    if entry.get("kept") == "first" and not Split.of(item.split).is_first:
        return {}
    figures = study.figures.values()
    rows = max((f.get("rows", 2) for f in figures if f.get("kind") == name), default=0)
    words = dimensions(study, name)
    return {
        key: stored[key][tuple(slice(rows if word == SHOWN else None) for word in words(key))]
        for key in stored
    }


def dimensions(study: StudyBrief, measurement: str) -> Callable[[str], tuple[str, ...]]:
    """The dimensions of each array of a measurement by its name; none where none are known."""
    known = declared(study, measurement)

    def words(name: str) -> tuple[str, ...]:
        found = column(name, known.arrays) if known else None
        return found.dimensions if found else ()

    return words


def example_dimensions(name: str) -> tuple[str, ...]:
    """The dimensions of each array of a suite's example images, as far as they matter here."""
    return PICTURE if name.rpartition("/")[2] == "images" else ()


def _drawn(study: StudyBrief, model: str) -> set[str]:
    """Attacks that figures show on a model."""
    return {
        figure["attack"]
        for figure in study.figures.values()
        if "attack" in figure and model in (*figure.get("models", ()), figure.get("model"))
    }


def packed(arrays: Mapping[str, np.ndarray], words: Callable[[str], tuple[str, ...]]) -> Arrays:
    """Arrays at the precision of a thumbnail, by names that say how to read them.

    Args:
        arrays: by name.
        words: the dimensions of an array, which say what is drawn of it.
    """
    found: Arrays = {}
    clean = arrays.get("clean/images")
    for name, array in arrays.items():
        axes = words(name)
        if name == FIELD or array.dtype.kind in "US":
            # As bytes: numpy has four for each letter.
            found[f"{name}@text"] = np.frombuffer(str(array).encode(), np.uint8)
        elif axes[-3:] == PICTURE and clean is not None and name != "clean/images":
            steps, size = _steps(array.astype(np.float32) - clean, axes=(-3, -2, -1))
            found |= {f"{name}@change": steps, f"{name}@size": size}
        elif axes[-3:] == PICTURE:
            shades = np.round(array.astype(np.float32).clip(0, 1) * 255)
            found[f"{name}@bytes"] = _neighbours_apart(shades.astype(np.uint8))
        elif axes[-2:] == PICTURE[-2:]:
            steps, size = _steps(array.astype(np.float32), axes=(-2, -1))
            found[f"{name}@map"] = _neighbours_apart(steps.view(np.uint8))
            found[f"{name}@size"] = size
        elif axes[-1:] == (FEATURE,):
            # Of several versions of the images: t-SNE looks at distances alone.
            values = _reduced(array) if array.ndim == 3 else array.astype(np.float32)
            steps, size = _steps(values, axes=tuple(range(array.ndim - 1)))
            found |= {f"{name}@steps": steps, f"{name}@size": size}
        else:
            found[name] = array.astype(np.float32) if array.dtype == np.float64 else array
    # Radii are compared with the study's, to more digits than these have.
    for name in arrays:
        if name.rpartition("/")[2] == "epsilons":
            found[name] = arrays[name]
    return found


def unpacked(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """What :func:`packed` made small, under its own names."""
    found: Arrays = {}
    for name, array in arrays.items():
        plain, _, how = name.rpartition("@")
        if not plain:
            found[name] = array
        elif how == "text":
            found[plain] = np.array(array.tobytes().decode())
        elif how == "bytes":
            found[plain] = _neighbours_added(array).astype(np.float32) / np.float32(255)
        elif how == "map":
            steps = _neighbours_added(array).view(np.int8)
            found[plain] = steps * (arrays[f"{plain}@size"] / np.float32(127))
        elif how in ("change", "steps"):
            found[plain] = array * (arrays[f"{plain}@size"] / np.float32(127))
    for name in arrays:
        if name.endswith("@change"):
            plain = name.rpartition("@")[0]
            found[plain] = found["clean/images"] + found[plain]
    return found


def _steps(values: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Values in 127 steps to each side of 0, and the size of the largest along some axes.

    Where no value is finite, as of images that an attack did not see, the size is NaN.
    """
    known = np.isfinite(values)
    size = np.abs(np.where(known, values, 0)).max(axis=axes, keepdims=True).astype(np.float32)
    steps = np.round(np.where(known, values, 0) / np.where(size > 0, size, 1) * 127)
    return steps.astype(np.int8), np.where(known.all(axis=axes, keepdims=True), size, np.nan)


def _neighbours_apart(values: np.ndarray) -> np.ndarray:
    """Bytes as differences, which compress better: to the left, or to the version before.

    Args:
        values: (…, H, W) uint8; with five axes, (V, …, H, W), of versions that differ little.

    Returns:
        Same shape, uint8, modulo 256.
    """
    apart = values.copy()
    apart[..., 1:] -= values[..., :-1]
    if values.ndim == 5:
        apart[1:] = values[1:] - values[:-1]
    return apart


def _neighbours_added(apart: np.ndarray) -> np.ndarray:
    """What :func:`_neighbours_apart` was given."""
    if apart.ndim != 5:
        return apart.cumsum(axis=-1, dtype=np.uint8)
    versions = apart.copy()
    versions[:1] = apart[:1].cumsum(axis=-1, dtype=np.uint8)
    return versions.cumsum(axis=0, dtype=np.uint8)


def _reduced(features: np.ndarray) -> np.ndarray:
    """Features (…, N, F) along their first principal components, if they have more.

    What is left out is next to nothing of their variance. Neither distances between points nor
    components to come change, but by that.
    """
    width = features.shape[-1]
    flat = features.reshape(-1, width).astype(np.float64)
    if width <= COMPONENTS or len(flat) < 2:
        return features.astype(np.float32)
    centre = flat.mean(axis=0)
    _, _, axes = np.linalg.svd(flat - centre, full_matrices=False)
    kept = axes[:COMPONENTS]
    # The sign of a component is arbitrary; the largest loading is made positive.
    kept = kept * np.sign(kept[np.arange(len(kept)), np.abs(kept).argmax(axis=1)])[:, None]
    return ((flat - centre) @ kept.T).reshape(*features.shape[:-1], -1).astype(np.float32)
