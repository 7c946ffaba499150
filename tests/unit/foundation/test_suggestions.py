"""An old key is answered with its new name."""

import pytest

from assay.foundation.errors import ConfigError
from assay.foundation.suggestions import FORMER, nearest
from assay.plan.configuration import read_configuration


@pytest.mark.parametrize(("former", "today"), FORMER.items())
def test_the_new_name_of_a_key_is_suggested_where_it_is_allowed(former, today):
    allowed = today.partition(".")[0]
    assert nearest(former, ["samples", allowed, "epochs"]) == today
    assert nearest(former, ["chunks"]) is None


@pytest.mark.parametrize(
    ("kind", "name", "entry", "message"),
    [
        (
            "models",
            "mine",
            {"starts_from": "cnn"},
            "unknown key 'starts_from'; did you mean 'init_from'",
        ),
        (
            "models",
            "mine",
            {"weights_from": "cnn"},
            "unknown key 'weights_from'; did you mean 'shares_weights_with'",
        ),
    ],
)
def test_a_users_old_key_is_told_in_one_line_with_its_new_name(kind, name, entry, message):
    given = {
        "scale": "smoke",
        "catalogue": {kind: {name: {"title": "mine", "implementation": "assay.models.cnn:CNN"}}},
    }
    given["catalogue"][kind][name] |= entry
    with pytest.raises(ConfigError, match=message):
        read_configuration(given)
