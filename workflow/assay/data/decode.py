"""Image files to arrays, straight into a memory-mapped array."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from assay.data.collected import Request
from assay.data.dicom import is_dicom, read_dicom
from assay.data.picture import MAX_PIXELS, Picture, read_picture
from assay.data.window import Window
from assay.foundation.errors import ConfigError, DataError
from assay.foundation.progress import progress

log = logging.getLogger(__name__)

THREADS_FROM_PIXELS = 128 * 128
"""Below this size threads only wait for each other: Pillow releases Python's lock while it decodes,
but a 64×64 JPEG decodes faster than the lock changes hands (2 threads take 1.4 times as long)."""

BATCH, BATCH_BYTES = 128, 2**23
"""Most images, and about most bytes, that a thread is given at a time."""

COLOUR = 4.0
"""Mean difference between the channels, in grey levels, from which an image counts as coloured: the
compression of a grey JPEG with three channels leaves less."""

CHANNELS_TO_MODE = {1: "L", 3: "RGB"}

NAMED = 3
"""Bad files that one message names."""

# What may happen to an image, and the note about the images to which it happened.
_NOTES = {
    "coloured": "are coloured and were made grey; 3 channels keep colours",
    "without_profile": "are CMYK and were made RGB without a colour profile",
    "flattened": "are partly transparent and were laid on the background of the data set",
    "not_windowed": "have 8 bits and did not go through the window",
    "flat": "are one grey level after the window; does it suit them?",
}


@dataclass(frozen=True)
class Decoding:
    """How the files of a data set become arrays.

    Attributes:
        channels: 1 (grey) or 3 (RGB); other images are converted.
        size: (H, W) to resize to, bilinear with antialiasing; None keeps the image's own.
        window: of grey images deeper than 8 bits; None rejects them.
        background: RGB colour behind transparent pixels; None rejects them.
        patient_tag: keyword of the DICOM element that identifies the patient, or None.
    """

    channels: int
    size: tuple[int, int] | None = None
    window: Window | None = None
    background: tuple[int, int, int] | None = None
    patient_tag: str | None = None

    @classmethod
    def of(cls, request: Request, channels: Any, where: str) -> Decoding:
        """The settings `size`, `window` and `background` of an entry.

        Args:
            request: the entry.
            channels: number of channels.
            where: names the key that gives the channels.

        Raises:
            ConfigError: one of them is impossible; the message names it.
        """
        if not _whole(channels) or channels not in CHANNELS_TO_MODE:
            raise ConfigError(
                f"{channels!r} channels are not possible",
                where=where,
                remedy="choose 1 (grey) or 3 (RGB)",
            )
        settings = request.settings
        return cls(
            channels,
            _size(settings["size"], request.key("size")),
            Window.of(settings["window"], request.key("window")),
            _background(settings["background"], request.key("background")),
        )


@dataclass(frozen=True)
class Decoded:
    """One image.

    Attributes:
        pixels: (C, H, W) uint8.
        notes: what happened to it.
        patient: id of the patient, where it was requested.
        dicom: whether the file is DICOM.
    """

    pixels: np.ndarray
    notes: Sequence[str]
    patient: str | None
    dicom: bool


@dataclass(frozen=True)
class DecodedFiles:
    """What :func:`decode_into` learns of the files, by index.

    Attributes:
        stored: digest of each file's bytes.
        patients: id in each file's header; null unless it was requested.
        dicom: whether any file is DICOM, whose path may name a patient.
        facts: for ``dataset.json``: how many images were changed in which way.
    """

    stored: list[str]
    patients: list[str | None]
    dicom: bool
    facts: dict[str, Any]


def decode_image(
    data: bytes,
    *,
    channels: int,
    size: tuple[int, int] | None,
    where: str,
    window: Window | None = None,
    background: tuple[int, int, int] | None = None,
) -> np.ndarray:
    """One image file as an array.

    Args:
        data: the file's bytes (DICOM, JPEG, PNG, TIFF, …: see :data:`assay.data.picture.FORMATS`).
        channels: 1 (grey) or 3 (RGB); other images are converted.
        size: (H, W) to resize to, bilinear with antialiasing; None keeps the image's own.
        where: names the file in messages.
        window: of grey images deeper than 8 bits; None rejects them.
        background: RGB colour behind transparent pixels; None rejects them.

    Returns:
        (C, H, W) uint8.

    Raises:
        DataError: the file is no image, is damaged, far too large, one of several, or would lose
            bits or transparency.
    """
    return decode(data, Decoding(channels, size, window, background), where).pixels


def decode(data: bytes, decoding: Decoding, where: str) -> Decoded:
    """As :func:`decode_image`, with what happened to the image."""
    window, tag = decoding.window, decoding.patient_tag
    if is_dicom(data[:256]):
        picture = read_dicom(data, window=window, tag=tag, where=where)
        if tag and not (picture.patient or "").strip():
            raise DataError(f"has no {tag}", where=where, remedy=_NO_TAG)
    elif tag:
        raise DataError(f"is not DICOM and has no {tag}", where=where, remedy=_NO_TAG)
    else:
        picture = read_picture(data, window=window, background=decoding.background, where=where)
    notes = _notes(picture, decoding)
    try:
        image = picture.image.convert(CHANNELS_TO_MODE[decoding.channels])
    except ValueError as error:
        raise DataError(
            f"has colours that are not converted ({error})", where=where, remedy="save it as RGB"
        ) from error
    size = decoding.size
    if size is not None and image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    pixels = pixels[None] if decoding.channels == 1 else pixels.transpose(2, 0, 1)
    return Decoded(pixels, notes, picture.patient, picture.dicom)


def decode_into(
    images: np.ndarray,
    files: Iterable[tuple[int, str]],
    read: Callable[[str], bytes],
    decoding: Decoding,
    *,
    desc: str,
    remedy: str,
) -> DecodedFiles:
    """Decodes files into their places, with one thread per core where that helps.

    Args:
        images: (N, C, H, W) uint8, written in place.
        files: (index, name) of every image, in the order in which they are read.
        read: gives a file's bytes by its name, which is also its name in messages; each file is
            read once, a few at a time, by one thread.
        decoding: how; without a size every image must have the size of `images`.
        desc: text of the progress bar.
        remedy: what to do about an image of another size.

    Raises:
        DataError: files are not readable images or have another size; the message counts them all
            and names the first.
    """
    count, _, height, width = images.shape
    stored, patients = [""] * count, [None] * count
    notes: dict[str, list[tuple[int, str]]] = {}
    bad: dict[int, DataError] = {}
    dicom: set[int] = set()

    def bytes_of() -> Iterator[tuple[int, str, bytes]]:
        for index, name in files:
            try:
                yield index, name, read(name)
            except OSError as error:
                bad[index] = unreadable(name, error)
                bar.update()

    def work(batch: list[tuple[int, str, bytes]]) -> int:
        for index, name, data in batch:
            try:
                found = decode(data, decoding, name)
                _refuse_other_size(found.pixels, (height, width), name, remedy)
            except DataError as error:
                bad[index] = error
                continue
            images[index], patients[index] = found.pixels, found.patient
            stored[index] = hashlib.blake2b(data, digest_size=16).hexdigest()
            if found.dicom:
                dicom.add(index)
            for note in found.notes:
                notes.setdefault(note, []).append((index, name))
        return len(batch)

    threaded = height * width >= THREADS_FROM_PIXELS or decoding.size
    threads = (os.cpu_count() or 1) if threaded else 1
    with progress(total=count, desc=desc, unit="image") as bar, ThreadPoolExecutor(threads) as pool:
        source = _batches(bytes_of())
        # A few batches at a time: the archive is never in memory as a whole.
        while batches := list(islice(source, 2 * threads)):
            for done in pool.map(work, batches):
                bar.update(done)
    if bad:
        raise all_at_once([bad[index] for index in sorted(bad)], count)
    for note, text in _NOTES.items():
        if note in notes:
            log.warning(
                "%d of %d images %s: %s", len(notes[note]), count, text, min(notes[note])[1]
            )
    facts = {note: len(notes[note]) for note in _NOTES if note in notes}
    return DecodedFiles(stored, patients, bool(dicom), {"converted": facts})


def all_at_once(errors: Sequence[DataError], count: int) -> DataError:
    """One error for the bad files of a data set: how many, the first of them, all remedies.

    Args:
        errors: at least one.
        count: number of all files.
    """
    if len(errors) == 1:
        return errors[0]
    named = [f"{error.where} {error.what}" for error in errors[:NAMED]]
    more = len(errors) - len(named)
    remedies = dict.fromkeys(error.remedy for error in errors if error.remedy)
    return DataError(
        f"{len(errors)} of {count} files cannot be used: {', '.join(named)}"
        + (f" and {more} more" if more else ""),
        remedy=" / ".join(remedies),
    )


def unreadable(name: str, error: OSError) -> DataError:
    """The error of a file that the system does not give."""
    return DataError(
        f"cannot be read ({error.strerror or error})", where=name, remedy="replace or remove it"
    )


_NO_TAG = "fill it in, or list the patients in a CSV (settings.patients) instead"


def _notes(picture: Picture, decoding: Decoding) -> list[str]:
    """Notes about a picture (keys of :data:`_NOTES`)."""
    image = picture.image
    happened = {
        "coloured": decoding.channels == 1 and _coloured(image),
        "without_profile": image.mode == "CMYK",
        "flattened": picture.flattened,
        "not_windowed": decoding.window is not None and not picture.windowed,
        "flat": picture.windowed and image.getextrema()[0] == image.getextrema()[1],
    }
    return [note for note, yes in happened.items() if yes]


def _coloured(image: Image.Image) -> bool:
    """Whether an image has colours, and not only the three channels for them."""
    if image.mode in ("1", "L", "LA"):
        return False
    pixels = np.asarray(image.convert("RGB").reduce(max(1, min(image.size) // 32)))
    return float(np.ptp(pixels, axis=-1).mean()) > COLOUR


def _refuse_other_size(pixels: np.ndarray, size: tuple[int, int], where: str, remedy: str) -> None:
    if pixels.shape[1:] != size:
        raise DataError(
            f"is {pixels.shape[2]}×{pixels.shape[1]} pixels where {size[1]}×{size[0]} are expected",
            where=where,
            remedy=remedy,
        )


def _batches(source: Iterator[tuple[int, str, bytes]]) -> Iterator[list]:
    batch, held = [], 0
    for item in source:
        batch.append(item)
        held += len(item[2])
        if len(batch) == BATCH or held >= BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _size(setting: Any, where: str) -> tuple[int, int] | None:
    """(H, W) of a setting: null, one number or a pair."""
    if setting is None:
        return None
    sides = list(setting) if isinstance(setting, list | tuple) else [setting, setting]
    whole = len(sides) == 2 and all(_whole(side) and side > 0 for side in sides)
    if not whole or sides[0] * sides[1] > MAX_PIXELS:
        raise ConfigError(
            f"{setting!r} is no size of an image",
            where=where,
            remedy="give [height, width] in whole pixels, one number for both, or null",
        )
    return tuple(sides)


def _background(setting: Any, where: str) -> tuple[int, int, int] | None:
    """RGB of a setting: null, a grey level or three."""
    if setting is None:
        return None
    levels = list(setting) if isinstance(setting, list | tuple) else [setting] * 3
    if len(levels) != 3 or not all(_whole(level) and 0 <= level <= 255 for level in levels):
        raise ConfigError(
            f"{setting!r} is no colour",
            where=where,
            remedy="give a grey level 0 … 255 or [red, green, blue], for example 0 for black",
        )
    return tuple(levels)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
