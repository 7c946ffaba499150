"""Rows of single routes change no accuracy, no cost and no check."""

import factory
import pandas as pd

from assay.analysis import accuracy
from assay.analysis.checks.report import checks
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.rows import with_scheme, worst_case_over_views
from assay.analysis.run_files import RunFile, RunFiles
from assay.foundation.outcomes import read_outcomes, write_outcomes


def with_routes(rows):
    """The rows, and for each a route that fools every image."""
    routes = rows.assign(route="bpda", misclassified=True, backwards=10_000)
    return pd.concat([rows, routes], ignore_index=True)


def some_rows():
    rows = factory.outcomes(models=["gbz"], folds=1, per_fold=12)
    return rows.query("suite == 'linf_whitebox'").reset_index(drop=True)


def test_analyses_of_rows_leave_single_routes_out():
    rows = some_rows()
    both = with_routes(rows)
    assert len(worst_case_over_views(both)) == len(rows)
    pd.testing.assert_frame_equal(with_scheme(both), with_scheme(rows), check_dtype=False)
    pd.testing.assert_frame_equal(accuracy.accuracy(both), accuracy.accuracy(rows))
    pd.testing.assert_frame_equal(checks(both), checks(rows))


def test_a_study_reads_the_worst_case_unless_routes_are_asked_for(tmp_path):
    rows = some_rows()
    write_outcomes(with_routes(rows), tmp_path / "a.parquet", {})
    ids = {"dataset": factory.DATASET, "split": "kfold_0", "model": "gbz"}
    item = RunFile(**ids, suite="linf_whitebox", path=str(tmp_path / "a.parquet"))
    inputs = AnalysisInputs(RunFiles(scale="smoke", seed=1, outcomes=(item,)))
    assert list(inputs.outcomes(["sample"]).columns) == ["sample"]
    assert len(inputs.outcomes(["sample"])) == len(rows)
    assert set(inputs.outcomes(["route", "sample"]).route) == {""}
    assert set(inputs.routes(["route"]).route) == {"", "bpda"}
    assert len(read_outcomes(tmp_path / "a.parquet")) == 2 * len(rows)
