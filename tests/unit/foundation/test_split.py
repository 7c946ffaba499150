"""A split's id is taken apart in one place."""

import re

import pytest

from assay.foundation.digest import ROOT
from assay.foundation.split import Split


@pytest.mark.parametrize(
    ("written", "parts"),
    [("kfold_3", ("kfold", 3)), ("random_once_0", ("random_once", 0)), ("k_10", ("k", 10))],
)
def test_a_split_is_read_and_written_alike(written, parts):
    split = Split.of(written)
    assert split == parts
    assert str(split) == written
    assert split.is_first == (parts[1] == 0)


@pytest.mark.parametrize("written", ["kfold", "kfold_", "_0", "kfold_a", "kfold_-1", ""])
def test_what_is_no_split_is_named(written):
    with pytest.raises(ValueError, match=f"'{written}' is no split"):
        Split.of(written)


def test_no_other_module_takes_a_split_apart():
    parsing = re.compile(r'rpartition\("_"\)|endswith\("_0"\)|rsplit\("_"')
    own = ROOT / "assay/foundation/split.py"
    for file in (ROOT / "assay").rglob("*.py"):
        if file != own:
            assert not parsing.search(file.read_text(encoding="utf-8")), file
