"""Image files to arrays, by Pillow, straight into a memory-mapped array."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
from PIL import Image

from assay.foundation.errors import DataError
from assay.foundation.progress import progress

log = logging.getLogger(__name__)

MAX_PIXELS = 64_000_000
"""Largest image that is decoded; a small file may claim to be far larger."""

THREADS_FROM_PIXELS = 128 * 128
"""Below this size threads only wait for each other: Pillow releases Python's lock while it decodes,
but a 64×64 JPEG decodes faster than the lock changes hands (2 threads take 1.4 times as long)."""

BATCH = 128

COLOUR = 4.0
"""Mean difference between the channels, in grey levels, from which an image counts as coloured: the
compression of a grey JPEG with three channels leaves less."""

CHANNELS_TO_MODE = {1: "L", 3: "RGB"}


def decode_image(
    data: bytes, *, channels: int, size: tuple[int, int] | None, where: str
) -> np.ndarray:
    """One image file as an array.

    Args:
        data: the file's bytes (JPEG, PNG or anything that Pillow reads).
        channels: 1 (grey) or 3 (RGB); other images are converted.
        size: (H, W) to resize to, bilinear with antialiasing; None keeps the image's own.
        where: names the file in messages.

    Returns:
        (C, H, W) uint8.

    Raises:
        DataError: the file is no image, is damaged, far too large, or deeper than 8 bits.
    """
    return _decode(data, channels, size, where)[0]


def _decode(
    data: bytes, channels: int, size: tuple[int, int] | None, where: str
) -> tuple[np.ndarray, bool]:
    """As :func:`decode_image`, and whether colour was lost."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"has {image.width}×{image.height} pixels, more than the limit",
                    where=where,
                    remedy="reduce the image or remove the file",
                )
            if image.mode in ("I", "F") or image.mode.startswith("I;"):
                raise DataError(
                    f"has more than 8 bits per channel (mode {image.mode})",
                    where=where,
                    remedy="convert it to 8 bits with a window that suits the images",
                )
            lost = channels == 1 and _coloured(image)
            image = image.convert(CHANNELS_TO_MODE[channels])
            if size is not None and image.size != size[::-1]:
                image = image.resize(size[::-1], Image.Resampling.BILINEAR)
            pixels = np.asarray(image)
    # Pillow's plugins raise many kinds of errors on damaged files.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError,
            Image.DecompressionBombError) as error:  # fmt: skip
        raise DataError(
            f"is not a readable image ({error})", where=where, remedy="replace or remove the file"
        ) from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1), lost


def _coloured(image: Image.Image) -> bool:
    """Whether an image has colours, and not only the three channels for them."""
    if image.mode in ("1", "L", "LA"):
        return False
    pixels = np.asarray(image.convert("RGB").reduce(max(1, min(image.size) // 32)))
    return float(np.ptp(pixels, axis=-1).mean()) > COLOUR


def image_size(data: bytes, where: str) -> tuple[int, int]:
    """(W, H) of an image file, from its header alone.

    Raises:
        DataError: the file is no image.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"is not a readable image ({error})", where=where, remedy="replace or remove the file"
        ) from error


def decode_into(
    images: np.ndarray,
    files: Iterable[tuple[int, str, bytes]],
    *,
    size: tuple[int, int] | None,
    desc: str,
    remedy: str,
) -> list[str]:
    """Decodes files into their places, with one thread per core where that helps.

    Args:
        images: (N, C, H, W) uint8, written in place.
        files: (index, name for messages, bytes) of every image, in any order; read one at a time.
        size: (H, W) to resize to; None demands that every image has the size of `images`.
        desc: what the progress bar says.
        remedy: what to do about an image of another size.

    Returns:
        The digest of each file's bytes, by index.

    Raises:
        DataError: a file is not a readable image or has another size; the message names it.
    """
    count, channels, height, width = images.shape
    digests = [""] * count
    coloured: list[str] = []

    def work(batch: list[tuple[int, str, bytes]]) -> int:
        for index, name, data in batch:
            pixels, lost = _decode(data, channels, size, name)
            if lost:
                coloured.append(name)
            if pixels.shape[1:] != (height, width):
                raise DataError(
                    f"is {pixels.shape[2]}×{pixels.shape[1]} pixels where {width}×{height} are "
                    "expected",
                    where=name,
                    remedy=remedy,
                )
            images[index] = pixels
            digests[index] = hashlib.blake2b(data, digest_size=16).hexdigest()
        return len(batch)

    threads = (os.cpu_count() or 1) if height * width >= THREADS_FROM_PIXELS or size else 1
    with progress(total=count, desc=desc, unit="image") as bar, ThreadPoolExecutor(threads) as pool:
        source = iter(files)
        # A few batches at a time: the archive is never in memory as a whole.
        while batches := list(islice(_batches(source), 2 * threads)):
            for done in pool.map(work, batches):
                bar.update(done)
    if coloured:
        log.warning(
            "%d of %d images are coloured and were made grey, %s for one; 3 channels keep colours",
            len(coloured),
            count,
            min(coloured),
        )
    return digests


def _batches(source: Iterator) -> Iterator[list]:
    while batch := list(islice(source, BATCH)):
        yield batch
