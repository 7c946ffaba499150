"""Files of public data sets: from the mirror, else from the cache, else downloaded; then verified.

A catalogue entry lists for each file the *copies* that are accepted: publishers repack archives,
and a mirror may hold a copy that is equal in content but not in bytes. A copy is known by its
`digest`: ``sha256:…`` or ``md5:…`` of its bytes or, where an archive is packed again at each
download, ``content:…`` of what it holds (see :func:`content_digest`). Nothing reads a file before
one of them has matched.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import filelock
import pooch
import requests

from assay.foundation.errors import DataError, DownloadError
from assay.foundation.files import digest_file
from assay.foundation.progress import progress

CONNECT_TIMEOUT, READ_TIMEOUT = 20, 60  # seconds
CHUNK = 1 << 14  # bytes; what has arrived of an unfinished chunk is lost when a connection breaks


@dataclass(frozen=True)
class Fetched:
    """A verified file.

    Attributes:
        path: where it lies.
        file: its name in the catalogue.
        origin: ``mirror``, ``cache`` or ``download``.
        digest: ``algorithm:hexadecimal``, the one that matched.
        copy: which of the accepted copies it is, in words.
        images: how many images that copy holds, if the catalogue states it.
    """

    path: Path
    file: str
    origin: str
    digest: str
    copy: str
    images: int | None

    def record(self) -> dict[str, Any]:
        """What ``dataset.json`` keeps of it: nothing that depends on the machine's folders."""
        facts = asdict(self)
        return {key: facts[key] for key in ("file", "origin", "digest", "copy")}


def fetch(
    file: Mapping[str, Any],
    *,
    mirror: Path | None,
    cache: Path,
    content: Callable[[Path], str] | None = None,
) -> Fetched:
    """A verified file of a catalogue entry.

    Args:
        file: an item of the entry's `files`: `path` (inside the mirror and the cache) and `copies`.
        mirror: the folder to search first, or None.
        cache: the folder that keeps downloads.
        content: computes :func:`content_digest` of an archive, for copies known by that.

    Raises:
        DownloadError: a file that is there has other bytes than any accepted copy, or the file is
            nowhere to be had.
    """
    name, copies = file["path"], file["copies"]
    if mirror is not None and (mirror / name).is_file():
        copy = _identify(mirror / name, copies, content)
        if copy is None:
            raise DownloadError(
                f"is not the file that the catalogue expects ({_expected(copies)})",
                where=mirror / name,
                remedy="replace it, or remove it so that it is downloaded",
            )
        return _fetched(mirror / name, name, "mirror", copy)

    kept = cache / name
    kept.parent.mkdir(parents=True, exist_ok=True)
    # Two jobs may need one file at the same time; the second finds what the first has fetched.
    with filelock.FileLock(kept.with_name(kept.name + ".lock")):
        if kept.is_file():
            copy = _identify(kept, copies, content)
            if copy is not None:
                return _fetched(kept, name, "cache", copy)
            kept.unlink()
        return _fetched(kept, name, "download", _download(kept, file, mirror, content))


def _download(
    kept: Path, file: Mapping[str, Any], mirror: Path | None, content: Callable | None
) -> Mapping[str, Any]:
    """Downloads the first copy that can be had to `kept`; returns the copy."""
    looked = f"not in the mirror {mirror}" if mirror is not None else "no data_mirror is set"
    place = f"put {file['path']} into a folder and set data_mirror (or ASSAY_DATA) to it"
    failures = []
    for copy in file["copies"]:
        for url in copy.get("urls", ()):
            try:
                arrived = _retrieve(url, kept, copy)
            except DownloadError as error:
                failures.append(str(error))
                continue
            if _identify(arrived, [copy], content) is None:
                arrived.unlink()
                failures.append(f"{url}: sent a different file than {_expected([copy])}")
                continue
            arrived.replace(kept)
            return copy
    why = "; ".join(failures) or "there is no public address for it"
    raise DownloadError(f"{looked}, and {why}", where=file["path"], remedy=place)


def _retrieve(url: str, kept: Path, copy: Mapping[str, Any]) -> Path:
    """One download by pooch, checked against the copy's digest, beside `kept`."""
    pooch.get_logger().setLevel(logging.ERROR)
    arriving = kept.with_name(f".{kept.name}.arrived")
    arriving.unlink(missing_ok=True)
    try:
        pooch.retrieve(
            url,
            known_hash=None if copy["digest"].startswith("content:") else copy["digest"],
            fname=arriving.name,
            path=arriving.parent,
            downloader=ResumingDownloader(kept.with_name(f"{kept.name}.part")),
        )
    except ValueError as error:  # pooch's word for a wrong digest; it has removed the file
        raise DownloadError(f"sent a different file than {_expected([copy])}", where=url) from error
    return arriving


class ResumingDownloader:
    """A downloader for pooch that resumes after a broken connection or a killed run.

    What has arrived stays in a ``.part`` file until the file is whole; a server that cannot send
    a part of a file sends it from the start.

    Args:
        part: the partial file.
        attempts: connections in a row that may fail without one more byte.
        pause: seconds before the second attempt; doubled for each further one.
    """

    def __init__(self, part: Path, *, attempts: int = 4, pause: float = 1.0):
        self.part, self.attempts, self.pause = part, attempts, pause

    def __call__(self, url: str, output_file: str, _: pooch.Pooch | None = None) -> None:
        """Downloads `url` to `output_file`.

        Raises:
            DownloadError: the server refuses, cannot be reached, or interrupts repeatedly.
        """
        failed = 0
        while True:
            before = self._have()
            try:
                self._continue(url)
                break
            except _PASSING as error:
                failed = 1 if self._have() > before else failed + 1
                if failed >= self.attempts:
                    raise DownloadError(_reason(error), where=url) from error
                time.sleep(self.pause * 2 ** (failed - 1))
            except requests.RequestException as error:
                raise DownloadError(_reason(error), where=url) from error
        self.part.replace(output_file)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _continue(self, url: str) -> None:
        have = self._have()
        headers = {"Accept-Encoding": "identity"}  # a compressed answer could not be resumed
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(
            url, headers=headers, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT)
        ) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                # Either everything had arrived already, or the partial file is another one's.
                if answer.headers.get("Content-Range", "") == f"bytes */{have}":
                    return
                self.part.unlink()
                raise _BrokenOff("the partial file does not belong to it")
            if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise _BrokenOff(f"the server answers {answer.status_code} {answer.reason}")
            answer.raise_for_status()
            # A server without ranges answers 200 and sends everything again.
            start = have if answer.status_code == requests.codes.partial_content else 0
            if start and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise _BrokenOff("the server sent a different byte range than requested")
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length else None
            with (
                self.part.open("ab" if start else "wb") as out,
                progress(
                    total=total, initial=start, desc=f"download {url.rpartition('/')[2]}", unit="B"
                ) as bar,
            ):
                for chunk in answer.iter_content(CHUNK):
                    out.write(chunk)
                    bar.update(len(chunk))
        if total is not None and self._have() < total:
            raise _BrokenOff(f"the connection broke off after {self._have():,} of {total:,} bytes")


class _BrokenOff(Exception):
    """A download that may succeed when tried again."""


_PASSING = (
    _BrokenOff,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


def content_digest(entries: Iterable[tuple[str, bytes]]) -> str:
    """The digest of what an archive holds, whatever its packing, order and outer folder.

    Args:
        entries: pairs (name, bytes) in any order.

    Returns:
        The SHA-256, in hexadecimal, of the sorted lines ``sha256(bytes)  name``.
    """
    lines = sorted(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in entries)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _identify(
    path: Path, copies: Sequence[Mapping[str, Any]], content: Callable[[Path], str] | None
) -> Mapping[str, Any] | None:
    """The accepted copy that `path` is, or None."""
    found: dict[str, str | None] = {}
    for copy in copies:
        algorithm, _, expected = copy["digest"].partition(":")
        if algorithm not in found:
            found[algorithm] = _digest(path, algorithm, content)
        if found[algorithm] == expected:
            return copy
    return None


def _digest(path: Path, algorithm: str, content: Callable[[Path], str] | None) -> str | None:
    if algorithm != "content":
        return digest_file(path, algorithm)
    try:
        return content(path) if content else None
    except DataError:  # damaged or hostile: certainly none of the accepted copies
        return None


def _fetched(path: Path, name: str, origin: str, copy: Mapping[str, Any]) -> Fetched:
    return Fetched(path, name, origin, copy["digest"], copy.get("what", ""), copy.get("images"))


def _expected(copies: Sequence[Mapping[str, Any]]) -> str:
    return " or ".join(copy["digest"] for copy in copies)


def _reason(error: Exception) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "the server does not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off repeatedly"
    if isinstance(error, requests.ConnectionError):
        return "it cannot be reached; is there a network?"
    return str(error)
