"""The finished chunks of a share, in one file.

Jobs that share a suite need not share a disk: Snakemake carries nothing between them but declared
files. So a share's job packs what it has finished, and the suite's own job unpacks it.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

from assay.foundation.errors import OutcomeError
from assay.foundation.files import atomic_path

_SECONDS = "seconds.json"
_CHUNK = re.compile(r"\w+/chunk_\d+\.(npz|parquet|adversarials\.npz)")


def pack_share(work: Path, target: Path | str, *, seconds: float) -> None:
    """Writes the finished chunks of a work folder into one file.

    Args:
        work: the folder that :func:`assay.evaluation.suite.run_suite` keeps chunks in.
        target: the file.
        seconds: what the share took.
    """
    # The rows of a chunk come last: with them its arrays are there, too.
    chunks = sorted(
        path for path in work.glob("*/*.parquet") if _CHUNK.match(f"{path.parent.name}/{path.name}")
    )
    with atomic_path(target) as path, zipfile.ZipFile(path, "w") as packed:
        packed.writestr(_SECONDS, json.dumps(seconds))
        for rows in chunks:
            kept = rows.with_suffix(".adversarials.npz")
            for part in (*([kept] if kept.is_file() else []), rows.with_suffix(".npz"), rows):
                packed.write(part, part.relative_to(work).as_posix())


def unpack_share(source: Path | str, work: Path) -> float:
    """Puts the chunks of a share into a work folder, where they are not there already.

    Returns:
        The seconds that the share took.

    Raises:
        OutcomeError: the file is damaged.
    """
    try:
        with zipfile.ZipFile(source) as packed:
            for name in packed.namelist():
                if name == _SECONDS:
                    continue
                if not _CHUNK.fullmatch(name):
                    raise ValueError(f"'{name}' is no chunk")
                if not (work / name).is_file():
                    with atomic_path(work / name) as path:
                        path.write_bytes(packed.read(name))
            return float(json.loads(packed.read(_SECONDS)))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise OutcomeError(
            f"the share is damaged ({error})",
            where=source,
            remedy="remove the file and run the same command again",
        ) from error
