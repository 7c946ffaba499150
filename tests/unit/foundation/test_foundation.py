"""Seeds, files, errors, registries and scripts."""

import errno
import os
import pickle
import subprocess
import sys
import tempfile
import time

import pytest

from assay.foundation.errors import AssayError, ConfigError
from assay.foundation.files import atomic_path, digest_of, read_json, write_json, write_text
from assay.foundation.registry import load
from assay.foundation.seeds import rng_for, seed_for


def test_seeds_depend_on_every_part_of_a_name_and_on_nothing_else():
    assert seed_for("train", "a", 1) == seed_for("train", "a", "1")
    assert (
        len({seed_for("a", "bc"), seed_for("ab", "c"), seed_for("abc"), seed_for("bc", "a")}) == 4
    )
    assert 0 <= seed_for("x") < 2**63
    assert (rng_for("x").random(3) == rng_for("x").random(3)).all()


def test_an_error_is_one_line_with_place_and_remedy_and_survives_a_process_pool():
    error = ConfigError("unknown key\n'x'", where="file.yaml", remedy="use 'y'")
    assert str(error) == "file.yaml: unknown key 'x'; use 'y'"
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is ConfigError
    assert str(copy) == str(error)


def test_a_failed_write_leaves_the_earlier_file_and_nothing_else(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    write_text(target, "first")

    def break_off():
        with atomic_path(target) as path:
            path.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert target.read_text() == "first"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_what_a_killed_writer_left_is_swept_after_a_day(tmp_path):
    for name in (".file.txt.torn", ".file.txt.alive", ".other.txt.torn"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.txt").touch()
    yesterday = time.time() - 25 * 3600
    for name in (".file.txt.torn", ".other.txt.torn"):
        os.utime(tmp_path / name, (yesterday, yesterday))
    write_text(tmp_path / "file.txt", "whole")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"file.txt", ".file.txt.alive", ".other.txt.torn"}


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "folder"
    for name in ("old", "new"):
        with atomic_path(target) as path:
            path.mkdir()
            (path / name).touch()
    assert [path.name for path in target.iterdir()] == ["new"]


def test_a_full_disk_is_told_in_one_line_that_names_the_file(tmp_path):
    with (
        pytest.raises(AssayError, match=r"file\.txt: no space left"),
        atomic_path(tmp_path / "file.txt"),
    ):
        raise OSError(errno.ENOSPC, "no space")


@pytest.mark.parametrize("reason", [errno.EROFS, errno.EACCES])
def test_a_folder_that_may_not_be_written_is_told_in_one_line(tmp_path, monkeypatch, reason):
    def refused(**arguments):
        raise OSError(reason, "no")

    monkeypatch.setattr(tempfile, "mkdtemp", refused)
    with pytest.raises(AssayError, match=r"file\.txt: it cannot be written; give this user"):
        write_text(tmp_path / "file.txt", "text")


def test_json_that_is_none_is_named(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1})
    assert read_json(tmp_path / "a.json") == {"b": 1}
    write_text(tmp_path / "a.json", "{")
    with pytest.raises(AssayError, match=r"a\.json: cannot be read as JSON"):
        read_json(tmp_path / "a.json")


def test_digests_of_values_ignore_the_order_of_keys_only():
    assert digest_of({"a": 1, "b": [1, 2]}) == digest_of({"b": [1, 2], "a": 1})
    assert digest_of([1, 2]) != digest_of([2, 1])


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ("assay.nothing:X", "no module"),
        ("assay.foundation.seeds:nothing", "has no 'nothing'"),
        ("assay.foundation.seeds", "form"),
    ],
)
def test_a_wrong_implementation_is_named(specification, message):
    with pytest.raises(ConfigError, match=message):
        load(specification)


SCRIPT = """
from assay.foundation.errors import DataError
from assay.foundation.scripts import script_log
with script_log({log!r}):
    print("to the log")
    raise {error}
"""


@pytest.mark.parametrize(
    ("error", "shown", "traceback"),
    [
        ("DataError('no such image', where='a.png')", "error: a.png: no such image", False),
        ("ValueError('a bug')", "error: ValueError: a bug", True),
    ],
)
def test_a_script_tells_users_one_line_and_keeps_a_traceback_only_for_bugs(
    tmp_path, error, shown, traceback
):
    log = tmp_path / "logs" / "x.log"
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(log=str(log), error=error)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": "workflow"},
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert run.stderr.startswith(shown)
    assert run.stdout == ""
    assert "to the log" in log.read_text()
    assert ("Traceback" in log.read_text()) is traceback
