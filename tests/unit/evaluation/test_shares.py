"""A share of a suite carries its finished chunks to another machine, and nothing else."""

import zipfile

import pytest

from assay.evaluation.shares import pack_share, unpack_share
from assay.foundation.errors import OutcomeError


def chunk(work, attack, number, *endings):
    (work / attack).mkdir(parents=True, exist_ok=True)
    for ending in endings:
        (work / attack / f"chunk_{number:03d}{ending}").write_text(f"{attack} {number} {ending}")


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_finished_chunks_arrive_and_what_is_half_done_stays(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    chunk(here, "pgd_ab12", 0, ".npz", ".parquet")
    chunk(here, "fgsm_cd34", 11, ".npz", ".parquet")
    finished = files(here)
    chunk(here, "fgsm_cd34", 1, ".npz")  # its rows are not written yet
    chunk(here, "aa_ef56", 0, "_after_1.npz")  # a stage of an ensemble
    pack_share(here, tmp_path / "share", seconds=12.5)
    assert unpack_share(tmp_path / "share", there) == 12.5
    assert files(there) == finished


def test_chunks_that_are_there_already_are_left_alone(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    chunk(here, "pgd_ab12", 0, ".npz", ".parquet")
    pack_share(here, tmp_path / "share", seconds=1)
    chunk(there, "pgd_ab12", 0, ".npz", ".parquet")
    times = {path: path.stat().st_mtime_ns for path in there.rglob("chunk*")}
    unpack_share(tmp_path / "share", there)
    assert times == {path: path.stat().st_mtime_ns for path in there.rglob("chunk*")}


@pytest.mark.parametrize("damage", ["cut", "empty", "a path outside"])
def test_a_damaged_share_is_named_with_the_remedy(tmp_path, damage):
    here, share = tmp_path / "here", tmp_path / "share"
    chunk(here, "pgd_ab12", 0, ".npz", ".parquet")
    pack_share(here, share, seconds=1)
    if damage == "a path outside":
        with zipfile.ZipFile(share, "a") as packed:
            packed.writestr("../outside", "text")
    else:
        share.write_bytes(share.read_bytes()[:40] if damage == "cut" else b"")
    with pytest.raises(OutcomeError, match=r"share: the share is damaged .*; remove the file"):
        unpack_share(share, tmp_path / "there")
    assert not (tmp_path / "outside").exists()
