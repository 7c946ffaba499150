"""Files that are either whole or not there, and digests of contents."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from assay.foundation.errors import AssayError

_FULL = (
    "no space left on the disk",
    "free some space and run the same command again; finished work is kept",
)
_CLOSED = (
    "it cannot be written",
    "give this user the right to write there and run the same command again",
)
_REASONS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
    **dict.fromkeys((errno.EROFS, errno.EACCES), _CLOSED),
}
# Nobody writes one file for so long: who began this many seconds ago was killed meanwhile.
_TORN = 24 * 3600


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """A path beside `target` to write to; it becomes `target` if the block succeeds.

    The block may create a file or a folder there. When it fails, nothing is left behind and an
    earlier `target` is unchanged. Parent folders are made. What a killed process left of the
    same target more than a day ago is removed.

    Raises:
        AssayError: the disk is full, or the folder cannot be written to (the message names it).
    """
    target = Path(target)
    holder = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        # The suffix is kept: writers such as np.save and matplotlib choose the format by it.
        holder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        temporary = holder / target.name
        yield temporary
        if temporary.is_file():
            with temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
        elif target.is_dir():
            shutil.rmtree(target)
        temporary.replace(target)
    except OSError as error:
        if error.errno not in _REASONS:
            raise
        what, remedy = _REASONS[error.errno]
        raise AssayError(what, where=target, remedy=remedy) from error
    finally:
        if holder is not None:
            shutil.rmtree(holder, ignore_errors=True)


def _sweep(target: Path) -> None:
    for torn in target.parent.glob(f".{glob.escape(target.name)}.*"):
        with suppress(OSError):
            if time.time() - torn.stat().st_mtime > _TORN:
                shutil.rmtree(torn)


def write_text(path: Path | str, text: str) -> None:
    """Writes `text` (UTF-8) to `path`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Writes `value` as indented JSON to `path`, atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path | str) -> Any:
    """Reads a JSON file.

    Raises:
        AssayError: the file is missing or is not JSON (the message names it).
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AssayError(f"cannot be read as JSON ({error})", where=path) from error


def digest_file(path: Path | str, algorithm: str = "sha256") -> str:
    """The hexadecimal digest of a file's bytes."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def digest_of(value: Any) -> str:
    """Sixteen hexadecimal characters that identify a JSON-like value, whatever its key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
