"""Files that say what made them."""

import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from assay.foundation.errors import AssayError
from assay.foundation.files import write_json
from assay.foundation.provenance import (
    PACKAGES,
    provenance,
    read_provenance,
    write_arrays,
    write_parquet,
)

FACTS = {"code": "ab", "seed": 7, "attacks": {"fgsm": "cd"}}


def test_a_table_keeps_its_values_and_says_what_made_it(tmp_path):
    frame = pd.DataFrame({"sample": [1, 2], "subset": ["train", "test"]})
    path = tmp_path / "deep" / "split.parquet"
    write_parquet(pa.Table.from_pandas(frame, preserve_index=False), path, FACTS)
    pd.testing.assert_frame_equal(pd.read_parquet(path), frame)
    assert read_provenance(path) == FACTS


def test_arrays_keep_their_values_and_say_what_made_them_without_pickles(tmp_path):
    path = tmp_path / "deep" / "features.npz"
    write_arrays({"features": np.eye(3), "fgsm/images": np.zeros((2, 1))}, path, FACTS)
    with np.load(path, allow_pickle=False) as stored:
        assert set(stored) == {"features", "fgsm/images", "provenance"}
        assert np.array_equal(stored["features"], np.eye(3))
    assert read_provenance(path) == FACTS


def test_a_json_file_says_it_under_one_key(tmp_path):
    write_json(tmp_path / "dataset.json", {"name": "digits", "provenance": FACTS})
    assert read_provenance(tmp_path / "dataset.json") == FACTS


@pytest.mark.parametrize("name", ["gone.npz", "gone.parquet", "gone.json", "bare.npz", "bare.json"])
def test_a_file_that_says_nothing_is_named(tmp_path, name):
    np.savez(tmp_path / "bare.npz", labels=np.zeros(1))
    write_json(tmp_path / "bare.json", {"name": "digits"})
    with pytest.raises(AssayError, match=re.escape(name)):
        read_provenance(tmp_path / name)


def test_versions_and_platform_stand_beside_the_facts_of_the_job():
    made = provenance(**FACTS)
    assert FACTS.items() <= made.items()
    assert set(made["packages"]) == set(PACKAGES)
    assert all(made[key] for key in ("python", "platform", "written"))
    assert json.loads(json.dumps(made)) == made
