"""Files of arrays against a schema: types, dimensions, names with placeholders."""

import numpy as np
import pytest

from assay.foundation.arrays import check_arrays, column, read_arrays
from assay.foundation.errors import MeasurementError
from assay.foundation.provenance import write_arrays

SCHEMA = {
    "radii": ("float32", "image", "radii"),
    "labels": ("integer", "image", "classes"),
    "{attack}/images": ("float16", "2 {attack}.image row column", "pictures"),
    "{attack}/labels": ("integer", "{attack}.image", "classes"),
    "share": ("float", "", "a share"),
}


def arrays(**changed):
    found = {
        "radii": np.zeros(4, np.float32),
        "labels": np.zeros(4, np.uint8),
        "pgd/images": np.zeros((2, 3, 5, 5), np.float16),
        "pgd/labels": np.zeros(3, int),
        "ddn/images": np.zeros((2, 1, 5, 5), np.float16),
        "ddn/labels": np.zeros(1, int),
        "share": np.float64(0.5),
    }
    return {k: v for k, v in {**found, **changed}.items() if v is not None}


def test_arrays_of_the_schema_pass_with_lengths_of_their_own_per_placeholder():
    check_arrays(arrays(), SCHEMA, "here")
    without = {k: v for k, v in arrays().items() if "/" not in k}
    check_arrays(without, SCHEMA, "here")
    assert column("pgd/images", SCHEMA).dimensions == ("2", "pgd.image", "row", "column")
    assert column("pgd/a/images", SCHEMA) is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"radii": np.zeros(4)}, "here: 'radii' has type float64; the schema says float32"),
        ({"labels": np.zeros(4)}, "'labels' has type float64; the schema says integer"),
        ({"labels": np.zeros(5, int)}, r"'labels' has shape \(5,\), but 'image' is 4 in 'radii'"),
        ({"pgd/labels": np.zeros(1, int)}, "but 'pgd.image' is 3 in 'pgd/images'"),
        ({"pgd/images": np.zeros((3, 3, 5, 5), np.float16)}, r"but '2' is 2; the schema says 2 x"),
        ({"ddn/images": np.zeros((2, 1, 5, 6), np.float16)}, "'column' is 5 in 'pgd/images'"),
        ({"share": np.zeros(1)}, r"'share' has shape \(1,\); the schema says a single number"),
        ({"radius": np.zeros(4)}, r"no array 'radius' in the schema; did you mean 'radii'\?"),
        ({"labels": None}, "the array 'labels' is missing; it holds: classes"),
    ],
)
def test_a_difference_from_the_schema_is_one_line(changed, message):
    with pytest.raises(MeasurementError, match=message):
        check_arrays(arrays(**changed), SCHEMA, "here")


def test_what_may_be_missing_may_be_missing():
    check_arrays(arrays(labels=None), SCHEMA, "here", optional=["labels"])


def test_a_file_is_read_without_its_provenance_and_checked_by_family_of_type(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(arrays(radii=np.ones(4)), path, {"code": "aa"})
    found = read_arrays(path, SCHEMA)
    assert found.keys() == arrays().keys()
    assert found["radii"].tolist() == [1, 1, 1, 1]
    write_arrays(arrays(radii=np.ones(4, int)), path, {})
    with pytest.raises(MeasurementError, match=r"a\.npz: 'radii' has type int64"):
        read_arrays(path, SCHEMA)
    assert read_arrays(path)["radii"].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("content", [None, b"torn"])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, content):
    path = tmp_path / "a.npz"
    if content:
        path.write_bytes(content)
    with pytest.raises(MeasurementError, match=r"a\.npz: cannot be read .*; delete it") as error:
        read_arrays(path, SCHEMA)
    assert "\n" not in str(error.value)
