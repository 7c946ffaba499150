"""One picture of a DICOM file, by pydicom; of its header only a requested id is kept."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from assay.data.picture import EXPORT, WINDOW_REMEDY, Picture, refuse_large
from assay.data.window import Window
from assay.foundation.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = {".dcm", ".dicom", ".ima"}
HEAD = 132
"""Bytes at which a DICOM file is known."""
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


def is_dicom(head: bytes) -> bool:
    """Whether a file is DICOM, by its first :data:`HEAD` bytes; exports of a PACS have no suffix.

    Example:
        >>> is_dicom(bytes(128) + b"DICM"), is_dicom(b"GIF89a")
        (True, False)
    """
    return head[128:HEAD] == b"DICM"


def check_tag(tag: Any, where: str) -> None:
    """Raises ConfigError unless `tag` is the keyword of an element of a header, or None."""
    if tag is None:
        return
    from pydicom.datadict import tag_for_keyword

    if not isinstance(tag, str) or tag_for_keyword(tag) is None:
        raise ConfigError(
            f"{tag!r} is no keyword of a DICOM header", where=where, remedy="give PatientID or null"
        )


def read_dicom(data: bytes, *, window: Window | None, tag: str | None, where: str) -> Picture:
    """Reads a DICOM file of one picture.

    Grey values go through the file's modality (rescale slope and intercept, or table), then
    through the window of the data set; of MONOCHROME1 small values are bright. Unsigned 8-bit
    values without a modality are taken as they are where no window is given.

    Args:
        data: the file's bytes.
        window: in the units that the modality gives, such as Hounsfield units; None rejects
            pictures that need one.
        tag: keyword of the element that identifies the patient; None requests no id.
        where: names the file in messages.

    Raises:
        DataError: it is damaged, holds no or several pictures, needs a window or a decoder that is
            not there, or has no such element.
    """
    from pydicom import config, dcmread

    # No warning that quotes the header of a patient.
    config.settings.reading_validation_mode = config.IGNORE
    try:
        dataset = dcmread(io.BytesIO(data))
        _refuse_others(dataset, where)
        patient = str(dataset.get(tag) or "") if tag else None
        values = _decode(dataset, where)
        if dataset.PhotometricInterpretation in ("MONOCHROME1", "MONOCHROME2"):
            pixels, windowed = _grey(dataset, values, window, where)
        else:
            pixels, windowed = _colour(dataset, values, where), False
        return Picture(Image.fromarray(pixels), windowed=windowed, patient=patient, dicom=True)
    except (DataError, MemoryError):
        raise
    # pydicom and its decoders raise anything on damaged files; the text may quote the header.
    except Exception as error:
        raise DataError(
            f"is not a readable DICOM image ({type(error).__name__})",
            where=where,
            remedy="export it again or remove the file",
        ) from error


def _refuse_others(dataset: Dataset, where: str) -> None:
    """Raises for what holds no picture, or several, or values of another kind."""
    if not any(name in dataset for name in _PIXELS):
        raise DataError("is DICOM without a picture", where=where, remedy="remove the file")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise DataError(f"holds {frames} frames", where=where, remedy=EXPORT)
    if "SharedFunctionalGroupsSequence" in dataset:
        raise DataError(
            "is an enhanced DICOM object, whose values are described frame by frame",
            where=where,
            remedy=EXPORT,
        )
    refuse_large(dataset.Columns, dataset.Rows, where)


def _decode(dataset: Dataset, where: str) -> np.ndarray:
    """(H, W) stored values or (H, W, 3) RGB."""
    from pydicom.pixels import get_decoder, pixel_array

    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise DataError(
            f"is compressed as {syntax.name}, which is not read", where=where, remedy=EXPORT
        ) from error
    try:
        if decoder.is_available:
            return pixel_array(dataset)
        cause = None
    # What pydicom raises where each decoder that is there has failed.
    except RuntimeError as error:
        if not syntax.is_compressed:
            raise
        cause = error
    wanted = decoder.missing_dependencies[-1:] or [""]
    packages = wanted[0].partition("requires ")[2]
    raise DataError(
        f"is compressed as {syntax.name} and no decoder that is installed reads it",
        where=where,
        remedy=f"install {packages}, or {EXPORT}" if packages else EXPORT,
    ) from cause


def _grey(
    dataset: Dataset, values: np.ndarray, window: Window | None, where: str
) -> tuple[np.ndarray, bool]:
    """(H, W) uint8, and whether they went through the window."""
    from pydicom.pixels import apply_modality_lut

    padding = _padding(dataset, values)
    plain = values.dtype == np.uint8 and dataset.BitsStored == 8
    if "RescaleSlope" in dataset or "RescaleIntercept" in dataset:
        # pydicom applies the two together or not at all.
        if dataset.get("RescaleSlope") is None:
            dataset.RescaleSlope = 1
        if dataset.get("RescaleIntercept") is None:
            dataset.RescaleIntercept = 0
        plain = plain and (dataset.RescaleSlope, dataset.RescaleIntercept) == (1, 0)
    plain = plain and "ModalityLUTSequence" not in dataset
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    if window is None:
        if plain:
            return (255 - values if inverted else values), False
        raise DataError(
            f"has {dataset.BitsStored} bits or rescaled values", where=where, remedy=WINDOW_REMEDY
        )
    values = apply_modality_lut(values, dataset)
    if not np.isfinite(values).all():
        raise DataError("has pixels that are not numbers", where=where, remedy=EXPORT)
    return window.apply(values, inverted=inverted, padding=padding), True


def _padding(dataset: Dataset, values: np.ndarray) -> np.ndarray | None:
    """(H, W) bool, pixels that the header calls padding, such as those outside of a CT's circle."""
    first = dataset.get("PixelPaddingValue")
    if first is None:
        return None
    last = dataset.get("PixelPaddingRangeLimit")
    ends = sorted((first, first if last is None else last))
    return (values >= ends[0]) & (values <= ends[1])


def _colour(dataset: Dataset, values: np.ndarray, where: str) -> np.ndarray:
    """(H, W, 3) uint8."""
    from pydicom.pixels import apply_color_lut

    kind = dataset.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        colours = apply_color_lut(values, dataset)[..., :3]
        # Entries of 16 bits are colours of 8 bits, stretched, by the standard.
        return colours if colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8)
    if kind not in _COLOURS or values.dtype != np.uint8 or dataset.BitsStored != 8:
        raise DataError(
            f"is of the kind {kind} with {dataset.BitsStored} bits per channel, which is not read",
            where=where,
            remedy=EXPORT,
        )
    return values
