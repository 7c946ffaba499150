"""One picture of a file, by Pillow: nothing of it is lost without a word."""

from __future__ import annotations

import io
import re
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from assay.data.window import Window
from assay.foundation.errors import DataError

MAX_PIXELS = 64_000_000
"""Largest image that is decoded; a small file may claim to be far larger."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is read. Pillow reads more, but gives the depth of these only."""

WINDOW_REMEDY = (
    "set 'settings.window' of the data set, {level: …, width: …} or {percentiles: [0.5, 99.5]}"
)
EXPORT = "export it as PNG, TIFF, JPEG or DICOM, one picture per file"

# Pillow's plugins raise many kinds of errors on damaged files.
_DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError,
    Image.DecompressionBombError,
)  # fmt: skip
# Pillow's name for the order of 16 or 32 bits: RGB;16B, LA;16B, R;32F, …
_DEEP = re.compile(r";(16|32|64)")
_WHITE_IS_ZERO, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 0, 258, 262, 339
_UNSIGNED, _SIGNED = 1, 2
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF"}


@dataclass(frozen=True)
class Picture:
    """What a file holds.

    Attributes:
        image: with 8 bits per channel, any mode without transparency.
        windowed: whether its values went through a window.
        flattened: whether it was partly transparent.
        patient: the patient's id in the file's own header, where it was requested.
        dicom: whether the file is DICOM, whose paths and headers may name a patient.
    """

    image: Image.Image
    windowed: bool = False
    flattened: bool = False
    patient: str | None = None
    dicom: bool = False


def read_picture(
    data: bytes, *, window: Window | None, background: tuple[int, int, int] | None, where: str
) -> Picture:
    """Reads a picture of a format that Pillow supports.

    Args:
        data: the file's bytes.
        window: how grey images deeper than 8 bits become 8 bits; None rejects them.
        background: RGB colour behind transparent pixels; None rejects them.
        where: names the file in messages.

    Raises:
        DataError: it is no picture, damaged, far too large, one of several, or would lose bits or
            transparency.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            refuse_large(image.width, image.height, where)
            _refuse_several(getattr(image, "n_frames", 1), where)
            deep = _is_deep(image, where)
            # Of grey images with a transparent value, Pillow reports it in `info` only.
            if deep and "transparency" in image.info:
                raise DataError(
                    "has more than 8 bits and a transparent value",
                    where=where,
                    remedy="save it without transparency",
                )
            maxval = _maxval(image)
            image.load()
            # Damaged EXIF data give no orientation; the pixels may be intact.
            with suppress(struct.error, SyntaxError, ValueError, TypeError, KeyError):
                ImageOps.exif_transpose(image, in_place=True)
            if deep:
                return Picture(_windowed(image, maxval, window, where), windowed=True)
            return _flattened(image, background, where)
    except _DAMAGE as error:
        raise _unreadable(data, error, where) from error


def picture_size(data: bytes, where: str) -> tuple[int, int]:
    """(W, H) of a picture, from its header alone.

    Raises:
        DataError: it is no picture.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.size
    except _DAMAGE as error:
        raise _unreadable(data, error, where) from error


def is_picture(path: Path) -> bool:
    """Whether a file is a picture that is read, whatever its name."""
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except _DAMAGE:
        return False


def unread_format(head: bytes) -> str | None:
    """The name of a picture's format that is known and not read, by its first bytes."""
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    if head[4:8] == b"jP  " or head[:4] == b"\xff\x4f\xff\x51":
        return "JPEG 2000"
    if head[4:8] == b"JXL " or head[:2] == b"\xff\x0a":
        return "JPEG XL"
    return None


def refuse_format(name: str, where: str) -> DataError:
    """The error of a file whose format is known and not read."""
    return DataError(f"is {name}, which is not read", where=where, remedy=EXPORT)


def refuse_large(width: int, height: int, where: str) -> None:
    """Raises for an image of more pixels than are decoded."""
    if width * height > MAX_PIXELS:
        raise DataError(
            f"has {width}×{height} pixels, more than the limit",
            where=where,
            remedy="reduce the image or remove the file",
        )


def _unreadable(data: bytes, error: Exception, where: str) -> DataError:
    unread = unread_format(data[:16])
    if unread:
        return refuse_format(unread, where)
    # Pillow's own text names an address in memory.
    unknown = isinstance(error, UnidentifiedImageError)
    why = f"its content is none of {', '.join(FORMATS)} and DICOM" if unknown else error
    return DataError(
        f"is not a readable image ({why})", where=where, remedy="replace or remove the file"
    )


def _refuse_several(frames: int, where: str) -> None:
    if frames > 1:
        raise DataError(
            f"holds {frames} pictures (pages or frames)",
            where=where,
            remedy="save the one that is meant as a file of its own",
        )


def _is_deep(image: Image.Image, where: str) -> bool:
    """Whether a grey image needs a window: more than 8 bits, signed or not whole numbers.

    Raises:
        DataError: a colour image has more than 8 bits per channel; Pillow drops those below.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return True
    orders = (
        tile.args if isinstance(tile.args, str) else str(tile.args[0]) for tile in _tiles(image)
    )
    cut = image.format in ("PNG", "TIFF") and any(map(_DEEP.search, orders))
    if cut or (_maxval(image) or 0) > 255:
        raise DataError(
            f"has more than 8 bits per channel and several channels (mode {image.mode})",
            where=where,
            remedy="save it with 8 bits per channel, or as a grey image and set a window",
        )
    return image.format == "TIFF" and _tag(image, _SAMPLE_FORMAT, _UNSIGNED) == _SIGNED


def _windowed(
    image: Image.Image, maxval: int | None, window: Window | None, where: str
) -> Image.Image:
    """A deep grey image in 8 bits."""
    if window is None:
        raise DataError(
            f"has more than 8 bits per channel or signed values (mode {image.mode})",
            where=where,
            remedy=WINDOW_REMEDY,
        )
    values, inverted = np.asarray(image), False
    if image.format == "TIFF":
        # For these Pillow reports neither that white is zero nor the sign.
        inverted = _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO
        sample = _tag(image, _SAMPLE_FORMAT, _UNSIGNED)
        if image.mode == "L":
            values = values.view(np.int8)
        elif image.mode == "I" and _tag(image, _BITS) == 32 and sample == _UNSIGNED:
            values = values.view(np.uint32)
    elif maxval:
        values = np.rint(values * (maxval / 65535))  # Pillow stretches to 16 bits
    if not np.isfinite(values).all():
        raise DataError(
            "has pixels that are not numbers", where=where, remedy="replace them or remove the file"
        )
    return Image.fromarray(window.apply(values, inverted=inverted))


def _tiles(image: Image.Image) -> list:
    """How the file stores the pixels; nothing once they are read, or where there is no file."""
    return image.tile if isinstance(image, ImageFile.ImageFile) else []


def _maxval(image: Image.Image) -> int | None:
    """The largest value that a netpbm file of more or less than 8 bits declares."""
    tiles = _tiles(image)
    arguments = tiles[0].args if image.format == "PPM" and tiles else None
    pair = isinstance(arguments, tuple) and len(arguments) == 2
    return arguments[1] if pair else None


def _tag(image: Image.Image, number: int, default: int | None = None) -> int | None:
    """The first value of a TIFF's tag."""
    assert isinstance(image, TiffImageFile)
    value = image.tag_v2.get(number, default)
    return value[0] if isinstance(value, tuple) else value


def _flattened(image: Image.Image, background: tuple[int, int, int] | None, where: str) -> Picture:
    """A picture without transparency; an alpha channel that is opaque everywhere is no loss."""
    if not image.has_transparency_data:
        return Picture(image)
    clear = image.convert("RGBA")
    if clear.getchannel("A").getextrema()[0] == 255:
        return Picture(clear if image.mode in ("RGBa", "La") else image)
    if background is None:
        raise DataError(
            "is partly transparent",
            where=where,
            remedy="set 'settings.background' of the data set to the grey level (0 … 255) or "
            "[red, green, blue] behind it, or save it without transparency",
        )
    canvas = Image.new("RGBA", image.size, (*background, 255))
    canvas.alpha_composite(clear)
    return Picture(canvas.convert("RGB"), flattened=True)
