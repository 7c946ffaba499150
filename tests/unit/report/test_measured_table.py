"""A table of measured numbers: means over images with their interval."""

import dataclasses

import numpy as np
import pytest
from factory import MODELS
from scipy import stats

from assay.foundation.errors import ConfigError
from assay.report.tables.build import build_table


@pytest.fixture
def inputs(small_run):
    return small_run


SPEC = {
    "kind": "measured",
    "title": "Certified radii",
    "measurement": "certificates",
    "models": ["gbz_as_coded"],
    "arrays": ["radii"],
}


def test_a_measured_number_is_a_mean_over_the_images_of_all_splits(inputs):
    table = build_table(SPEC, inputs.study, inputs)
    paths = inputs.measured["certificates"].values()
    radii = np.concatenate([np.load(path)["radii"] for path in paths])
    (row,) = table.tidy.itertuples()
    assert (row.model, row.n, row.splits) == ("gbz_as_coded", len(radii), len(paths))
    assert row.mean == pytest.approx(radii.mean())
    half = stats.t.isf(0.025, len(radii) - 1) * radii.std(ddof=1) / np.sqrt(len(radii))
    assert (row.low, row.high) == pytest.approx((radii.mean() - half, radii.mean() + half))
    assert table.display["radii"][0].startswith(f"{radii.mean():.4g} [")
    assert f"({len(radii):,} images)" in table.display["radii"][0]
    assert "radii: certified L2 radius" in table.caption


def test_an_image_that_several_splits_measured_counts_once(inputs, tmp_path):
    files = {}
    keys = inputs.networks("certificates")
    stored = dict(np.load(inputs.measured["certificates"][keys[0]]))
    for number, key in enumerate(keys):
        files[key] = tmp_path / f"{number}.npz"
        np.savez(files[key], **stored)
    run = dataclasses.replace(inputs)
    run.__dict__.update(accuracy=inputs.accuracy, measured={"certificates": files})
    (row,) = build_table(SPEC, inputs.study, run).tidy.itertuples()
    radii, count = np.concatenate([stored["radii"]] * len(keys)), len(stored["radii"])
    assert (row.n, row.samples) == (len(radii), count)
    half = stats.t.isf(0.025, count - 1) * radii.std(ddof=1) / np.sqrt(count)
    assert row.high - row.mean == pytest.approx(half)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arrays": ["radius"]}, r"'certificates' stores no array 'radius'; did you mean 'radii'"),
        ({"measurement": "features", "arrays": ["features"]}, r"'features' has 2 dimensions; name"),
    ],
)
def test_an_array_that_has_no_mean_is_one_line(inputs, changes, message):
    with pytest.raises(ConfigError, match=message):
        build_table({**SPEC, **changes}, inputs.study, inputs)


def test_a_model_without_the_measurement_has_no_row(inputs):
    spec = {**SPEC, "models": [*MODELS]}
    assert len(build_table(spec, inputs.study, inputs).display) == 1


def test_a_number_per_network_is_a_mean_over_splits(inputs, tmp_path):
    files = {}
    for number, key in enumerate(inputs.networks("certificates")):
        files[key] = tmp_path / f"{number}.npz"
        np.savez(files[key], fid=np.float64(10 + number))
    run = dataclasses.replace(inputs)
    run.__dict__.update(accuracy=inputs.accuracy, measured={"unknown": files})
    spec = {**SPEC, "measurement": "unknown", "arrays": ["fid"]}
    table = build_table(spec, inputs.study, run)
    (row,) = table.tidy.itertuples()
    assert (row.mean, row.n, row.unit) == (10.5, 2, "splits")
    # Two splits are hardly an interval: Student's quantile is 12.7, not 1.96.
    assert row.high - row.mean == pytest.approx(stats.t.isf(0.025, 1) * 0.5)
    assert table.display["fid"][0].endswith("(2 splits)")
    assert "n = 2 images" not in table.caption
