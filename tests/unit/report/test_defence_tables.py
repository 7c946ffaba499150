"""Tables about defences: what is left beside the base network, and how successes are counted."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from factory import DATASET, study, varied, write_run
from report_factory import table_of

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.remaining import remaining
from assay.foundation.errors import ConfigError
from assay.foundation.outcomes import read_outcomes, write_outcomes
from assay.report.page_cells import value_of

LEFT = {
    "title": "What is left",
    "models": ["dbx"],
    "attacks": ["fgsm", "pgd_linf"],
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A defence whose PGD has a row for each of two routes, each of which fools half as often."""
    run = write_run(tmp_path_factory.mktemp("routes"), models=("gbz", "dbx"), folds=1, per_fold=40)
    for item in run.outcomes:
        rows = read_outcomes(item.path)
        if item.model != "dbx" or "pgd_linf" not in set(rows.attack):
            continue
        pgd = rows[rows.attack == "pgd_linf"]
        even = (pgd["sample"] % 2 == 0).to_numpy()
        parts = [rows]
        for route, mine in (("through_model", even), ("base_model", ~even)):
            parts.append(pgd.assign(route=route, misclassified=pgd.misclassified & mine))
        whole = [part.astype({"route": str}).astype(object) for part in parts]
        _write(whole, rows, item.path)
    return AnalysisInputs(run, study())


def _write(parts, like, path):
    frame = pd.concat(parts, ignore_index=True)
    types = {name: kind for name, kind in like.dtypes.items() if name not in ("route", "scores")}
    write_outcomes(frame.astype(types), path, {})


def test_what_is_left_is_shown_route_by_route_with_its_n(inputs):
    table = table_of("remaining", LEFT, inputs.study, inputs)
    first = table.tidy.epsilon.min()
    shown = table.display[(table.tidy.epsilon == first).to_numpy()]
    assert [text.replace(" (", "; ") for text in shown["Attack"]] == [
        "FGSM",
        "PGD L∞, through the defence",
        "PGD L∞, on the base network",
        "PGD L∞, worst case per image",
        "Worst case over 2 attacks, per image",
    ]
    assert set(shown["n"]) == {"40"}
    assert set(shown["Defence"]) == {"DBX"}
    worst = table.tidy[table.tidy.epsilon == first].iloc[-1]
    assert value_of(shown["Accuracy"].iloc[-1]) == pytest.approx(worst.accuracy, abs=5e-4)
    assert shown["Base network"].iloc[1] == shown["Difference"].iloc[1] == "–"
    assert shown["Lowest average"].iloc[0] == "–"


def test_the_printed_way_to_count_flatters_and_the_caption_says_by_how_much(inputs):
    table = table_of("remaining", LEFT, inputs.study, inputs)
    whole = table.tidy[table.tidy.over == "all"]
    gap = (whole.lowest_average - whole.accuracy).max()
    assert gap > 0.1
    assert f"exceeds the worst case by up to {gap:.3f} (DBX)" in table.caption
    alone = table_of("remaining", {**LEFT, "attacks": ["fgsm"]}, inputs.study, inputs)
    assert "Lowest average:" not in alone.caption
    assert "exceeds" not in alone.caption


def test_a_difference_is_marked_where_its_interval_excludes_zero(inputs):
    table = table_of("remaining", LEFT, inputs.study, inputs)
    marked = table.bold["Difference"].to_numpy()
    known = table.tidy.difference_low.notna().to_numpy()
    apart = (table.tidy.difference_low > 0) | (table.tidy.difference_high < 0)
    assert marked.tolist() == (apart & known).tolist()
    assert marked.any()
    assert not marked.all()
    assert not table.bold.drop(columns="Difference").to_numpy().any()
    assert "Bold: the interval of the difference excludes 0." in table.caption
    rows = inputs.routes(model="dbx")
    equal = remaining(rows, rows, ["pgd_linf"])
    assert (equal.difference.dropna() == 0).all()
    assert ((equal.difference_low < 0) | equal.difference_low.isna()).all()


def test_all_radii_are_shown_with_theirs(inputs):
    table = table_of("remaining", LEFT, inputs.study, inputs)
    assert table.display["ε"].nunique() == table.tidy.epsilon.nunique() > 1
    assert np.all(np.diff(table.tidy.epsilon) >= 0)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["gbz"], "'gbz' cannot be compared with its base network: it has no base; name wrappers"),
        (["dbx"], f"'dbx' cannot .* its base 'elsewhere' was not run on {DATASET}; name wrappers"),
    ],
)
def test_a_model_without_a_base_that_ran_is_one_line(inputs, models, message):
    entries = {**inputs.study.models, "dbx": {"needs": {"base": "elsewhere"}}}
    changed = varied(inputs.study, models=entries)
    run = dataclasses.replace(inputs, study=changed)
    run.__dict__["accuracy"] = inputs.accuracy
    with pytest.raises(ConfigError, match=message):
        table_of("remaining", {**LEFT, "models": models}, changed, run)


COUNTED = {"title": "Three ways", "attacks": ["pgd_linf"], "models": ["dbx", "gbz"]}


def counted(inputs, **columns):
    """The run with other values of some columns in each outcome."""
    run = dataclasses.replace(inputs)
    run.__dict__["accuracy"] = inputs.accuracy
    read = inputs.outcomes
    object.__setattr__(run, "outcomes", lambda *a, **ids: read(*a, **ids).assign(**columns))
    return run


def test_three_ways_to_count_stand_side_by_side_in_one_order(inputs):
    table = table_of("counting", COUNTED, inputs.study, inputs)
    assert list(table.display) == [
        "Model", "Attack", "(a) Shown once", "(b) Majority", "(c) Any step", "n",
    ]  # fmt: skip
    assert list(dict.fromkeys(table.tidy.model)) == ["dbx", "gbz"]
    row = table.display.iloc[-1]
    last = table.tidy.iloc[-1]
    assert row["(b) Majority"] == (
        f"{last.majority:.3f} [{last.majority_low:.3f}, {last.majority_high:.3f}]"
    )
    # Nothing was random here: no difference is claimed.
    assert "farthest apart" not in table.caption
    assert np.allclose(table.tidy.once, table.tidy.majority)


def test_the_caption_names_where_the_ways_differ_most(inputs):
    run = counted(inputs, silent_success=lambda rows: ~rows.misclassified & (rows["sample"] < 9))
    table = table_of("counting", COUNTED, inputs.study, run)
    gap = (table.tidy.once - table.tidy.any_step).max()
    assert 0 < gap <= 9 / 40
    most = table.tidy.loc[(table.tidy.once - table.tidy.any_step).idxmax()]
    words = f"{most.once:.3f}, {most.majority:.3f} and {most.any_step:.3f}."
    assert f"farthest apart for {inputs.study.titles['models'][most.model]}: {words}" in (
        table.caption
    )
    unknown = table_of("counting", COUNTED, inputs.study, counted(inputs, silent_success=None))
    assert set(unknown.display["(c) Any step"]) == {"unknown"}
    assert "Unknown: stored by an earlier version" in unknown.caption
