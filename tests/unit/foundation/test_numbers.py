"""Numbers are read as people write them."""

import numpy as np
import pytest
import torch

from assay.foundation.errors import AttackError, ConfigError
from assay.foundation.numbers import number


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("8/255", 8 / 255), (" 8 / 255 ", 8 / 255), ("1e-3", 0.001), ("0.3", 0.3), ("-1", -1.0),
        (1, 1.0), (0.25, 0.25), (np.float32(0.5), 0.5), (torch.tensor(0.5), 0.5), ("1.5/2", 0.75),
    ],
)  # fmt: skip
def test_a_number_is_read_however_it_is_written(written, value):
    assert number(written, "place") == value


@pytest.mark.parametrize(
    "written",
    ["", "eight", "8/0", "8/255/2", "nan", "inf", None, True, [0.1], torch.tensor([1.0, 2.0]),
     float("nan"), "8%", "1e999", {}],
)  # fmt: skip
def test_what_is_no_number_is_named_with_its_place(written):
    with pytest.raises(ConfigError, match=r"place: .* is not a finite number; write it as"):
        number(written, "place")
    with pytest.raises(AttackError):
        number(written, "place", AttackError)
