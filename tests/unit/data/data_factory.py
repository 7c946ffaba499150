"""Small archives, folders and a misbehaving web server for the tests of `assay.data`."""

from __future__ import annotations

import copy
import hashlib
import io
import re
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

from assay.plan.configuration import Configuration, read_configuration

ROOT = Path(__file__).resolve().parents[3]


def catalogue(kind: str = "datasets") -> dict:
    """A catalogue as the repository's file makes it, without the changes of a scale."""
    return copy.deepcopy(_configuration().unscaled[kind])


@cache
def _configuration() -> Configuration:
    return read_configuration()


def png(seed: int, size: tuple[int, int] = (8, 8), mode: str = "L") -> bytes:
    """A random image file; `size` is (width, height)."""
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def zip_of(entries: Mapping[str, bytes]) -> bytes:
    """A stored zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # a fixed date: the same bytes each time
    return out.getvalue()


def sha256(data: bytes) -> str:
    """A digest as catalogues write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def archive_entry(digest: str, urls: tuple[str, ...] = (), **settings) -> dict:
    """A catalogue entry of kind image_archive with the classes `cat` and `dog`."""
    copy = {"digest": digest, "urls": list(urls), "what": "a test"}
    pattern = r"(?P<split>train|test)/(?P<class>\w+)/(?P<who>[a-z]+)\d*\.png"
    return {
        "title": "Test",
        "kind": "image_archive",
        "classes": ["cat", "dog"],
        "shape": [1, 8, 8],
        "files": [{"path": "pets.zip", "copies": [copy]}],
        "patient": {"id": "{class}/{who}", "reason": "test"},
        "settings": {"pattern": pattern, **settings},
    }


PETS = {
    "x/test/dog/rex1.png": png(3),
    "x/train/cat/tom1.png": png(0),
    "x/train/cat/tom2.png": png(1),
    "x/train/dog/rex2.png": png(3),
    "x/README.txt": b"not an image",
}


class Server:
    """A web server on this machine that can break off, lie and refuse.

    Attributes:
        files: what it serves, by path.
        break_after: bytes after which it hangs up, as often as the list is long.
        ranges: whether it understands requests for a part of a file.
        status: answered to everything, if not 200.
        asked: the Range headers of all requests.
    """

    def __init__(self, files: Mapping[str, bytes]):
        self.files = dict(files)
        self.break_after: list[int] = []
        self.ranges, self.status = True, 200
        self.asked: list[str | None] = []
        self.base = ""

    def url(self, name: str) -> str:
        """The address of a file."""
        return f"{self.base}/{name}"


@contextmanager
def serve(files: Mapping[str, bytes]) -> Iterator[Server]:
    """Runs a :class:`Server` on a free port of 127.0.0.1."""
    state = Server(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append(wanted)
            data = state.files.get(self.path.lstrip("/"))
            if state.status != 200 or data is None:
                self.send_error(404 if state.status == 200 else state.status)
                return
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and state.ranges else 0
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            end = state.break_after.pop(0) + start if state.break_after else len(data)
            self.wfile.write(data[start:end])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def folder_of(root: Path, files: Mapping[str, bytes]) -> Path:
    """Writes files below a folder; returns the folder."""
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    """An image as the bytes of a file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def dicom(pixels: np.ndarray, *, syntax: str | None = None, data: bytes = b"", **header) -> bytes:
    """A DICOM file of one grey (H, W) or RGB (H, W, 3) image.

    Args:
        pixels: uint8, uint16 or int16.
        syntax: transfer syntax; without it explicit little endian.
        data: encoded pixels, for a compressed syntax.
        header: elements that differ.
    """
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    dataset, bits = Dataset(), 8 * pixels.itemsize
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "H-4711"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = encapsulate([data]) if data else pixels.tobytes()
    if data:
        dataset["PixelData"].is_undefined_length = True
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()
