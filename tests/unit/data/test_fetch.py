"""Files come verified from the mirror, the cache or the web, or not at all."""

import hashlib
import socket

import pytest
from data_factory import serve, sha256

from assay.data.fetch import CHUNK, ResumingDownloader, content_digest, fetch
from assay.foundation.errors import DownloadError

DATA = bytes(range(256)) * 400


def file(url: str | None = None, data: bytes = DATA) -> dict:
    copy = {"digest": sha256(data), "urls": [url] if url else [], "what": "the real one"}
    return {"path": "sub/data.bin", "copies": [copy]}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("assay.data.fetch.time.sleep", lambda _: None)


@pytest.fixture
def server():
    with serve({"data.bin": DATA}) as running:
        yield running


def leftovers(cache):
    """Whatever in the cache could be taken for the file."""
    return [p.name for p in cache.rglob("*") if p.is_file() and p.suffix not in (".lock", ".part")]


def test_the_mirror_is_used_without_asking_the_web(tmp_path, server):
    place = tmp_path / "mirror/sub/data.bin"
    place.parent.mkdir(parents=True)
    place.write_bytes(DATA)
    got = fetch(file(server.url("data.bin")), mirror=tmp_path / "mirror", cache=tmp_path / "cache")
    assert (got.path, got.origin, got.digest) == (place, "mirror", sha256(DATA))
    assert server.asked == []
    assert str(tmp_path) not in str(got.record())


def test_a_wrong_file_in_the_mirror_is_named_and_not_read(tmp_path):
    place = tmp_path / "sub/data.bin"
    place.parent.mkdir()
    place.write_bytes(DATA[:-1])
    with pytest.raises(DownloadError, match=r"sub/data\.bin: is not the file .*; replace it"):
        fetch(file(), mirror=tmp_path, cache=tmp_path / "cache")
    assert place.read_bytes() == DATA[:-1]


def test_a_file_missing_from_the_mirror_is_downloaded_once_and_then_kept(tmp_path, server):
    wanted = file(server.url("data.bin"))
    first = fetch(wanted, mirror=tmp_path / "mirror", cache=tmp_path / "cache")
    second = fetch(wanted, mirror=None, cache=tmp_path / "cache")
    assert (first.origin, second.origin) == ("download", "cache")
    assert second.path.read_bytes() == DATA
    assert len(server.asked) == 1
    assert leftovers(tmp_path / "cache") == ["data.bin"]


def test_a_spoilt_file_in_the_cache_is_fetched_anew(tmp_path, server):
    kept = tmp_path / "sub/data.bin"
    kept.parent.mkdir()
    kept.write_bytes(b"spoilt")
    assert fetch(file(server.url("data.bin")), mirror=None, cache=tmp_path).origin == "download"
    assert kept.read_bytes() == DATA


def test_a_broken_connection_is_taken_up_where_it_broke(tmp_path, server):
    server.break_after = [2 * CHUNK, 3 * CHUNK]
    got = fetch(file(server.url("data.bin")), mirror=None, cache=tmp_path)
    assert got.path.read_bytes() == DATA
    assert server.asked == [None, f"bytes={2 * CHUNK}-", f"bytes={5 * CHUNK}-"]


def test_a_killed_run_goes_on_in_the_next_run(tmp_path, server):
    part = tmp_path / "sub/data.bin.part"
    part.parent.mkdir()
    part.write_bytes(DATA[:70_000])
    got = fetch(file(server.url("data.bin")), mirror=None, cache=tmp_path)
    assert got.path.read_bytes() == DATA
    assert server.asked == ["bytes=70000-"]
    assert not part.exists()


def test_a_download_that_was_complete_but_not_yet_checked_is_not_repeated(tmp_path, server):
    part = tmp_path / "sub/data.bin.part"
    part.parent.mkdir()
    part.write_bytes(DATA)
    got = fetch(file(server.url("data.bin")), mirror=None, cache=tmp_path)
    assert got.path.read_bytes() == DATA
    assert server.asked == [f"bytes={len(DATA)}-"]


def test_a_partial_file_longer_than_the_file_is_thrown_away(tmp_path, server):
    part = tmp_path / "sub/data.bin.part"
    part.parent.mkdir()
    part.write_bytes(DATA + b"more")
    assert fetch(file(server.url("data.bin")), mirror=None, cache=tmp_path).path.is_file()


def test_a_server_without_ranges_sends_everything_again(tmp_path, server):
    server.ranges, server.break_after = False, [30_000]
    got = fetch(file(server.url("data.bin")), mirror=None, cache=tmp_path)
    assert got.path.read_bytes() == DATA


def test_a_server_that_hangs_up_at_once_each_time_ends_in_one_clear_line(tmp_path, server):
    server.break_after = [0] * 9
    with pytest.raises(DownloadError) as caught:
        fetch(file(server.url("data.bin")), mirror=None, cache=tmp_path)
    assert "\n" not in str(caught.value)
    assert "data_mirror" in str(caught.value)
    assert server.url("data.bin") in str(caught.value)
    assert leftovers(tmp_path) == []


def test_wrong_bytes_are_refused_and_removed(tmp_path, server):
    server.files["data.bin"] = b"!" + DATA[1:]
    wanted = file(server.url("data.bin"))
    with pytest.raises(DownloadError, match="sent a different file than sha256:"):
        fetch(wanted, mirror=None, cache=tmp_path)
    assert leftovers(tmp_path) == []
    server.files["data.bin"] = DATA
    assert fetch(wanted, mirror=None, cache=tmp_path).path.read_bytes() == DATA


def test_a_missing_page_is_not_asked_for_again(tmp_path, server):
    with pytest.raises(DownloadError, match="404"):
        fetch(file(server.url("nothing")), mirror=None, cache=tmp_path)
    assert len(server.asked) == 1


def test_a_server_in_trouble_is_asked_several_times(tmp_path, server):
    server.status = 503
    with pytest.raises(DownloadError, match="503"):
        fetch(file(server.url("data.bin")), mirror=None, cache=tmp_path)
    assert len(server.asked) == 4


def test_without_network_the_message_says_what_to_do(tmp_path):
    with socket.socket() as unused:  # a port at which nobody answers
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/data.bin"
        with pytest.raises(DownloadError) as caught:
            fetch(file(url), mirror=tmp_path / "mirror", cache=tmp_path / "cache")
    text = str(caught.value)
    assert text.startswith("sub/data.bin: not in the mirror")
    assert "is there a network?" in text
    assert "put sub/data.bin into a folder and set data_mirror" in text


def test_a_file_without_address_says_so(tmp_path):
    with pytest.raises(DownloadError, match="no data_mirror is set, and there is no public"):
        fetch(file(), mirror=None, cache=tmp_path)


def test_any_accepted_copy_will_do_and_the_one_read_is_recorded(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"repacked")
    copies = [
        {"digest": "md5:" + hashlib.md5(b"published").hexdigest(), "what": "the publisher's"},
        {"digest": sha256(b"repacked"), "what": "equal in content"},
    ]
    got = fetch({"path": "a.bin", "copies": copies}, mirror=tmp_path, cache=tmp_path / "cache")
    assert got.record()["copy"] == "equal in content"
    assert got.record()["digest"] == sha256(b"repacked")


def test_a_second_address_helps_when_the_first_fails(tmp_path, server):
    wanted = file()
    wanted["copies"][0]["urls"] = [server.url("gone"), server.url("data.bin")]
    assert fetch(wanted, mirror=None, cache=tmp_path).path.read_bytes() == DATA


def test_the_content_digest_ignores_order_but_not_names_or_bytes():
    entries = [("a", b"1"), ("b", b"2")]
    same = content_digest(entries)
    assert content_digest(reversed(entries)) == same
    assert content_digest([("a", b"2"), ("b", b"1")]) != same
    assert content_digest([("a", b"1"), ("c", b"2")]) != same


def test_progress_resets_the_patience(tmp_path, server):
    server.break_after = [CHUNK] * 5
    target = tmp_path / "whole"
    ResumingDownloader(tmp_path / "p", attempts=2)(server.url("data.bin"), str(target))
    assert target.read_bytes() == DATA
