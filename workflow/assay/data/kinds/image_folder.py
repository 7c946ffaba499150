"""A user's own images: ``<class>/<file>``, optionally with patients.

Settings:
    folder: the folder; each sub-folder is a class, files below it (at any depth) are its images.
    patients: a CSV with the columns `file` (path below `folder`) and `patient`, or null; relative
        to `folder`.
    patient_tag: keyword of the DICOM element that identifies the patient, such as PatientID, or
        null; instead of `patients`.
    channels: 1 (grey) or 3 (RGB).
    size: [H, W] (or one number for both) to resize to; without it all images must have one size.
    window: of grey images deeper than 8 bits and of DICOM, ``{level, width}`` in the units of the
        images (Hounsfield units of a CT) or ``{percentiles: [low, high]}`` of each image; null
        rejects images that need one.
    background: grey level or [red, green, blue] behind transparent pixels; null rejects them.

A file is an image by its content: JPEG, PNG, TIFF, BMP, GIF, WebP, PGM, PPM or DICOM, of one
picture each, with or without a suffix. Formats that are known and not read stop the preparation,
all at once; what is hidden, a system's, no image or in no class is left out, and counted in
``dataset.json``. Links to folders are followed.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path

import pandas as pd

from assay.data import dicom
from assay.data.clutter import is_clutter
from assay.data.collected import Collected, Request, new_images
from assay.data.decode import Decoding, all_at_once, decode, decode_into, unreadable
from assay.data.patients import file_key, group_index, read_table
from assay.data.picture import is_picture, refuse_format, unread_format
from assay.data.skipped import Skipped
from assay.foundation.errors import ConfigError, DataError

log = logging.getLogger(__name__)

SETTINGS = {
    "folder": None, "patients": None, "patient_tag": None, "channels": 1, "size": None,
    "window": None, "background": None,
}  # fmt: skip
SUFFIXES = {
    ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
    *dicom.SUFFIXES,
}  # fmt: skip
# Volumes and arrays, which do not state which slice is meant; pictures whose depth Pillow does not
# give; and TIFFs by another name, whose first page is a preview.
NOT_READ = {
    ".avif": "AVIF", ".heic": "HEIC", ".heif": "HEIF", ".j2c": "JPEG 2000", ".j2k": "JPEG 2000",
    ".jp2": "JPEG 2000", ".jpx": "JPEG 2000", ".jxl": "JPEG XL", ".psd": "Photoshop",
    ".svg": "SVG", ".pdf": "PDF",
    ".h5": "HDF5", ".hdf5": "HDF5", ".hdr": "Analyze", ".img": "Analyze", ".mat": "MATLAB",
    ".mgz": "MGH", ".mha": "MetaImage", ".mhd": "MetaImage", ".nhdr": "NRRD", ".nii": "NIfTI",
    ".npy": "NumPy", ".npz": "NumPy", ".nrrd": "NRRD",
    ".arw": "camera raw", ".cr2": "camera raw", ".dng": "camera raw", ".nef": "camera raw",
    ".ndpi": "a whole-slide image", ".svs": "a whole-slide image",
}  # fmt: skip

_SUBSETS = {"dev", "test", "testing", "train", "training", "val", "valid", "validation"}


def read(request: Request) -> Collected:
    """Decodes every image file, ordered by class and name."""
    settings = request.settings
    folder = _folder(request)
    table = _table(request, folder)
    decoding = Decoding.of(request, settings["channels"], request.key("channels"))
    decoding = replace(decoding, patient_tag=settings["patient_tag"])
    walk = _Walk(folder)
    classes = _classes(request, walk, table)
    samples = _list(walk, classes)
    files = [str(path) for path in samples.pop("path")]
    patients = read_table(table, list(samples["file"]), request.key("patients")) if table else None
    height, width = decoding.size or _size_of_first(files, decoding)
    images = new_images(request.folder, len(files), (decoding.channels, height, width))
    decoded = decode_into(
        images,
        enumerate(files),
        lambda name: Path(name).read_bytes(),
        decoding,
        desc=f"decode {request.name}",
        remedy=f"set {request.key('size')} to resize all images, for example to "
        f"[{height}, {width}]",
    )
    images.flush()
    samples["stored"] = decoded.stored
    patients = list(map(str, decoded.patients)) if decoding.patient_tag else patients
    if patients:
        samples["patient"] = group_index(patients, files)
    if decoded.dicom:
        # The paths of an export carry names and numbers of patients.
        number = samples.groupby("label").cumcount().map("{:06d}".format)
        samples["file"] = samples["label"].map(dict(enumerate(classes))) + "/" + number
    skipped = walk.skipped.record(examples=not decoded.dicom)
    return Collected(samples, list(classes), facts={**decoded.facts, "skipped": skipped})


def _folder(request: Request) -> Path:
    place = request.settings["folder"]
    folder = Path(place).expanduser() if isinstance(place, str) and place else None
    if folder is None or not folder.is_dir():
        raise DataError(
            f"there is no folder {place!r}" if place else "no folder is given",
            where=request.key("folder"),
            remedy="give the folder that holds one sub-folder of images per class",
        )
    return folder


def _table(request: Request, folder: Path) -> Path | None:
    """The list of patients, if there is one; checks where patients come from."""
    table, tag = request.settings["patients"], request.settings["patient_tag"]
    dicom.check_tag(tag, request.key("patient_tag"))
    if table is not None and not isinstance(table, str):
        raise ConfigError(
            f"{table!r} is no file name",
            where=request.key("patients"),
            remedy="give a CSV with the columns file and patient, or null",
        )
    if table and tag:
        raise ConfigError(
            "patients come from the table or from 'patient_tag', not from both",
            where=request.key("patients"),
            remedy="set one of them to null",
        )
    return folder / table if table else None


@dataclass
class _Walk:
    """A user's folder, with what is wrong and what is left out in it."""

    folder: Path
    skipped: Skipped = field(default_factory=Skipped)
    bad: list[DataError] = field(default_factory=list)
    linked: list[str] = field(default_factory=list)
    by_content: list[str] = field(default_factory=list)

    def name(self, path: Path) -> str:
        """A path below the folder, for messages."""
        return _printable(path.relative_to(self.folder).as_posix())

    def entries(self, folder: Path) -> Iterator[Path]:
        """What a folder holds and is the user's own, in order."""
        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            self.bad.append(unreadable(str(folder), error))
            return
        for path in paths:
            if is_clutter(path.name):
                self.skipped.add("hidden or of the system", self.name(path))
            elif not path.exists():
                self.refuse(path, "is a link to nothing", "replace or remove it")
            elif _printable(path.name) != path.name:
                self.refuse(path, "has a name that is not UTF-8", "rename it")
            else:
                yield path

    def images(self, folder: Path, seen: set[Path]) -> Iterator[Path]:
        """The images at any depth below a folder; each folder is read once."""
        seen.add(folder.resolve())
        for path in self.entries(folder):
            if path.is_dir():
                if path.resolve() in seen:
                    self.skipped.add("links to folders that are read already", self.name(path))
                    continue
                if path.is_symlink():
                    self.linked.append(self.name(path))
                yield from self.images(path, seen)
            elif self._is_image(path):
                yield path

    def refuse(self, path: Path, what: str, remedy: str) -> None:
        """Notes a path that must be repaired before anything is read."""
        self.bad.append(DataError(what, where=self.folder / self.name(path), remedy=remedy))

    def _is_image(self, path: Path) -> bool:
        """Whether to read a file; opens only files whose suffix does not decide."""
        if not path.is_file():
            self.refuse(path, "is no regular file", "remove it")
            return False
        suffixes = [suffix.lower() for suffix in path.suffixes]
        suffix = "".join(suffixes[-2:-1] if suffixes[-1:] == [".gz"] else suffixes[-1:])
        unread = NOT_READ.get(suffix)
        if unread is None:
            if suffix in SUFFIXES:
                return True
            try:
                with path.open("rb") as file:
                    head = file.read(dicom.HEAD)
            except OSError as error:
                self.bad.append(unreadable(str(path), error))
                return False
            if dicom.is_dicom(head) or is_picture(path):
                self.by_content.append(self.name(path))
                return True
            unread = unread_format(head)
        if unread is None:
            self.skipped.add("no image", self.name(path))
        else:
            self.bad.append(refuse_format(unread, str(path)))
        return False


def _printable(name: str) -> str:
    """A file's name as Unicode: bytes that are none cannot be written to any table."""
    return name.encode("utf-8", "backslashreplace").decode()


def _classes(request: Request, walk: _Walk, table: Path | None) -> dict[str, Path]:
    """The folder of every class, in the order of the labels."""
    folders: dict[Path, str] = {}
    for path in walk.entries(walk.folder):
        if path.is_dir():
            folders[path] = unicodedata.normalize("NFC", path.name)
        elif path != table:
            walk.skipped.add("in no class folder", walk.name(path))
    _refuse_alike(walk.folder, list(folders.values()))
    named = request.entry.get("classes")
    wanted = [unicodedata.normalize("NFC", name) for name in named or sorted(folders.values())]
    if len(wanted) < 2:
        raise DataError(
            f"has {len(wanted)} sub-folders",
            where=walk.folder,
            remedy="make one sub-folder of images per class, at least two",
        )
    if not named and _SUBSETS.issuperset(name.lower() for name in wanted):
        raise DataError(
            f"has the sub-folders {', '.join(wanted)}, which are no classes",
            where=walk.folder,
            remedy="make one sub-folder per class, the images of all parts together; a scheme of "
            "config/catalogue/splits.yaml divides them",
        )
    place = {name: path for path, name in folders.items()}
    for name in wanted:
        if name not in place:
            raise DataError(
                f"has no folder for class '{name}', but {', '.join(sorted(place)) or 'none'}",
                where=walk.folder,
                remedy=f"correct 'classes' of data set '{request.name}', or rename the folder",
            )
    for path, name in folders.items():
        if name not in wanted:
            count = sum(found.is_file() for found in path.rglob("*"))
            walk.skipped.add("in folders that 'classes' does not name", walk.name(path), count)
    return {name: place[name] for name in wanted}


def _refuse_alike(folder: Path, names: Sequence[str]) -> None:
    """Raises where two classes are one on another system."""
    known: dict[str, str] = {}
    for name in names:
        form = unicodedata.normalize("NFKC", name).casefold().strip()
        if form in known:
            raise DataError(
                f"has two classes, '{known[form]}' and '{name}', that differ only in letter case, "
                "spaces or Unicode form",
                where=folder,
                remedy="join or rename them",
            )
        known[form] = name


def _list(walk: _Walk, classes: Mapping[str, Path]) -> pd.DataFrame:
    """One row per image: path, file (as it is compared), label."""
    rows = []
    for label, folder in enumerate(classes.values()):
        found = [
            {"path": path, "file": file_key(walk.name(path)), "label": label}
            for path in walk.images(folder, set())
        ]
        if not found and not walk.bad:
            raise DataError(
                "contains no images",
                where=folder,
                remedy=f"known are {', '.join(sorted(SUFFIXES))} and DICOM without suffix; remove "
                "the folder if it is none of the classes",
            )
        rows.extend(sorted(found, key=itemgetter("file")))
    if walk.bad:
        raise all_at_once(walk.bad, len(rows) + len(walk.bad))
    samples = pd.DataFrame(rows)
    twice = samples.loc[samples["file"].duplicated(), "file"]
    if len(twice):
        raise DataError(
            "is the name of two files, in two Unicode forms",
            where=walk.folder / twice.iloc[0],
            remedy="rename one of them",
        )
    walk.skipped.tell(walk.folder)
    for what, names in (
        ("linked folders are followed", walk.linked),
        ("files of another suffix, or none, are images by their content", walk.by_content),
    ):
        if names:
            log.warning("%s: %s: %d ('%s')", walk.folder, what, len(names), names[0])
    return samples


def _size_of_first(files: Sequence[str], decoding: Decoding) -> tuple[int, int]:
    """(H, W) of the first image that can be read; if none can, decoding names them all."""
    for name in files:
        with suppress(OSError, DataError):
            return decode(Path(name).read_bytes(), decoding, name).pixels.shape[1:]
    return 1, 1
