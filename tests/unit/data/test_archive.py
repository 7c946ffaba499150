"""Archives of strangers: read when sound, refused as a whole when not."""

import gzip
import io
import stat
import tarfile
import tracemalloc
import zipfile

import pytest
from data_factory import PETS, zip_of

from assay.data import archive as module
from assay.data.archive import open_archive
from assay.foundation.errors import DataError


def tar_of(path, entries, mode="w:gz", links=()):
    with tarfile.open(path, mode) as out:
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            out.addfile(info)
    return path


def read_all(path):
    with open_archive(path) as archive:
        return {name: archive.read(name) for name in archive.sizes}


@pytest.mark.parametrize("form", ["zip", "w", "w:gz", "w:xz"])
def test_zip_and_tar_give_the_same_entries(tmp_path, form):
    path = tmp_path / "pets"
    if form == "zip":
        path.write_bytes(zip_of(PETS))
    else:
        tar_of(path, PETS, form)
    assert read_all(path) == PETS


@pytest.mark.parametrize(
    "name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "C:/evil.png", "..\\evil.png"]
)
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_an_entry_that_points_outside_condemns_the_archive(tmp_path, name, form):
    path = tmp_path / "pets"
    entries = {**PETS, name: b"evil"}
    if form == "zip":
        path.write_bytes(zip_of(entries))
    else:
        tar_of(path, entries)
    with pytest.raises(DataError, match="points outside"), open_archive(path):
        pass
    assert list(tmp_path.iterdir()) == [path]


def test_links_are_refused_in_tar_and_zip(tmp_path):
    tar = tar_of(tmp_path / "pets.tar", PETS, links=[("x/link.png", "/etc/passwd")])
    with pytest.raises(DataError, match="is a link"), open_archive(tar):
        pass
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w") as out:
        info = zipfile.ZipInfo("x/link.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        out.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="is a link"), open_archive(path):
        pass


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, form):
    path, zeros = tmp_path / "bomb", {"a.png": bytes(4_000_000)}
    if form == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
            out.writestr("a.png", zeros["a.png"])
    else:
        tar_of(path, zeros)
    with pytest.raises(DataError, match="would unpack to more than"), open_archive(path):
        pass


def test_the_total_size_is_bounded_too(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    path = tmp_path / "pets.zip"
    path.write_bytes(zip_of(PETS))
    with pytest.raises(DataError, match="would unpack to more than 100 bytes"), open_archive(path):
        pass


@pytest.mark.parametrize("form", ["zip", "tar", "gz"])
def test_a_truncated_archive_is_called_damaged(tmp_path, form):
    path = tmp_path / "pets"
    if form == "zip":
        path.write_bytes(zip_of(PETS))
    else:
        tar_of(path, PETS, "w" if form == "tar" else "w:gz")
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(DataError, match="pets: is damaged or cut short") as caught:
        read_all(path)
    assert "\n" not in str(caught.value)


def test_flipped_bytes_inside_an_entry_are_noticed(tmp_path):
    data = bytearray(zip_of(PETS))
    data[100] ^= 0xFF
    path = tmp_path / "pets.zip"
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        read_all(path)


def test_something_else_is_no_archive(tmp_path):
    path = tmp_path / "page.zip"
    path.write_text("<html>not found</html>")
    with pytest.raises(DataError, match=r"page\.zip: is damaged"), open_archive(path):
        pass


def header(name, size=0, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.USTAR_FORMAT)


def long_names(kind, each, count):
    """Entries with an extended header of `each` bytes before each."""
    for number in range(count):
        text = f"{each} path={number}" if kind == tarfile.XHDTYPE else f"{number}"
        yield header("x", each, kind) + text.encode() + b"a" * (each - len(text) - 1)
        yield b"\n" if kind == tarfile.XHDTYPE else b"\0"
        yield bytes(-each % 512) + header("a.png")


@pytest.mark.parametrize(
    "pieces",
    [
        lambda: long_names(tarfile.XHDTYPE, 100_000_000, 1),
        lambda: long_names(tarfile.XHDTYPE, 1_000_000, 100),
        lambda: long_names(tarfile.GNUTYPE_LONGNAME, 1_000_000, 100),
        lambda: (header("a.png") * 1000 for _ in range(20)),
    ],
    ids=["one long header", "many long headers", "long names", "many entries"],
)
def test_headers_that_would_fill_the_memory_are_refused_before_they_do(
    tmp_path, pieces, monkeypatch
):
    monkeypatch.setattr(module, "LEAST_HEADERS", 4 * 2**20)
    path = tmp_path / "bomb.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as out:
        for piece in pieces():
            out.write(piece)
        out.write(bytes(1024))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="headers out of proportion"), open_archive(path):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * module.LEAST_HEADERS


def test_extended_headers_of_honest_archives_are_read(tmp_path):
    entries = {f"{'deep/' * 40}é{number}.png": b"x" for number in range(50)}
    path = tmp_path / "pets.tar"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as out:
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1.5
            out.addfile(info, io.BytesIO(data))
    assert read_all(path) == entries


def test_separators_of_windows_are_separators(tmp_path):
    path = tmp_path / "pets.zip"
    path.write_bytes(zip_of({"pets\\cat\\1.png": b"x"}))
    assert read_all(path) == {"pets/cat/1.png": b"x"}
