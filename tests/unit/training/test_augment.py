"""Augmentations: batch operations against one image at a time."""

import pytest
import torch
from torch.nn import functional

from assay.training.augment import augmentations


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


def test_flip_mirrors_about_half_of_the_images_and_leaves_the_others(images):
    (flip,) = augmentations([{"name": "flip"}])
    flipped = flip(images, seeded())
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    untouched = (flipped == images).flatten(1).all(1)
    assert (mirrored ^ untouched).all()
    assert 60 < mirrored.sum() < 140


def test_augmentations_follow_the_generator_and_their_order(images):
    chain = augmentations([{"name": "shift", "pixels": 1}, {"name": "flip"}])
    assert [part.func.__name__ for part in chain] == ["shift", "flip"]
    for part in chain:
        assert torch.equal(part(images, seeded(3)), part(images, seeded(3)))
        assert not torch.equal(part(images, seeded(3)), part(images, seeded(4)))
