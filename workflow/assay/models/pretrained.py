"""Locates published weights. A separate module: editing it does not invalidate trained models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.data.fetch import fetch
from assay.foundation.errors import DownloadError, ModelError
from assay.foundation.registry import load


def pretrained_weights(
    entry: Mapping[str, Any], *, mirror: Path | None, cache: Path
) -> Path | None:
    """The verified file of published weights that a catalogue entry starts from.

    Args:
        entry: of the catalogue of models.
        mirror: folder of archives that is looked into first, or None.
        cache: folder that keeps downloads.

    Returns:
        Its path, or None where the entry needs none.

    Raises:
        ModelError: the weights are in no mirror and cannot be downloaded, or are not the published
            ones. Nothing is ever silently replaced by random weights.
    """
    if not (entry.get("settings") or {}).get("pretrained"):
        return None
    published = load(entry["implementation"]).published
    try:
        return fetch(published, mirror=mirror, cache=cache).path
    except DownloadError as error:
        raise ModelError(
            f"the published weights are not available ({error.what})",
            where=error.where,
            remedy=f"{error.remedy}, or use the entry '{published['instead']}', "
            "which starts at random",
        ) from error
