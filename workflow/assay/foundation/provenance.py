"""What made a result: versions, platform and the facts that a job adds."""

from __future__ import annotations

import platform
import sys
import time
from importlib import metadata
from typing import Any

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
        "assay": _version("assay"),
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **facts,
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
