"""Files of printed numbers: what they hold, and what is told of a wrong cell."""

import csv

import pandas as pd
import pytest

from assay.foundation.errors import ConfigError
from assay.foundation.reported import COLUMNS, read_reported

ROW = {
    "study": "mine", "table": "Table 1", "dataset": "mnist", "model": "CNN", "attack": "PGD",
    "norm": "Linf", "epsilon": "0.03137255", "radius": "8/255", "metric": "accuracy",
    "value": "0.5", "std": "", "note": "",
}  # fmt: skip


@pytest.fixture
def read(tmp_path):
    """Writes rows to mine.csv, each with some cells changed, and reads the file."""

    def read(*changes, without=()):
        names = list(dict.fromkeys([*ROW, *(k for c in changes for k in c)]))
        with (tmp_path / "mine.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [name for name in names if name not in without])
            writer.writeheader()
            for change in changes:
                cells = {**dict.fromkeys(names, ""), **ROW, **change}
                writer.writerow({k: v for k, v in cells.items() if k not in without})
        return read_reported([tmp_path / "mine.csv"])

    return read


def test_cells_are_read_as_their_columns_say(read):
    frame = read({"metric": "train_loss", "epoch": "3", "unit": "nats", "batch": "64"}, {})
    assert list(frame) == [*COLUMNS, "file"]
    assert frame.file.tolist() == ["mine.csv"] * 2
    assert frame.epoch.tolist() == [3, pd.NA]
    assert frame.batch.sum() == 64
    assert (frame.value.tolist(), frame["std"].isna().all()) == ([0.5, 0.5], True)
    assert frame.setting.tolist() == ["", ""]
    assert frame.radius.tolist() == ["8/255"] * 2


def test_the_attack_none_is_a_word_and_not_a_missing_value(read):
    frame = read({"attack": "none", "epsilon": "", "radius": ""}, {"attack": ""})
    assert frame.attack.tolist() == ["none", ""]
    assert frame.epsilon.isna().tolist() == [True, False]


def test_a_level_stays_as_it_is_written(read):
    assert read({"setting": "steps", "level": "010"}).level.tolist() == ["010"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": "87 %"}, r"line 3: value: '87 %' is not a finite number; write it as"),
        ({"value": "1/2"}, r"line 3: value: '1/2' is a quotient; write a decimal"),
        ({"radius": "8/25"}, r"line 3: radius: '8/25' is not epsilon, 0\.03137255; write the rad"),
        ({"radius": "eight"}, r"line 3: radius: 'eight' is not a finite number; write it as"),
        ({"radius": ""}, r"line 3: radius: the cell is empty, but epsilon is '0\.03137255'; fill"),
        ({"epsilon": ""}, r"line 3: epsilon: the cell is empty, but radius is '8/255'; fill both"),
        ({"table": ""}, r"line 3: table: the cell is empty; give where the number is printed"),
        ({"remark": "suspct"}, r"line 3: remark: 'suspct' is not known; did you mean 'suspect'\?"),
        ({"attacked": "yes"}, r"line 3: attacked: 'yes' is not known; write unknown, or leave"),
        ({"epoch": "3.5"}, r"line 3: epoch: '3\.5' is not a whole number; write one such as 3"),
        ({"level": "10"}, r"line 3: setting: the cell is empty, but level is '10'; fill both"),
        ({"metric": "hyperparameter"}, r"line 3: key: .* but the metric is 'hyperparameter'; give"),
        ({"metric": "train_loss", "epoch": "1"}, r"line 3: unit: the cell is empty, but the metr"),
    ],
)
def test_a_wrong_cell_is_told_in_one_line_with_file_line_column_and_remedy(read, change, message):
    with pytest.raises(ConfigError, match=message) as expected:
        read({}, change)
    assert "mine.csv: line 3" in str(expected.value)
    assert "\n" not in str(expected.value)


def test_columns_that_a_file_lacks_or_nothing_reads_are_named(read, tmp_path):
    with pytest.raises(ConfigError, match=r"mine\.csv: columns missing: \['norm', 'radius'\]; add"):
        read({}, without=("norm", "radius"))
    with pytest.raises(ConfigError, match=r"no column 'remarks'; did you mean 'remark'\?"):
        read({"remarks": "suspect"})
    with pytest.raises(ConfigError, match=r"absent\.csv: cannot be read"):
        read_reported([tmp_path / "absent.csv"])


def test_a_decimal_may_be_rounded_as_coarsely_as_the_paper_does(read):
    assert len(read({"epsilon": "0.031"}, {"epsilon": "0.03"}, {"epsilon": "3.1e-2"})) == 3
    with pytest.raises(ConfigError, match=r"is not epsilon, 0\.032"):
        read({"epsilon": "0.032"})
