"""Augmentations: batch operations against one image at a time, and their way through YAML."""

import inspect

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional

from assay.foundation.errors import ConfigError, TrainingError
from assay.foundation.resources import ROOT
from assay.models.base import Classifier
from assay.plan.configuration import read_configuration
from assay.plan.plan import make_plan
from assay.training.augment import AUGMENTATIONS, augmentations
from assay.training.loop import train


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(200, 2, 6, 5, generator=seeded(1))


def test_shift_is_padding_and_cropping_at_random(images):
    (shift,) = augmentations([{"name": "shift", "pixels": 2}])
    moved = shift(images, seeded())
    found = set()
    for before, after in zip(images, moved, strict=True):
        padded = functional.pad(before, [2] * 4)
        places = [
            (row, column)
            for row in range(5)
            for column in range(5)
            if torch.equal(padded[:, row : row + 6, column : column + 5], after)
        ]
        assert places
        found.add(places[0])
    assert len(found) == 25, "every offset occurs"


def test_a_shift_by_a_share_repeats_the_edge_where_it_is_asked_to():
    images = torch.rand(300, 1, 20, 10, generator=seeded(1))
    (shift,) = augmentations([{"name": "shift", "share": 0.1, "fill": "edge"}])
    moved = shift(images, seeded())
    padded = functional.pad(images, [1, 1, 2, 2], mode="replicate")
    places = torch.stack(
        [
            (padded[:, :, row : row + 20, column : column + 10] == moved).flatten(1).all(dim=1)
            for row in range(5)
            for column in range(3)
        ]
    )
    assert places.any(dim=0).all()
    assert places.any(dim=1).all(), "every offset occurs"


@pytest.mark.parametrize(
    "wrong", [{}, {"pixels": 1, "share": 0.1}, {"pixels": 1, "fill": "white"}], ids=str
)
def test_a_shift_that_does_not_say_how_far_or_what_comes_in_is_an_error(images, wrong):
    (shift,) = augmentations([{"name": "shift", **wrong}])
    with pytest.raises(TrainingError, match=r"augment: shift.*do not define how images move"):
        shift(images, seeded())


def test_flip_mirrors_about_half_of_the_images_and_leaves_the_others(images):
    (flip,) = augmentations([{"name": "flip"}])
    flipped = flip(images, seeded())
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    untouched = (flipped == images).flatten(1).all(1)
    assert (mirrored ^ untouched).all()
    assert 60 < mirrored.sum() < 140


def test_noise_has_its_deviation_and_stays_within_bounds():
    (noise,) = augmentations([{"name": "noise", "deviation": 0.1}])
    grey = torch.full((4, 1, 64, 64), 0.5)
    change = noise(grey, torch.Generator().manual_seed(0)) - grey
    assert change.std().item() == pytest.approx(0.1, rel=0.05)
    assert change.mean().abs() < 0.01
    black = noise(torch.zeros(4, 1, 64, 64), torch.Generator().manual_seed(0))
    assert black.min() == 0
    assert 0.4 < (black == 0).float().mean() < 0.6


def test_augmentations_follow_the_generator_and_their_order(images):
    chain = augmentations([{"name": "shift", "pixels": 1}, {"name": "flip"}])
    assert [part.func.__name__ for part in chain] == ["shift", "flip"]
    for part in chain:
        assert torch.equal(part(images, seeded(3)), part(images, seeded(3)))
        assert not torch.equal(part(images, seeded(3)), part(images, seeded(4)))


class Recorder(Classifier):
    """Keeps the images that it is trained and validated on."""

    def __init__(self):
        super().__init__(classes=2, shape=(1, 6, 6))
        self.head = nn.Linear(36, 2)
        self.seen = {True: [], False: []}

    def features(self, images):
        return images.flatten(1)

    def logits(self, images, generator=None):
        self.seen[self.training].append((images * 255).round().to(torch.uint8).numpy())
        return self.head(self.features(images))


def configured(augment: str):
    """The recipe of a user's model that says `augment` in ``config/config.yaml``."""
    written = f"""
catalogue:
  models:
    mine:
      title: "Mine"
      family: discriminative
      implementation: assay.models.resnet:ResNet18
      training: {{epochs: 2, batch_size: 8, augment: {augment}}}
      source: "this test"
"""
    configuration = read_configuration({**yaml.safe_load(written), "scale": "paper"})
    return make_plan(configuration).entry("models", "mine")["training"]


def trained(augment: str, work) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The stored images, and those that a training with this `augment` and its validation see."""
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 6, 6), dtype=np.uint8)
    model, labels = Recorder(), np.arange(40) % 2
    training = configured(augment)
    train(
        model,
        images,
        labels,
        np.arange(30),
        np.arange(30, 40),
        training,
        work=work,
        names=("test",),
    )
    return images, np.concatenate(model.seen[True]), np.concatenate(model.seen[False])


def known(images: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Which of the images are, pixel by pixel, one of the others: (n,)."""
    return (images[:, None] == among[None]).all(axis=(2, 3, 4)).any(axis=1)


def test_a_training_sees_the_augmentations_that_the_configuration_names(tmp_path):
    images, seen, validated = trained("[{name: flip}]", tmp_path / "flip")
    mirrored = known(seen, images[..., ::-1])
    assert (mirrored ^ known(seen, images)).all()
    assert 15 < mirrored.sum() < 45
    assert known(validated, images[30:]).all()
    _, seen, _ = trained("[{name: shift, pixels: 2}, {name: flip}]", tmp_path / "both")
    assert known(seen, images).sum() < 15  # one shift in 25 goes nowhere
    _, seen, _ = trained("[]", tmp_path / "none")
    assert known(seen, images[:30]).all()


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ("[flip]", r"mine\.training\.augment\.0: 'flip' is not of type 'object'; expected: a name"),
        ("[{name: flop}]", r"augment\.0\.name: 'flop' is not allowed; did you mean 'flip'"),
        ("[{pixels: 2}]", r"augment\.0: the key 'name' is missing"),
        ("[{name: shift}]", r"augment\.0: the key 'pixels' is missing; it says: largest shift"),
        ("[{name: shift, pixel: 2}]", r"augment\.0: unknown key 'pixel'; did you mean 'pixels'"),
        ("[{name: flip, pixels: 2}]", r"augment\.0: 'pixels' is not allowed"),
    ],
)
def test_a_wrong_augmentation_is_told_before_anything_runs(augment, message):
    with pytest.raises(ConfigError, match=message):
        configured(augment)


def test_the_schema_knows_every_augmentation_and_its_arguments():
    schema = yaml.safe_load((ROOT / "workflow/schemas/models.schema.yaml").read_text())
    item = schema["additionalProperties"]["properties"]["training"]["properties"]["augment"][
        "items"
    ]
    assert set(item["properties"]["name"]["enum"]) == set(AUGMENTATIONS)
    arguments = {
        name
        for function in AUGMENTATIONS.values()
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert set(item["properties"]) == {"name", *arguments}
