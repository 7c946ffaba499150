"""Measurements: values with settings, and arrays that follow their schema."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from assay.evaluation.measurements.base import Data, Measurement, make_measurement, measured
from assay.evaluation.measurements.features import Features
from assay.foundation.errors import ConfigError, MeasurementError
from assay.foundation.outline import outline
from assay.foundation.registry import load
from assay.foundation.resources import resource
from assay.models.base import Classifier

CATALOGUE = yaml.safe_load(resource("config/catalogue/measurements.yaml").read_text("utf-8"))
CLASSES = [entry["implementation"] for entry in CATALOGUE.values()]


class Sums(Classifier):
    """Its features are the sums of the rows."""

    max_batch = 3

    def __init__(self):
        super().__init__(classes=2, shape=(1, 4, 4))
        self.layer = nn.Linear(4, 2)

    def features(self, images):
        assert len(images) <= self.max_batch
        assert not self.training
        return images.sum(dim=(1, 2))

    def logits(self, images, generator=None):
        return self.layer(self.features(images))


@dataclass(frozen=True, kw_only=True)
class Brightness(Measurement):
    """The mean of each image."""

    arrays: ClassVar = {"means": ("float64", "image", "mean of the pixels, in [0, 1]")}

    factor: float = 1.0

    def measure(self, model, data):
        shown = [images.mean(dim=(1, 2, 3)).double() for images, _ in data.batches(model, "b")]
        return {"means": self.factor * torch.cat(shown).numpy()}


def given(n=8):
    images = np.random.default_rng(0).integers(0, 256, (n, 1, 4, 4), dtype=np.uint8)
    return Data(images=images, labels=np.arange(n) % 2, indices=np.array([6, 1, 4, 0, 3]))


def test_features_are_those_of_the_evaluated_images_in_their_order():
    data = given()
    found = measured(Features(), Sums().train(), data)
    expected = data.images[data.indices].sum(axis=(1, 2)) / 255
    np.testing.assert_allclose(found["features"], expected, rtol=1e-6)
    assert found["samples"].tolist() == [6, 1, 4, 0, 3]
    assert found["labels"].tolist() == [0, 1, 0, 0, 1]


def test_settings_of_an_entry_are_those_of_the_value():
    entry = {"implementation": f"{__name__}:Brightness", "settings": {"factor": 2.0}}
    data = given()
    found = measured(make_measurement(entry), Sums(), data)
    expected = 2 * data.images[data.indices].mean(axis=(1, 2, 3)) / 255
    np.testing.assert_allclose(found["means"], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("entry", "kind", "message"),
    [
        ({"implementation": f"{__name__}:Brightness", "settings": {"facto": 2}}, MeasurementError,
         r"measurement 'mine' settings: Brightness has no setting 'facto'; did you mean 'factor'"),
        ({"implementation": f"{__name__}:Sums"}, MeasurementError,
         r"'.*:Sums' is no measurement; name a class that inherits from"),
        ({"implementation": f"{__name__}:Sum"}, ConfigError, r"has no 'Sum'"),
    ],
)  # fmt: skip
def test_an_entry_that_is_wrong_is_one_line(entry, kind, message):
    with pytest.raises(kind, match=message):
        make_measurement({"name": "mine", **entry})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"means": np.zeros(5, np.float32)}, "'means' has type float32; the schema says float64"),
        ({"means": np.zeros((5, 2))}, r"'means' has shape \(5, 2\); the schema says image"),
        ({"mean": np.zeros(5)}, r"no array 'mean' in the schema; did you mean 'means'\?"),
        ({}, "the array 'means' is missing; it holds: mean of the pixels"),
    ],
)
def test_arrays_that_do_not_follow_the_schema_are_refused(wrong, message):
    class Wrong(Brightness):
        def measure(self, model, data):
            return wrong

    with pytest.raises(MeasurementError, match=message):
        measured(Wrong(), Sums(), given())


@pytest.mark.parametrize("implementation", CLASSES)
def test_what_the_plan_reads_of_a_measurement_is_what_its_class_says(implementation):
    found, kind = outline(implementation), load(implementation)
    assert f"{Measurement.__module__}:Measurement" in found.lineage
    for name in ("arrays", "optional", "needs", "may_need", "files"):
        assert found.values[name] == getattr(kind, name), name
    assert kind.arrays
    assert set(kind.optional) <= kind.arrays.keys()
    assert {*kind.needs, *kind.may_need} <= {"attack", "examples"}
    assert set(kind.files) <= set(found.arguments)
    for _, _, meaning in kind.arrays.values():
        assert meaning
    for setting in found.arguments:
        assert f"{setting}: " in kind.__doc__, f"{setting} is not described"
