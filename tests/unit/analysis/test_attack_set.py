"""Attack sets: one attack, or those whose worst case counts."""

import pandas as pd
import pytest

from assay.analysis.attack_set import AttackSet, attack_sets, of_word, read_table
from assay.foundation.errors import ConfigError

ROWS = pd.DataFrame(
    [
        ("pgd", "", "white", "linf"),
        ("", "suite", "white", "linf"),
        ("", "norm", "", "linf"),
        ("", "norm_all", "", "linf"),
        ("pgd", "", "again", "linf"),
    ],
    columns=["attack", "worst_case", "suite", "norm"],
)
SETS = [
    AttackSet.of("pgd"),
    AttackSet.of({"suite": "white"}),
    AttackSet.of({"norm": "linf", "epsilon": 0.3}),
    AttackSet("norm_all", "linf"),
    AttackSet.of({"attack": "pgd", "epsilon": 0.3}),
]


def test_each_row_knows_its_set_and_each_set_its_rows():
    assert attack_sets(ROWS).tolist() == SETS
    for number, found in enumerate(SETS[:4]):
        own = [number, 4] if number == 0 else [number]
        assert ROWS.index[found.among(ROWS)].tolist() == own
        assert {name: ROWS[name][number] for name in found.columns} == found.columns


def test_a_suite_an_attack_and_a_norm_of_one_name_are_three_sets():
    assert len({AttackSet.of(item) for item in ("l2", {"suite": "l2"}, {"norm": "l2"})}) == 3


@pytest.mark.parametrize("item", ["pgd", {"suite": "white"}, {"norm": "l2"}])
def test_an_item_of_a_study_comes_back_as_it_was_written(item):
    assert AttackSet.of(item).item == item


@pytest.mark.parametrize(
    ("item", "what"),
    [
        ({"epsilon": 0.3}, r"cells\.0: names no attack; write one key"),
        ({"suite": "a", "norm": "l2"}, r"cells\.0: names suite and norm at once; write one key"),
    ],
)
def test_an_item_names_one_set(item, what):
    with pytest.raises(ConfigError, match=what):
        AttackSet.of(item, "cells.0")


def test_a_word_of_a_paper_means_one_set_or_one_for_each_norm():
    assert of_word({"suite": "white"}, "L2") == AttackSet("suite", "white")
    assert of_word({"Linf": {"suite": "white"}, "L2": "ddn"}, "L2") == AttackSet.of("ddn")
    assert of_word({"Linf": "pgd"}, "L1") is None
    assert of_word(None, "L1") is None


def test_names_that_are_empty_in_a_file_are_texts(tmp_path):
    ROWS.to_csv(tmp_path / "table.csv", index=False)
    assert read_table(tmp_path / "table.csv").equals(ROWS)
