"""The outcome schema."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from assay.foundation.errors import OutcomeError
from assay.foundation.outcomes import (
    NEW,
    OUTCOME_COLUMNS,
    read_outcomes,
    score_reader,
    write_outcomes,
)
from assay.foundation.provenance import read_provenance


def rows(n=3, **changes):
    values = dict.fromkeys(OUTCOME_COLUMNS, 0)
    values |= dict.fromkeys(("dataset", "split", "model", "suite", "attack", "view"), "a")
    values |= {"route": "", "silent_success": False}
    frame = pd.DataFrame(
        {**values, "norm": "linf", "misclassified": False, "log_px": np.nan}, index=range(n)
    )
    frame["sample"] = range(n)
    frame["epsilon"] = 0.1
    frame["scores"] = [[0.25, 0.75]] * n
    return frame.assign(**changes)


def test_rows_come_back_as_written_with_their_provenance(tmp_path):
    path = tmp_path / "x.parquet"
    write_outcomes(rows(), path, {"seed": 7})
    back = read_outcomes(path)
    assert list(back.columns) == list(OUTCOME_COLUMNS)
    assert back["epsilon"].tolist() == [0.1] * 3
    assert score_reader(back["scores"])(np.arange(3)).tolist() == [[0.25, 0.75]] * 3
    assert back["log_px"].isna().all()
    assert read_provenance(path) == {"seed": 7}


def test_files_of_several_jobs_are_joined_with_their_names(tmp_path):
    for name in "ab":
        write_outcomes(rows(model=name), tmp_path / name, {})
    assert read_outcomes([tmp_path / "a", tmp_path / "b"])["model"].tolist() == list("aaabbb")


def test_only_the_columns_that_are_asked_for_are_read(tmp_path):
    path = tmp_path / "x.parquet"
    write_outcomes(rows(model="m"), path, {})
    some = read_outcomes([path, path], ["sample", "scores", "model"])
    assert list(some.columns) == ["sample", "scores", "model"]
    pd.testing.assert_frame_equal(some[:3], read_outcomes(path)[["sample", "scores", "model"]])
    assert list(read_outcomes([], ["sample"]).columns) == ["sample"]


def test_scores_are_one_block_of_numbers_wherever_they_come_from(tmp_path):
    shares = np.random.default_rng(0).random((3, 4)).astype(np.float32)
    frame = rows(scores=list(shares))
    write_outcomes(frame, tmp_path / "x", {})
    # A resumed job joins rows that it read to rows that it made, and writes both.
    back = read_outcomes(tmp_path / "x")
    write_outcomes(pd.concat([back, frame.assign(sample=9 + frame["sample"])]), tmp_path / "y", {})
    write_outcomes(rows(), tmp_path / "two_classes", {})
    back = read_outcomes([tmp_path / name for name in ("x", "two_classes", "y")])
    for scores in (back.scores, back.scores.astype(object)):
        read = score_reader(scores)
        assert np.array_equal(read(np.array([2, 0])), shares[[2, 0]])
        assert np.array_equal(read(np.array([3, 5])), [[0.25, 0.75]] * 2)
        assert np.array_equal(read(np.arange(6, 12)), np.concatenate([shares, shares]))
    later = score_reader(back.scores[6:])
    assert np.array_equal(later(np.array([1, 5])), shares[[1, 2]])


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (rows().drop(columns="view"), "columns missing: .'view'"),
        (rows(extra=1), "unknown: .'extra'"),
        (rows(norm="l7"), "unknown norms"),
        (rows(sample=0), "occurs twice"),
        (rows(label="cat"), "label"),
    ],
)
def test_rows_that_break_the_schema_are_refused(tmp_path, frame, message):
    with pytest.raises(OutcomeError, match=message):
        write_outcomes(frame, tmp_path / "x.parquet", {})
    assert not (tmp_path / "x.parquet").exists()


def test_a_file_of_the_first_version_is_read_with_the_new_columns_empty(tmp_path):
    new, old = tmp_path / "new.parquet", tmp_path / "old.parquet"
    write_outcomes(rows(best_loss=-1.5, last_improvement=0.5, silent_success=True), new, {})
    pq.write_table(pq.read_table(new).drop_columns(list(NEW)), old)
    both = read_outcomes([old, new])
    assert list(both.columns) == list(OUTCOME_COLUMNS)
    assert both["route"].tolist() == [""] * 6
    assert both["best_loss"].tolist()[3:] == [-1.5] * 3
    assert both["silent_success"].tolist() == [pd.NA] * 3 + [True] * 3
    assert both[["best_loss", "last_improvement"]][:3].isna().all(axis=None)
    assert read_outcomes(old, ["sample", "route"])["route"].tolist() == [""] * 3
    write_outcomes(both.assign(sample=range(6)), tmp_path / "again.parquet", {})
    again = read_outcomes(tmp_path / "again.parquet")["silent_success"]
    assert again.tolist() == both["silent_success"].tolist()


def test_the_rows_of_single_routes_are_no_further_samples(tmp_path):
    path = tmp_path / "x.parquet"
    write_outcomes(pd.concat([rows(), rows(route="bpda", misclassified=True)]), path, {})
    assert len(read_outcomes(path)) == 6
    with pytest.raises(OutcomeError, match="occurs twice"):
        write_outcomes(pd.concat([rows(), rows()]), path, {})


def test_a_truncated_file_is_named_with_its_remedy(tmp_path):
    path = tmp_path / "x.parquet"
    write_outcomes(rows(), path, {})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OutcomeError, match=r"x\.parquet: cannot be read.*delete the file"):
        read_outcomes(path)
