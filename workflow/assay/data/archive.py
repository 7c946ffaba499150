"""Zip and tar archives of strangers, read entry by entry and never unpacked onto the disk.

An archive is rejected as a whole when an entry points outside of it (``..``, an absolute path, a
link), or when its contents are out of proportion to its size (a decompression bomb).
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

from assay.foundation.errors import DataError

MAX_BYTES = 32 * 2**30
"""Most bytes that an archive may hold when unpacked."""
MAX_RATIO = 100
"""Most unpacked bytes per byte of archive; images are compressed already and stay below 10."""
HEADERS_RATIO, LEAST_HEADERS, MOST_HEADERS = 16, 16 * 2**20, 2**30
"""Most bytes of a tar's headers, which are held in memory: so many per byte of archive, and within
these bounds. 70,000 images of 300 bytes each have headers of five bytes per byte of archive."""

# zipfile raises RuntimeError for passwords, and a subclass of it for unknown methods.
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError,
    EOFError, OSError, RuntimeError,
)  # fmt: skip

_UNPACK = {b"\x1f\x8b\x08": gzip.open, b"BZh": bz2.open, b"\xfd7z": lzma.open}


class Archive:
    """The regular files of an opened zip or tar archive.

    Attributes:
        path: the archive.
        sizes: unpacked bytes by entry name, in the archive's own order.
    """

    def __init__(self, path: Path, handle: zipfile.ZipFile | tarfile.TarFile):
        self.path, self._handle = path, handle
        members = (
            _zip_members(handle) if isinstance(handle, zipfile.ZipFile) else _tar_members(handle)
        )
        self._members = {}
        self.sizes: dict[str, int] = {}
        budget = min(MAX_BYTES, MAX_RATIO * path.stat().st_size)
        total = 0
        for name, size, link, member in members:
            self._refuse_if_hostile(name, link)
            total += size
            if total > budget:
                raise DataError(
                    f"would unpack to more than {budget:,} bytes, which no archive of images does",
                    where=path,
                    remedy="do not use this file; fetch it again from its publisher",
                )
            if member is not None:
                self.sizes[name], self._members[name] = size, member

    def read(self, name: str) -> bytes:
        """The bytes of one entry.

        Raises:
            DataError: the archive is damaged at that place.
        """
        try:
            if isinstance(self._handle, zipfile.ZipFile):
                return self._handle.read(self._members[name])
            entry = self._handle.extractfile(self._members[name])
            assert entry is not None  # only files are members
            data = entry.read()
        except _DAMAGE as error:
            raise _damaged(self.path, f"entry '{name}': {error}") from error
        if len(data) != self.sizes[name]:
            raise _damaged(self.path, f"entry '{name}' is truncated")
        return data

    def _refuse_if_hostile(self, name: str, link: bool) -> None:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        outside = not parts or parts[0] == "/" or ".." in parts or ":" in parts[0] or "\0" in name
        if outside or link:
            what = "is a link or a device" if link else "points outside of the archive"
            raise DataError(
                f"entry '{name}' {what}",
                where=self.path,
                remedy="do not use this file; fetch it again from its publisher",
            )


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Opens a zip or tar (plain, gz, bz2, xz) archive and checks its list of entries.

    Raises:
        DataError: it is no archive, is damaged or cut short, or is hostile.
    """
    with ExitStack() as stack:
        try:
            if zipfile.is_zipfile(path):
                archive = Archive(path, stack.enter_context(zipfile.ZipFile(path)))
            else:
                headers = stack.enter_context(_Headers(path))
                handle = stack.enter_context(tarfile.open(fileobj=headers, mode="r:"))
                archive = Archive(path, handle)
                headers.left = None
        except _DAMAGE as error:
            raise _damaged(path, str(error)) from error
        yield archive


class _Headers(io.BufferedIOBase):
    """An unpacked tar that gives out a bounded number of bytes while its entries are listed.

    tarfile takes a header's word for its length, reads it at once and keeps it: a small archive of
    long headers would fill the memory. What entries contain is skipped meanwhile; it is bounded by
    their sizes.

    Attributes:
        left: bytes that may still be read; None: any number.
    """

    def __init__(self, path: Path):
        with path.open("rb") as file:
            head = file.read(3)
        self._file, self._path = _UNPACK.get(head, open)(path, "rb"), path
        allowed = max(LEAST_HEADERS, HEADERS_RATIO * path.stat().st_size)
        self.left: int | None = min(MOST_HEADERS, allowed)

    def read(self, size: int | None = -1, /) -> bytes:
        if self.left is not None:
            self.left -= -1 if size is None else size
            if self.left < 0:
                raise DataError(
                    "has headers out of proportion to its size, which no archive of images has",
                    where=self._path,
                    remedy="do not use this file; fetch it again from its publisher",
                )
        return self._file.read(size)

    def seek(self, place: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


def _zip_members(handle: zipfile.ZipFile) -> Iterable[tuple]:
    for member in handle.infolist():
        link = stat.S_ISLNK(member.external_attr >> 16)
        # Some programs on Windows write its separators.
        name = member.filename.replace("\\", "/")
        yield name, member.file_size, link, None if member.is_dir() else member


def _tar_members(handle: tarfile.TarFile) -> Iterable[tuple]:
    for member in handle:
        link = not (member.isreg() or member.isdir())
        yield member.name, member.size, link, member if member.isreg() else None


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        f"is damaged or cut short ({why})",
        where=path,
        remedy="remove it and run the same command to fetch it again",
    )
