"""A user's own images: ``<class>/<file>``, optionally a table of patients.

Settings:
    folder: the folder; each sub-folder is a class, files below it (at any depth) are its images.
    patients: a CSV with the columns `file` (path below `folder`) and `patient`, or null; relative
        to `folder`.
    channels: 1 (grey) or 3 (RGB).
    size: [H, W] (or one number for both) to resize to; without it all images must have one size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from assay.data.collected import Collected, Request, new_images
from assay.data.decode import CHANNELS_TO_MODE, decode_image, decode_into
from assay.foundation.errors import DataError

SETTINGS = {"folder": None, "patients": None, "channels": 1, "size": None}
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
# Medical formats hold more than 8 bits, and often volumes: which window or slice is meant, only
# their owner knows.
MEDICAL = {".dcm", ".dicom", ".ima", ".mha", ".mhd", ".nii", ".nrrd"}


def read(request: Request) -> Collected:
    """Decodes every image file, ordered by class and name."""
    folder, channels = _folder(request), request.settings["channels"]
    if channels not in CHANNELS_TO_MODE:
        raise DataError(
            f"{channels} channels are not possible",
            where=request.key("channels"),
            remedy="choose 1 (grey) or 3 (RGB)",
        )
    classes = list(request.entry.get("classes") or _subfolders(folder))
    samples = _list(folder, classes)
    samples["patient"] = _patients(request, folder, samples["file"])
    size = request.settings["size"]
    size = (size, size) if isinstance(size, int) else tuple(size) if size else None
    height, width = size or _size_of_first(folder, samples["file"].iloc[0], channels)
    images = new_images(request.folder, len(samples), (channels, height, width))
    samples["stored"] = decode_into(
        images,
        _contents(folder, samples["file"]),
        size=size,
        desc=f"decode {request.name}",
        remedy=f"set {request.key('size')} to resize all images, for example to "
        f"[{height}, {width}]",
    )
    images.flush()
    return Collected(samples, classes)


def _folder(request: Request) -> Path:
    place = request.settings["folder"]
    folder = Path(place).expanduser() if place else None
    if folder is None or not folder.is_dir():
        raise DataError(
            f"there is no folder '{place}'" if place else "no folder is given",
            where=request.key("folder"),
            remedy="give the folder that holds one sub-folder of images per class",
        )
    return folder


def _subfolders(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _list(folder: Path, classes: list[str]) -> pd.DataFrame:
    if len(classes) < 2:
        raise DataError(
            f"has {len(classes)} sub-folders",
            where=folder,
            remedy="make one sub-folder of images per class, at least two",
        )
    rows = []
    for label, name in enumerate(classes):
        _refuse_medical(folder / name)
        files = sorted(
            path.relative_to(folder).as_posix()
            for path in (folder / name).rglob("*")
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        )
        if not files:
            raise DataError(
                "contains no images",
                where=folder / name,
                remedy=f"known are {', '.join(sorted(SUFFIXES))}; remove the folder if it is none "
                "of the classes",
            )
        rows.extend({"file": file, "label": label} for file in files)
    return pd.DataFrame(rows)


def _refuse_medical(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if MEDICAL.intersection(suffix.lower() for suffix in path.suffixes):
            raise DataError(
                "is of a medical format, which is not read",
                where=path,
                remedy="export it as 8-bit PNG with a window that suits the images",
            )


def _patients(request: Request, folder: Path, files: pd.Series) -> list[str] | None:
    name = request.settings["patients"]
    if not name:
        return None
    path = folder / name
    try:
        table = pd.read_csv(path, dtype=str)
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot be read as a CSV ({error})",
            where=path,
            remedy=f"correct {request.key('patients')}",
        ) from error
    if not {"file", "patient"} <= set(table.columns):
        raise DataError(
            f"has the columns {', '.join(table.columns)}",
            where=path,
            remedy="it needs the columns file and patient",
        )
    repeated = table.loc[table["file"].duplicated(), "file"]
    if len(repeated):
        raise DataError(f"names '{repeated.iloc[0]}' twice", where=path)
    patient = files.map(table.set_index("file")["patient"])
    if patient.isna().any():
        raise DataError(
            f"has no patient for '{files[patient.isna()].iloc[0]}'"
            f" ({int(patient.isna().sum())} such images)",
            where=path,
            remedy="add a row per image: its path below the folder, and the patient",
        )
    return patient.tolist()


def _size_of_first(folder: Path, file: str, channels: int) -> tuple[int, int]:
    path = folder / file
    image = decode_image(path.read_bytes(), channels=channels, size=None, where=str(path))
    return image.shape[1:]


def _contents(folder: Path, files: pd.Series) -> Iterator[tuple[int, str, bytes]]:
    for index, file in enumerate(files):
        yield index, str(folder / file), (folder / file).read_bytes()
