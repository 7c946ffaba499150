"""Archives of strangers: read when sound, refused as a whole when not."""

import io
import stat
import tarfile
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
