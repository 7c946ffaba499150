"""Statistics that another job wrote are read as they were computed."""

import warnings

import numpy as np
import pandas as pd

from assay.analysis.written import read_statistic


def test_numbers_come_back_to_the_last_bit_and_without_a_warning(tmp_path):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**63, 20_000).view(float)
    values = np.concatenate([rng.random(20_000), bits[np.isfinite(bits)], [5e-324, 0.1 + 0.2]])
    pd.DataFrame({"p": values}).to_csv(tmp_path / "tests.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_statistic(tmp_path / "tests.csv")
    assert np.array_equal(read.p.to_numpy(), values)


def test_words_stay_words(tmp_path):
    table = pd.DataFrame({"model": ["10", "nan"], "group": ["", "ab"], "p": [0.5, np.nan]})
    table.to_csv(tmp_path / "ranking.csv", index=False)
    read = read_statistic(tmp_path / "ranking.csv")
    assert read.model.tolist() == ["10", "nan"]
    assert read.group.tolist() == ["", "ab"]
    assert read.p.isna().tolist() == [False, True]
