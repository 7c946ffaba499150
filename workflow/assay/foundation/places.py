"""Folders outside the workflow that archives come from and go to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.foundation.errors import ConfigError


def below_home(place: str | Path) -> Path:
    """A path with a home folder for its ``~``; as it is where there is no such user.

    Example:
        >>> below_home("~nobody_here/images").as_posix()
        '~nobody_here/images'
    """
    try:
        return Path(place).expanduser()
    except RuntimeError:
        return Path(place)


def mirror_of(settings: Mapping[str, Any]) -> Path | None:
    """The folder of archives that is looked into before anything is downloaded, if there is one.

    Raises:
        ConfigError: it is named but does not exist.
    """
    place = settings.get("data_mirror") or os.environ.get("ASSAY_DATA")
    if not place:
        return None
    folder = below_home(place).resolve()
    if not folder.is_dir():
        raise ConfigError(
            f"there is no folder '{place}'",
            where="data_mirror (or ASSAY_DATA)",
            remedy="name the folder that holds the archives, or leave it out to download them",
        )
    return folder


def downloads_of(settings: Mapping[str, Any]) -> Path:
    """The folder that keeps verified downloads, shared by all scales."""
    return below_home(settings.get("downloads") or "results/downloads")


def located(place: str, settings: Mapping[str, Any]) -> Path | None:
    """A file that a user names: absolute, in the working folder, or in the mirror.

    Args:
        place: as it is written; ``~`` is the home folder.
        settings: of ``config.yaml``, which name the mirror.

    Returns:
        The first that exists, or None.
    """
    written = below_home(place)
    mirror = mirror_of(settings)
    found = [written, *([mirror / written] if mirror else [])]
    return next((path for path in found if path.is_file()), None)
