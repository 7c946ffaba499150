"""Importance sampling's health: nested estimates, effective samples, refusals."""

import math

import numpy as np
import pytest
import torch

from assay.evaluation.measurements.base import Data, measured
from assay.evaluation.measurements.importance import Importance
from assay.foundation.errors import MeasurementError, ModelError
from assay.models.base import build

SHAPE, CLASSES = (1, 8, 8), 3


def model(**settings):
    entry = {"implementation": "assay.models.gbz:GBZ", "settings": {"latent_dim": 4, **settings}}
    made = build("tiny", entry, classes=CLASSES, shape=SHAPE, seed=3)
    with torch.no_grad():
        made.decoder[0].weight *= 12
        made.decoder[2].weight *= 4
    return made


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (20, *SHAPE), dtype=np.uint8)


@pytest.fixture
def labels():
    return np.arange(20, dtype=np.uint8) % CLASSES


def health(made, images, labels, indices, **settings):
    given = Data(images=images, labels=labels, indices=indices, seed=0)
    return measured(Importance(**settings), made, given)


@pytest.mark.parametrize("sees_class", [False, True])
def test_every_image_has_a_share_and_estimates_that_grow_with_the_samples(
    images, labels, sees_class
):
    indices = np.array([3, 1, 17, 8, 11])
    found = health(model(encoder_sees_class=sees_class), images, labels, indices)
    assert found["per_decision"] == 10
    assert found["sweep"].tolist() == [1, 10, 100]
    assert found["effective"].shape == (5,)
    assert (found["effective"] >= 1 / 10 - 1e-9).all()
    assert (found["effective"] <= 1).all()
    for name in ("log_px", "log_pxy", "prediction"):
        assert found[name].shape == (3, 5)
    assert (found["labels"] == labels[indices]).all()
    # The estimate is below the truth on average, less so the more samples there are.
    every = health(model(encoder_sees_class=sees_class), images, labels, np.arange(20))
    assert (np.diff(every["log_px"].mean(axis=1)) > 0).all()
    # p(x, y) is a part of p(x).
    assert (found["log_pxy"] <= found["log_px"]).all()


def test_the_batch_of_an_image_changes_its_samples_only_where_it_is_drawn_elsewhere(images, labels):
    made = model(samples=5)
    indices = np.arange(20)
    whole = health(made, images, labels, indices, sweep=(1, 5))
    again = health(made, images, labels, indices, sweep=(1, 5))
    for name, value in whole.items():
        np.testing.assert_array_equal(value, again[name])
    made.max_batch = 7
    pieces = health(made, images, labels, indices, sweep=(1, 5))
    assert pieces["log_px"].shape == whole["log_px"].shape
    # Another draw of the same estimates: alike on average.
    assert abs(pieces["log_px"][1].mean() - whole["log_px"][1].mean()) < 5


def test_estimates_are_nested_and_those_of_the_model_s_own_number(images, labels):
    made, indices = model(samples=5), np.arange(6)
    found = health(made, images, labels, indices, sweep=(5, 40))
    alone = health(made, images, labels, indices, sweep=(40,))
    np.testing.assert_array_equal(found["log_px"][1], alone["log_px"][0])
    pixels = torch.from_numpy(images[indices]).float() / 255
    terms = made.importance_terms(pixels, 40, torch.Generator().manual_seed(1))
    assert terms.dtype == torch.float64
    joint = terms[:5].logsumexp(dim=0) - math.log(5)
    assert np.abs(joint.logsumexp(dim=1).numpy() - found["log_px"][0]).mean() < 20


def test_a_model_without_importance_samples_is_refused_by_name(images, labels):
    with pytest.raises(ModelError, match="no importance samples"):
        health(model(inference="mean"), images, labels, np.arange(3))
    entry = {"implementation": "assay.models.cnn:CNN", "settings": {}}
    try:
        plain = build("cnn", entry, classes=CLASSES, shape=(1, 28, 28))
    except ModelError:
        pytest.skip("no plain network of that size")
    with pytest.raises(ModelError, match="no importance samples"):
        health(plain, np.zeros((3, 1, 28, 28), np.uint8), labels[:3], np.arange(3))


def test_numbers_of_samples_that_are_none_are_one_line():
    with pytest.raises(MeasurementError, match=r"setting 'sweep': \[0, 10\] are no numbers"):
        Importance(sweep=[0, 10])
