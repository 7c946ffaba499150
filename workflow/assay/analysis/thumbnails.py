"""What figures draw of stored arrays, small: which of them, and at which precision.

Images have 8 bits. A perturbed image among examples is stored as its change, in steps of a 127th of
the largest, so that its length keeps its digits. Maps have such steps of their own largest value,
features of the largest value of each coordinate. Features that are only projected by t-SNE are
stored along their first principal components.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

# As many as is customary before t-SNE (van der Maaten and Hinton 2008 take 30).
COMPONENTS = 50

Tree = Mapping[str, Any]
Arrays = dict[str, np.ndarray]


def shown(kind: str, item: Tree, stored: Mapping[str, np.ndarray], study: Tree) -> Arrays:
    """The arrays of one file that figures of the study may draw; empty if they draw none of it.

    Args:
        kind: of the manifest: outcomes (whose examples these are), features, explained, saliency.
        item: the manifest's entry.
        stored: the file's arrays.
        study: the study, as the plan gives it to the analysis.
    """
    if kind == "features" and not str(item["split"]).endswith("_0"):
        return {}  # figures show the first split
    names = list(stored)
    if kind == "outcomes":
        attacks = _drawn(study, item["model"])
        chosen = [name for name in names if name.partition("/")[0] in attacks]
        if not any(name.endswith("/images") and stored[name].size for name in chosen):
            return {}
        common = [n for n in names if "/" not in n or n.startswith("clean/")]
        names = [*common, *chosen]
    return {name: stored[name] for name in dict.fromkeys(names)}


def _drawn(study: Tree, model: str) -> set[str]:
    """Attacks that figures show on a model."""
    return {
        figure["attack"]
        for figure in study.get("figures", {}).values()
        if "attack" in figure and model in (*figure.get("models", ()), figure.get("model"))
    }


def packed(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Arrays at the precision of a thumbnail, by names that say how to read them."""
    found: Arrays = {}
    clean = arrays.get("clean/images")
    for name, array in arrays.items():
        last = name.rpartition("/")[2]
        if name == "provenance" or array.dtype.kind in "US":
            # As bytes: numpy has four for each letter.
            found[f"{name}@text"] = np.frombuffer(str(array).encode(), np.uint8)
        elif last == "images" and clean is not None and name != "clean/images":
            steps, size = _steps(array.astype(np.float32) - clean, axes=(-3, -2, -1))
            found |= {f"{name}@change": steps, f"{name}@size": size}
        elif last in ("images", "reconstructions"):
            found[f"{name}@bytes"] = np.round(array.astype(np.float32).clip(0, 1) * 255).astype(
                "u1"
            )
        elif name.startswith("maps/"):
            steps, size = _steps(array.astype(np.float32), axes=(-2, -1))
            found |= {f"{name}@steps": steps, f"{name}@size": size}
        elif name == "features":
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
            found[plain] = array.astype(np.float32) / np.float32(255)
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
